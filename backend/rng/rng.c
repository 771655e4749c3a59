/* SPDX-License-Identifier: MIT */
#include "backend/rng/rng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <abi/virtio.h>

#include "backend/base/clock.h"
#include "backend/base/count.h"
#include "backend/base/error.h"
#include "backend/virtio/chain.h"

#define BATCH	  32u	/* maximum of requests in a batch */
#define SEGMENTS  8192u /* of one copy call */
#define MILLION	  1000000u
#define TAG_SHIFT 56u

/* A batch fits into an empty copy call: no segment of a request is longer than a page, so it touches two at most. */
_Static_assert(GD_RNG_REQUEST_BYTES <= 4096u && BATCH * 2u * GD_CHAIN_SEGMENTS <= SEGMENTS, "");

struct rng {
	struct gd_class_device base;
	uint32_t rate;
};

struct request {
	uint16_t head;
	uint32_t length; /* of the random bytes; 0: it is refused */
	int fault;
};

struct rng_queue {
	struct gd_class_queue base;
	struct gd_log *log;
	struct io_uring *uring;
	uint64_t tag;
	struct gd_rng_budget budget;
	bool timer; /* it is in the io_uring */
	struct __kernel_timespec after;
	bool busy[GD_LEDGER_HEADS]; /* heads that the batch has */
	struct request batch[BATCH];
	unsigned count; /* of the batch, which is to be answered */
	struct gd_chain chains[BATCH];
	uint8_t bytes[BATCH * GD_RNG_REQUEST_BYTES];
};

/* ---- the budget ------------------------------------------------------------------------------------------------- */

void gd_rng_budget_init(struct gd_rng_budget *budget, uint32_t rate, uint64_t now_us)
{
	uint64_t burst = rate / 16 > GD_RNG_REQUEST_BYTES ? rate / 16 : GD_RNG_REQUEST_BYTES;

	*budget = (struct gd_rng_budget){.rate = rate, .burst = burst, .credit = burst * MILLION, .last_us = now_us};
}

uint64_t gd_rng_budget_pay(struct gd_rng_budget *budget, uint32_t bytes, uint64_t now_us)
{
	uint64_t full = budget->burst * MILLION, price = (uint64_t)bytes * MILLION;
	uint64_t passed = now_us - budget->last_us, fills = (full - budget->credit) / budget->rate;

	budget->last_us = now_us;
	/* No product overflows: it is below the burst, or the budget is full. */
	budget->credit = passed > fills ? full : budget->credit + passed * budget->rate;
	if (budget->credit < price)
		return (price - budget->credit + budget->rate - 1) / budget->rate;
	budget->credit -= price;
	return 0;
}

/* ---- a queue ---------------------------------------------------------------------------------------------------- */

static struct rng_queue *queue_of(struct gd_class_queue *queue)
{
	return (struct rng_queue *)queue; /* its first field */
}

static int rng_queue_open(struct gd_class_queue **queue, struct gd_class_device *device, unsigned index)
{
	struct rng_queue *q = calloc(1, sizeof(*q));
	int err;

	(void)index;
	if (!q)
		return -ENOMEM;
	q->log = device->config.log;
	err = gd_copy_open(&q->base.copy, device->config.domid, device->config.way, SEGMENTS);
	if (err) {
		free(q);
		return err;
	}
	/* It is the queue's from its beginning to its end: a driver that resets the device gets nothing more by it. */
	gd_rng_budget_init(&q->budget, ((const struct rng *)device)->rate, gd_clock_us());
	*queue = &q->base;
	return 0;
}

static void rng_queue_close(struct gd_class_queue *queue)
{
	gd_copy_close(queue->copy);
	free(queue);
}

