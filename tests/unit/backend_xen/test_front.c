/* SPDX-License-Identifier: MIT */
/* What a guest answers to an address that we chose or to messages that we offer (docs/xenbus.md), and the choosing. */
#include "backend/xenbus/front.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char name[GD_FRONT_NAME];

static int parse(const char *state, const char *version, const char *dma, const char *port, struct gd_front *out,
		 char *error)
{
	struct gd_front_keys keys = {{(char *)state, (char *)version, (char *)dma, (char *)port}};

	memset(error, 0, GD_KEYS_ERROR);
	return gd_front_parse(&keys, 0, out, error);
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

/* ---- version 2 -------------------------------------------------------------------------------------------------- */

#define PORT(k) (GD_FRONT_KEY_QUEUE_PORT + (k))
#define RUN(k)	(GD_FRONT_KEY_POOL_RUN + (k))

/* An answer that is right, with two channels and two runs. */
static const char *const right_values[GD_FRONT_KEYS] = {[GD_FRONT_KEY_STATE] = "3",
							[GD_FRONT_KEY_VERSION] = "2",
							[GD_FRONT_KEY_DMA] = "pool",
							[GD_FRONT_KEY_PORT] = "9",
							[GD_FRONT_KEY_TRANSPORT] = "virtio-msg",
							[GD_FRONT_KEY_DRAFT] = GIO_MSG_DRAFT,
							[GD_FRONT_KEY_CONNECTION] = "00fedcba98765432",
							[GD_FRONT_KEY_DRIVER_PAGE] = "8",
							[GD_FRONT_KEY_DEVICE_PAGE] = "4294967295",
							[GD_FRONT_KEY_CHANNELS] = "2",
							[GD_FRONT_KEY_POOL_RUNS] = "2",
							[PORT(0)] = "10",
							[PORT(1)] = "131071",
							[RUN(0)] = "16:512:r",
							[RUN(1)] = "4294950912:16384:w"};

static struct gd_front_keys right(void)
{
	struct gd_front_keys keys;

	for (unsigned key = 0; key < GD_FRONT_KEYS; key++)
		keys.value[key] = (char *)right_values[key];
	return keys;
}

static void takes_an_answer_of_version_2(void **state)
{
	struct gd_front_keys keys = right();
	char error[GD_KEYS_ERROR];
	struct gd_front front;

	(void)state;
	assert_int_equal(gd_front_parse(&keys, 4, &front, error), 0);
	assert_int_equal(front.state, 3);
	assert_int_equal(front.version, 2);
	assert_int_equal(front.port, 0);
	assert_true(front.answer.connection == UINT64_C(0x00fedcba98765432));
	assert_true(front.answer.only);
	assert_int_equal(front.answer.driver_page, 8);
	assert_int_equal(front.answer.device_page, 4294967295);
	assert_int_equal(front.answer.port, 9);
	assert_int_equal(front.answer.channels, 2);
	assert_int_equal(front.answer.ports[0], 10);
	assert_int_equal(front.answer.ports[1], 131071);
	assert_int_equal(front.answer.runs, 2);
	assert_int_equal(front.answer.run[0].first, 16);
	assert_int_equal(front.answer.run[0].count, 512);
	assert_false(front.answer.run[0].write);
	assert_int_equal(front.answer.run[1].first, 4294950912);
	assert_true(front.answer.run[1].write);
	keys.value[GD_FRONT_KEY_DMA] = (char *)"grant";
	keys.value[GD_FRONT_KEY_POOL_RUNS] = NULL;
	assert_int_equal(gd_front_parse(&keys, 2, &front, error), 0);
	assert_false(front.answer.only);
	assert_int_equal(front.answer.runs, 0);
	keys.value[GD_FRONT_KEY_STATE] = (char *)"6"; /* then nothing else means anything */
	keys.value[GD_FRONT_KEY_DRAFT] = NULL;
	assert_int_equal(gd_front_parse(&keys, 2, &front, error), 0);
	assert_int_equal(front.version, 0);
	/* A guest that answers to what was not offered. */
	keys = right();
	assert_int_equal(gd_front_parse(&keys, 0, &front, error), -EINVAL);
	assert_string_equal(error, "the guest's grantio-version '2': must be 1");
}

static const char run_error[] = "must be FIRST:COUNT:r or :w, from 8 on, at most 16384 pages";

static void refuses_what_is_wrong_in_version_2(void **state)
{
	static const struct {
		unsigned key;
		const char *value, *error;
	} cases[] = {
		{GD_FRONT_KEY_VERSION, "3", "must be 1 or 2"},
		{GD_FRONT_KEY_TRANSPORT, "mmio", "must be virtio-msg"},
		{GD_FRONT_KEY_TRANSPORT, NULL, "must be virtio-msg"},
		{GD_FRONT_KEY_DRAFT, "vmsg-009bce0854bf", "must be " GIO_MSG_DRAFT},
		{GD_FRONT_KEY_DRAFT, "vmsg-009bce0854be ", "must be " GIO_MSG_DRAFT},
		{GD_FRONT_KEY_DRAFT, NULL, "must be " GIO_MSG_DRAFT},
		{GD_FRONT_KEY_CONNECTION, NULL, "must be 16 hexadecimal digits"},
		{GD_FRONT_KEY_CONNECTION, "00fedcba9876543", "must be 16 hexadecimal digits"},
		{GD_FRONT_KEY_CONNECTION, "00fedcba987654321", "must be 16 hexadecimal digits"},
		{GD_FRONT_KEY_CONNECTION, "0x00fedcba987654", "must be 16 hexadecimal digits"},
		{GD_FRONT_KEY_CONNECTION, " 0fedcba98765432", "must be 16 hexadecimal digits"},
		{GD_FRONT_KEY_DMA, "foreign", "must be grant or pool"},
		{GD_FRONT_KEY_DMA, NULL, "must be grant or pool"},
		{GD_FRONT_KEY_DRIVER_PAGE, "7", "must be a grant reference, at least 8"},
		{GD_FRONT_KEY_DRIVER_PAGE, "4294967296", "must be a grant reference, at least 8"},
		{GD_FRONT_KEY_DRIVER_PAGE, "4294967295", "must be another page than the driver's"},
		{GD_FRONT_KEY_DEVICE_PAGE, NULL, "must be a grant reference, at least 8"},
		{GD_FRONT_KEY_PORT, "0", "must be a port, 1 to 131071"},
		{GD_FRONT_KEY_PORT, "131072", "must be a port, 1 to 131071"},
		{GD_FRONT_KEY_CHANNELS, "0", "must be 1 to 4"},
		{GD_FRONT_KEY_CHANNELS, "5", "must be 1 to 4"},
		{GD_FRONT_KEY_CHANNELS, NULL, "must be 1 to 4"},
		{GD_FRONT_KEY_CHANNELS, "3", "must be a port, 1 to 131071"}, /* the third is not there */
		{PORT(0), "9", "must be another port than that of messages"},
		{PORT(1), "10", "must be another port than queue 0 has"},
		{PORT(1), "-1", "must be a port, 1 to 131071"},
		{GD_FRONT_KEY_POOL_RUNS, "9", "must be 0 to 8"},
		{GD_FRONT_KEY_POOL_RUNS, "", "must be 0 to 8"},
		{GD_FRONT_KEY_POOL_RUNS, "3", run_error}, /* the third is not there */
		{RUN(0), "7:1:r", run_error},
		{RUN(0), "16:0:r", run_error},
		{RUN(0), "16:16385:r", run_error},
		{RUN(0), "4294967295:2:w", run_error},
		{RUN(0), "16:512", run_error},
		{RUN(0), "16:512:x", run_error},
		{RUN(0), "16:512:rw", run_error},
		{RUN(0), "16:512:r ", run_error},
		{RUN(0), " 16:512:r", run_error},
		{RUN(0), "16: 512:r", run_error},
		{RUN(0), "+16:512:r", run_error},
		{RUN(0), "16:99999999999:r", run_error},
	};
	char error[GD_KEYS_ERROR];
	struct gd_front front;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gd_front_keys keys = right();

		keys.value[cases[i].key] = (char *)cases[i].value;
		assert_int_equal(gd_front_parse(&keys, 4, &front, error), -EINVAL);
		if (!strstr(error, cases[i].error) || strncmp(error, "the guest's ", 12))
			fail_msg("%zu: %s", i, error);
		assert_int_equal(front.state, 3); /* which is known all the same */
	}
}

