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

static void refused(struct rig *rig, const char *const *arguments)
{
	char text[4096], wanted[64];

	assert_int_equal(rig_daemon_run(rig, arguments, text, sizeof(text)), 1);
	snprintf(wanted, sizeof(wanted), "<3>process %d is a grantiod that serves domain 0's disks already",
		 (int)rig->daemon);
	if (!strstr(text, wanted))
		fail_msg("no line '%s' in '%s'", wanted, text);
	assert_null(strstr(text, "<5>ready\n"));
}

/* Whatever settings either has; and the guest's disk goes on. */
static void refused_with_any_settings(void **state)
{
	char dir[] = "/tmp/gd-second-XXXXXX", other[] = "/tmp/gd-second-XXXXXX";
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", RIG_MIB);
	const char *ours[] = {"--state-dir", dir, NULL}, *others[] = {"--state-dir", other, NULL};
	const char *const *first[] = {ours, NULL}, *const * second[] = {ours, others, NULL};
	struct gp_disk *disk;

	assert_true(mkdtemp(dir) && mkdtemp(other));
	rig_domain_create(rig, 1);
	for (unsigned i = 0; i < 2; i++) {
		rig_daemon_start(rig, first[i]);
		rig_disk_attach(rig, 1, 0, image);
		disk = rig_guest_open(rig, 1, 0);
		for (unsigned k = 0; k < 3; k++) {
			refused(rig, second[k]);
			rig_guest_check(disk, image, 0, 65536, 3 * i + k);
		}
		rig_guest_close(disk);
		rig_disk_detach(rig, 1, 0);
		rig_daemon_end(rig, guests);
	}
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(other), 0);
}

/* One that is killed is in nobody's way, and neither is one that was stopped before it was killed. */
static void successor(void **state)
{
	struct rig *rig = *state;

	for (unsigned i = 0; i < 4; i++) {
		rig_daemon_start(rig, NULL);
		if (i % 2)
			rig_daemon_pause(rig);
		assert_true(WIFSIGNALED(rig_daemon_stop(rig, SIGKILL)));
	}
	rig_daemon_start(rig, NULL);
	rig_daemon_end(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refused_with_any_settings, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(successor, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
