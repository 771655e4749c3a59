/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk device behind virtio-mmio (virtio 1.2, 4.2.2 and 5.2): registers, queues, queue threads.
 * The room above (backend/xen) routes register accesses here and takes interrupts from here; this room knows nothing of
 * xenstore or ioreq pages.
 */
#ifndef GD_VDEV_H
#define GD_VDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/disk/disk.h"
#include "backend/guestmem/guestmem.h"
#include "backend/virtio/ledger.h"

struct gd_vdev;

struct gd_vdev_config {
	uint16_t domid;		  /* the guest */
	struct gd_log *log;	  /* the caller's, outlives the device */
	const struct gd_way *way; /* to the guest's memory */
	struct gd_disk *disk;	  /* with `ledger`: consumed on success; stays the caller's on failure */
	struct gd_ledger *ledger; /* NULL: the device has one in memory only, and no successor */
	unsigned queues;	  /* most request queues to offer, 1 to 16 */
	unsigned queue_size;	  /* most descriptors a queue, power of two up to 1024 */
	bool indirect;	/* offer VIRTIO_F_INDIRECT_DESC (off by default for grant users: design, decision 4) */
	bool writeback; /* initial cache mode; the guest may change it by CONFIG_WCE */
	bool discard;	/* offer DISCARD and WRITE_ZEROES where the engine can */
	/* Raise the device's interrupt (edge). Called from queue threads and from vdev_mmio_write; must not block. */
	void (*raise)(void *opaque);
	/* gd_vdev_inflight() may have become 0 after gd_vdev_quiesce(). Called from queue threads; may be NULL. */
	void (*quiet)(void *opaque);
	void *opaque;
};

/*
 * All that may block or fail for the device's own sake is done here: memory, a thread and an io_uring for each queue,
 * and its way to the disk. NBD connects all queues side by side, so that it takes as long as one connection. So it is
 * for a job; what comes later neither blocks on the disk nor starts a thread. 0, or -errno with a line in `error`
 * (`size` bytes), which says what could not be had; it is empty on success.
 */
int gd_vdev_open(struct gd_vdev **vdev, const struct gd_vdev_config *config, char *error, size_t size);
/*
 * Stops the threads, ends every mapping, closes the disk: when it returns nothing of the guest is held. Waits for I/O
 * in flight, for a disk that does not answer as long as for one queue, whatever their number. Takes NULL.
 */
void gd_vdev_close(struct gd_vdev *vdev);

/*
 * Register accesses, from the domain's ioreq thread. `offset` and `size` are the guest's: anything is answered, unknown
 * or misaligned ones by 0 (reads) or nothing (writes). They answer at once: no disk I/O is waited for.
 */
uint64_t gd_vdev_read(struct gd_vdev *vdev, uint64_t offset, unsigned size);
void gd_vdev_write(struct gd_vdev *vdev, uint64_t offset, unsigned size, uint64_t value);

/* The device status (virtio 1.2, 2.1); 0: no driver uses the device. Any thread, while accesses are answered too. */
uint32_t gd_vdev_status(const struct gd_vdev *vdev);

/*
 * Before the first access: go on where the former process ended, by its ledger, which `config` had. The rings are
 * mapped again, what was taken and not answered is done again, and the bits of InterruptStatus are set, since what that
 * process told may not have been heard: the caller raises the interrupt when accesses are answered. Waits for nothing
 * but Xen; may be called in a job.
 *
 * 0; or it is as after gd_vdev_orphan(), and the ledger says so too:
 * -ESTALE: the disk is not fenced (struct gd_disk_info), and had I/O that changes it in flight when that process ended.
 *	It may be done at any time yet, so that to do it again, and go on, might undo what the guest writes next. (Reads
 *	and flushes in flight are no hindrance.)
 * -EINVAL, when what stands in the ledger is not what this device offers, or the error of mapping.
 */
int gd_vdev_resume(struct gd_vdev *vdev);

/*
 * Before the first access, where there is nothing to resume: the guest's driver may believe that this device is the one
 * that another process served. DEVICE_NEEDS_RESET, and a configuration change, stand in the registers until it resets
 * the device; the caller raises the interrupt when accesses are answered (virtio 1.2, 2.1.2).
 */
void gd_vdev_orphan(struct gd_vdev *vdev);

/*
 * Before the process leaves its devices to a successor: no more chains are taken, whatever the guest kicks; they stay
 * in its rings. What was taken is still answered. Does not wait: see gd_vdev_inflight(). There is no way back.
 */
void gd_vdev_quiesce(struct gd_vdev *vdev);
/*
 * Chains that were taken and are not yet shown to the guest as used, and I/Os in flight of rings that a reset took
 * away. After gd_vdev_quiesce() it falls to 0 and stays there; a queue that has not heard of that yet counts as one.
 * Any thread.
 */
unsigned gd_vdev_inflight(const struct gd_vdev *vdev);

/* Ask the image for its size; on a change the guest gets a configuration interrupt. Any thread. */
void gd_vdev_refresh(struct gd_vdev *vdev);

/* Counted since open, for `grantio stats` and the bench. */
struct gd_vdev_stats {
	uint64_t requests, errors; /* completed; with an error status */
	uint64_t bytes_read, bytes_written;
	uint64_t batches;	       /* drained batches */
	uint64_t kicks;		       /* QUEUE_NOTIFY writes */
	uint64_t interrupts;	       /* raised */
	uint64_t syscalls;	       /* of the queues: io_uring_enter, grant copies, wake-ups, one a raise */
	uint64_t copy_calls, copy_ops; /* xengnttab_grant_copy calls, segments in them */
	uint64_t copy_hypercalls;      /* that they cost */
	uint64_t resets, needs_reset;
};
void gd_vdev_stats(struct gd_vdev *vdev, struct gd_vdev_stats *out);

#endif
