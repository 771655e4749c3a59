/* SPDX-License-Identifier: MIT */
/*
 * The interface between the device core and a device class (virtio 1.2, 5), such as the block device of backend/blk.
 *
 * The core has the status, the rings and a thread for each queue. The class says which features, configuration space
 * and queues the device has, and it executes the chains of a ring. It knows no register and no thread. Classes may use
 * ring.h, chain.h, arena.h and backend/guestmem, and nothing else of the core.
 *
 * Threads: each operation says which thread calls it. Operations of one queue are never called side by side.
 */
#ifndef GD_CLASS_H
#define GD_CLASS_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/guestmem/copy.h"
#include "backend/base/log.h"
#include "backend/virtio/ring.h"

/* What all parts of a device must know of the device. Its class keeps this structure. */
struct gd_device_config {
	uint16_t domid;		  /* the guest */
	const struct gd_way *way; /* the way to the guest's memory */
	struct gd_log *log;	  /* the caller's, outlives the device */
	unsigned queues;	  /* how many to offer: 1 to GD_LEDGER_QUEUES */
	unsigned queue_size;	  /* maximum of descriptors per queue: a power of two up to GD_LEDGER_HEADS */
	unsigned look_us;	  /* maximum of looking at an empty ring before a sleep (virtio/look.h) */
	bool indirect;		  /* offer VIRTIO_F_INDIRECT_DESC (docs/architecture.md, decision 2) */
};

/* A queue's thread counts here (gd_count), and any thread may read. */
struct gd_class_stats {
	uint64_t requests, errors, bytes_read, bytes_written, batches;
	uint64_t straight, registered; /* as in stats.h */
};

/* One queue of a device: the beginning of the class's own structure. */
struct gd_class_queue {
	struct gd_ring *ring;	 /* NULL: there is none, or it cannot be trusted; then completions are dropped */
	struct gd_copy *copy;	 /* the queue's way to the guest's buffers */
	unsigned inflight;	 /* I/Os that will complete */
	unsigned changing;	 /* of these, those that change something that outlives the device */
	bool stalled;		 /* chains wait in the ring for a completion, and not for a kick */
	bool more;		 /* chains wait in the ring and can be taken at once */
	uint64_t taken, settled; /* gd_count: chains; of these, those that the guest sees answered, or never will */
	struct gd_class_stats stats;
};

struct gd_class_device;

/* A range of the configuration space. */
struct gd_class_range {
	uint32_t offset, length;
};

struct gd_class_ops {
	uint32_t id;		       /* virtio device id (virtio 1.2, 5) */
	uint32_t state_bytes;	       /* of its part of the ledger, at most GD_LEDGER_CLASS */
	unsigned batch;		       /* maximum of chains taken at once: the queue's io_uring has room for them */
	uint32_t config_bytes;	       /* how long its configuration space is */
	struct gd_class_range changes; /* what of it may change without the driver; length 0: nothing */
	const char *failure;	       /* words for a message: what has failed when queue_start() fails */

	/* ---- the device ---- */

	void (*close)(struct gd_class_device *device); /* all queues are closed */
	/* The device was reset; the driver has chosen `features`. By the transport's thread. NULL: nothing is done. */
	void (*reset)(struct gd_class_device *device);
	void (*negotiated)(struct gd_class_device *device, uint64_t features);
	/*
	 * The configuration space. Any offset and length are answered; bytes behind its end are 0. By the transport's
	 * thread. NULL means, in this order: the device has none; it cannot be written; it never changes.
	 */
	void (*config_read)(struct gd_class_device *device, uint64_t offset, void *data, size_t length);
	/* True if it was written: one whole field that the driver may write with these features. */
	bool (*config_write)(struct gd_class_device *device, uint64_t offset, const void *data, size_t length,
			     uint64_t features);
	uint32_t (*generation)(struct gd_class_device *device);
	/* Look whether the configuration has changed. True: the driver must be told. Any thread. NULL: it never does.
	 */
	bool (*refresh)(struct gd_class_device *device);
	/* True if no I/O that a former process began can still take effect. NULL: that is always true. */
	bool (*fenced)(const struct gd_class_device *device);
	/*
	 * Write, and take over, the class's state of `state_bytes` bytes, as the operations of struct gd_transport_ops
	 * do. `driven`: a driver had found the device when it was saved. NULL where `state_bytes` is 0.
	 */
	void (*save)(const struct gd_class_device *device, void *state);
	int (*load)(struct gd_class_device *device, const void *state, bool driven);

	/* ---- a queue: all but open and close are called by its thread ---- */

	/* Get the memory that the queue needs. 0 or -errno. */
	int (*queue_open)(struct gd_class_queue **queue, struct gd_class_device *device, unsigned index);
	void (*queue_close)(struct gd_class_queue *queue); /* nothing is in flight */
	/*
	 * Get all that may block, or that belongs to the thread. `ring` is the thread's io_uring, and outlives the
	 * queue; the class's submissions carry `tag` in the top 8 bits of their user data. 0 or -errno.
	 */
	int (*queue_start)(struct gd_class_queue *queue, struct io_uring *ring, uint8_t tag);
	void (*queue_stop)(struct gd_class_queue *queue); /* nothing is in flight */
	/*
	 * The ring that the queue serves from now on has this pool, which queue->copy knows already; NULL: it has none,
	 * or there is no ring any more. Then the pool is not used after this call, but by I/O in flight. NULL: nothing
	 * is done.
	 */
	void (*pool)(struct gd_class_queue *queue, const struct gd_pool *pool);
	/*
	 * Take chains from queue->ring, at most `batch`, and begin with them; the caller submits the io_uring. Returns
	 * how many were taken, or -EPROTO: the ring cannot be trusted. Sets `stalled` and `more`.
	 */
	int (*take)(struct gd_class_queue *queue);
	/* Answer all chains that are done, or drop them if there is no ring. True: the driver wants an interrupt. */
	bool (*finish)(struct gd_class_queue *queue);
	/* Called for each completion with the class's tag. */
	void (*cqe)(struct gd_class_queue *queue, struct io_uring_cqe *cqe);
	/* Maximum of completions that the I/O in flight will cause: to wait for more would be to wait for ever. */
	unsigned (*events)(const struct gd_class_queue *queue);
	/* Cancel the I/O in flight, so that it ends soon. */
	void (*cancel)(struct gd_class_queue *queue);
	/*
	 * Flush what the driver wrote before a successor takes over, because the successor cannot know whether it is
	 * on stable storage. Called once, when no chain is held. Until it is done the flush counts as a chain that is
	 * held, and the caller submits the io_uring. NULL: nothing is done.
	 */
	void (*flush)(struct gd_class_queue *queue);
};

/* A device of a class: the beginning of the class's own structure. */
struct gd_class_device {
	const struct gd_class_ops *ops;
	struct gd_device_config config; /* `queues` may be fewer than were asked for */
	uint64_t features;		/* the class's own features that are offered: bits 0 to 23, 50 to 63 */
};

static inline void gd_class_close(struct gd_class_device *device) /* takes NULL */
{
	if (device)
		device->ops->close(device);
}

/* How many chains were taken and are not settled. Any thread; the number is exact in the queue's own thread. */
unsigned gd_class_held(const struct gd_class_queue *queue);

#endif
