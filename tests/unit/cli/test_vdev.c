/* SPDX-License-Identifier: MIT */
/* Names of disks: the numbers of xen-vbd-interface(7). */
#include "cli/vdev.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_names(void **state)
{
	static const struct {
		const char *name;
		uint32_t devid;
	} good[] = {
		{"xvda", 51712},
		{"xvda1", 51713},
		{"xvda15", 51727},
		{"xvdb", 51728},
		{"xvdp", 202 << 8 | 15 << 4},
		{"xvdp15", 51967},
		{"xvda16", 1 << 28 | 16},
		{"xvdq", 1 << 28 | 16 << 8},
		{"xvdz255", 1 << 28 | 25 << 8 | 255},
		{"xvdaa", 1 << 28 | 26 << 8},
		{"xvdba", 1 << 28 | 52 << 8},
		{"xvdzzz9", 1 << 28 | 18277 << 8 | 9}, /* as long as xl's disk numbers go */
		{"d0", 51712},
		{"d0p0", 51712},
		{"d0p1", 51713},
		{"d20p0", 1 << 28 | 20 << 8},
		{"d16", 1 << 28 | 16 << 8},
		{"d1048575p255", 1 << 28 | 0xfffff << 8 | 255},
		{"hda", 768},
		{"hda63", 831},
		{"hdb", 832},
		{"hdc", 5632},
		{"hdd1", 5697},
		{"sda", 2048},
		{"sdp15", 2303},
		{"51712", 51712},
		{"0xca20", 0xca20},
		{"0X1fffFFFF", 0x1fffffff},
		{"0", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint32_t devid = UINT32_MAX;

		assert_int_equal(gc_vdev_parse(good[i].name, &devid), 0);
		assert_int_equal(devid, good[i].devid);
	}
}

static void test_bad_names(void **state)
{
	static const char *const bad[] = {
		"",	    "foo",	   "xvd",	    "xvd1",	   "xvda0",	  "xvda01",	"xvda256",
		"xvdA",	    "xvda1x",	   "xvda ",	    "hde",	   "hda64",	  "hdaa",	"sdq",
		"sda16",    "d",	   "dp1",	    "d1p",	   "d1p00",	  "d01",	"d1p256",
		"d1048576", "xvdzzzzz",	   "xvdzzzzzzzzzz", "-1",	   "0x",	  "0x20000000", "0xg",
		"0x-1",	    "0x000000001", "536870912",	    "99999999999", "d4294967296", "1a",
	};
	uint32_t devid;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (gc_vdev_parse(bad[i], &devid) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
