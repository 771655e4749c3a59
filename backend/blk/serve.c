/* SPDX-License-Identifier: MIT */
#include "backend/blk/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/count.h"
#include "backend/blk/blk.h"
#include "backend/blk/buffer.h"

#define HEADER_BYTES GD_BUFFER_HEADER

/* The longest request fits into an empty arena: so every request gets room, at the latest when it is the only one. */
_Static_assert(GD_BLK_REQUEST_BYTES / GD_ARENA_PAGE + 2 <= GD_SERVE_ARENA_PAGES, "");
/* It fits into an empty copy batch, too. A segment may touch two pages more than its bytes fill, and a header one. */
_Static_assert(GD_BLK_REQUEST_BYTES / GD_ARENA_PAGE + 2 * GD_CHAIN_SEGMENTS + 2 <= GD_SERVE_SEGMENTS, "");

static struct gd_serve *serve_of(struct gd_class_queue *queue)
{
	return (struct gd_serve *)queue; /* its first field */
}

static int arrays_open(struct gd_serve *serve, const struct gd_device_config *config)
{
	size_t requests = config->queue_size * sizeof(struct gd_request);

	serve->requests = aligned_alloc(64, requests);
	serve->chains = calloc(GD_SERVE_BATCH, sizeof(*serve->chains));
	serve->batch = calloc(GD_SERVE_BATCH, sizeof(*serve->batch));
	if (config->indirect)
		serve->tables = aligned_alloc(GD_ARENA_PAGE, GD_SERVE_BATCH * GD_CHAIN_TABLE_BYTES);
	if (!serve->requests || !serve->chains || !serve->batch || (config->indirect && !serve->tables))
		return -ENOMEM;
	memset(serve->requests, 0, requests);
	return 0;
}

int gd_serve_open(struct gd_class_queue **queue, struct gd_class_device *device, unsigned index)
{
	struct gd_blk *blk = (struct gd_blk *)device;
	const struct gd_device_config *config = &device->config;
	struct gd_serve *serve = calloc(1, sizeof(*serve));
	int err;

	(void)index;
	if (!serve)
		return -ENOMEM;
	serve->log = config->log;
	serve->blk = blk;
	serve->done_tail = &serve->done;
	serve->align = blk->info.align > GIO_VIRTIO_BLK_SECTOR ? blk->info.align : GIO_VIRTIO_BLK_SECTOR;
	err = serve->align > GD_ARENA_PAGE ? -EINVAL : arrays_open(serve, config);
	if (!err)
		err = gd_arena_open(&serve->arena, GD_SERVE_ARENA_PAGES);
	if (!err)
		err = gd_copy_open(&serve->base.copy, config->domid, config->way, GD_SERVE_SEGMENTS);
	if (err)
		gd_serve_close(&serve->base);
	else
		*queue = &serve->base;
	return err;
}

void gd_serve_close(struct gd_class_queue *queue)
{
	struct gd_serve *serve = serve_of(queue);

	gd_copy_close(serve->base.copy);
	gd_arena_close(serve->arena);
	free(serve->requests);
	free(serve->chains);
	free(serve->batch);
	free(serve->tables);
	free(serve);
}

/* ---- the life of a request
 * -------------------------------------------------------------------------------------------- */

static void request_hold(struct gd_serve *serve, struct gd_request *r, uint16_t head)
{
	r->head = head;
	r->owner = serve;
	r->busy = true;
	r->run = NULL;
	r->io.done = NULL; /* no I/O yet */
}

static void request_release(struct gd_serve *serve, struct gd_request *r)
{
	if (r->run)
		gd_arena_put(serve->arena, r->run, r->pages);
	r->run = NULL;
	r->busy = false;
}

static void request_done(struct gd_serve *serve, struct gd_request *r)
{
	r->next = NULL;
	*serve->done_tail = r;
	serve->done_tail = &r->next;
}

static bool io_changes(const struct gd_disk_io *io)
{
	return io->op != GD_DISK_READ && io->op != GD_DISK_FLUSH;
}

static void io_done(struct gd_disk_io *io)
{
	struct gd_request *r = (struct gd_request *)((char *)io - offsetof(struct gd_request, io));
	struct gd_serve *serve = r->owner;

	serve->base.inflight--;
	serve->base.changing -= io_changes(io);
	request_done(serve, r); /* only listed: we may be within gd_disk_submit(), so gd_serve_finish() answers it */
}

static void request_submit(struct gd_serve *serve, struct gd_request *r)
{
	r->io.done = io_done;
	if (r->io.buf) {
		r->io.fixed = gd_fixed_find(&serve->fixed, r->io.buf, r->io.length);
		gd_count_add(&serve->base.stats.straight, !r->run);
		gd_count_add(&serve->base.stats.registered, r->io.fixed != 0);
	}
	serve->base.inflight++;
	serve->base.changing += io_changes(&r->io);
	if (io_changes(&r->io))
		gd_ring_change(serve->base.ring, r->head); /* noted before the disk gets it */
	gd_disk_submit(serve->disk, &r->io);
}

