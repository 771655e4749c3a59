/* SPDX-License-Identifier: MIT */
/*
 * What a guest has answered to the offer of messages (docs/xenbus.md): where its two pages are, which event channels it
 * has made, and what its pool is made of. Each value is in its range (xenbus/front.h); whether Xen lets us use it shows
 * when it is used.
 */
#ifndef GD_MSG_ANSWER_H
#define GD_MSG_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include <abi/virtio_msg_bus.h>

#include "backend/guestmem/pool.h"

struct gd_msg_answer {
	uint64_t connection;		   /* the guest's number for this answer: another number, another connection */
	bool only;			   /* it will name nothing but its rings and its pool */
	uint32_t driver_page, device_page; /* grant references */
	uint32_t port;			   /* the event channel of messages */
	unsigned channels;		   /* how many event channels for queues: 1 to GIO_MSG_CHANNELS_MAX */
	uint32_t ports[GIO_MSG_CHANNELS_MAX];
	unsigned runs; /* of the pool: 0 to GIO_POOL_RUNS_MAX */
	struct gd_pool_run run[GIO_POOL_RUNS_MAX];
};

#endif
