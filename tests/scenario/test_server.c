/* SPDX-License-Identifier: MIT */
/*
 * An NBD server that takes fewer connections than the disk has queues: the disk is refused with that reason, before a
 * guest could find it and wait for it, and others are served meanwhile.
 */
#include "tests/host/host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint16_t guests[] = {1, 2, 0};
static const char error_node[] = "/local/domain/0/error/backend/virtio_disk/1/51728/error";

/* nbdkit goes into the background once it listens. */
static void server_start(const struct rig *rig, char *target, size_t size)
{
	char command[512];

	snprintf(target, size, "nbd+unix:///?socket=%s/nbd.sock", rig->dir);
	snprintf(command, sizeof(command), "nbdkit -P %s/nbd.pid -U %s/nbd.sock --filter=limit memory 1M limit=1",
		 rig->dir, rig->dir);
	assert_int_equal(system(command), 0);
}

/* However the test ended. */
static int server_end(void **state)
{
	const struct rig *rig = *state;
	char path[128];
	int pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/nbd.pid", rig->dir);
	file = fopen(path, "r");
	if (file && fscanf(file, "%d", &pid) == 1 && pid > 1)
		kill(pid, SIGTERM);
	if (file)
		fclose(file);
	return rig_teardown(state);
}

static void test_too_few_connections(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);
	char target[160], *reason;
	struct gp_disk *disk;

	server_start(rig, target, sizeof(target));
	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_domain_create(rig, 2);
	rig_disk_attach(rig, 1, 0, image);
	disk = rig_guest_open(rig, 1, 0);
	rig_disk_write(rig, 1, 1, target, NULL);
	rig_guest_check(disk, image, 0, 65536, 1);
	rig_disk_attach(rig, 2, 0, rig_image(rig, "b.raw", RIG_MIB));
	assert_false(rig_disk_verdict(rig, 1, 1));
	reason = rig_read(rig, error_node);
	assert_non_null(strstr(reason, "cannot get its way to the disk"));
	free(reason);
	rig_guest_check(disk, image, 0, 65536, 2);
	rig_guest_close(disk);
	rig_daemon_end(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_too_few_connections, rig_setup, server_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
