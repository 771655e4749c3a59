/* SPDX-License-Identifier: MIT */
/*
 * What the engines share. disk.c opens and dispatches, opening.c says why a disk cannot be opened, queue.c accounts for
 * I/O in flight, image.c opens files and block devices, file.c runs them on io_uring, nbd*.c run NBD.
 *
 * An I/O waits in the queue's list until it gets a slot, which it keeps until it is finished. Only io->progress says
 * how much of it is done. So an I/O may go back to the list at any time (when no SQE is free), and go on from there
 * later.
 *
 * user_data of an SQE: tag (8 bits), kind (8), generation (32), slot (16). The generation changes whenever the slot
 * gets or loses an I/O, so that a completion that comes too late is not taken for one of the slot's next I/O.
 *
 * Threads: a queue belongs to one thread. `size` and `bad_modes` of the disk change while it is served: they are
 * atomic.
 */
#ifndef GD_DISK_ENGINE_H
#define GD_DISK_ENGINE_H

#include "backend/disk/disk.h"
#include "backend/disk/opening.h"

#define GD_DISK_ZEROES	    (256u << 10) /* bytes of gd_disk_zeroes */
#define GD_DISK_MAX_DISCARD (1ull << 30) /* longest discard and write-zeroes that are offered; engines may cut them */

enum gd_disk_kind { GD_KIND_IO = 1, GD_KIND_POLL_IN, GD_KIND_POLL_OUT, GD_KIND_TIMER, GD_KIND_CANCEL, GD_KIND_RECEIVE };

struct gd_disk_slot {
	struct gd_disk_io *io;	   /* NULL: free */
	struct gd_disk_slot *next; /* in the free list, or in a list of the engine's */
	uint32_t generation;
	uint32_t chunk; /* bytes that the submission in flight covers */
	uint16_t index;
	uint8_t mode; /* the engine's: what the submission in flight does */
	uint8_t retries;
	bool asked; /* this and the rest are NBD's: the request has no answer yet */
	uint64_t mark, sent;
};

struct gd_disk_engine {
	size_t queue_bytes; /* of the engine's queue, which begins with a struct gd_disk_queue */
	bool stream;	    /* one completion of the ring may stand for any number of I/Os */
	void (*close)(struct gd_disk *disk);
	uint64_t (*measure)(struct gd_disk *disk); /* the size now, whole blocks */
	/* gd_disk_remember() and gd_disk_unflushed(). NULL: what was written outlives the process. */
	void (*remember)(struct gd_disk *disk, uint32_t *unflushed);
	bool (*unflushed)(const struct gd_disk *disk);
	int (*queue_open)(struct gd_disk_queue *queue);
	void (*queue_close)(struct gd_disk_queue *queue);
	/* 0: I/O may start; -EAGAIN: it waits, and gd_queue_pump() will be called; other: it fails so. NULL: always 0.
	 */
	int (*ready)(struct gd_disk_queue *queue);
	/* Start or go on with the slot's I/O. 0: it is in flight or finished; -EAGAIN: no SQE; other: it fails so. */
	int (*start)(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
	/* Called for each completion of the engine's. `slot` is NULL for kinds other than GD_KIND_IO. */
	void (*cqe)(struct gd_disk_queue *queue, enum gd_disk_kind kind, uint32_t generation, struct gd_disk_slot *slot,
		    int result);
	/* Called when a batch or a completion is over: send, finish I/O, arm what is waited for. NULL: not needed. */
	void (*settle)(struct gd_disk_queue *queue);
	void (*cancel)(struct gd_disk_queue *queue); /* NULL: I/O in flight runs to its end */
};

struct gd_disk {
	const struct gd_disk_engine *engine;
	struct gd_log *log;
	char *target;
	struct gd_disk_info info; /* as it was when the disk was opened, but for info.size, which is not used */
	uint64_t size;		  /* atomic */
	bool discard;		  /* deallocating is allowed */
	uint8_t bad_modes;	  /* bit n: the engine's mode n was refused by the system; atomic */
};

struct gd_disk_list {
	struct gd_disk_io *first, **end;
};

struct gd_disk_queue {
	struct gd_disk *disk;
	struct io_uring *ring;
	struct gd_disk_slot *slots, *free;
	struct gd_disk_list waiting, finished;
	unsigned depth, busy, active; /* number of slots; of I/Os accepted and not done; of those that have a slot */
	uint8_t tag;
	bool draining, cancelled;
};

extern char gd_disk_zeroes[GD_DISK_ZEROES]; /* page-aligned; never written */

/* The engines. On success *disk is a new disk, in which all but target, log, discard and serial are filled in. */
int gd_file_open(struct gd_disk **disk, const struct gd_disk_opening *opening);
int gd_nbd_open(struct gd_disk **disk, const struct gd_disk_opening *opening);

/* The size as it is known now. */
static inline uint64_t gd_disk_size(const struct gd_disk *disk)
{
	return __atomic_load_n(&disk->size, __ATOMIC_RELAXED);
}

/* An SQE; if the ring is full, it is submitted once. NULL: it is still full. */
struct io_uring_sqe *gd_queue_sqe(struct gd_disk_queue *queue);
/* The user_data of an SQE. It is set after the SQE is prepared, as some versions of liburing clear it then. */
uint64_t gd_queue_user_data(const struct gd_disk_queue *queue, enum gd_disk_kind kind, uint32_t generation,
			    unsigned slot);
/* Start or continue the slot's I/O, and do what start()'s result asks for. */
void gd_queue_run(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
/* The slot's I/O is over, and the slot is free. `done` is called when the engine has returned. */
void gd_queue_finish(struct gd_disk_queue *queue, struct gd_disk_slot *slot, int result);
/* The slot's I/O waits again, before all others, as if it had not been started. The slot is free. */
void gd_queue_later(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
/* Give waiting I/Os to free slots. */
void gd_queue_pump(struct gd_disk_queue *queue);

/* Log (limited in rate) why an I/O failed: "target: read of 512 bytes at 0: what". */
void gd_io_complain(struct gd_disk_queue *queue, const struct gd_disk_io *io, const char *what);

/* True when a part of the I/O's data is not done yet. */
static inline bool gd_io_unfinished(const struct gd_disk_io *io)
{
	return io->op != GD_DISK_FLUSH && io->progress < io->length;
}

#endif
