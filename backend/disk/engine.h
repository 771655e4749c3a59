/* SPDX-License-Identifier: MIT */
/*
 * What the engines share. disk.c opens and dispatches, opening.c says why a disk cannot be opened, queue.c accounts for
 * I/O in flight, image.c opens files and block devices, file.c runs them on io_uring, nbd*.c run NBD.
 *
 * An I/O waits in the queue's list until it has a slot; the slot has it until it is finished. How far it came is in
 * io->progress alone, so an I/O may go back to the list at any time (no SQE free) and be taken up again where it was.
 *
 * user_data of an SQE: tag (8 bits), kind (8), generation (32), slot (16). The generation changes whenever the slot
 * changes hands, so that a completion that nobody waits for is known as such.
 *
 * Threads: a queue belongs to one thread. Of the disk, `size` and `bad_modes` change while it is served: atomics.
 */
#ifndef GD_DISK_ENGINE_H
#define GD_DISK_ENGINE_H

#include "backend/disk/disk.h"
#include "backend/disk/opening.h"

#define GD_DISK_ZEROES	    (256u << 10) /* bytes of gd_disk_zeroes */
#define GD_DISK_MAX_DISCARD (1ull << 30) /* longest discard and write-zeroes offered; engines cut as they must */

enum gd_disk_kind { GD_KIND_IO = 1, GD_KIND_POLL_IN, GD_KIND_POLL_OUT, GD_KIND_TIMER, GD_KIND_CANCEL };

struct gd_disk_slot {
	struct gd_disk_io *io;	   /* NULL: free */
	struct gd_disk_slot *next; /* in the free list, or in a list of the engine's */
	uint32_t generation;
	uint32_t chunk; /* bytes that the submission in flight covers */
	uint16_t index;
	uint8_t mode; /* the engine's: what the submission in flight does */
	uint8_t retries;
	int error; /* the engine's, as the rest */
	uint64_t mark, sent;
	struct gd_disk_queue *owner; /* set while the command is with libnbd */
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
	/* 0: I/O may start; -EAGAIN: keep it waiting, gd_queue_pump() will be called; else it fails so. NULL: always 0.
	 */
	int (*ready)(struct gd_disk_queue *queue);
	/* Start or continue the slot's I/O. 0: in flight or finished; -EAGAIN: no SQE; else the I/O fails so. */
	int (*start)(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
	/* A completion of the engine's. `slot` is NULL for kinds other than GD_KIND_IO. */
	void (*cqe)(struct gd_disk_queue *queue, enum gd_disk_kind kind, uint32_t generation, struct gd_disk_slot *slot,
		    int result);
	/* Called whenever something was started or came in: finish what can be, arm what is waited for. NULL: nothing
	 * to do. */
	void (*settle)(struct gd_disk_queue *queue);
	void (*cancel)(struct gd_disk_queue *queue); /* NULL: I/O in flight runs to its end */
};

struct gd_disk {
	const struct gd_disk_engine *engine;
	struct gd_log *log;
	char *target;
	struct gd_disk_info info; /* as of open: info.size is not kept */
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
	unsigned depth, busy, active; /* slots; I/Os accepted and not done; I/Os that have a slot */
	uint8_t tag;
	bool draining, cancelled;
};

extern char gd_disk_zeroes[GD_DISK_ZEROES]; /* page-aligned; never written */

/* Engines. On success *disk is an allocated disk with all but target, log, discard and the serial filled in. */
int gd_file_open(struct gd_disk **disk, const struct gd_disk_opening *opening);
int gd_nbd_open(struct gd_disk **disk, const struct gd_disk_opening *opening);

/* The size now. */
static inline uint64_t gd_disk_size(const struct gd_disk *disk)
{
	return __atomic_load_n(&disk->size, __ATOMIC_RELAXED);
}

/* An SQE, after submitting once if the ring is full; NULL if there is none even then. */
struct io_uring_sqe *gd_queue_sqe(struct gd_disk_queue *queue);
/* To be set after the preparation: some versions of liburing clear it there. */
uint64_t gd_queue_user_data(const struct gd_disk_queue *queue, enum gd_disk_kind kind, uint32_t generation,
			    unsigned slot);
/* Start or continue; takes care of start()'s result. */
void gd_queue_run(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
/* The slot's I/O is over; the slot is free. `done` runs when the engine has returned. */
void gd_queue_finish(struct gd_disk_queue *queue, struct gd_disk_slot *slot, int result);
/* The slot's I/O waits as if it had not been started, before all others; the slot is free. */
void gd_queue_later(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
/* Give waiting I/Os to free slots. */
void gd_queue_pump(struct gd_disk_queue *queue);

/* Log (limited) what went wrong with an I/O: "target: read of 512 bytes at 0: what". */
void gd_io_complain(struct gd_disk_queue *queue, const struct gd_disk_io *io, const char *what);

/* Is more to be done on this I/O's data? */
static inline bool gd_io_unfinished(const struct gd_disk_io *io)
{
	return io->op != GD_DISK_FLUSH && io->progress < io->length;
}

#endif
