/* SPDX-License-Identifier: MIT */
/*
 * How the small guest comes to a disk that it drives by messages (guest/os/xen/messages.c, frontend.c): what it takes
 * for an offer, what it answers, and that it ends, with all that was lent, whatever the backend does.
 */
#include "tests/unit/guest/fake_xen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <abi/virtio_msg_bus.h>
#include <abi/xenbus.h>
#include <grantio/virtio_blk.h>

#include "guest/os/xen/frontend.h"
#include "guest/os/xen/xen.h"
#include "tests/unit/guest/fake_os.h"

#define FRONT	FAKE_XEN_FRONT
#define BACKEND FAKE_XEN_BACKEND

static struct gio_grants *grants;

/* A backend that offers both, and goes on. */
static void begin(void)
{
	fake_xen_disk("1");
	fake_xen_key(BACKEND "/virtio-msg/draft", GIO_MSG_DRAFT);
	fake_xen_key(BACKEND "/virtio-msg/revision", "1");
	fake_xen_key(BACKEND "/virtio-msg/max-size", "264");
	fake_xen_key(BACKEND "/virtio-msg/features", "0");
	fake_xen_key(BACKEND "/virtio-msg/max-queue-channels", "1");
	fake_xen_key(BACKEND "/virtio-msg/pool-max", "16384");
	fake_xen.step = fake_xen_follow;
	fake_xen.os = fake_os_new(&(struct fake_os_config){.pages = 1024});
	assert_int_equal(gio_grants_open(&grants, fake_xen.os, 8), 0);
}

/* Nothing is left that was made or lent. */
static void end(void)
{
	assert_int_equal(fake_xen.ports, 0);
	assert_int_equal(gio_grants_close(grants), 0);
	assert_int_equal(fake_os_delete(fake_xen.os), 0);
}

static int disk_open(struct frontend *front)
{
	return gio_xen_frontend_open(front, FAKE_XEN_DISK, grants);
}

/* ---- the offer --------------------------------------------------------------------------------------------------- */

static void offered(const char *key, const char *value, int err, bool messages)
{
	struct frontend front;
	char path[STORE_PATH_MAX];

	begin();
	snprintf(path, sizeof(path), BACKEND "/%s", key);
	fake_xen_key(path, value);
	assert_int_equal(disk_open(&front), err);
	assert_int_equal(!!front.messages.connection, messages);
	if (!err)
		gio_xen_frontend_close(&front);
	assert_string_equal(fake_xen_value(FRONT "/state"), "6");
	end();
}

static void drafts(void **state)
{
	(void)state;
	offered("virtio-msg/draft", "vmsg-1 " GIO_MSG_DRAFT " vmsg-2", 0, true);
	offered("virtio-msg/draft", "vmsg-1 " GIO_MSG_DRAFT, 0, true);
	offered("virtio-msg/draft", GIO_MSG_DRAFT "0", 0, false);
	offered("virtio-msg/draft", "x" GIO_MSG_DRAFT, 0, false);
	offered("virtio-msg/draft", "vmsg-", 0, false);
	offered("virtio-msg/draft", "", 0, false);
	offered("virtio-msg/draft", " ", 0, false);
	offered("grantio-version", "2", 0, true); /* no registers */
}

static void wrong_offers(void **state)
{
	(void)state;
	offered("grantio-version", "0", -GIO_EPROTO, false);
	offered("grantio-version", "3", -GIO_EPROTO, false);
	offered("virtio-msg/revision", "2", -GIO_EPROTO, false);
	offered("virtio-msg/max-size", "52", -GIO_EPROTO, false);
	offered("virtio-msg/max-size", "265", -GIO_EPROTO, false);
	offered("virtio-msg/features", "1", -GIO_EPROTO, false);
	offered("virtio-msg/max-queue-channels", "0", -GIO_EPROTO, false);
	offered("virtio-msg/max-queue-channels", "17", -GIO_EPROTO, false);
	offered("virtio-msg/pool-max", "4294967296", -GIO_EPROTO, false);
	offered("virtio-msg/pool-max", "", -GIO_EPROTO, false);
}

