/* SPDX-License-Identifier: MIT */
/*
 * The small guest's way through xenstore (guest/os/xen/store.c), where time runs out at any byte.
 */
#include "tests/unit/guest/fake_xen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <xen/io/xs_wire.h>

#include "guest/os/xen/store.h"
#include "guest/os/xen/xen.h"

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

/* Behind a length that no message has, nothing is believed any more. The last of the tests of the stream. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(event_in_parts), cmocka_unit_test(answer_in_parts), cmocka_unit_test(answer_bound),
		cmocka_unit_test(unwatch),	  cmocka_unit_test(long_path),

		cmocka_unit_test(no_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
