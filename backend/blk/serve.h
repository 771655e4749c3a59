/* SPDX-License-Identifier: MIT */
/*
 * A queue's requests, from the ring to the disk and back, a batch at a time.
 *
 *   take:   drain the ring -> (one copy: indirect tables) -> one copy: headers and written data -> check -> disk
 *   finish: all that is done -> one copy: read data and status bytes -> used entries, one index store
 *
 * A bad request completes with an error status (or, where no status can be written, with length 0) and disturbs nobody.
 * A ring that lies stops everything: -EPROTO.
 * When the arena has no room, requests stay in the guest's ring, in their order, until others are done.
 *
 * Threads: one; nothing here waits.
 */
#ifndef GD_SERVE_H
#define GD_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/guestmem/copy.h"
#include "backend/virtio/arena.h"
#include "backend/blk/blk.h"
#include "backend/virtio/ring.h"
#include "backend/blk/request.h"

#define GD_SERVE_BATCH	     128u  /* most requests taken at once */
#define GD_SERVE_ARENA_PAGES 4096u /* 16 MiB: two of the longest requests, or 4096 short ones */
#define GD_SERVE_SEGMENTS    8192u /* of one copy call */

struct gd_serve_stats { /* gd_count: written by the queue's thread */
	uint64_t requests, errors, bytes_read, bytes_written, batches;
};

struct gd_serve_config {
	struct gd_log *log;
	struct gd_blk *blk;
	struct gd_disk *disk; /* for its alignment */
	uint16_t domid;
	const struct gd_way *way;
	unsigned queue_size; /* most entries of the queue */
	bool indirect;
};

/* The queue's requests in one direction or the other; `request` lists are linked by `next`. */
struct gd_serve {
	struct gd_log *log;
	struct gd_blk *blk;
	const struct gd_way *way;
	struct gd_disk_queue *disk; /* set by the queue's thread */
	struct gd_ring *ring;	    /* NULL: none, or not to be trusted; what completes is dropped */
	struct gd_copy *copy;
	struct gd_arena *arena;
	struct gd_request *requests; /* by head */
	struct gd_chain *chains;     /* of the batch being taken */
	struct gd_request **batch;
	uint8_t *tables; /* indirect ones of the batch; NULL: not offered */
	struct gd_request *done, **done_tail;
	uint32_t align;		 /* of a data buffer */
	unsigned inflight;	 /* with the disk */
	unsigned changing;	 /* of these: they change it */
	bool stalled;		 /* chains wait in the ring for want of buffers */
	bool more;		 /* chains wait in the ring and can be taken at once */
	uint64_t taken, settled; /* gd_count: chains; those that the guest sees answered, or never will */
	uint32_t finishing;	 /* answered, and not yet shown */
	struct gd_disk_io flush; /* of gd_serve_flush() */
	struct gd_serve_stats stats;
};

int gd_serve_init(struct gd_serve *serve, const struct gd_serve_config *config); /* 0 or -errno */
void gd_serve_exit(struct gd_serve *serve); /* nothing in flight; once is enough after a failed init, too */

/*
 * Take what waits in the ring, GD_SERVE_BATCH at the most, and give it to the disk (the caller submits). How many were
 * taken, or -EPROTO. `stalled` and `more` say whether others still wait.
 */
int gd_serve_take(struct gd_serve *serve);

/*
 * Flush the disk before a successor takes over, which could not know whether what the guest wrote is safe. Once, when
 * nothing is held; until it is done it counts as held itself, and the caller submits.
 */
void gd_serve_flush(struct gd_serve *serve);

/* Chains that were taken and are not settled. Any thread; exact for the queue's own. */
unsigned gd_serve_held(const struct gd_serve *serve);

/* Finish all that is done. True: the guest wants an interrupt. */
bool gd_serve_finish(struct gd_serve *serve);

#endif