/* Do all copies that were added, by one call. Those that failed are noted in the requests' faults. */
static void copies_run(struct gd_serve *serve)
{
	int err = gd_copy_run(serve->base.copy);

	if (err)
		gd_log_guest(serve->log, GD_ERR, "copying guest memory failed: %s", strerror(-err));
}

/* ---- taking ----------------------------------------------------------------------------------------------------- */

static struct gd_chain *chain_at(struct gd_serve *serve, unsigned i)
{
	return &serve->chains[i];
}

static uint8_t *table_at(struct gd_serve *serve, unsigned i)
{
	return serve->tables + (size_t)i * GD_CHAIN_TABLE_BYTES;
}

/* Take the first chain of the ring as number `i` of the batch. 0 or -EPROTO. */
static int head_take(struct gd_serve *serve, unsigned i)
{
	int head = gd_ring_head(serve->base.ring);
	struct gd_request *r;
	int err;

	if (head < 0)
		return head;
	r = &serve->requests[head];
	if (r->busy)
		return -EPROTO; /* the device has that chain already */
	err = gd_chain_walk(chain_at(serve, i), serve->base.ring, (uint16_t)head);
	if (err)
		return err;
	request_hold(serve, r, (uint16_t)head);
	r->fault = 0;
	serve->batch[i] = r;
	gd_ring_advance(serve->base.ring, 1);
	return 0;
}

/* Put the batch's requests from `first` to `end` back into the ring: nothing was done for them. */
static void batch_return(struct gd_serve *serve, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
		request_release(serve, serve->batch[i]);
	gd_ring_advance(serve->base.ring, -(int)(end - first));
}

/* Fetch all indirect tables of the batch by one copy, and walk them. */
static void tables_fetch(struct gd_serve *serve, unsigned count)
{
	bool any = false;

	for (unsigned i = 0; i < count; i++) {
		struct gd_segment *table = &chain_at(serve, i)->table;

		/* There is room: GD_SERVE_BATCH tables of at most a page each fit into an empty copy batch. */
		if (table->length == 0)
			continue;
		gd_copy_add(serve->base.copy, GD_COPY_FETCH, table->addr, table_at(serve, i), table->length,
			    &serve->batch[i]->fault);
		any = true;
	}
	if (!any)
		return;
	copies_run(serve);
	for (unsigned i = 0; i < count; i++) {
		if (chain_at(serve, i)->table.length == 0)
			continue;
		if (serve->batch[i]->fault)
			chain_at(serve, i)->why = "the indirect table cannot be read";
		else
			gd_chain_walk_table(chain_at(serve, i), table_at(serve, i));
	}
}

/* What is wrong with a chain as a virtio-blk request of any type; NULL: nothing. */
static const char *chain_fault(const struct gd_serve *serve, const struct gd_chain *chain)
{
	uint64_t most = GD_BLK_REQUEST_BYTES;

	if (serve->blk->info.max_transfer && serve->blk->info.max_transfer < most)
		most = serve->blk->info.max_transfer;
	if (chain->why)
		return chain->why;
	if (chain->readable_bytes < HEADER_BYTES)
		return "the request's header is shorter than 16 bytes";
	if (chain->writable_bytes < 1)
		return "the request has no status byte";
	if (chain->readable_bytes > HEADER_BYTES && chain->writable_bytes > 1)
		return "the request has data in both directions";
	if (chain->readable_bytes - HEADER_BYTES > most || chain->writable_bytes - 1 > most)
		return "the request is longer than SIZE_MAX and SEG_MAX allow";
	return NULL;
}

/* Maximum of segments that a chain takes in the copy batch: its pages, and one for the cut after the header. */
static unsigned chain_cost(const struct gd_chain *chain)
{
	unsigned cost = 1;

	for (uint32_t i = 0; i < chain->readable; i++)
		cost += gd_copy_cost(chain->segments[i].addr, chain->segments[i].length);
	return cost;
}

static void header_fetch(struct gd_serve *serve, struct gd_request *r, const struct gd_chain *chain)
{
	uint32_t have = 0;

	for (uint32_t i = 0; i < chain->readable && have < HEADER_BYTES; i++) {
		uint32_t n = chain->segments[i].length;

		if (n > HEADER_BYTES - have)
			n = HEADER_BYTES - have;
		gd_copy_add(serve->base.copy, GD_COPY_FETCH, chain->segments[i].addr, (char *)&r->header + have, n,
			    &r->fault);
		have += n;
	}
}

