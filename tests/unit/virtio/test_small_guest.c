/* SPDX-License-Identifier: MIT */
/*
 * A whole small guest, the program of docs/small-guest.md, against a device that is reached by messages and does harm.
 * The device knows what stands in xenstore, and nothing else. Whatever it does, the program ends in a limited time with
 * an error, and what it had lent is its own again once the device lets go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <abi/virtio.h>
#include <grantio/grant.h>

#include "guest/os/xen/xen.h"
#include "tests/unit/guest/fake_xen.h"
#include "tests/unit/virtio/fake_msg.h"

#define BACKEND	   FAKE_XEN_BACKEND
#define REQUEST_MS 30000u /* as the program has it */

int example_run(struct gio_grants *grants, unsigned number, void *page); /* of the page */

static struct gio_grants *grants;
static struct fake_dev *dev;
static struct fake_msg msg;
static uint8_t *page;
static bool bound, flood;
static bool (*message_hook)(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response);

static unsigned number_of(const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), FAKE_XEN_FRONT "/%s", key);
	assert_non_null(fake_xen_value(path));
	return (unsigned)strtoul(fake_xen_value(path), NULL, 10);
}

/* The backend follows the guest; with 4 it has bound what was answered, and with 2 it has let go. */
static void backend_step(void)
{
	struct gio_msg_answer answer = {.ports = 1};
	bool connected;

	fake_xen_follow();
	connected = *fake_xen_value(BACKEND "/state") == '4';
	if (connected && !bound) {
		answer.driver_page = number_of("driver-page-ref");
		answer.device_page = number_of("device-page-ref");
		answer.port = number_of("event-channel");
		answer.queue_port[0] = number_of("queue-0/event-channel");
		fake_msg_bind_answer(&msg, dev, &answer);
		msg.hook = message_hook;
	} else if (!connected && bound) {
		fake_msg_unbind(&msg);
		fake_dev_release(dev);
	}
	bound = connected;
	if (flood && connected) {
		fake_os_port_raise(dev->os, msg.answer.port);
		fake_os_port_raise(dev->os, msg.answer.queue_port[0]);
		fake_xen.now++;
	}
}

static void begin(void)
{
	static const char *const offer[][2] = {{"draft", GIO_MSG_DRAFT}, {"revision", "1"},
					       {"max-size", "264"},	 {"features", "0"},
					       {"pool-max", "128"},	 {"max-queue-channels", "1"}};
	char path[128];

	fake_xen_disk("2");
	fake_xen_key(FAKE_XEN_FRONT "/backend-id", "7");
	for (unsigned i = 0; i < sizeof(offer) / sizeof(offer[0]); i++) {
		snprintf(path, sizeof(path), BACKEND "/virtio-msg/%s", offer[i][0]);
		fake_xen_key(path, offer[i][1]);
	}
	fake_xen.step = backend_step;
	fake_xen.os = fake_os_new(&(struct fake_os_config){.pages = 1024});
	assert_int_equal(gio_grants_open(&grants, fake_xen.os, 8), 0);
	dev = fake_dev_new(fake_xen.os);
	page = gio_os_pages_alloc(fake_xen.os, 1);
	assert_non_null(page);
	memset(page, 0x5a, GIO_PAGE_SIZE);
	bound = flood = false;
	message_hook = NULL;
}

/* Run the program: its result. All of its waits together are well below ten minutes. */
static int run(void)
{
	uint64_t messages = gio_os_now_ms(fake_xen.os), states = fake_xen.now;
	int err = example_run(grants, FAKE_XEN_DISK, page);

	assert_true(gio_os_now_ms(fake_xen.os) - messages <= 60000);
	assert_true(fake_xen.now - states <= 200000);
	assert_string_equal(fake_xen_value(FAKE_XEN_FRONT "/state"), "6");
	return err;
}