/* Registers, where the program wants these. */
static void not_wanted(void **state)
{
	struct frontend front;

	(void)state;
	begin();
	assert_int_equal(gio_xen_frontend_open(&front, FAKE_XEN_DISK, NULL), 0);
	assert_null(front.messages.connection);
	assert_string_equal(fake_xen_value(FRONT "/grantio-version"), "1");
	gio_xen_frontend_close(&front);
	end();
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static void key_is(const char *key, const char *value)
{
	char path[STORE_PATH_MAX];

	snprintf(path, sizeof(path), FRONT "/%s", key);
	assert_non_null(fake_xen_value(path));
	assert_string_equal(fake_xen_value(path), value);
}

static void key_is_number(const char *key, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	key_is(key, text);
}

static void answer(void **state)
{
	const struct gio_msg_answer *a;
	struct gio_pool_run runs[GIO_POOL_RUNS];
	struct frontend front;
	char former[17] = "", text[32];

	(void)state;
	begin();
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(disk_open(&front), 0);
		a = gio_msg_connection_answer(front.messages.connection);
		key_is("state", "4");
		key_is("grantio-version", "2");
		key_is("transport", "virtio-msg");
		key_is("virtio-msg/draft", GIO_MSG_DRAFT);
		key_is("dma", "pool");
		key_is_number("driver-page-ref", a->driver_page);
		key_is_number("device-page-ref", a->device_page);
		key_is_number("event-channel", a->port);
		key_is_number("queue-channels", 1);
		key_is_number("queue-0/event-channel", a->queue_port[0]);
		key_is_number("pool-runs", gio_pool_runs(front.messages.pool, runs));
		for (unsigned run = 0; run < 2; run++) {
			snprintf(text, sizeof(text), "%u:64:%c", runs[run].first, runs[run].readonly ? 'r' : 'w');
			key_is(run ? "pool-1" : "pool-0", text);
		}
		assert_int_equal(strspn(fake_xen_value(FRONT "/connection"), "0123456789abcdef"), 16);
		assert_string_not_equal(fake_xen_value(FRONT "/connection"), former);
		snprintf(former, sizeof(former), "%s", fake_xen_value(FRONT "/connection"));
		gio_xen_frontend_close(&front);
		key_is("state", "6");
	}
	end();
}

/* A backend that keeps fewer pages mapped than the pool has is told of none. */
static void small_backend(void **state)
{
	struct frontend front;

	(void)state;
	begin();
	fake_xen_key(BACKEND "/virtio-msg/pool-max", "127");
	assert_int_equal(disk_open(&front), 0);
	assert_non_null(front.messages.pool);
	key_is("dma", "grant");
	key_is("pool-runs", "0");
	assert_null(fake_xen_value(FRONT "/pool-0"));
	gio_xen_frontend_close(&front);
	end();
}

/* Where memory, references or ports run out, nothing is left; the backend is told that there is nobody. */
static void faults(void **state)
{
	struct frontend front;
	unsigned n = 0;
	int err;

	(void)state;
	do {
		begin();
		fake_os_fail(fake_xen.os, FAKE_ANY, ++n);
		err = disk_open(&front);
		fake_os_fail(fake_xen.os, FAKE_ANY, 0);
		assert_true(!err || err == -GIO_ENOMEM || err == -GIO_ENOSPC);
		if (!err)
			gio_xen_frontend_close(&front);
		key_is("state", "6");
		end();
	} while (err && n < 100);
	assert_in_range(n, 7, 20);
}

/* ---- a backend that does harm ------------------------------------------------------------------------------------ */

