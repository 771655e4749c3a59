/* SPDX-License-Identifier: MIT */
/* A queue's connection to the disk: start and stop, completions, and the flush before a successor takes over. */
#include "backend/base/count.h"
#include "backend/blk/blk.h"
#include "backend/blk/serve.h"

#include <stddef.h>

static struct gd_serve *serve_of(struct gd_class_queue *queue)
{
	return (struct gd_serve *)queue; /* its first field */
}

int gd_serve_start(struct gd_class_queue *queue, struct io_uring *ring, uint8_t tag)
{
	struct gd_serve *serve = serve_of(queue);

	gd_fixed_open(&serve->fixed, serve->blk->info.fixed ? ring : NULL);
	return gd_disk_queue_open(&serve->disk, serve->blk->disk, ring, tag, serve->blk->base.config.queue_size);
}

void gd_serve_stop(struct gd_class_queue *queue)
{
	gd_disk_queue_close(serve_of(queue)->disk);
}

void gd_serve_pool(struct gd_class_queue *queue, const struct gd_pool *pool)
{
	gd_fixed_pool(&serve_of(queue)->fixed, pool);
}

void gd_serve_cqe(struct gd_class_queue *queue, struct io_uring_cqe *cqe)
{
	gd_disk_queue_cqe(serve_of(queue)->disk, cqe);
}

unsigned gd_serve_events(const struct gd_class_queue *queue)
{
	return gd_disk_queue_events(((const struct gd_serve *)queue)->disk);
}

void gd_serve_cancel(struct gd_class_queue *queue)
{
	gd_disk_queue_cancel(serve_of(queue)->disk);
}

/* A failure is not reported to the guest, which did not ask for this flush: the disk remembers it. */
static void flush_done(struct gd_disk_io *io)
{
	struct gd_serve *serve = (struct gd_serve *)((char *)io - offsetof(struct gd_serve, flush));

	serve->base.inflight--;
	gd_count_add(&serve->base.settled, 1);
}

void gd_serve_flush(struct gd_class_queue *queue)
{
	struct gd_serve *serve = serve_of(queue);

	if (!gd_disk_unflushed(serve->blk->disk))
		return;
	serve->flush = (struct gd_disk_io){.op = GD_DISK_FLUSH, .own = true, .done = flush_done};
	serve->base.inflight++;
	gd_count_add(&serve->base.taken, 1);
	gd_disk_submit(serve->disk, &serve->flush);
	gd_disk_queue_send(serve->disk);
}
