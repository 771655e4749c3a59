/* SPDX-License-Identifier: MIT */
/* The settings for images and guests, tested with whole devices; and settings that change while grantiod runs. */
#include "tests/host/host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADER	"QFI\xfb\0\0\0\3"
#define REFUSED "is a qcow2 image, and only raw data is served"

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
	struct th_host *host = *state;
	const char *image = th_image(host, "a.qcow2", TH_MIB);
	char *error;

	header_write(image);
	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	assert_false(th_disk_verdict(host, 1, 0));
	error = th_store_read(host, "/local/domain/0/error/backend/virtio_disk/1/51712/error");
	assert_non_null(error);
	assert_non_null(strstr(error, REFUSED));
	free(error);
	th_disk_key(host, 1, 0, "grantio-format", "raw");
	th_disk_wait(host, 1, 0, 2);
	th_log_wait(host, ": looks like a qcow2 image: served as raw data all the same", 1);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
}

/* A guest that writes such a header to its own disk keeps it while it runs, whoever serves it. */
static void header_of_the_guests_own(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	const char *dir = th_state_dir(*state);
	const char *const arguments[] = {"--state-dir", dir, NULL};
	char block[512] = HEADER;
	struct gp_disk *disk;

	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	th_grantiod_start(host, arguments);
	disk = th_guest_open(host, 1, 0);
	th_disk_wait(host, 1, 0, 4);
	assert_int_equal(gp_disk_write(disk, block, 0, sizeof(block)), 0);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	th_grantiod_start(host, arguments);
	th_log_wait(host, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	th_guest_check(disk, image, 4096, 4096, 1);
	th_guest_close(disk);
	th_disk_detach(host, 1, 0);
	th_disk_write(host, 1, 0, image, NULL); /* a new disk, though */
	th_log_wait(host, REFUSED, 1);
	th_disk_remove(host, 1, 0);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(dir), 0);
}

/* A device of xl's `virtio` list, whose image the settings name. */
static void generic_write(struct th_host *host)
{
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
	char path[128];

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/0/%s", keys[i].key);
		assert_true(xs_write(host->xs, XBT_NULL, path, keys[i].value, (unsigned)strlen(keys[i].value)));
	}
}

/* A key of the guest's directory, with an owner. */
static void guest_key(struct th_host *host, const char *path, const char *value, unsigned owner)
{
	struct xs_permissions list[2] = {{.id = owner}, {.id = 1, .perms = XS_PERM_READ}};

	assert_true(xs_write(host->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	assert_true(xs_set_permissions(host->xs, XBT_NULL, path, list, 2));
}

static void hangup(struct th_host *host)
{
	static const char line[] = "<5>SIGHUP: reading the settings";
	unsigned before = th_log_count(host, line);

	assert_int_equal(kill(host->grantiod, SIGHUP), 0);
	th_log_wait(host, line, before + 1);
}

/* By name and by UUID; by neither where the guest could have written it. New settings are for new openings. */
static void guests_by_name(void **state)
{
	static const char uuid[] = "16b01b6f-4240-4693-ad8d-12350dae39be";
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	char config[96];

	snprintf(config, sizeof(config), "%s/grantiod.conf", host->dir);
	settings_write(config, "disk = web/0 %s\n", image);
	th_grantiod_start(host, (const char *const[]){"--config", config, NULL});
	th_domain_create(host, 1);
	guest_key(host, name_path, "web", 1);
	guest_key(host, vm_path, "/vm/16b01b6f-4240-4693-ad8d-12350dae39be", 0);
	generic_write(host);
	th_log_wait(host, "<3>d1/virtio0: no image: ", 1);
	guest_key(host, name_path, "web", 0);
	hangup(host);
	th_log_wait(host, "<6>d1/virtio0: serving ", 1);

	/* Wrong settings change nothing; what is served stays as it is. */
	settings_write(config, "disk = web/0 %s\nqueues = 99\n", image);
	hangup(host);
	th_log_wait(host, ":2: queues '99': must be 1 to 16: the settings stay as they were", 1);
	settings_write(config, "disk = %s/0 %s\nstate-dir = %s\n", uuid, image, host->dir);
	hangup(host);
	th_log_wait(host, "<4>state-dir: takes effect when grantiod is started anew", 1);
	assert_int_equal(th_log_count(host, "<6>d1/virtio0: stop"), 0);
	assert_true(xs_write(host->xs, XBT_NULL, "/local/domain/0/backend/virtio/1/0/online", "0", 1));
	assert_true(xs_write(host->xs, XBT_NULL, "/local/domain/0/backend/virtio/1/0/state", "5", 1));
	th_log_wait(host, "<6>d1/virtio0: stopped", 1);
	guest_key(host, name_path, "other", 0);
	generic_write(host);
	th_log_wait(host, "<6>d1/virtio0: serving ", 2);
	th_grantiod_end(host, guests);
}

/* With directories for images no NBD server may be used but those that are named; the line says by which setting. */
static void nbd_within_image_dir(void **state)
{
	static const char said[] = "is in no directory that NBD servers' may lie in (nbd-allow = unix:DIR)";
	struct th_host *host = *state;
	char target[160], config[96];

	snprintf(target, sizeof(target), "nbd+unix:///?socket=%s", th_image(host, "no.sock", TH_MIB));
	snprintf(config, sizeof(config), "%s/grantiod.conf", host->dir);
	settings_write(config, "image-dir = %s\n", host->dir);
	th_grantiod_start(host, (const char *const[]){"--config", config, NULL});
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, target, NULL);
	assert_false(th_disk_verdict(host, 1, 0));
	th_log_wait(host, said, 1);
	settings_write(config, "image-dir = %s\nnbd-allow = unix:%s\n", host->dir, host->dir);
	hangup(host); /* it may be used now, and is no server */
	th_log_wait(host, "<3>d1/xvda: nbd+unix:", 2);
	assert_int_equal(th_log_count(host, said), 1);
	settings_write(config, "image-dir = %s\nnbd-allow = unix:%s/later\n", host->dir, host->dir);
	hangup(host);
	th_log_wait(host, "/later': there is no such directory: until it is made, no NBD server can be used there", 1);
	th_disk_remove(host, 1, 0);
	th_grantiod_end(host, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(another_format, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(header_of_the_guests_own, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(guests_by_name, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(nbd_within_image_dir, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
