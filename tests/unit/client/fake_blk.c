/* SPDX-License-Identifier: MIT */
#include "tests/unit/client/fake_blk.h"

#include "client/messages.h"
#include "guest/os/model.h"

#include <errno.h>
#include <grantio/grant.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct fake fake;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t raised = PTHREAD_COND_INITIALIZER;
static struct gio_blk_req *flight[FAKE_RING_MAX];
static unsigned in_flight;
static bool pending, woken, held;
static char handles[4]; /* what the opaque pointers point to */

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.info = (struct gio_blk_info){.capacity = FAKE_DISK_BYTES / 512,
					  .block_size = 512,
					  .seg_max = 126,
					  .max_discard = 1024,
					  .max_write_zeroes = 2048,
					  .flush = true,
					  .writeback = true,
					  .queues = 1,
					  .queue_size = 128};
	fake.ring = FAKE_RING_MAX;
	fake.page_limit = 4096;
	fake.bad_sector = UINT64_MAX;
	in_flight = 0;
	pending = woken = held = false;
}

void fake_hold(bool hold)
{
	pthread_mutex_lock(&lock);
	held = hold;
	pending = true;
	pthread_cond_broadcast(&raised);
	pthread_mutex_unlock(&lock);
}

/* ---- the machine -------------------------------------------------------------------------------------------- */

int gm_guest_open(struct gm_guest **guest, const char *dir, uint16_t domid)
{
	(void)dir;
	(void)domid;
	*guest = (struct gm_guest *)(void *)&handles[0];
	fake.guests += !fake.open_guest;
	return fake.open_guest;
}

int gm_guest_pid(const char *dir, uint16_t domid)
{
	(void)dir, (void)domid;
	return fake.open_guest == -EBUSY ? 4711 : 0;
}

void gm_guest_close(struct gm_guest *guest)
{
	fake.guests -= guest != NULL;
}

int gm_guest_find_disk(struct gm_guest *guest, const char *name, int timeout_ms, struct gm_guest_disk *out)
{
	(void)guest;
	(void)name;
	(void)timeout_ms;
	*out = (struct gm_guest_disk){.base = 0x2000000, .irq = 33, .devid = 51712};
	return fake.find_disk;
}

int gm_guest_irq_wait(struct gm_guest *guest, unsigned irq, int timeout_ms)
{
	int err = 0;

	(void)guest;
	(void)irq;
	(void)timeout_ms;
	pthread_mutex_lock(&lock);
	while (!pending && !woken)
		pthread_cond_wait(&raised, &lock);
	if (woken)
		err = -EINTR;
	else
		pending = false;
	woken = false;
	pthread_mutex_unlock(&lock);
	return err;
}

