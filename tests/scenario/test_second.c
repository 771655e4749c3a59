/* SPDX-License-Identifier: MIT */
/* A second grantiod for the same domain is refused before it touches anything of the first one's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/host.h"

static const uint16_t guests[] = {1, 0};

static void refused(struct th_host *host, const char *const *arguments)
{
	char text[4096], wanted[64];

	assert_int_equal(th_grantiod_run(host, arguments, text, sizeof(text)), 1);
	snprintf(wanted, sizeof(wanted), "<3>process %d is a grantiod that serves domain 0's disks already",
		 (int)host->grantiod);
	if (!strstr(text, wanted))
		fail_msg("no line '%s' in '%s'", wanted, text);
	assert_null(strstr(text, "<5>ready\n"));
}

/* Whatever settings either has; and the guest's disk goes on. */
static void refused_with_any_settings(void **state)
{
	char dir[] = "/tmp/gd-second-XXXXXX", other[] = "/tmp/gd-second-XXXXXX";
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	const char *ours[] = {"--state-dir", dir, NULL}, *others[] = {"--state-dir", other, NULL};
	const char *const *first[] = {ours, NULL}, *const * second[] = {ours, others, NULL};
	struct gp_disk *disk;

	assert_true(mkdtemp(dir) && mkdtemp(other));
	th_domain_create(host, 1);
	for (unsigned i = 0; i < 2; i++) {
		th_grantiod_start(host, first[i]);
		th_disk_attach(host, 1, 0, image);
		disk = th_guest_open(host, 1, 0);
		for (unsigned k = 0; k < 3; k++) {
			refused(host, second[k]);
			th_guest_check(disk, image, 0, 65536, 3 * i + k);
		}
		th_guest_close(disk);
		th_disk_detach(host, 1, 0);
		th_grantiod_end(host, guests);
	}
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(other), 0);
}

/* One that is killed is in nobody's way, and neither is one that was stopped before it was killed. */
static void successor(void **state)
{
	struct th_host *host = *state;

	for (unsigned i = 0; i < 4; i++) {
		th_grantiod_start(host, NULL);
		if (i % 2)
			th_grantiod_pause(host);
		assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	}
	th_grantiod_start(host, NULL);
	th_grantiod_end(host, guests);
}

/* The same store, named by its directory, is no other one. */
static void named_by_directory(void **state)
{
	struct th_host *host = *state;
	char link[96], *path = strdup(getenv("XENSTORED_PATH"));

	assert_non_null(path);
	snprintf(link, sizeof(link), "%s/socket", host->dir);
	assert_int_equal(symlink(path, link), 0);
	th_grantiod_start(host, NULL);
	unsetenv("XENSTORED_PATH");
	setenv("XENSTORED_RUNDIR", host->dir, 1);
	refused(host, NULL);
	unsetenv("XENSTORED_RUNDIR");
	setenv("XENSTORED_PATH", path, 1);
	free(path);
	th_grantiod_end(host, guests);
	assert_int_equal(unlink(link), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refused_with_any_settings, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(successor, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(named_by_directory, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
