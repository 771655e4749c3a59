/* SPDX-License-Identifier: MIT */
/* Which NBD servers may be used: sockets by the directory where they really are, hosts by name and port. */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const serve[] = {"nbdkit", "-f", "--exit-with-parent", "memory", "1M", NULL};

static int open_by(struct disk_rig *rig, const char *target, const char *const *allow)
{
	struct gd_disk_config config = {.target = target, .direct = true, .nbd_allow = allow};
	int result = gd_disk_open(&rig->disk, &config, &rig->log, rig->error, sizeof(rig->error));

	if (result)
		rig->disk = NULL;
	rig_close(rig);
	return result;
}

#define ALLOW(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_sockets(void **state)
{
	struct disk_rig *rig = *state;
	char below[96], alias[96], linked[160], beside[96], outside[96], hidden[160];
	const char *const none[] = {NULL};

	rig_server(rig, serve);
	snprintf(below, sizeof(below), "unix:%s", rig->dir);
	assert_int_equal(open_by(rig, rig->uri, NULL), 0);
	assert_int_equal(open_by(rig, rig->uri, ALLOW("all")), 0);
	assert_int_equal(open_by(rig, rig->uri, ALLOW(below)), 0);
	assert_int_equal(open_by(rig, rig->uri, ALLOW("unix:/none/such", "unix:/")), 0);
	snprintf(alias, sizeof(alias), "unix:%s/alias", rig->dir);
	assert_int_equal(symlink(rig->dir, alias + 5), 0);
	assert_int_equal(open_by(rig, rig->uri, ALLOW(alias)), 0); /* the directory may be named by a link */
	snprintf(linked, sizeof(linked), "nbd+unix:///?socket=%s/alias/./alias/%s", rig->dir,
		 strrchr(rig->socket, '/') + 1);
	assert_int_equal(open_by(rig, linked, ALLOW(below)), 0);

	assert_int_equal(open_by(rig, rig->uri, none), -EPERM);
	assert_non_null(strstr(rig->error, rig->socket));
	assert_non_null(strstr(rig->error, "is in no directory that NBD servers' may lie in (nbd-allow = unix:DIR)"));
	assert_int_equal(open_by(rig, rig->uri, ALLOW("none")), -EPERM);
	assert_int_equal(open_by(rig, rig->uri, ALLOW("tcp:localhost")), -EPERM);
	snprintf(beside, sizeof(beside), "unix:%.*s", (int)strlen(rig->dir) - 1, rig->dir);
	assert_int_equal(open_by(rig, rig->uri, ALLOW(beside)), -EPERM); /* the same beginning is no directory */

	/* A link in the allowed directory to a socket elsewhere. */
	snprintf(outside, sizeof(outside), "unix:%s/inside", rig->dir);
	assert_int_equal(mkdir(outside + 5, 0700), 0);
	snprintf(linked, sizeof(linked), "%s/link.sock", outside + 5);
	assert_int_equal(symlink(rig->socket, linked), 0);
	snprintf(hidden, sizeof(hidden), "nbd+unix:///?socket=%s/link.sock", outside + 5);
	assert_int_equal(open_by(rig, hidden, ALLOW(outside)), -EPERM);
	assert_non_null(strstr(rig->error, rig->socket)); /* the line names the real one */
	assert_int_equal(open_by(rig, "nbd+unix:///?socket=/none/such", ALLOW("unix:/")), -ENOTCONN);
	assert_string_equal(rig->error,
			    "nbd+unix:///?socket=/none/such: socket \"/none/such\": No such file or directory");
}

static void test_hosts(void **state)
{
	struct disk_rig *rig = *state;
	char with_port[64];
	const char *port;

	rig_server_tcp(rig, serve);
	port = strrchr(rig->uri, ':') + 1;
	snprintf(with_port, sizeof(with_port), "tcp:localhost:%.*s", (int)strspn(port, "0123456789"), port);
	assert_int_equal(open_by(rig, rig->uri, NULL), 0);
	assert_int_equal(open_by(rig, rig->uri, ALLOW("tcp:localhost")), 0);
	assert_int_equal(open_by(rig, rig->uri, ALLOW("unix:/", with_port)), 0);
	assert_int_equal(
		open_by(rig, rig->uri, ALLOW("unix:/", "tcp:localhost:1", "tcp:localhost1", "tcp:local", "tcp:")),
		-EPERM);
	assert_non_null(strstr(rig->error, "is no NBD server that may be used (nbd-allow = tcp:HOST:PORT)"));
	/* A name is not looked up to be compared: what is allowed is what is written. */
	assert_int_equal(open_by(rig, "nbd://localhost:1/", ALLOW("tcp:127.0.0.1")), -EPERM);
	assert_int_equal(open_by(rig, "nbd://[::1]:1/", ALLOW("tcp:::1:1", "tcp:[::1]:10809")), -EPERM);
	assert_int_not_equal(open_by(rig, "nbd://LOCALHOST:1/", ALLOW("tcp:localhost:1")), -EPERM);
	assert_int_not_equal(open_by(rig, "nbd://[::1]:1/", ALLOW("tcp:[::1]:1")), -EPERM);
	assert_int_not_equal(open_by(rig, "nbd://[::1]:1/", ALLOW("tcp:[::1]")), -EPERM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {TEST(test_sockets), TEST(test_hosts)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
