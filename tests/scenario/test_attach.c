/* SPDX-License-Identifier: MIT */
/* Disks come and go: the whole path, from the toolstack's keys to the bytes in the image. */
#include "tests/host/host.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const uint16_t guests[] = {1, 2, 3, 0};

static void one_disk(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 16 * RIG_MIB);
	struct gp_disk *disk;

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	rig_log_wait(rig, "<6>d1/xvda: serving ", 1);
	disk = rig_guest_open(rig, 1, 0);
	assert_int_equal(gp_disk_size(disk), 16 * RIG_MIB);
	rig_guest_check(disk, image, 0, 4096, 1);
	rig_guest_check(disk, image, 15 * RIG_MIB, RIG_MIB, 2);
	rig_disk_wait(rig, 1, 0, 4); /* the driver is up */
	rig_guest_close(disk);
	rig_disk_detach(rig, 1, 0);
	rig_quiet(rig, guests);
	rig_daemon_end(rig, guests);
}

static void two_and_eight_disks(void **state)
{
	static const unsigned counts[] = {2, 8};
	struct rig *rig = *state;
	const char *images[8];
	char name[16];

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "%u.raw", i);
		images[i] = rig_image(rig, name, (i + 1) * RIG_MIB);
	}
	for (unsigned c = 0; c < 2; c++) {
		for (unsigned i = 0; i < counts[c]; i++)
			rig_disk_write(rig, 1, i, images[i], NULL);
		for (unsigned i = 0; i < counts[c]; i++)
			rig_disk_wait(rig, 1, i, 2);
		for (unsigned i = 0; i < counts[c]; i++) {
			struct gp_disk *disk = rig_guest_open(rig, 1, i);

			assert_int_equal(gp_disk_size(disk), (i + 1) * RIG_MIB);
			rig_guest_check(disk, images[i], 512 * i, 65536, i + c);
			rig_guest_close(disk);
		}
		for (unsigned i = 0; i < counts[c]; i++)
			rig_disk_detach(rig, 1, i);
		rig_quiet(rig, guests);
	}
	rig_daemon_end(rig, guests);
}

/* Each with its disk open at the same time, and images that differ. */
static void several_guests(void **state)
{
	struct rig *rig = *state;
	const char *images[3];
	struct gp_disk *disks[3];
	char name[16];

	rig_daemon_start(rig, NULL);
	for (uint16_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%u.raw", i);
		images[i] = rig_image(rig, name, 4 * RIG_MIB);
		rig_domain_create(rig, (uint16_t)(i + 1));
		rig_disk_attach(rig, (uint16_t)(i + 1), 0, images[i]);
		disks[i] = rig_guest_open(rig, (uint16_t)(i + 1), 0);
	}
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < 3; i++)
			rig_guest_check(disks[i], images[i], RIG_MIB * round, 128 * 1024, 7 * i + round);
	for (uint16_t i = 0; i < 3; i++) {
		rig_guest_close(disks[i]);
		rig_disk_detach(rig, (uint16_t)(i + 1), 0);
	}
	rig_quiet(rig, guests);
	rig_daemon_end(rig, guests);
}

static void attach_again(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	for (unsigned i = 0; i < 10; i++) {
		struct gp_disk *disk;

		rig_disk_attach(rig, 1, 0, image);
		disk = rig_guest_open(rig, 1, 0);
		rig_guest_check(disk, image, 0, 32768, i);
		rig_guest_close(disk);
		rig_disk_detach(rig, 1, 0);
		rig_quiet(rig, guests);
	}
	rig_daemon_end(rig, guests);
}

static void guest_before_grantiod(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);
	struct gp_disk *disk;

	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, image, NULL);
	rig_daemon_start(rig, NULL);
	rig_disk_wait(rig, 1, 0, 2);
	disk = rig_guest_open(rig, 1, 0);
	rig_guest_check(disk, image, 0, 4096, 3);
	rig_guest_close(disk);
	rig_daemon_end(rig, guests);
}

/* Keys one by one, as a toolstack without transactions would: it waits for those that are missing. */
static void keys_appear_late(void **state)
{
	static const struct rig_key few[] = {{"params", NULL}, {"base", NULL}, {"state", NULL}, {NULL, NULL}};
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", RIG_MIB);

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, image, few);
	rig_log_wait(rig, "<6>d1/xvda: waiting for key 'state'", 1);
	rig_disk_key(rig, 1, 0, "state", "1");
	rig_log_wait(rig, "<6>d1/xvda: waiting for key 'base'", 1);
	rig_disk_key(rig, 1, 0, "base", "0x2000000");
	rig_log_wait(rig, "<6>d1/xvda: waiting for key 'params'", 1);
	rig_disk_key(rig, 1, 0, "params", image);
	rig_disk_wait(rig, 1, 0, 2);
	assert_int_equal(rig_log_count(rig, "<3>"), 0);
	rig_daemon_end(rig, guests);
}

static void generic_virtio_device(void **state)
{
	static const char backend[] = "/local/domain/0/backend/virtio/1/0";
	static const struct rig_key keys[] = {
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
	struct rig *rig = *state;
	char config[96], path[128];
	FILE *file;

	snprintf(config, sizeof(config), "%s/grantiod.conf", rig->dir);
	file = fopen(config, "w");
	assert_non_null(file);
	fprintf(file, "disk = 1/0 %s\n", rig_image(rig, "a.raw", RIG_MIB));
	fclose(file);
	rig_daemon_start(rig, (const char *const[]){"--config", config, NULL});
	rig_domain_create(rig, 1);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", backend, keys[i].key);
		assert_true(xs_write(rig->xs, XBT_NULL, path, keys[i].value, (unsigned)strlen(keys[i].value)));
	}
	rig_log_wait(rig, "<6>d1/virtio0: serving ", 1);
	/* One of another type beside it is somebody else's. */
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/1/type");
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = i == 0   ? "/local/domain/1/device/virtio/1"
				    : i == 5 ? "virtio,device22"
					     : keys[i].value;

		snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/1/%s", keys[i].key);
		assert_true(xs_write(rig->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	}
	rig_log_wait(rig, "<6>d1/virtio1: type 'virtio,device22': not a disk", 1);
	rig_daemon_end(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_disk, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(two_and_eight_disks, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(several_guests, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(attach_again, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(guest_before_grantiod, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(keys_appear_late, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(generic_virtio_device, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
