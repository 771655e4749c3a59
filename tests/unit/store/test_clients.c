/* SPDX-License-Identifier: MIT */
/* Debian's libxenstore and xenstore programs on the store, unchanged. */
#include "tests/unit/store/fixture.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void expect_read(struct xs_handle *xs, xs_transaction_t tx, const char *path, const char *wanted)
{
	unsigned length;
	char *value = xs_read(xs, tx, path, &length);

	if (wanted) {
		assert_non_null(value);
		assert_string_equal(value, wanted);
		assert_int_equal(length, strlen(wanted));
	} else {
		assert_null(value);
	}
	free(value);
}

static bool put(struct xs_handle *xs, xs_transaction_t tx, const char *path, const char *value)
{
	return xs_write(xs, tx, path, value, (unsigned)strlen(value));
}

static void test_library(void **state)
{
	struct xs_permissions perms[2] = {{.id = 0, .perms = XS_PERM_NONE}, {.id = 1, .perms = XS_PERM_READ}}, *got;
	struct xs_handle *xs = xs_open_as(0), *guest = xs_open_as(1);
	unsigned count;
	char **names, *path;

	(void)state;
	assert_non_null(xs);
	assert_non_null(guest);
	assert_true(put(xs, XBT_NULL, "/local/domain/1/name", "one"));
	assert_true(xs_mkdir(xs, XBT_NULL, "/local/domain/1/device"));
	names = xs_directory(xs, XBT_NULL, "/local/domain/1", &count);
	assert_non_null(names);
	assert_int_equal(count, 2);
	assert_string_equal(names[1], "device");
	free(names);
	expect_read(guest, XBT_NULL, "name", NULL);
	assert_int_equal(errno, EACCES);
	assert_true(xs_set_permissions(xs, XBT_NULL, "/local/domain/1/name", perms, 2));
	expect_read(guest, XBT_NULL, "name", "one");
	got = xs_get_permissions(guest, XBT_NULL, "name", &count);
	assert_non_null(got);
	assert_int_equal(count, 2);
	assert_int_equal(got[1].id, 1);
	assert_int_equal(got[1].perms, XS_PERM_READ);
	free(got);
	assert_false(put(guest, XBT_NULL, "name", "two"));
	assert_int_equal(errno, EACCES);
	path = xs_get_domain_path(guest, 1);
	assert_string_equal(path, "/local/domain/1");
	free(path);
	assert_true(xs_introduce_domain(xs, 9, 1, 1));
	assert_true(xs_is_domain_introduced(xs, 9));
	assert_true(xs_release_domain(xs, 9));
	assert_false(xs_is_domain_introduced(xs, 9));
	assert_true(xs_rm(xs, XBT_NULL, "/local/domain/1"));
	expect_read(xs, XBT_NULL, "/local/domain/1/name", NULL);
	xs_close(guest);
	xs_close(xs);
}

static void test_large_directory(void **state)
{
	struct xs_handle *xs = xs_open_as(0);
	char path[64], **names;
	unsigned count;

	(void)state;
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "/many/a-name-of-some-length-%03d", i);
		assert_true(xs_mkdir(xs, XBT_NULL, path));
	}
	names = xs_directory(xs, XBT_NULL, "/many", &count); /* more than one message */
	assert_non_null(names);
	assert_int_equal(count, 500);
	assert_string_equal(names[499], "a-name-of-some-length-499");
	free(names);
	xs_close(xs);
}

static void test_transactions(void **state)
{
	struct xs_handle *xs = xs_open_as(0), *other = xs_open_as(0);
	xs_transaction_t tx = xs_transaction_start(xs);

	(void)state;
	assert_int_not_equal(tx, XBT_NULL);
	assert_true(put(xs, tx, "/n", "1"));
	expect_read(other, XBT_NULL, "/n", NULL);
	assert_true(xs_transaction_end(xs, tx, false));
	expect_read(other, XBT_NULL, "/n", "1");
	tx = xs_transaction_start(xs);
	expect_read(xs, tx, "/n", "1");
	assert_true(put(other, XBT_NULL, "/n", "2"));
	expect_read(xs, tx, "/n", "1"); /* as it was at the start */
	assert_true(put(xs, tx, "/n", "3"));
	assert_false(xs_transaction_end(xs, tx, false));
	assert_int_equal(errno, EAGAIN);
	expect_read(xs, XBT_NULL, "/n", "2");
	xs_close(xs);
	xs_close(other);
}

static void expect_watch(struct xs_handle *xs, const char *path, const char *token)
{
	struct pollfd wait = {.fd = xs_fileno(xs), .events = POLLIN};
	char **event;

	assert_int_equal(poll(&wait, 1, 60000), 1);
	event = xs_check_watch(xs);
	assert_non_null(event);
	assert_string_equal(event[XS_WATCH_PATH], path);
	assert_string_equal(event[XS_WATCH_TOKEN], token);
	free(event);
}

static void test_watches(void **state)
{
	struct xs_handle *xs = xs_open_as(0), *other = xs_open_as(0);

	(void)state;
	assert_true(xs_watch(xs, "/w", "token"));
	expect_watch(xs, "/w", "token");
	assert_true(put(other, XBT_NULL, "/w/below", "1"));
	expect_watch(xs, "/w/below", "token");
	assert_true(xs_watch(xs, "@introduceDomain", "intro"));
	expect_watch(xs, "@introduceDomain", "intro");
	assert_true(xs_introduce_domain(other, 12, 1, 1));
	expect_watch(xs, "@introduceDomain", "intro");
	assert_true(xs_unwatch(xs, "/w", "token"));
	xs_close(xs);
	xs_close(other);
}

/* Run a program as domain 0; its output. */
static void program(char *out, size_t size, const char *command)
{
	char path[108];
	size_t got;
	FILE *pipe;

	snprintf(path, sizeof(path), "%s/store", store_dir);
	setenv("XENSTORED_PATH", path, 1);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	got = fread(out, 1, size - 1, pipe);
	out[got] = '\0';
	assert_int_equal(pclose(pipe), 0);
}

static void test_programs(void **state)
{
	struct xs_handle *xs;
	char out[4096];

	(void)state;
	program(out, sizeof(out), "timeout 60 xenstore-write /p/a 1 /p/b two && timeout 60 xenstore-chmod /p/b n0 r1");
	program(out, sizeof(out), "timeout 60 xenstore-ls -fp /p");
	assert_string_equal(out, "/p/a = \"1\"   (n0)\n/p/b = \"two\"   (n0,r1)\n");
	program(out, sizeof(out), "timeout 60 xenstore-ls -f");
	assert_non_null(strstr(out, "/local/domain/0/name = \"Domain-0\"\n"));
	program(out, sizeof(out),
		"timeout 60 xenstore-read /p/b; timeout 60 xenstore-exists /p/a; timeout 60 xenstore-list /p");
	assert_string_equal(out, "two\na\nb\n");
	program(out, sizeof(out), "timeout 60 xenstore-watch -n 1 /p"); /* the first event comes at once */
	assert_string_equal(out, "/p\n");
	program(out, sizeof(out), "timeout 60 xenstore-rm /p/a");
	xs = xs_open_as(0);
	expect_read(xs, XBT_NULL, "/p/a", NULL);
	xs_close(xs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_library, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_large_directory, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_transactions, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_watches, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_programs, store_setup, store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
