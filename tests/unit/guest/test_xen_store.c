/* SPDX-License-Identifier: MIT */
/*
 * The small guest's way through xenstore (guest/os/xen/store.c, frontend.c), where time runs out at any byte and the
 * backend writes what it likes into its own directory.
 */
#include "tests/unit/guest/fake_xen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <xen/io/xs_wire.h>

#include "guest/os/xen/frontend.h"
#include "guest/os/xen/xen.h"

#define FRONT	FAKE_XEN_FRONT
#define BACKEND FAKE_XEN_BACKEND

static char path[STORE_PATH_MAX], token[16];

static int event(unsigned ms)
{
	return gio_xen_store_event(path, sizeof(path), token, sizeof(token), ms);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

/* What a wait has taken of an event before its time was over is not lost. */
static void event_in_parts(void **state)
{
	const size_t bytes = sizeof(struct xsd_sockmsg) + sizeof("a/path") + sizeof("one");

	(void)state;
	for (size_t cut = 0; cut < bytes; cut++) {
		fake_xen_reset();
		fake_xen_event("a/path", "one");
		fake_xen_event("another", "two");
		fake_xen.deliver = cut;
		assert_int_equal(event(10), -GIO_EAGAIN);
		assert_int_equal(fake_xen.now, 10);
		assert_int_equal(event(10), 0);
		assert_string_equal(path, "a/path");
		assert_string_equal(token, "one");
		assert_int_equal(event(10), 0);
		assert_string_equal(path, "another");
		assert_int_equal(event(0), -GIO_EAGAIN);
	}
}

/* An answer that has not come in time belongs to nobody, wherever it was cut. */
static void answer_in_parts(void **state)
{
	char value[16];

	(void)state;
	for (size_t cut = 0; cut < sizeof(struct xsd_sockmsg) + 3; cut++) {
		fake_xen_reset();
		fake_xen_key("a", "old");
		fake_xen_key("b", "new");
		fake_xen.deliver = cut;
		assert_int_equal(gio_xen_store_read("a", NULL, value, sizeof(value)), -GIO_EAGAIN);
		assert_int_equal(gio_xen_store_read("b", NULL, value, sizeof(value)), 3);
		assert_string_equal(value, "new");
	}
}

/* Behind a length that no message has, nothing is believed any more. The last test but one. */
static void no_length(void **state)
{
	(void)state;
	fake_xen_reset();
	fake_xen_message(XS_WATCH_EVENT, 0, NULL, XENSTORE_PAYLOAD_MAX + 1);
	fake_xen_event("a/path", "one");
	assert_int_equal(event(10), -GIO_EPROTO);
	assert_int_equal(event(10), -GIO_EPROTO);
	assert_int_equal(gio_xen_store_remove("a"), -GIO_EPROTO);
}

/* A request that was not taken in time ends all others at once. The last of all tests. */
static void not_taken(void **state)
{
	(void)state;
	fake_xen_reset();
	fake_xen.deaf = true;
	assert_int_equal(gio_xen_store_remove("a"), -GIO_EAGAIN);
	assert_int_equal(fake_xen.now, 60000);
	fake_xen.deaf = false;
	assert_int_equal(gio_xen_store_remove("a"), -GIO_EIO);
	assert_int_equal(fake_xen.now, 60000);
}

static void flood_step(void)
{
	for (unsigned i = 0; i < 20; i++)
		fake_xen_event("a/b", "one");
	fake_xen.now += 100;
}

/* However many events come, an answer is waited for so long and no longer. */
static void answer_bound(void **state)
{
	(void)state;
	fake_xen_reset();
	fake_xen.silent_type = XS_RM + 1;
	fake_xen.step = flood_step;
	assert_int_equal(gio_xen_store_remove("a"), -GIO_EAGAIN);
	assert_in_range(fake_xen.now, 60000, 61000);
	fake_xen.step = NULL;
	while (!event(0))
		;
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

static void unwatch(void **state)
{
	(void)state;
	fake_xen_reset();
	fake_xen_event("a/b", "one");
	fake_xen_event("ab", "one");
	fake_xen_event("a", "two");
	fake_xen_event("a", "one");
	assert_int_equal(gio_xen_store_unwatch("a", "one"), 0);
	assert_int_equal(event(0), 0);
	assert_string_equal(path, "ab");
	assert_int_equal(event(0), 0);
	assert_string_equal(token, "two");
	assert_int_equal(event(0), -GIO_EAGAIN);
}

/* A path that is longer than anything of ours is an event all the same, and does not fill the room for others. */
static void long_path(void **state)
{
	char name[1000];

	(void)state;
	fake_xen_reset();
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	fake_xen_event(name, "one");
	fake_xen_event("a", "one");
	assert_int_equal(event(0), -GIO_ERANGE);
	assert_int_equal(event(0), 0);
	assert_string_equal(path, "a");
	for (unsigned i = 0; i < 20; i++)
		fake_xen_event(name, "one");
	assert_int_equal(gio_xen_store_unwatch("a", "one"), 0);
	assert_int_equal(event(0), -GIO_EAGAIN);
}

/* ---- a backend's states ------------------------------------------------------------------------------------------ */

/* Wherever the backend is when the guest begins anew, its state 1 brings it to 2. */
static void begins_anywhere(void **state)
{
	static const char *const states[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
	struct frontend front;

	(void)state;
	for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		fake_xen_disk(states[i]);
		fake_xen.step = fake_xen_follow;
		assert_int_equal(gio_xen_frontend_open(&front, FAKE_XEN_DISK, NULL), 0);
		assert_string_equal(fake_xen_value(FRONT "/state"), "4");
		assert_int_equal(front.base, 0xfea00000);
		assert_int_equal(fake_xen.ports, 1);
		gio_xen_frontend_close(&front);
		assert_string_equal(fake_xen_value(FRONT "/state"), "6");
		assert_int_equal(fake_xen.ports, 0);
	}
}

static void refused(const char *key, const char *value, int err)
{
	struct frontend front;

	fake_xen_disk("2");
	fake_xen_key(key, value);
	assert_int_equal(gio_xen_frontend_open(&front, FAKE_XEN_DISK, NULL), err);
	assert_int_equal(fake_xen.ports, 0);
}

/* What a backend may not say; the guest ends, and says so. */
static void wrong_values(void **state)
{
	(void)state;
	refused(BACKEND "/state", "9", -GIO_EPROTO);
	refused(BACKEND "/state", "34", -GIO_EPROTO); /* 2, if it were taken modulo 32 */
	refused(BACKEND "/state", "", -GIO_EPROTO);
	refused(BACKEND "/state", "two", -GIO_EPROTO);
	refused(BACKEND "/grantio-version", "0", -GIO_EPROTO);
	refused(BACKEND "/mmio-base", "4096", -GIO_EPROTO);
	refused(BACKEND "/transport", "pci", -GIO_EPROTO);
	assert_string_equal(fake_xen_value(FRONT "/state"), "6");
}

static void leave_step(void)
{
	const char *front = fake_xen_value(FRONT "/state");

	if (front && *front == '3')
		fake_xen_key(BACKEND "/state", "5");
}

static void leaves(void **state)
{
	struct frontend front;

	(void)state;
	fake_xen_disk("2");
	fake_xen.step = leave_step;
	assert_int_equal(gio_xen_frontend_open(&front, FAKE_XEN_DISK, NULL), -GIO_EPROTO);
	assert_string_equal(fake_xen_value(FRONT "/state"), "6");
	assert_int_equal(fake_xen.ports, 0);
}

/* Writes keys in its directory as fast as it can, with names of all lengths, and goes on while nobody watches. */
static void restless_step(void)
{
	static char name[512] = BACKEND "/";
	static unsigned length;

	length = (length + 37) % (sizeof(name) - sizeof(BACKEND) - 1);
	memset(name + sizeof(BACKEND), 'x', length);
	name[sizeof(BACKEND) + length] = '\0';
	for (unsigned i = 0; i < 3; i++)
		fake_xen_event(name, "backend");
	fake_xen.now += 100;
}

/* A backend that does not go on is waited for so long and no longer, whatever else it does. */
static void bounded(void **state)
{
	struct frontend front;

	(void)state;
	for (unsigned restless = 0; restless < 2; restless++) {
		fake_xen_disk("1");
		fake_xen.step = restless ? restless_step : NULL;
		assert_int_equal(gio_xen_frontend_open(&front, FAKE_XEN_DISK, NULL), -GIO_EAGAIN);
		assert_in_range(fake_xen.now, FRONTEND_MS, FRONTEND_MS + 1000);
		assert_int_equal(fake_xen.ports, 0);
		fake_xen.step = NULL;
		while (event(0) != -GIO_EAGAIN)
			;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(event_in_parts), cmocka_unit_test(answer_in_parts), cmocka_unit_test(answer_bound),
		cmocka_unit_test(unwatch),	  cmocka_unit_test(long_path),	     cmocka_unit_test(begins_anywhere),
		cmocka_unit_test(wrong_values),	  cmocka_unit_test(leaves),	     cmocka_unit_test(bounded),
		cmocka_unit_test(no_length),	  cmocka_unit_test(not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
