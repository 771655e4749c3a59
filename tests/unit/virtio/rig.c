/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio/rig.h"

#include <stdlib.h>

#define RIG_PORTS 3u /* fewer than queues: two of these share one */

static unsigned completions;

bool rig_by_messages(void)
{
	const char *transport = getenv("RIG_TRANSPORT");

	return transport && !strcmp(transport, "msg");
}

struct gio_transports_place rig_place(const struct blk_rig *rig)
{
	return (struct gio_transports_place){.connection = rig->connection, .base = FAKE_DEV_BASE};
}

static void connection_init(struct blk_rig *rig)
{
	assert_int_equal(gio_msg_connection_open(&rig->connection, rig->os, rig->grants, FAKE_DEV_DOMID, RIG_PORTS), 0);
	fake_msg_bind(&rig->msg, rig->dev, rig->connection);
	rig->config.connection = rig->connection;
	rig->config.base = 0;
}

void rig_init(struct blk_rig *rig, uint32_t grant_version)
{
	*rig = (struct blk_rig){0};
	rig->os = fake_os_new(&(struct fake_os_config){.pages = 1024, .version = grant_version});
	assert_int_equal(gio_grants_open(&rig->grants, rig->os, 8), 0);
	rig->dev = fake_dev_new(rig->os);
	rig->config = (struct gio_blk_config){
		.os = rig->os, .grants = rig->grants, .backend = FAKE_DEV_DOMID, .base = FAKE_DEV_BASE};
	if (rig_by_messages())
		connection_init(rig);
}

void rig_pool(struct blk_rig *rig, uint32_t pages)
{
	const struct gio_pool_config config = {.os = rig->os,
					       .grants = rig->grants,
					       .backend = FAKE_DEV_DOMID,
					       .read_pages = pages,
					       .write_pages = pages};

	assert_int_equal(gio_pool_open(&rig->pool, &config), 0);
	rig->config.pool = rig->pool;
}

void rig_open(struct blk_rig *rig)
{
	assert_int_equal(gio_blk_open(&rig->blk, &rig->config), 0);
}

void rig_close_with(struct blk_rig *rig, unsigned faults)
{
	struct gio_pool_stats stats = {0};

	gio_blk_close(rig->blk);
	assert_int_equal(rig->dev->faults, faults);
	if (rig->connection) {
		fake_msg_unbind(&rig->msg);
		gio_msg_connection_close(rig->connection);
		rig->connection = NULL;
	}
	fake_dev_delete(rig->dev);
	if (rig->pool)
		gio_pool_stats(rig->pool, &stats);
	assert_int_equal(stats.used + stats.misuses, 0);
	assert_int_equal(gio_pool_close(rig->pool), 0);
	rig->pool = NULL;
	gio_grants_reap(rig->grants);
	assert_int_equal(rig_grants(rig), 0);
	assert_int_equal(gio_grants_close(rig->grants), 0);
	assert_int_equal(fake_os_delete(rig->os), 0);
}

void rig_close(struct blk_rig *rig)
{
	rig_close_with(rig, 0);
}

void rig_over_modes(void (*test)(struct blk_rig *rig))
{
	for (unsigned mode = 0; mode < 16; mode++) {
		struct blk_rig rig;

		rig_init(&rig, mode & 4 ? 2 : 1);
		rig.config.indirect = mode & 1;
		rig.config.no_event_idx = mode & 2;
		if (mode & 8)
			rig_pool(&rig, 192);
		rig_open(&rig);
		test(&rig);
		rig_close(&rig);
	}
}

uint8_t *rig_pages(struct blk_rig *rig, size_t pages, int fill)
{
	uint8_t *p = gio_os_pages_alloc(rig->os, pages);

	assert_non_null(p);
	memset(p, fill, pages * GIO_PAGE_SIZE);
	return p;
}

void rig_pages_free(struct blk_rig *rig, uint8_t *p, size_t pages)
{
	gio_os_pages_free(rig->os, p, pages);
}

static void rig_done(struct gio_blk_req *req)
{
	struct rig_req *r = req->opaque;

	r->done++;
	r->order = __atomic_add_fetch(&completions, 1, __ATOMIC_RELAXED);
}

void rig_req_init(struct blk_rig *rig, struct rig_req *r, enum gio_blk_op op, uint64_t sector)
{
	*r = (struct rig_req){.req = {.op = op, .sector = sector, .done = rig_done, .opaque = r, .result = 1},
			      .rig = rig};
	r->req.sg = r->sg;
}

void rig_req_data(struct rig_req *r, void *p, size_t len)
{
	assert_true(r->req.segments < RIG_SEGMENTS);
	r->sg[r->req.segments++] = (struct gio_sg){.va = p, .len = len};
}

int rig_submit(struct blk_rig *rig, struct rig_req *r)
{
	return gio_blk_submit(rig->blk, 0, &r->req);
}

/* Whether a queue's port has had an event. */
static unsigned ports_take(struct blk_rig *rig)
{
	unsigned causes = 0;

	for (unsigned i = 0; rig->connection && i < RIG_PORTS; i++)
		if (gio_os_port_wait(rig->os, rig->msg.answer.queue_port[i], 0))
			causes |= GIO_BLK_IRQ_QUEUE;
	return causes;
}

unsigned rig_interrupt(struct blk_rig *rig)
{
	unsigned causes = 0, now = 0;

	while (now & GIO_BLK_IRQ_AGAIN || __atomic_exchange_n(&rig->dev->irq, false, __ATOMIC_SEQ_CST)) {
		now = ports_take(rig) | gio_blk_interrupt(rig->blk);
		causes |= now;
		fake_os_pass(rig->os, now & GIO_BLK_IRQ_AGAIN ? 100 : 0);
	}
	return causes & ~GIO_BLK_IRQ_AGAIN;
}

int rig_run(struct blk_rig *rig, struct rig_req *r)
{
	assert_int_equal(rig_submit(rig, r), 0);
	gio_blk_kick(rig->blk, 0);
	rig_interrupt(rig);
	assert_int_equal(r->done, 1);
	return r->req.result;
}

int rig_io(struct blk_rig *rig, enum gio_blk_op op, uint64_t sector, void *p, size_t len)
{
	struct rig_req r;

	rig_req_init(rig, &r, op, sector);
	if (len)
		rig_req_data(&r, p, len);
	return rig_run(rig, &r);
}

uint32_t rig_grants(struct blk_rig *rig)
{
	struct gio_pool_stats pool = {0};
	struct gio_grants_stats s;

	gio_grants_stats(rig->grants, &s);
	assert_int_equal(s.misuses, 0);
	if (rig->pool)
		gio_pool_stats(rig->pool, &pool);
	return s.used - pool.pages + pool.used - (rig->connection ? 2 : 0); /* the pages of messages */
}