/* A guest must not make us read keys that mean nothing. */
static void reads_no_more_than_needed(void **state)
{
	struct gd_front_keys keys = {{NULL}};
	unsigned wanted = 0;

	(void)state;
	keys.value[GD_FRONT_KEY_STATE] = (char *)"1";
	for (unsigned key = 0; key < GD_FRONT_KEYS; key++)
		wanted += gd_front_key_wanted(&keys, key);
	assert_int_equal(wanted, 1);
	keys.value[GD_FRONT_KEY_STATE] = (char *)"4";
	keys.value[GD_FRONT_KEY_VERSION] = (char *)"1";
	for (unsigned key = 0; key < GD_FRONT_KEYS; key++)
		wanted += gd_front_key_wanted(&keys, key);
	assert_int_equal(wanted, 1 + 4);
	keys = right();
	wanted = 0;
	for (unsigned key = 0; key < GD_FRONT_KEYS; key++)
		wanted += gd_front_key_wanted(&keys, key);
	assert_int_equal(wanted, GD_FRONT_KEY_QUEUE_PORT + 2 + 2);
	keys.value[GD_FRONT_KEY_CHANNELS] = (char *)"17"; /* too many: none */
	assert_false(gd_front_key_wanted(&keys, PORT(0)));
	assert_string_equal(gd_front_key_name(PORT(15), name), "queue-15/event-channel");
	assert_string_equal(gd_front_key_name(RUN(7), name), "pool-7");
	assert_string_equal(gd_front_key_name(GD_FRONT_KEY_DRAFT, name), "virtio-msg/draft");
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
		cmocka_unit_test(takes_an_answer),
		cmocka_unit_test(looks_at_answers_only),
		cmocka_unit_test(refuses_what_is_wrong),
		cmocka_unit_test(takes_an_answer_of_version_2),
		cmocka_unit_test(refuses_what_is_wrong_in_version_2),
		cmocka_unit_test(reads_no_more_than_needed),
		cmocka_unit_test(chooses_free_places),
		cmocka_unit_test(keeps_a_former_place),
		cmocka_unit_test(places_are_the_disks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
