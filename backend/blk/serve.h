/* SPDX-License-Identifier: MIT */
/*
 * A queue's requests, from the ring to the disk and back, one batch at a time.
 *
 *   take:   drain the ring -> (one copy: indirect tables) -> one copy: headers and written data -> check -> disk
 *   finish: all that is done -> one copy: read data and status bytes -> used entries, one store of the index
 *
 * What lies in the guest's pool needs no copy call: it is moved by memcpy, or the disk reads and writes it there
 * (buffer.h).
 *
 * A bad request completes with an error status (or with length 0, if no status can be written), and does not affect
 * others. A ring that breaks the protocol stops everything: -EPROTO. When the arena has no room, requests stay in the
 * guest's ring, in their order, until others are done.
 *
 * Threads: one; nothing here waits.
 */
#ifndef GD_SERVE_H
#define GD_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/blk/fixed.h"
#include "backend/blk/request.h"
#include "backend/virtio/arena.h"
#include "backend/virtio/class.h"

#define GD_SERVE_BATCH	     128u  /* maximum of requests in a batch */
#define GD_SERVE_ARENA_PAGES 4096u /* 16 MiB: two of the longest requests, or 4096 short ones */
#define GD_SERVE_SEGMENTS    8192u /* of one copy call */

/* The requests of a queue. Lists of requests are linked by `next`. */
struct gd_serve {
	struct gd_class_queue base;
	struct gd_log *log;
	struct gd_blk *blk;
	struct gd_disk_queue *disk; /* set by the queue's thread */
	struct gd_arena *arena;
	struct gd_request *requests; /* by head */
	struct gd_chain *chains;     /* of the batch being taken */
	struct gd_request **batch;
	uint8_t *tables; /* the indirect tables of the batch; NULL: they are not offered */
	struct gd_request *done, **done_tail;
	uint32_t align; /* of a data buffer */
	struct gd_fixed fixed;
	uint32_t finishing;	 /* answered, and not yet shown to the guest */
	struct gd_disk_io flush; /* of gd_serve_flush() */
};

/* The operations of a queue (class.h), for a struct gd_blk. */
int gd_serve_open(struct gd_class_queue **queue, struct gd_class_device *device, unsigned index);
void gd_serve_close(struct gd_class_queue *queue);
int gd_serve_start(struct gd_class_queue *queue, struct io_uring *ring, uint8_t tag);
void gd_serve_stop(struct gd_class_queue *queue);
void gd_serve_pool(struct gd_class_queue *queue, const struct gd_pool *pool);
int gd_serve_take(struct gd_class_queue *queue);
bool gd_serve_finish(struct gd_class_queue *queue);
void gd_serve_cqe(struct gd_class_queue *queue, struct io_uring_cqe *cqe);
unsigned gd_serve_events(const struct gd_class_queue *queue);
void gd_serve_cancel(struct gd_class_queue *queue);
void gd_serve_flush(struct gd_class_queue *queue);

#endif
