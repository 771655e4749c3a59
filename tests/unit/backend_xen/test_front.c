/* SPDX-License-Identifier: MIT */
/* What a guest answers to an address that we chose (docs/xenbus.md), and the choosing. */
#include "backend/xenbus/front.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *state, const char *version, const char *dma, const char *port, struct gd_front *out,
		 char *error)
{
	struct gd_front_keys keys = {{(char *)state, (char *)version, (char *)dma, (char *)port}};

	memset(error, 0, GD_KEYS_ERROR);
	return gd_front_parse(&keys, out, error);
}

static void takes_an_answer(void **state)
{
	char error[GD_KEYS_ERROR];
	struct gd_front front;

	(void)state;
	assert_int_equal(parse("3", "1", "grant", "9", &front, error), 0);
	assert_int_equal(front.state, 3);
	assert_int_equal(front.port, 9);
	assert_int_equal(parse("4", "1", "grant", "131071", &front, error), 0);
	assert_int_equal(front.state, 4);
	assert_int_equal(front.port, 131071);
}

/* In any other state the keys may be anything, and there is no event channel. */
static void looks_at_answers_only(void **state)
{
	static const char *const states[] = {"1", "2", "5", "6", "7", "8"};
	char error[GD_KEYS_ERROR];
	struct gd_front front;

	(void)state;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		assert_int_equal(parse(states[i], "7", "any", "9", &front, error), 0);
		assert_int_equal(front.state, (unsigned)(states[i][0] - '0'));
		assert_int_equal(front.port, 0);
	}
	assert_int_equal(parse(NULL, "1", "grant", "9", &front, error), 0);
	assert_int_equal(front.state, 0);
	assert_int_equal(front.port, 0);
}

static void refuses_what_is_wrong(void **state)
{
	static const struct {
		const char *state, *version, *dma, *port, *error;
	} cases[] = {
		{"0", "1", "grant", "9", "the guest's state '0': must be 1 to 8"},
		{"9", "1", "grant", "9", "the guest's state '9': must be 1 to 8"},
		{"", "1", "grant", "9", "the guest's state '': must be 1 to 8"},
		{"\n4", "1", "grant", "9", "the guest's state '?4': must be 1 to 8"},
		{"3", NULL, "grant", "9", "the guest's grantio-version '': must be 1"},
		{"3", "2", "grant", "9", "the guest's grantio-version '2': must be 1"},
		{"3", "4294967297", "grant", "9", "the guest's grantio-version '4294967297': must be 1"},
		{"3", "1", NULL, "9", "the guest's dma '': must be grant"},
		{"3", "1", "foreign", "9", "the guest's dma 'foreign': must be grant"},
		{"4", "1", "grants", "9", "the guest's dma 'grants': must be grant"},
		{"4", "1", "grant", NULL, "the guest's event-channel '': must be a port, 1 to 131071"},
		{"4", "1", "grant", "0", "the guest's event-channel '0': must be a port, 1 to 131071"},
		{"4", "1", "grant", "131072", "the guest's event-channel '131072': must be a port, 1 to 131071"},
		{"4", "1", "grant", "-1", "the guest's event-channel '-1': must be a port, 1 to 131071"},
		{"4", "1", "grant", "0123456789012345678901234567890123456789",
		 "the guest's event-channel '01234567890123456789012345678901...': must be a port, 1 to 131071"},
	};
	char error[GD_KEYS_ERROR];
	struct gd_front front;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].state, cases[i].version, cases[i].dma, cases[i].port, &front, error),
				 -EINVAL);
		assert_string_equal(error, cases[i].error);
	}
}

static void chooses_free_places(void **state)
{
	uint64_t used[513];
	size_t count;

	(void)state;
	for (count = 0; count < 512; count++) {
		uint64_t base = gd_front_base(0, 0, used, count);

		assert_int_equal(base, GIO_XENBUS_MMIO_BASE + count * GIO_XENBUS_MMIO_STEP);
		used[count] = base;
	}
	assert_int_equal(gd_front_base(0, 0, used, count), 0);
	/* One that is given back is found, from wherever a backend begins. */
	used[100] = used[101];
	for (unsigned backend = 0; backend < 70; backend++)
		assert_int_equal(gd_front_base((uint16_t)backend, 0, used, count),
				 GIO_XENBUS_MMIO_BASE + 100 * GIO_XENBUS_MMIO_STEP);
}

/* By the disk's letter, whatever the order is in which disks come. */
static void places_are_the_disks(void **state)
{
	(void)state;
	assert_int_equal(gd_front_wish(0, 51712), GIO_XENBUS_MMIO_BASE);				     /* xvda */
	assert_int_equal(gd_front_wish(0, 51728), GIO_XENBUS_MMIO_BASE + GIO_XENBUS_MMIO_STEP);		     /* xvdb */
	assert_int_equal(gd_front_wish(0, 51952), GIO_XENBUS_MMIO_BASE + 15 * GIO_XENBUS_MMIO_STEP);	     /* xvdp */
	assert_int_equal(gd_front_wish(0, 1u << 28 | 17 << 8), GIO_XENBUS_MMIO_BASE + GIO_XENBUS_MMIO_STEP); /* xvdr */
	assert_int_equal(gd_front_wish(0, 1), GIO_XENBUS_MMIO_BASE + GIO_XENBUS_MMIO_STEP);
	assert_int_equal(gd_front_wish(3, 51728), GIO_XENBUS_MMIO_BASE + 49 * GIO_XENBUS_MMIO_STEP);
	for (uint32_t devid = 0; devid < 70000; devid++)
		assert_true(gd_front_place(gd_front_wish((uint16_t)(devid * 7), devid * 61681u)));
}

static void keeps_a_former_place(void **state)
{
	const uint64_t used = GIO_XENBUS_MMIO_BASE + 5 * GIO_XENBUS_MMIO_STEP;

	(void)state;
	assert_int_equal(gd_front_base(0, GIO_XENBUS_MMIO_BASE + 7 * GIO_XENBUS_MMIO_STEP, &used, 1),
			 GIO_XENBUS_MMIO_BASE + 7 * GIO_XENBUS_MMIO_STEP);
	assert_int_equal(gd_front_base(0, GIO_XENBUS_MMIO_END - GIO_XENBUS_MMIO_STEP, &used, 1),
			 GIO_XENBUS_MMIO_END - GIO_XENBUS_MMIO_STEP);
	/* Used, outside of the window, or not at a multiple: chosen anew. */
	assert_int_equal(gd_front_base(0, used, &used, 1), GIO_XENBUS_MMIO_BASE);
	assert_int_equal(gd_front_base(0, GIO_XENBUS_MMIO_END, &used, 1), GIO_XENBUS_MMIO_BASE);
	assert_int_equal(gd_front_base(0, GIO_XENBUS_MMIO_BASE - GIO_XENBUS_MMIO_STEP, &used, 1), GIO_XENBUS_MMIO_BASE);
	assert_int_equal(gd_front_base(0, GIO_XENBUS_MMIO_BASE + 0x200, &used, 1), GIO_XENBUS_MMIO_BASE);
	/* Another backend begins elsewhere. */
	assert_int_equal(gd_front_base(3, 0, &used, 1), GIO_XENBUS_MMIO_BASE + 48 * GIO_XENBUS_MMIO_STEP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_an_answer),	 cmocka_unit_test(looks_at_answers_only),
		cmocka_unit_test(refuses_what_is_wrong), cmocka_unit_test(chooses_free_places),
		cmocka_unit_test(keeps_a_former_place),	 cmocka_unit_test(places_are_the_disks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