/* It says 4, and then nothing by messages: opening the driver ends, and so does closing. */
static void silent(void **state)
{
	struct gio_blk *blk = NULL;
	struct frontend front;
	uint64_t start;

	(void)state;
	begin();
	assert_int_equal(disk_open(&front), 0);
	start = gio_os_now_ms(fake_xen.os);
	assert_int_equal(gio_blk_open(&blk, &(struct gio_blk_config){.os = fake_xen.os,
								     .grants = grants,
								     .pool = front.messages.pool,
								     .backend = front.domid,
								     .connection = front.messages.connection}),
			 -GIO_ETIMEDOUT);
	assert_int_equal(gio_os_now_ms(fake_xen.os) - start, GIO_MSG_GIVE_UP_MS);
	gio_xen_frontend_close(&front);
	end();
}

/* It stays in 4 when the guest ends, and keeps a page of the pool: that page alone is lost, until it lets go. */
static void keeps(void **state)
{
	struct gio_pool_run runs[GIO_POOL_RUNS];
	struct gio_grants_stats stats;
	struct frontend front;
	gio_gfn_t gfn;

	(void)state;
	begin();
	assert_int_equal(disk_open(&front), 0);
	gio_pool_runs(front.messages.pool, runs);
	assert_int_equal(fake_peer_pin(fake_xen.os, 0, runs[0].first + 5, false, &gfn), 0);
	fake_xen.step = NULL;
	fake_xen.now = 0;
	gio_xen_frontend_close(&front);
	assert_in_range(fake_xen.now, FRONTEND_MS, FRONTEND_MS + 1000);
	key_is("state", "6");
	gio_grants_stats(grants, &stats);
	assert_int_equal(stats.quarantined, 1);
	assert_true(fake_os_page_used(fake_xen.os, gfn));
	fake_peer_unpin(fake_xen.os, runs[0].first + 5, false);
	gio_grants_reap(grants);
	assert_false(fake_os_page_used(fake_xen.os, gfn));
	end();
}

/* It refuses what was answered, or is removed meanwhile: opening ends. */
static void refuse_step(void)
{
	const char *front = fake_xen_value(FRONT "/state");

	fake_xen_follow();
	if (front && *front == '3')
		fake_xen_key(BACKEND "/state", "6");
}

static void refuses(void **state)
{
	struct frontend front;

	(void)state;
	begin();
	fake_xen.step = refuse_step;
	assert_int_equal(disk_open(&front), -GIO_EPROTO);
	assert_null(front.messages.connection);
	key_is("state", "6");
	end();
}

/* ---- devices of the device tree ---------------------------------------------------------------------------------- */

static void tree(void)
{
	begin();
	fake_xen_key(BACKEND "/base", "33554432");
	fake_xen_key(BACKEND "/irq", "33");
	fake_xen_key(BACKEND "/state", "2");
}

static void placed(void **state)
{
	struct frontend front;

	(void)state;
	tree();
	assert_int_equal(disk_open(&front), 0); /* by messages */
	assert_non_null(front.messages.connection);
	assert_int_equal(front.irq, 0);
	gio_xen_frontend_close(&front);
	key_is("state", "1"); /* nobody follows it further */
	fake_xen.step = NULL;
	fake_xen_key(BACKEND "/state", "4"); /* a driver uses the registers */
	assert_int_equal(disk_open(&front), 0);
	assert_null(front.messages.connection);
	assert_int_equal(front.irq, 33);
	gio_xen_frontend_close(&front);
	key_is("state", "1");
	end();
}

/* A guest that knows nothing of its former connection: what stands in its own directory tells it. */
static void placed_anew(void **state)
{
	struct frontend front, former;

	(void)state;
	tree();
	assert_int_equal(disk_open(&former), 0);
	assert_int_equal(disk_open(&front), 0);
	assert_non_null(front.messages.connection);
	gio_xen_messages_close(&former.messages);
	gio_xen_frontend_close(&front);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drafts), cmocka_unit_test(wrong_offers),  cmocka_unit_test(not_wanted),
		cmocka_unit_test(answer), cmocka_unit_test(small_backend), cmocka_unit_test(faults),
		cmocka_unit_test(silent), cmocka_unit_test(keeps),	   cmocka_unit_test(refuses),
		cmocka_unit_test(placed), cmocka_unit_test(placed_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