void gm_guest_irq_wake(struct gm_guest *guest, unsigned irq)
{
	(void)guest;
	(void)irq;
	pthread_mutex_lock(&lock);
	woken = true;
	pthread_cond_broadcast(&raised);
	pthread_mutex_unlock(&lock);
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

int gp_messages_open(struct gp_messages **messages, const struct gp_messages_config *config)
{
	(void)config;
	if (fake.open_messages)
		return fake.open_messages;
	*messages = (struct gp_messages *)(void *)&handles[1];
	fake.messages++;
	return 0;
}

/* The driver has ended by then. */
void gp_messages_close(struct gp_messages *messages)
{
	if (messages && !fake.drivers)
		fake.messages--;
}

struct gio_msg_connection *gp_messages_connection(const struct gp_messages *messages)
{
	return (struct gio_msg_connection *)(uintptr_t)messages;
}

struct gio_pool *gp_messages_pool(const struct gp_messages *messages)
{
	(void)messages;
	return NULL;
}

uint32_t gp_messages_port(const struct gp_messages *messages)
{
	(void)messages;
	return 1;
}

/* ---- the guest's system ------------------------------------------------------------------------------------- */

int gio_os_model_open(struct gio_os **os, struct gm_guest *guest)
{
	(void)guest;
	*os = (struct gio_os *)(void *)&handles[1];
	fake.systems++;
	return 0;
}

void gio_os_model_patience(struct gio_os *os, int timeout_ms)
{
	(void)os;
	(void)timeout_ms;
}

/* A device reached by messages tells of what it has done by the same means. */
int gio_os_model_ports_wait(struct gio_os *os, uint32_t *ports, unsigned max, int timeout_ms)
{
	int err = gm_guest_irq_wait(NULL, 0, timeout_ms);

	(void)os, (void)max;
	*ports = 2;
	return err ? err : 1;
}

void gio_os_model_ports_wake(struct gio_os *os)
{
	(void)os;
	gm_guest_irq_wake(NULL, 0);
}

void gio_os_model_close(struct gio_os *os)
{
	fake.systems -= os != NULL;
}

size_t gio_os_model_pages_used(struct gio_os *os)
{
	(void)os;
	return fake.pages;
}

void *gio_os_pages_alloc(struct gio_os *os, size_t npages)
{
	void *va;

	(void)os;
	if (fake.pages + npages > fake.page_limit)
		return NULL;
	va = aligned_alloc(GIO_PAGE_SIZE, npages * GIO_PAGE_SIZE);
	if (va) {
		memset(va, 0, npages * GIO_PAGE_SIZE);
		fake.pages += npages;
	}
	return va;
}

void gio_os_pages_free(struct gio_os *os, void *va, size_t npages)
{
	(void)os;
	fake.pages -= va ? npages : 0;
	free(va);
}

int gio_grants_open(struct gio_grants **grants, struct gio_os *os, gio_gref_t first)
{
	(void)os;
	(void)first;
	*grants = (struct gio_grants *)(void *)&handles[2];
	fake.tables++;
	return 0;
}

uint32_t gio_grants_reap(struct gio_grants *grants)
{
	(void)grants;
	return 0;
}

uint32_t gio_grants_close(struct gio_grants *grants)
{
	fake.tables -= grants != NULL;
	return 0;
}

void gio_grants_stats(struct gio_grants *grants, struct gio_grants_stats *out)
{
	(void)grants;
	*out = (struct gio_grants_stats){.used = fake.leak};
}

/* ---- the driver --------------------------------------------------------------------------------------------- */

int gio_blk_open(struct gio_blk **blk, const struct gio_blk_config *config)
{
	(void)config;
	*blk = (struct gio_blk *)(void *)&handles[3];
	fake.drivers += !fake.open_blk;
	return fake.open_blk;
}

void gio_blk_info(struct gio_blk *blk, struct gio_blk_info *info)
{
	(void)blk;
	*info = fake.info;
}

static uint64_t request_bytes(const struct gio_blk_req *req)
{
	uint64_t bytes = req->sectors * 512;

	for (unsigned i = 0; i < req->segments; i++)
		bytes += req->sg[i].len;
	return bytes;
}

static void data_move(const struct gio_blk_req *req)
{
	uint8_t *at = fake.disk + req->sector * 512;

	for (unsigned i = 0; i < req->segments; at += req->sg[i].len, i++) {
		if (req->op == GIO_BLK_WRITE)
			memcpy(at, req->sg[i].va, req->sg[i].len);
		else
			memcpy((void *)(uintptr_t)req->sg[i].va, at, req->sg[i].len);
	}
}

static int request_run(const struct gio_blk_req *req)
{
	uint64_t bytes = request_bytes(req);

	if (req->op == GIO_BLK_GET_ID) {
		memcpy((void *)(uintptr_t)req->sg[0].va, "twenty characters id", 20);
		return 0;
	}
	if (req->op == GIO_BLK_FLUSH) {
		fake.flushes++;
		return 0;
	}
	if (fake.bad_sector >= req->sector && fake.bad_sector < req->sector + bytes / 512)
		return -GIO_EIO;
	fake.largest = bytes > fake.largest ? bytes : fake.largest;
	if (req->op == GIO_BLK_DISCARD || req->op == GIO_BLK_WRITE_ZEROES)
		memset(fake.disk + req->sector * 512, req->op == GIO_BLK_DISCARD ? 0xdd : 0, bytes);
	else
		data_move(req);
	return 0;
}

int gio_blk_submit(struct gio_blk *blk, unsigned queue, struct gio_blk_req *req)
{
	int err = -GIO_ENOSPC;

	(void)blk;
	(void)queue;
	pthread_mutex_lock(&lock);
	if (in_flight < fake.ring) {
		flight[in_flight++] = req;
		fake.requests++;
		if (in_flight > fake.most_in_flight)
			fake.most_in_flight = in_flight;
		err = 0;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

void gio_blk_kick(struct gio_blk *blk, unsigned queue)
{
	(void)blk;
	(void)queue;
	pthread_mutex_lock(&lock);
	fake.kicks++;
	pending = true;
	pthread_cond_broadcast(&raised);
	pthread_mutex_unlock(&lock);
}

static struct gio_blk_req *flight_take(bool even_held)
{
	struct gio_blk_req *req = NULL;

	pthread_mutex_lock(&lock);
	if (in_flight == fake.ring)
		fake.full_first = false;
	if (in_flight && (even_held || (!fake.full_first && !held))) {
		req = flight[--in_flight];
		req->result = even_held ? -GIO_EIO : request_run(req);
	}
	pthread_mutex_unlock(&lock);
	return req;
}

unsigned gio_blk_interrupt_ack(struct gio_blk *blk)
{
	(void)blk;
	return GIO_BLK_IRQ_QUEUE;
}

unsigned gio_blk_reap(struct gio_blk *blk, unsigned queue)
{
	struct gio_blk_req *req;
	unsigned done = 0;

	(void)blk;
	(void)queue;
	for (; (req = flight_take(false)); done++)
		req->done(req);
	return done;
}

unsigned gio_blk_poll(struct gio_blk *blk, unsigned queue)
{
	return gio_blk_reap(blk, queue);
}

void gio_blk_close(struct gio_blk *blk)
{
	struct gio_blk_req *req;

	while ((req = flight_take(true)))
		req->done(req);
	fake.drivers -= blk != NULL;
}

void gio_blk_stats(struct gio_blk *blk, struct gio_blk_stats *out)
{
	(void)blk;
	*out = (struct gio_blk_stats){.requests = fake.requests, .kicks = fake.kicks};
}

/* ---- what else a program asks of the machine ---------------------------------------------------------------- */

struct gm_machine *gm_guest_machine(struct gm_guest *guest)
{
	(void)guest;
	return NULL;
}

uint16_t gm_guest_domid(const struct gm_guest *guest)
{
	(void)guest;
	return 1;
}

int gm_domain_stats(struct gm_machine *machine, uint16_t domid, struct gm_stats *out)
{
	(void)machine;
	(void)domid;
	memset(out, 0, sizeof(*out));
	return 0;
}