static void data_copy(struct gd_serve *serve, enum gd_copy_dir dir, struct gd_request *r, uint32_t length)
{
	uint8_t *data = r->data;

	for (uint32_t i = 0; i < r->segments && length > 0; i++) {
		uint32_t n = r->segment[i].length < length ? r->segment[i].length : length;

		gd_copy_add(serve->base.copy, dir, r->segment[i].addr, data, n, &r->fault);
		data += n;
		length -= n;
	}
}

/* End a request of which nothing was read, or nothing that can be used. */
static void request_refuse(struct gd_serve *serve, struct gd_request *r, const char *why)
{
	gd_log_guest(serve->log, GD_INFO, "request %u refused: %s", r->head, why);
	r->status = GIO_VIRTIO_BLK_S_IOERR;
	r->push = 0;
	request_done(serve, r);
}

/*
 * Whether the disk's I/O may go to the guest's pool. After a crash I/O of this process may still be on its way to the
 * guest's pages, so the disk must be one that a successor gets only when that has ended. A lock for reading alone does
 * not say so, as both processes can have it.
 */
static bool straight_allowed(const struct gd_serve *serve)
{
	return serve->blk->info.fenced && !serve->blk->info.readonly;
}

/*
 * Get a chain's header and data, or add their copies. Here it is chosen which memory the disk reads or writes: the
 * guest's pool, or our own. -ENOMEM, -ENOSPC: there is no buffer, or no room; it can wait.
 */
static int request_fetch(struct gd_serve *serve, struct gd_request *r, struct gd_chain *chain)
{
	int err;

	r->has_status = gd_chain_status(chain, serve->blk->base.config.way, &r->status_addr);
	r->status_alone = chain->writable_bytes == 1 && !chain->why; /* otherwise the walk ended early */
	r->status_fault = 0;
	chain->why = chain_fault(serve, chain);
	if (chain->why)
		return 0;
	gd_buffer_describe(r, chain);
	if (straight_allowed(serve) && gd_buffer_straight(serve->base.copy, serve->align, r, chain))
		return 0;
	if (chain_cost(chain) > gd_copy_room(serve->base.copy))
		return -ENOSPC;
	err = gd_buffer_get(serve->arena, serve->align, r, chain);
	if (err)
		return err;
	header_fetch(serve, r, chain);
	if (!r->writable)
		data_copy(serve, GD_COPY_FETCH, r, r->length);
	return 0;
}

static void request_start(struct gd_serve *serve, struct gd_request *r, const struct gd_chain *chain)
{
	if (chain->why)
		request_refuse(serve, r, chain->why);
	else if (r->fault)
		request_refuse(serve, r, "its header or data cannot be read");
	else if (gd_blk_start(serve->blk, r))
		request_submit(serve, r);
	else
		request_done(serve, r);
}

int gd_serve_take(struct gd_class_queue *queue)
{
	struct gd_serve *serve = serve_of(queue);
	int waiting = gd_ring_look(serve->base.ring);
	unsigned count, taken, fetched;

	serve->base.stalled = serve->base.more = false;
	if (waiting <= 0)
		return waiting;
	count = (unsigned)waiting < GD_SERVE_BATCH ? (unsigned)waiting : GD_SERVE_BATCH;
	for (taken = 0; taken < count; taken++) {
		int err = head_take(serve, taken);

		if (err) {
			batch_return(serve, 0, taken);
			return err;
		}
	}
	tables_fetch(serve, taken);
	for (fetched = 0; fetched < taken; fetched++) {
		int err = request_fetch(serve, serve->batch[fetched], chain_at(serve, fetched));

		if (err) {
			serve->base.stalled = err == -ENOMEM;
			batch_return(serve, fetched, taken);
			break;
		}
	}
	serve->base.more = !serve->base.stalled && fetched < (unsigned)waiting;
	for (unsigned i = 0; i < fetched; i++)
		gd_ring_keep(serve->base.ring, serve->batch[i]->head);
	gd_count_add(&serve->base.taken, fetched);
	copies_run(serve);
	gd_fixed_own(&serve->fixed, gd_arena_memory(serve->arena), GD_FIXED_OWN_PAGES * GD_ARENA_PAGE);
	for (unsigned i = 0; i < fetched; i++)
		request_start(serve, serve->batch[i], chain_at(serve, i));
	gd_disk_queue_send(serve->disk);
	if (fetched > 0)
		gd_count_add(&serve->base.stats.batches, 1);
	return (int)fetched;
}

/* ---- finishing -------------------------------------------------------------------------------------------------- */

/* Maximum of segments that a request's answer takes: data and status. */
static unsigned answer_cost(const struct gd_request *r)
{
	unsigned cost = 1;

	for (uint32_t i = 0; r->push > 0 && i < r->segments; i++)
		cost += gd_copy_cost(r->segment[i].addr, r->segment[i].length);
	return cost;
}

