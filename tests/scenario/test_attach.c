/* SPDX-License-Identifier: MIT */
/* Disks come and go: the whole path, from the toolstack's keys to the bytes in the image. */
#include "tests/host/host.h"

#include <stdio.h>
#include <string.h>

static const uint16_t guests[] = {1, 2, 3, 0};

static void one_disk(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 16 * TH_MIB);
	struct gp_disk *disk;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	th_log_wait(host, "<6>d1/xvda: serving ", 1);
	disk = th_guest_open(host, 1, 0);
	assert_int_equal(gp_disk_size(disk), 16 * TH_MIB);
	th_guest_check(disk, image, 0, 4096, 1);
	th_guest_check(disk, image, 15 * TH_MIB, TH_MIB, 2);
	th_disk_wait(host, 1, 0, 4); /* the driver is up */
	th_guest_close(disk);
	th_disk_detach(host, 1, 0);
	th_quiet(host, guests);
	th_grantiod_end(host, guests);
}

static void two_and_eight_disks(void **state)
{
	static const unsigned counts[] = {2, 8};
	struct th_host *host = *state;
	const char *images[8];
	char name[16];

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "%u.raw", i);
		images[i] = th_image(host, name, (i + 1) * TH_MIB);
	}
	for (unsigned c = 0; c < 2; c++) {
		for (unsigned i = 0; i < counts[c]; i++)
			th_disk_write(host, 1, i, images[i], NULL);
		for (unsigned i = 0; i < counts[c]; i++)
			th_disk_wait(host, 1, i, 2);
		for (unsigned i = 0; i < counts[c]; i++) {
			struct gp_disk *disk = th_guest_open(host, 1, i);

			assert_int_equal(gp_disk_size(disk), (i + 1) * TH_MIB);
			th_guest_check(disk, images[i], 512 * i, 65536, i + c);
			th_guest_close(disk);
		}
		for (unsigned i = 0; i < counts[c]; i++)
			th_disk_detach(host, 1, i);
		th_quiet(host, guests);
	}
	th_grantiod_end(host, guests);
}

/* Each with its disk open at the same time, and images that differ. */
static void several_guests(void **state)
{
	struct th_host *host = *state;
	const char *images[3];
	struct gp_disk *disks[3];
	char name[16];

	th_grantiod_start(host, NULL);
	for (uint16_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%u.raw", i);
		images[i] = th_image(host, name, 4 * TH_MIB);
		th_domain_create(host, (uint16_t)(i + 1));
		th_disk_attach(host, (uint16_t)(i + 1), 0, images[i]);
		disks[i] = th_guest_open(host, (uint16_t)(i + 1), 0);
	}
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < 3; i++)
			th_guest_check(disks[i], images[i], TH_MIB * round, 128 * 1024, 7 * i + round);
	for (uint16_t i = 0; i < 3; i++) {
		th_guest_close(disks[i]);
		th_disk_detach(host, (uint16_t)(i + 1), 0);
	}
	th_quiet(host, guests);
	th_grantiod_end(host, guests);
}

static void attach_again(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	for (unsigned i = 0; i < 10; i++) {
		struct gp_disk *disk;

		th_disk_attach(host, 1, 0, image);
		disk = th_guest_open(host, 1, 0);
		th_guest_check(disk, image, 0, 32768, i);
		th_guest_close(disk);
		th_disk_detach(host, 1, 0);
		th_quiet(host, guests);
	}
	th_grantiod_end(host, guests);
}

static void guest_before_grantiod(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	struct gp_disk *disk;

	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	th_grantiod_start(host, NULL);
	th_disk_wait(host, 1, 0, 2);
	disk = th_guest_open(host, 1, 0);
	th_guest_check(disk, image, 0, 4096, 3);
	th_guest_close(disk);
	th_grantiod_end(host, guests);
}

/* Keys one by one, as a toolstack without transactions would: it waits for those that are missing. */
static void keys_appear_late(void **state)
{
	static const struct th_key few[] = {{"params", NULL}, {"base", NULL}, {"state", NULL}, {NULL, NULL}};
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, few);
	th_log_wait(host, "<6>d1/xvda: waiting for key 'state'", 1);
	th_disk_key(host, 1, 0, "state", "1");
	th_log_wait(host, "<6>d1/xvda: waiting for key 'base'", 1);
	th_disk_key(host, 1, 0, "base", "0x2000000");
	th_log_wait(host, "<6>d1/xvda: waiting for key 'params'", 1);
	th_disk_key(host, 1, 0, "params", image);
	th_disk_wait(host, 1, 0, 2);
	assert_int_equal(th_log_count(host, "<3>"), 0);
	th_grantiod_end(host, guests);
}

static void generic_virtio_device(void **state)
{
	static const char backend[] = "/local/domain/0/backend/virtio/1/0";
	static const struct th_key keys[] = {
		{"frontend", "/local/domain/1/device/virtio/0"},
		{"frontend-id", "1"},
		{"online", "1"},
		{"irq", "33"},
		{"base", "0x2000000"},
		{"type", "virtio,device2"},
		{"transport", "mmio"},
		{"grant_usage", "1"},
		{"state", "1"},
	};
	struct th_host *host = *state;
	char config[96], path[128];
	FILE *file;

	snprintf(config, sizeof(config), "%s/grantiod.conf", host->dir);
	file = fopen(config, "w");
	assert_non_null(file);
	fprintf(file, "disk = 1/0 %s\n", th_image(host, "a.raw", TH_MIB));
	fclose(file);
	th_grantiod_start(host, (const char *const[]){"--config", config, NULL});
	th_domain_create(host, 1);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", backend, keys[i].key);
		assert_true(xs_write(host->xs, XBT_NULL, path, keys[i].value, (unsigned)strlen(keys[i].value)));
	}
	th_log_wait(host, "<6>d1/virtio0: serving ", 1);
	/* One of another type beside it is somebody else's. */
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/1/type");
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = i == 0   ? "/local/domain/1/device/virtio/1"
				    : i == 5 ? "virtio,device22"
					     : keys[i].value;

		snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/1/%s", keys[i].key);
		assert_true(xs_write(host->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	}
	th_log_wait(host, "<6>d1/virtio1: type 'virtio,device22': neither a disk", 1);
	th_grantiod_end(host, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_disk, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(two_and_eight_disks, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(several_guests, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(attach_again, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(guest_before_grantiod, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(keys_appear_late, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(generic_virtio_device, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
