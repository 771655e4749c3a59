/* SPDX-License-Identifier: MIT */
/* The command table: dispatch, options, numbers; and that every fault is one line. */
#include "tests/unit/cli/catch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct gc_option options[] = {
	{"name", "NAME", "a value"},
	{"force", NULL, "a flag"},
	{0},
};
static struct gc_args seen;

static int leaf_run(int argc, char **argv)
{
	return gc_args_parse(&seen, options, argc, argv, 1, 2) ? GC_OK : GC_USAGE;
}

static int fail_run(int argc, char **argv)
{
	(void)argc;
	return gc_fail("%s: a\nb", argv[0]);
}

static const struct gc_command leaf = {.name = "leaf",
				       .summary = "takes arguments",
				       .args = "ONE [TWO]",
				       .options = options,
				       .details = "More.\n",
				       .run = leaf_run};
static const struct gc_command fail = {.name = "fail", .summary = "fails", .run = fail_run};
static const struct gc_command *const group_commands[] = {&leaf, &fail, NULL};
static const struct gc_command group = {.name = "group", .summary = "holds commands", .commands = group_commands};
static const struct gc_command *const root_commands[] = {&group, NULL};
static const struct gc_command root = {.name = "grantio", .summary = "a test", .commands = root_commands};

#define ERR(...) RUN(&root, __VA_ARGS__)

static void one_line(const char *wanted)
{
	assert_string_equal(cli_err, wanted);
	assert_string_equal(cli_out, "");
	assert_ptr_equal(strchr(cli_err, '\n'), cli_err + strlen(cli_err) - 1);
}

static void test_dispatch(void **state)
{
	(void)state;
	assert_int_equal(ERR("group", "leaf", "one", "--name", "x", "two", "--force"), GC_OK);
	assert_string_equal(cli_err, "");
	assert_int_equal(seen.args, 2);
	assert_string_equal(seen.arg[1], "two");
	assert_string_equal(seen.option[0], "x");
	assert_string_equal(seen.option[1], "");
	assert_int_equal(ERR("group", "leaf", "--name=y=z", "--", "--force"), GC_OK);
	assert_string_equal(seen.option[0], "y=z");
	assert_null(seen.option[1]);
	assert_string_equal(seen.arg[0], "--force");
	assert_int_equal(ERR("group", "fail"), GC_FAILED);
	one_line("grantio: group fail: fail: a?b\n");
}

static void test_usage(void **state)
{
	(void)state;
	assert_int_equal(cli_run(&root, (const char *const[]){"grantio", NULL}), GC_USAGE);
	one_line("grantio: a command is missing (see --help)\n");
	assert_int_equal(ERR("nothing"), GC_USAGE);
	one_line("grantio: command 'nothing': no such command (see --help)\n");
	assert_int_equal(ERR("leaf"), GC_USAGE);
	one_line("grantio: command 'leaf': no such command, is it 'group leaf' (see --help)?\n");
	assert_int_equal(ERR("group", "nothing"), GC_USAGE);
	one_line("grantio: group: command 'nothing': no such command (see --help)\n");
	assert_int_equal(ERR("group", "leaf"), GC_USAGE);
	one_line("grantio: group leaf: an argument is missing: 0 given, 1 needed (see --help)\n");
	assert_int_equal(ERR("group", "leaf", "1", "2", "3"), GC_USAGE);
	one_line("grantio: group leaf: argument '3': one too many (see --help)\n");
	assert_int_equal(ERR("group", "leaf", "1", "--foo"), GC_USAGE);
	one_line("grantio: group leaf: option '--foo': no such option (see --help)\n");
	assert_int_equal(ERR("group", "leaf", "1", "-x"), GC_USAGE);
	one_line("grantio: group leaf: option '-x': no such option (see --help)\n");
	assert_int_equal(ERR("group", "leaf", "1", "--name"), GC_USAGE);
	one_line("grantio: group leaf: option --name: NAME is missing\n");
	assert_int_equal(ERR("group", "leaf", "1", "--force=1"), GC_USAGE);
	one_line("grantio: group leaf: option --force: takes no value\n");
	assert_int_equal(ERR("group", "leaf", "1", "--force", "--force"), GC_USAGE);
	one_line("grantio: group leaf: option --force: given twice\n");
}

static void test_help(void **state)
{
	(void)state;
	assert_int_equal(RUN(&root, "--help"), GC_OK);
	assert_non_null(strstr(cli_out, "Usage: grantio COMMAND\n"));
	assert_non_null(strstr(cli_out, "group "));
	assert_int_equal(RUN(&root, "group", "-h"), GC_OK);
	assert_non_null(strstr(cli_out, "Usage: grantio group COMMAND\n"));
	assert_int_equal(RUN(&root, "group", "leaf", "--foo", "--help"), GC_OK);
	assert_non_null(strstr(cli_out, "Usage: grantio group leaf ONE [TWO]\n"));
	assert_non_null(strstr(cli_out, "--name NAME"));
	assert_non_null(strstr(cli_out, "More.\n"));
}

static bool number(const char *value, uint64_t *out)
{
	return gc_number("n", value, 2, 300, out);
}

static bool size(const char *value, uint64_t *out)
{
	return gc_size("s", value, 1, UINT64_MAX, out);
}

static void test_numbers(void **state)
{
	static const char *const bad_numbers[] = {
		"", " 7", "+7", "-7", "7x", "0x", "1", "301", "99999999999999999999", "0x12d"};
	static const char *const bad_sizes[] = {"", "M", "1MM", "1P", "0", "16777216T", "1.5G"};
	uint64_t value;

	(void)state;
	assert_true(number("2", &value) && value == 2);
	assert_true(number("0x12C", &value) && value == 300);
	assert_true(size("64M", &value) && value == 64 << 20);
	assert_true(size("3k", &value) && value == 3072);
	assert_true(size("512", &value) && value == 512);
	for (size_t i = 0; i < sizeof(bad_numbers) / sizeof(*bad_numbers); i++)
		assert_false(number(bad_numbers[i], &value));
	for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(*bad_sizes); i++)
		assert_false(size(bad_sizes[i], &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
