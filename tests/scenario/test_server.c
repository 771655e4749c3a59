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
static void server_start(const struct th_host *host, char *target, size_t size)
{
	char command[512];

	snprintf(target, size, "nbd+unix:///?socket=%s/nbd.sock", host->dir);
	snprintf(command, sizeof(command), "nbdkit -P %s/nbd.pid -U %s/nbd.sock --filter=limit memory 1M limit=1",
		 host->dir, host->dir);
	assert_int_equal(system(command), 0);
}

/* However the test ended. */
static int server_end(void **state)
{
	const struct th_host *host = *state;
	char path[128];
	int pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/nbd.pid", host->dir);
	file = fopen(path, "r");
	if (file && fscanf(file, "%d", &pid) == 1 && pid > 1)
		kill(pid, SIGTERM);
	if (file)
		fclose(file);
	return th_teardown(state);
}

static void test_too_few_connections(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	char target[160], *reason;
	struct gp_disk *disk;

	server_start(host, target, sizeof(target));
	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_domain_create(host, 2);
	th_disk_attach(host, 1, 0, image);
	disk = th_guest_open(host, 1, 0);
	th_disk_write(host, 1, 1, target, NULL);
	th_guest_check(disk, image, 0, 65536, 1);
	th_disk_attach(host, 2, 0, th_image(host, "b.raw", TH_MIB));
	assert_false(th_disk_verdict(host, 1, 1));
	reason = th_store_read(host, error_node);
	assert_non_null(strstr(reason, "cannot get its way to the disk"));
	free(reason);
	th_guest_check(disk, image, 0, 65536, 2);
	th_guest_close(disk);
	th_grantiod_end(host, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_too_few_connections, th_setup, server_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