/* 0 or -errno. */
static int random_get(uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = getrandom(bytes, length, 0);

		if (n < 0 && errno != EINTR)
			return gd_errno_or(EIO);
		bytes += n > 0 ? n : 0;
		length -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The first byte may have to wait until the kernel's generator is seeded; none does after that. */
static int rng_queue_start(struct gd_class_queue *queue, struct io_uring *ring, uint8_t tag)
{
	struct rng_queue *q = queue_of(queue);

	q->uring = ring;
	q->tag = (uint64_t)tag << TAG_SHIFT;
	return random_get(q->bytes, 1);
}

/* A timer that has not ended goes with the io_uring. */
static void rng_queue_stop(struct gd_class_queue *queue)
{
	queue_of(queue)->uring = NULL;
}

static void rng_cqe(struct gd_class_queue *queue, struct io_uring_cqe *cqe)
{
	(void)cqe; /* the timer has ended: take() is called next, and looks at the clock itself */
	queue_of(queue)->timer = false;
}

/* The timer is no I/O: it is never counted in `inflight`, and so nobody waits for it. */
static unsigned rng_events(const struct gd_class_queue *queue)
{
	(void)queue;
	return 0;
}

static void rng_cancel(struct gd_class_queue *queue)
{
	(void)queue; /* nothing is ever in flight */
}

/* Look at the ring again after `us` microseconds. */
static void timer_set(struct rng_queue *q, uint64_t us)
{
	struct io_uring_sqe *sqe;

	if (q->timer)
		return; /* that one ends soon enough: it was set for this chain, or for one that was taken away */
	sqe = io_uring_get_sqe(q->uring);
	if (!sqe)
		return; /* the io_uring is full: it is submitted now, and has room when the ring is looked at next */
	q->after = (struct __kernel_timespec){.tv_sec = (long long)(us / MILLION),
					      .tv_nsec = (long long)(us % MILLION) * 1000};
	io_uring_prep_timeout(sqe, &q->after, 0, 0);
	io_uring_sqe_set_data64(sqe, q->tag);
	q->timer = true;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* What is wrong with a chain as a request (5.4.6.1); NULL: nothing. */
static const char *chain_fault(const struct gd_chain *chain)
{
	if (chain->why)
		return chain->why;
	if (chain->readable > 0)
		return "it has a device-readable buffer";
	return chain->writable_bytes == 0 ? "it has no device-writable byte" : NULL;
}

/*
 * Take the first chain of the ring as request `r`, and pay for it. 0; -EPROTO; or a positive number: it stays in the
 * ring, as it can be paid for after so many microseconds (four seconds at most).
 */
static int request_take(struct rng_queue *q, struct request *r, struct gd_chain *chain)
{
	int head = gd_ring_head(q->base.ring), err;
	uint32_t length;
	uint64_t wait;

	if (head < 0)
		return head;
	if (q->busy[head])
		return -EPROTO; /* the device has that chain already */
	err = gd_chain_walk(chain, q->base.ring, (uint16_t)head);
	if (err)
		return err;
	chain->why = chain_fault(chain);
	length = chain->writable_bytes < GD_RNG_REQUEST_BYTES ? (uint32_t)chain->writable_bytes : GD_RNG_REQUEST_BYTES;
	wait = gd_rng_budget_pay(&q->budget, length > GD_RNG_REQUEST_LEAST ? length : GD_RNG_REQUEST_LEAST,
				 gd_clock_us());
	if (wait)
		return (int)wait;
	if (chain->why)
		gd_log_guest(q->log, GD_INFO, "request %d refused: %s", head, chain->why);
	*r = (struct request){.head = (uint16_t)head, .length = chain->why ? 0 : length};
	q->busy[head] = true;
	gd_ring_advance(q->base.ring, 1);
	return 0;
}

/* Add the copies of a request's bytes, which are at `bytes`, to the buffers of its chain. */
static void request_push(struct rng_queue *q, struct request *r, const struct gd_chain *chain, uint8_t *bytes)
{
	uint32_t left = r->length;

	for (uint32_t i = 0; i < chain->writable && left > 0; i++) {
		const struct gd_segment *s = &chain->segments[i];
		uint32_t n = s->length < left ? s->length : left;

		gd_copy_add(q->base.copy, GD_COPY_PUSH, s->addr, bytes, n, &r->fault);
		bytes += n;
		left -= n;
	}
}

/* Fill the batch, and write it to the guest. Nothing of what the guest got stays here. */
static void batch_serve(struct rng_queue *q)
{
	size_t length = (size_t)q->count * GD_RNG_REQUEST_BYTES;
	int err = random_get(q->bytes, length);

	if (err)
		gd_log_guest(q->log, GD_ERR, "cannot get random bytes: %s", strerror(-err));
	for (unsigned i = 0; !err && i < q->count; i++)
		request_push(q, &q->batch[i], &q->chains[i], q->bytes + (size_t)i * GD_RNG_REQUEST_BYTES);
	for (unsigned i = 0; err && i < q->count; i++)
		q->batch[i].length = 0;
	err = gd_copy_run(q->base.copy);
	if (err)
		gd_log_guest(q->log, GD_ERR, "copying to guest memory failed: %s", strerror(-err));
	explicit_bzero(q->bytes, length);
}

/* Nothing was done for the batch: it goes back into the ring. */
static void batch_return(struct rng_queue *q)
{
	for (unsigned i = 0; i < q->count; i++)
		q->busy[q->batch[i].head] = false;
	gd_ring_advance(q->base.ring, -(int)q->count);
	q->count = 0;
}

/* Take at most so many requests as the batch. 0 or -EPROTO. */
static int batch_take(struct rng_queue *q, unsigned most)
{
	int later = 0;

	for (q->count = 0; q->count < most; q->count++) {
		later = request_take(q, &q->batch[q->count], &q->chains[q->count]);
		if (later)
			break;
	}
	if (later < 0)
		batch_return(q);
	if (later > 0)
		timer_set(q, (uint64_t)later);
	q->base.stalled = later > 0 && q->timer;
	return later < 0 ? later : 0;
}

static int rng_take(struct gd_class_queue *queue)
{
	struct rng_queue *q = queue_of(queue);
	int waiting = gd_ring_look(queue->ring), err;

	queue->stalled = queue->more = false;
	if (waiting <= 0)
		return waiting;
	err = batch_take(q, (unsigned)waiting < BATCH ? (unsigned)waiting : BATCH);
	if (err < 0)
		return err;
	queue->more = !queue->stalled && q->count < (unsigned)waiting;
	if (q->count == 0)
		return 0;
	for (unsigned i = 0; i < q->count; i++)
		gd_ring_keep(queue->ring, q->batch[i].head);
	gd_count_add(&queue->taken, q->count);
	batch_serve(q);
	gd_count_add(&queue->stats.batches, 1);
	return (int)q->count;
}

/* How many bytes the driver may take as written: all, or none where one of its pages could not be written. */
static uint32_t request_written(struct rng_queue *q, const struct request *r)
{
	if (r->length && r->fault)
		gd_log_guest(q->log, GD_INFO, "request %u: its buffers cannot be written", r->head);
	return r->fault ? 0 : r->length;
}

static bool rng_finish(struct gd_class_queue *queue)
{
	struct rng_queue *q = queue_of(queue);
	bool interrupt;

	for (unsigned i = 0; i < q->count; i++) {
		uint32_t written = request_written(q, &q->batch[i]);

		q->busy[q->batch[i].head] = false;
		if (!queue->ring)
			continue;
		gd_count_add(&queue->stats.requests, 1);
		gd_count_add(&queue->stats.errors, written == 0);
		gd_count_add(&queue->stats.bytes_read, written);
		gd_ring_use(queue->ring, q->batch[i].head, written);
	}
	interrupt = queue->ring && gd_ring_publish(queue->ring);
	gd_count_add(&queue->settled, q->count);
	q->count = 0;
	return interrupt;
}

/* ---- the device ------------------------------------------------------------------------------------------------- */

static void rng_close(struct gd_class_device *device)
{
	free(device);
}

static const struct gd_class_ops rng_ops = {
	.id = GIO_VIRTIO_ID_RNG,
	.batch = BATCH,
	.failure = "cannot get random bytes",
	.close = rng_close,
	.queue_open = rng_queue_open,
	.queue_close = rng_queue_close,
	.queue_start = rng_queue_start,
	.queue_stop = rng_queue_stop,
	.take = rng_take,
	.finish = rng_finish,
	.cqe = rng_cqe,
	.events = rng_events,
	.cancel = rng_cancel,
};

int gd_rng_open(struct gd_class_device **device, const struct gd_device_config *config, uint32_t rate, char *error,
		size_t size)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng) {
		snprintf(error, size, "no memory for it");
		return -ENOMEM;
	}
	rng->base.ops = &rng_ops;
	rng->base.config = *config;
	rng->base.config.queues = 1;
	rng->base.config.indirect = false; /* its chains are short: a table would cost more than it saves */
	rng->rate = rate;
	*device = &rng->base;
	return 0;
}
