/* SPDX-License-Identifier: MIT */
/* What a device counts, for `grantio stats` and the bench. */
#ifndef GD_STATS_H
#define GD_STATS_H

#include <stdint.h>

/* Counted since the device was opened. */
struct gd_vdev_stats {
	uint64_t requests, errors; /* completed; of these, with an error status */
	uint64_t bytes_read, bytes_written;
	uint64_t straight;		 /* I/O that the disk did from or to the guest's pool itself */
	uint64_t registered;		 /* I/O with a buffer that was registered with io_uring, ours or the pool's */
	uint64_t batches;		 /* drained batches */
	uint64_t kicks;			 /* queue notifications by the driver */
	uint64_t interrupts;		 /* raised */
	uint64_t syscalls;		 /* of the queues: io_uring_enter, grant copies, wake-ups, one per interrupt */
	uint64_t copy_calls, copy_ops;	 /* xengnttab_grant_copy calls, segments in them */
	uint64_t copy_hypercalls;	 /* hypercalls that they took */
	uint64_t looks_paid, looks_vain; /* looks at an empty ring before a sleep (look.h): a chain came, or none did */
	uint64_t resets, needs_reset;
};

#endif