static void end(void)
{
	gio_os_pages_free(fake_xen.os, page, 1);
	fake_dev_delete(dev);
	gio_grants_reap(grants);
	assert_int_equal(gio_grants_close(grants), 0);
	assert_int_equal(fake_os_delete(fake_xen.os), 0);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void works(void **state)
{
	(void)state;
	begin();
	assert_int_equal(run(), 0);
	assert_int_equal(fake_xen.now, 0); /* events told of everything: no wait ended by its limit */
	assert_int_equal(dev->served, 2);
	assert_int_equal(dev->faults, 0);
	for (unsigned i = 0; i < GIO_PAGE_SIZE; i++) {
		assert_int_equal(page[i], 0x5a);
		assert_int_equal(dev->disk[64 * 512 + i], 0x5a);
	}
	end();
}

static unsigned silent_from; /* the first request, from 0, that is not answered */

static bool falls_silent(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request, (void)response;
	return fm->hooked++ < silent_from;
}

/* Wherever it falls silent, the reset at the end included. */
static void silence(void **state)
{
	unsigned errors = 0;
	bool asked;

	(void)state;
	for (silent_from = 0, asked = true; asked; silent_from++) {
		begin();
		message_hook = falls_silent;
		errors += run() != 0;
		asked = msg.hooked > silent_from;
		end();
	}
	assert_in_range(errors, 10, silent_from - 2); /* of what follows the requests, no error is told */
}

/* One message after the other is answered with each of its bytes turned round. */
static unsigned lie_at, lie_byte;
static bool lied;

static bool lies(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	if (fm->hooked++ == lie_at && lie_byte < response->header.bytes) {
		((uint8_t *)response)[lie_byte] ^= 0xff;
		lied = true;
	}
	return true;
}

static void lying(void **state)
{
	unsigned lies_told = 0;

	(void)state;
	for (lie_at = 0; lie_at < 20; lie_at++)
		for (lie_byte = 0, lied = true; lied; lie_byte++) {
			lied = false;
			begin();
			message_hook = lies;
			(void)run(); /* what is not a lie about the rules may be believed */
			lies_told += lied;
			end();
		}
	assert_true(lies_told > 300);
}

/* Requests are taken, and never answered. */
static void idle(void **state)
{
	(void)state;
	begin();
	dev->lazy = true;
	assert_int_equal(run(), -GIO_ETIMEDOUT);
	assert_in_range(fake_xen.now, REQUEST_MS, REQUEST_MS + 1000);
	end();
}

/* The same, and events come as fast as they can, of both ports, with no news. */
static void flooded(void **state)
{
	(void)state;
	begin();
	dev->lazy = flood = true;
	assert_int_equal(run(), -GIO_ETIMEDOUT);
	assert_in_range(fake_xen.now, REQUEST_MS, REQUEST_MS + 1000);
	end();
}

static unsigned wrong_status(struct fake_dev *d, const struct fake_chain *chain, unsigned status)
{
	(void)chain, (void)status;
	return d->hooked;
}

static void statuses(void **state)
{
	(void)state;
	for (unsigned status = 1; status <= 0x100; status++) {
		begin();
		dev->serve_hook = wrong_status;
		dev->hooked = status;
		assert_true(run() < 0);
		assert_int_equal(page[0], 0x5a);
		end();
	}
}

/* The used ring names a chain that there is not, or more chains than there are. */
static void used_step(void)
{
	backend_step();
	if (bound && dev->queue[0].ready) {
		fake_dev_put_used(dev, 0, 0, dev->hooked, 1);
		fake_dev_set_used_idx(dev, 0, dev->hooked ? 1 : 0x4000);
		fake_dev_raise(dev, GIO_VIRTIO_INT_QUEUE);
	}
}

static void rings(void **state)
{
	static const unsigned ids[] = {0, 3, 63, 64, 0xffff, 0xffffffff};

	(void)state;
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		begin();
		dev->lazy = true;
		dev->hooked = ids[i];
		fake_xen.step = used_step;
		assert_int_equal(run(), -GIO_EPROTO);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works),   cmocka_unit_test(silence),  cmocka_unit_test(lying), cmocka_unit_test(idle),
		cmocka_unit_test(flooded), cmocka_unit_test(statuses), cmocka_unit_test(rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
