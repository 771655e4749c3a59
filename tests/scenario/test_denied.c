/* SPDX-License-Identifier: MIT */
/*
 * What becomes of disks when grantiod is denied something (by scenario/deny.c): threads, as under a full pids.max, and
 * what a guest is called.
 */
#include "tests/host/host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint16_t guests[] = {1, 0};
static char threads[96], names[96]; /* files: while they are there */

static void threads_limit(const char *count)
{
	FILE *file = fopen(threads, "w");

	assert_non_null(file);
	fputs(count, file);
	assert_int_equal(fclose(file), 0);
}

static const char error_node[] = "/local/domain/0/error/backend/virtio_disk/1/51728/error";

/* The disk is refused with that reason, before a guest could find it, and the others go on; later it is served. */
static void no_threads(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	struct gp_disk *disk;
	char *reason;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	disk = th_guest_open(host, 1, 0);
	threads_limit("0");
	th_disk_write(host, 1, 1, th_image(host, "b.raw", TH_MIB), NULL);
	assert_false(th_disk_verdict(host, 1, 1));
	reason = th_store_read(host, error_node);
	assert_non_null(reason);
	assert_non_null(strstr(reason, "Resource temporarily unavailable"));
	free(reason);
	th_guest_check(disk, image, 0, 65536, 1);
	assert_int_equal(unlink(threads), 0);
	kill(host->grantiod, SIGHUP);
	th_disk_wait(host, 1, 1, 2);
	th_guest_check(disk, image, 0, 65536, 2);
	th_guest_close(disk);
	th_disk_detach(host, 1, 1);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
}

/* A disk that was served before waits for them, and its guest for the disk. */
static void no_threads_for_a_successor(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	const char *dir = th_state_dir(*state);
	const char *const arguments[] = {"--state-dir", dir, NULL};
	struct gp_disk *disk;

	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	th_grantiod_start(host, arguments);
	disk = th_guest_open(host, 1, 0);
	th_disk_wait(host, 1, 0, 4);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	threads_limit("1"); /* libxenstore's */
	th_grantiod_start(host, arguments);
	th_log_wait(host, "Resource temporarily unavailable: it was served before: waiting for what it needs", 1);
	assert_int_equal(unlink(threads), 0);
	th_log_wait(host, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	th_guest_check(disk, image, 0, 65536, 1);
	th_guest_close(disk);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(dir), 0);
}

/* A local image's size is looked at without one: it changes while none is to be had. */
static void size_without(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	threads_limit("0");
	assert_int_equal(truncate(image, 2 * TH_MIB), 0);
	th_log_wait(host, "d1/xvda: size is now 2097152 bytes", 1);
	assert_int_equal(th_log_count(host, "cannot look at the image's size"), 0);
	assert_int_equal(unlink(threads), 0);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
}

static void names_deny(void)
{
	FILE *file = fopen(names, "w");

	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
}

/* The settings name guests, and nobody can tell which guest this is: that is no reason to refuse its disk. */
static void no_names(void **state)
{
	static const char *const arguments[] = {"--allow-foreign", "web", NULL};
	struct th_host *host = *state;
	char *error;

	names_deny();
	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, th_image(host, "a.raw", TH_MIB), NULL);
	th_disk_write(host, 1, 1, "/none/such", (const struct th_key[]){{"state", "x"}, {NULL, NULL}});
	th_log_wait(host, "d1/xvdb: state 'x': must be a number", 1); /* so the first one was looked at */
	error = th_store_read(host, "/local/domain/0/error/backend/virtio_disk/1/51712/error");
	assert_null(error);
	assert_int_equal(unlink(names), 0);
	kill(host->grantiod, SIGHUP);
	th_disk_wait(host, 1, 0, 2);
	th_disk_remove(host, 1, 1);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
}

/* A disk that was served before is tried again, and meanwhile its guest's accesses wait. */
static void no_names_for_a_successor(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	char dir[] = "/tmp/gd-denied-XXXXXX";
	const char *const arguments[] = {"--state-dir", dir, "--allow-foreign", "web", NULL};
	struct gp_disk *disk;

	assert_non_null(mkdtemp(dir));
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	th_grantiod_start(host, arguments);
	disk = th_guest_open(host, 1, 0);
	th_disk_wait(host, 1, 0, 4);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	names_deny();
	th_grantiod_start(host, arguments);
	th_log_wait(host, "cannot look up what its guest is called: ", 1);
	assert_int_equal(unlink(names), 0);
	th_guest_check(disk, image, 0, 65536, 1);
	th_log_wait(host, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	th_guest_close(disk);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(dir), 0);
}

/* The library stands before libc, with the model's. */
static int setup(void **state)
{
	char libraries[512];

	snprintf(libraries, sizeof(libraries), "%s:%s", getenv("DENY_LIB"), getenv("MODEL_LIB"));
	setenv("GRANTIO_MODEL_LIB", libraries, 1);
	if (th_setup(state))
		return -1;
	snprintf(threads, sizeof(threads), "%s/threads", ((struct th_host *)*state)->dir);
	snprintf(names, sizeof(names), "%s/names", ((struct th_host *)*state)->dir);
	setenv("DENY_THREADS", threads, 1);
	setenv("DENY_NAMES", names, 1);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_threads, setup, th_teardown),
		cmocka_unit_test_setup_teardown(no_threads_for_a_successor, setup, th_teardown),
		cmocka_unit_test_setup_teardown(size_without, setup, th_teardown),
		cmocka_unit_test_setup_teardown(no_names, setup, th_teardown),
		cmocka_unit_test_setup_teardown(no_names_for_a_successor, setup, th_teardown),
	};

	setenv("MODEL_LIB", getenv("GRANTIO_MODEL_LIB"), 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
