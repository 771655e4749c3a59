/* SPDX-License-Identifier: MIT */
/*
 * Inside of the virtio-blk driver (grantio/virtio_blk.h): blk.c opens, closes and dispatches; blk_config.c reads the
 * configuration space; blk_queue.c carries requests.
 *
 * Locks: each queue has one, the configuration has one; they never nest, and `done`, register accesses and anything
 * that may sleep happen without them.
 */
#ifndef GRANTIO_VIRTIO_BLK_DRIVER_H
#define GRANTIO_VIRTIO_BLK_DRIVER_H

#include <abi/virtio_blk.h>
#include <grantio/virtio_blk.h>

#include "transport.h"
#include "virtq.h"

/* Buffers of an indirect table. Requests with more use the ring's descriptors, as if there were no tables. */
#define BLK_TABLE_ENTRIES 16u

/* Header and status: what every request has beside its data. */
#define BLK_EXTRA_BUFS 2u

/* An array with an element for each slot, which the device sees; `bytes` is 0 where it is not needed. */
struct blk_array {
	uint8_t *va;
	gio_dma_t addr;
	size_t bytes;
};

struct blk_queue {
	unsigned index;
	struct gio_lock lock;
	struct gio_virtq vq;
	uint64_t capacity; /* a copy for each queue, so that submit takes no other lock */
	uint64_t requests, kicks;

	/*
	 * Request slots. Headers lie in one array, status bytes in another, each indexed by slot, in memory that is
	 * granted once: so a request costs no grant beside its data, and neither array shares a page with anything
	 * private. A slot is taken by next fit, upwards from the last one taken: requests submitted together get
	 * adjacent slots, and so a backend fetches the headers of a batch, and writes its statuses back, by one
	 * copy of adjacent bytes each instead of one per request. Next fit and not a FIFO of free slots, because a
	 * FIFO takes on the order of completions for good, while this returns to ascending order each time around.
	 */
	uint32_t slots;
	uint32_t cursor;	   /* where the search for a free slot begins */
	uint32_t *busy;		   /* a bit for each slot, those that do not exist set */
	struct gio_blk_req **reqs; /* in flight, by slot; NULL: none */
	void *shared;		   /* without a pool: the block that the arrays lie in */
	size_t shared_bytes;
	gio_dma_t shared_addr;
	struct blk_array headers;  /* struct gio_virtio_blk_outhdr */
	struct blk_array ranges;   /* struct gio_virtio_blk_range; if the device offers DISCARD or WRITE_ZEROES */
	struct blk_array tables;   /* BLK_TABLE_ENTRIES descriptors each; if indirect */
	struct blk_array statuses; /* a byte each */
};

struct gio_blk {
	struct gio_os *os;
	struct gio_dma dma;
	struct gio_pool *pool; /* through which all data goes; NULL: buffers are granted as they are */
	struct gio_transport *transport;
	struct gio_lock info_lock; /* for `info` and `interrupts` */
	struct gio_blk_info info;  /* all but `capacity` and `writeback` stay as they were at open */
	uint64_t interrupts;
	uint32_t broken;     /* atomic; set once, never cleared */
	unsigned queues;     /* that are initialised */
	unsigned queues_max; /* that `queue` has room for */
	struct blk_queue *queue;
};

/* What a request needs, worked out before any lock is taken. */
struct blk_plan {
	uint32_t type;	       /* enum gio_virtio_blk_type */
	bool reads;	       /* the device writes the data segments */
	uint64_t first, count; /* sectors that must lie within the capacity */
	uint32_t bufs;	       /* buffers of the chain, header and status included */
	bool range;	       /* carries a struct gio_virtio_blk_range */
	bool table;	       /* goes through the slot's indirect table */
};

/* ---- blk_config.c ------------------------------------------------------------------------------------------------ */

/* Features that this driver can use, given what the caller wants. */
uint64_t gio_blk_features_wanted(const struct gio_blk_config *config);
/* Fill `info` (but queues and queue_size) by what the device says; `offered_queues` as well. -GIO_EPROTO. */
int gio_blk_config_load(struct gio_transport *transport, uint64_t features, struct gio_blk_info *info,
			unsigned *offered_queues);
/* Load capacity and writeback again. -GIO_EAGAIN: the device keeps changing them; -GIO_EPROTO: they make no sense. */
int gio_blk_config_reload(struct gio_transport *transport, struct gio_blk_info *info);

/* ---- blk_data.c -------------------------------------------------------------------------------------------------- */

/* Memory for the slots' arrays, of a queue whose `index` and `slots` are set. On failure there is nothing to undo. */
int gio_blk_arrays_init(struct gio_blk *blk, struct blk_queue *q);
void gio_blk_arrays_exit(struct gio_blk *blk, struct blk_queue *q);

/* Make a request's data known to the device, or nothing of it; the addresses are then in its segments. May sleep. */
int gio_blk_data_map(struct gio_blk *blk, unsigned queue, struct gio_blk_req *req);
/* Undo that for a request that is not sent. */
void gio_blk_data_drop(struct gio_blk *blk, struct gio_blk_req *req);
/* End it for one that has its result. */
void gio_blk_data_finish(struct gio_blk *blk, struct gio_blk_req *req);
/*
 * Lower the limits of a request to what a pool can always map, once the queues have their arrays. -GIO_ENOMEM: those
 * have left nothing of it.
 */
int gio_blk_data_limit(const struct gio_blk *blk, struct gio_blk_info *info);

/* ---- blk_queue.c ------------------------------------------------------------------------------------------------- */

/* Memory for queue `index`, of `size` entries, as the device's features ask for. On failure there is nothing to undo.
 */
int gio_blk_queue_init(struct gio_blk *blk, unsigned index, uint32_t size);
void gio_blk_queue_exit(struct gio_blk *blk, struct blk_queue *q);

int gio_blk_queue_submit(struct gio_blk *blk, struct blk_queue *q, struct gio_blk_req *req,
			 const struct blk_plan *plan);
/* Complete what the device has used; `arm`: and ask for an interrupt for what is next. -GIO_EPROTO in `err` when the
 * ring broke; what came before has been completed. */
unsigned gio_blk_queue_complete(struct gio_blk *blk, struct blk_queue *q, bool arm, int *err);
/* Complete everything in flight with `result`; the ring is of no use afterwards. */
unsigned gio_blk_queue_fail(struct gio_blk *blk, struct blk_queue *q, int result);

#endif