static void status_push(struct gd_serve *serve, struct gd_request *r)
{
	if (r->has_status)
		gd_copy_add(serve->base.copy, GD_COPY_PUSH, r->status_addr, &r->status, 1, &r->status_fault);
}

static void answer_push(struct gd_serve *serve, struct gd_request *r)
{
	r->fault = 0;
	if (r->push > 0)
		data_copy(serve, GD_COPY_PUSH, r, r->push);
	status_push(serve, r);
}

/* Give requests whose data could not be written to the guest an error status, by one copy for all. */
static void faults_push(struct gd_serve *serve, struct gd_request *first)
{
	for (struct gd_request *r = first; r; r = r->next) {
		if (!r->fault)
			continue;
		r->status = GIO_VIRTIO_BLK_S_IOERR;
		r->push = 0;
		status_push(serve, r);
		gd_log_guest(serve->log, GD_INFO, "request %u: its data cannot be written to the guest", r->head);
	}
	copies_run(serve);
}

static void request_count(struct gd_serve *serve, const struct gd_request *r)
{
	gd_count_add(&serve->base.stats.requests, 1);
	if (r->status != GIO_VIRTIO_BLK_S_OK)
		gd_count_add(&serve->base.stats.errors, 1);
	else if (r->io.op == GD_DISK_READ && r->header.type == GIO_VIRTIO_BLK_T_IN)
		gd_count_add(&serve->base.stats.bytes_read, r->push);
	else if (r->header.type == GIO_VIRTIO_BLK_T_OUT)
		gd_count_add(&serve->base.stats.bytes_written, r->length);
}

/*
 * How many bytes the driver may take as written, counted from the first device-writable one (2.7.8.2). The status byte
 * is the last of them: it only counts if all data before it was written.
 */
static uint32_t request_written(const struct gd_request *r)
{
	bool all = r->status_alone || (r->push > 0 && r->push == r->length);

	if (!r->has_status || r->status_fault)
		return 0;
	return r->push + all;
}

static void request_use(struct gd_serve *serve, struct gd_request *r)
{
	request_count(serve, r);
	gd_ring_use(serve->base.ring, r->head, request_written(r));
}

/* Cut off the first requests of the list whose answers fit into one copy call: at least one, which always fits. */
static struct gd_request *answers_gather(struct gd_serve *serve, struct gd_request *list)
{
	struct gd_request *last = list, *rest;

	for (struct gd_request *r = list; r && answer_cost(r) <= gd_copy_room(serve->base.copy); r = r->next) {
		answer_push(serve, r);
		last = r;
	}
	rest = last->next;
	last->next = NULL;
	return rest;
}

/* Split the requests that are done: those that are over are returned; the next I/O of the others goes to the disk. */
static struct gd_request *done_sort(struct gd_serve *serve)
{
	struct gd_request *r, *next, *over = NULL, **tail = &over, *list = serve->done;
	bool again = false;

	serve->done = NULL;
	serve->done_tail = &serve->done;
	for (r = list; r; r = next) {
		next = r->next;
		r->next = NULL;
		if (r->io.done && serve->base.ring && gd_blk_next(serve->blk, r)) {
			request_submit(serve, r);
			again = true;
			continue;
		}
		*tail = r;
		tail = &r->next;
	}
	if (again)
		gd_disk_queue_send(serve->disk);
	return over;
}

static void list_release(struct gd_serve *serve, struct gd_request *list)
{
	struct gd_request *next;

	for (struct gd_request *r = list; r; r = next) {
		next = r->next;
		request_release(serve, r);
		serve->finishing++;
	}
}

static void list_finish(struct gd_serve *serve, struct gd_request *list)
{
	bool faults = false;

	copies_run(serve);
	for (struct gd_request *r = list; r; r = r->next)
		faults = faults || r->fault;
	if (faults)
		faults_push(serve, list);
	for (struct gd_request *r = list; r; r = r->next)
		request_use(serve, r);
	list_release(serve, list);
}

bool gd_serve_finish(struct gd_class_queue *queue)
{
	struct gd_serve *serve = serve_of(queue);
	bool interrupt;

	while (serve->done) {
		struct gd_request *list = done_sort(serve);

		if (!serve->base.ring) {
			list_release(serve, list);
			continue;
		}
		while (list) {
			struct gd_request *rest = answers_gather(serve, list);

			list_finish(serve, list);
			list = rest;
		}
	}
	interrupt = serve->base.ring && gd_ring_publish(serve->base.ring);
	gd_count_add(&serve->base.settled, serve->finishing);
	serve->finishing = 0;
	return interrupt;
}
