/* SPDX-License-Identifier: MIT */
/* What the settings say of images and guests, seen at whole devices; and settings that change while grantiod runs. */
#include "tests/host/host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADER	"QFI\xfb\0\0\0\3"
#define REFUSED "is a qcow2 image, which is not served as it lies"

static const uint16_t guests[] = {1, 0};
static const char name_path[] = "/local/domain/1/name", vm_path[] = "/local/domain/1/vm";

/* What an image looks like from its first bytes on. */
static void header_write(const char *image)
{
	FILE *file = fopen(image, "r+");

	assert_non_null(file);
	assert_int_equal(fwrite(HEADER, 8, 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

static void settings_write(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void settings_write(const char *path, const char *format, ...)
{
	FILE *file = fopen(path, "w");
	va_list args;

	assert_non_null(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	assert_int_equal(fclose(file), 0);
}

/* Refused, until the disk's directory says that it is raw data. */
static void another_format(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.qcow2", RIG_MIB);
	char *error;

	header_write(image);
	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, image, NULL);
	assert_false(rig_disk_verdict(rig, 1, 0));
	error = rig_read(rig, "/local/domain/0/error/backend/virtio_disk/1/51712/error");
	assert_non_null(error);
	assert_non_null(strstr(error, REFUSED));
	free(error);
	rig_disk_key(rig, 1, 0, "grantio-format", "raw");
	rig_disk_wait(rig, 1, 0, 2);
	rig_log_wait(rig, ": looks like a qcow2 image: served as raw data all the same", 1);
	rig_disk_detach(rig, 1, 0);
	rig_daemon_end(rig, guests);
}

/* A guest that writes such a header to its own disk keeps it while it runs, whoever serves it. */
static void header_of_the_guests_own(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", RIG_MIB);
	char dir[] = "/tmp/gd-settings-XXXXXX";
	const char *const arguments[] = {"--state-dir", dir, NULL};
	char block[512] = HEADER;
	struct gp_disk *disk;

	assert_non_null(mkdtemp(dir));
	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, image, NULL);
	rig_daemon_start(rig, arguments);
	disk = rig_guest_open(rig, 1, 0);
	rig_disk_wait(rig, 1, 0, 4);
	assert_int_equal(gp_disk_write(disk, block, 0, sizeof(block)), 0);
	assert_true(WIFSIGNALED(rig_daemon_stop(rig, SIGKILL)));
	rig_daemon_start(rig, arguments);
	rig_log_wait(rig, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	rig_guest_check(disk, image, 4096, 4096, 1);
	rig_guest_close(disk);
	rig_disk_detach(rig, 1, 0);
	rig_disk_write(rig, 1, 0, image, NULL); /* a new disk, though */
	rig_log_wait(rig, REFUSED, 1);
	rig_disk_remove(rig, 1, 0);
	rig_daemon_end(rig, guests);
	assert_int_equal(rmdir(dir), 0);
}

/* A device of xl's `virtio` list, whose image the settings name. */
static void generic_write(struct rig *rig)
{
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
	char path[128];

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/0/%s", keys[i].key);
		assert_true(xs_write(rig->xs, XBT_NULL, path, keys[i].value, (unsigned)strlen(keys[i].value)));
	}
}

/* A key of the guest's directory, with an owner. */
static void guest_key(struct rig *rig, const char *path, const char *value, unsigned owner)
{
	struct xs_permissions list[2] = {{.id = owner}, {.id = 1, .perms = XS_PERM_READ}};

	assert_true(xs_write(rig->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	assert_true(xs_set_permissions(rig->xs, XBT_NULL, path, list, 2));
}

static void hangup(struct rig *rig)
{
	static const char line[] = "<5>SIGHUP: reading the settings";
	unsigned before = rig_log_count(rig, line);

	assert_int_equal(kill(rig->daemon, SIGHUP), 0);
	rig_log_wait(rig, line, before + 1);
}

/* By name and by UUID; by neither where the guest could have written it. New settings are for new openings. */
static void guests_by_name(void **state)
{
	static const char uuid[] = "16b01b6f-4240-4693-ad8d-12350dae39be";
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", RIG_MIB);
	char config[96];

	snprintf(config, sizeof(config), "%s/grantiod.conf", rig->dir);
	settings_write(config, "disk = web/0 %s\n", image);
	rig_daemon_start(rig, (const char *const[]){"--config", config, NULL});
	rig_domain_create(rig, 1);
	guest_key(rig, name_path, "web", 1);
	guest_key(rig, vm_path, "/vm/16b01b6f-4240-4693-ad8d-12350dae39be", 0);
	generic_write(rig);
	rig_log_wait(rig, "<3>d1/virtio0: no image: ", 1);
	guest_key(rig, name_path, "web", 0);
	hangup(rig);
	rig_log_wait(rig, "<6>d1/virtio0: serving ", 1);

	/* Wrong settings change nothing; what is served stays as it is. */
	settings_write(config, "disk = web/0 %s\nqueues = 99\n", image);
	hangup(rig);
	rig_log_wait(rig, ":2: queues '99': must be 1 to 16: the settings stay as they were", 1);
	settings_write(config, "disk = %s/0 %s\nstate-dir = %s\n", uuid, image, rig->dir);
	hangup(rig);
	rig_log_wait(rig, "<4>state-dir: takes effect when grantiod is started anew", 1);
	assert_int_equal(rig_log_count(rig, "<6>d1/virtio0: stop"), 0);
	assert_true(xs_write(rig->xs, XBT_NULL, "/local/domain/0/backend/virtio/1/0/online", "0", 1));
	assert_true(xs_write(rig->xs, XBT_NULL, "/local/domain/0/backend/virtio/1/0/state", "5", 1));
	rig_log_wait(rig, "<6>d1/virtio0: stopped", 1);
	guest_key(rig, name_path, "other", 0);
	generic_write(rig);
	rig_log_wait(rig, "<6>d1/virtio0: serving ", 2);
	rig_daemon_end(rig, guests);
}

/* With directories for images no NBD server may be used but those that are named; the line says by which setting. */
static void nbd_within_image_dir(void **state)
{
	static const char said[] = "is in no directory that NBD servers' may lie in (nbd-allow = unix:DIR)";
	struct rig *rig = *state;
	char target[160], config[96];

	snprintf(target, sizeof(target), "nbd+unix:///?socket=%s", rig_image(rig, "no.sock", RIG_MIB));
	snprintf(config, sizeof(config), "%s/grantiod.conf", rig->dir);
	settings_write(config, "image-dir = %s\n", rig->dir);
	rig_daemon_start(rig, (const char *const[]){"--config", config, NULL});
	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, target, NULL);
	assert_false(rig_disk_verdict(rig, 1, 0));
	rig_log_wait(rig, said, 1);
	settings_write(config, "image-dir = %s\nnbd-allow = unix:%s\n", rig->dir, rig->dir);
	hangup(rig); /* it may be used now, and is no server */
	rig_log_wait(rig, "<3>d1/xvda: nbd+unix:", 2);
	assert_int_equal(rig_log_count(rig, said), 1);
	rig_disk_remove(rig, 1, 0);
	rig_daemon_end(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(another_format, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(header_of_the_guests_own, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(guests_by_name, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(nbd_within_image_dir, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
