/* SPDX-License-Identifier: MIT */
/*
 * Bad devices beside a good one. Each bad one gets one clear line in the log and in xenstore, the good one is not
 * disturbed, and the bad ones are served once they are mended.
 */
#include "tests/host/host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GOOD 1 /* index of the good disk; the bad one is 0 */

static const uint16_t guests[] = {1, 2, 0};
static const char error_node[] = "/local/domain/0/error/backend/virtio_disk/1/51712/error";

struct bench {
	struct th_host *host;
	const char *image;     /* the good disk's */
	const char *bad_image; /* one that the bad disk might have */
	struct gp_disk *disk;  /* the good disk, driver up */
	unsigned rounds;
};

static void bench_open(struct bench *bench, struct th_host *host, const char *const *arguments)
{
	bench->host = host;
	bench->rounds = 0;
	bench->image = th_image(host, "good.raw", 4 * TH_MIB);
	bench->bad_image = th_image(host, "bad.raw", 4 * TH_MIB);
	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, GOOD, bench->image);
	bench->disk = th_guest_open(host, 1, GOOD);
	th_disk_wait(host, 1, GOOD, 4);
}

static void good_still_good(struct bench *bench)
{
	th_guest_check(bench->disk, bench->image, 0, 65536, bench->rounds++);
	assert_int_equal(th_log_count(bench->host, "d1/xvdb: stop"), 0);
}

static void bench_close(struct bench *bench)
{
	good_still_good(bench);
	th_guest_close(bench->disk);
	th_grantiod_end(bench->host, guests);
}

/* Until grantiod has handled all that was written so far: it takes xenstore's events in their order. */
static void fence(struct bench *bench)
{
	th_disk_attach(bench->host, 1, 2, th_image(bench->host, "fence.raw", TH_MIB));
	th_disk_detach(bench->host, 1, 2);
}

/* Write the bad disk, wait for its line, see it in xenstore too, and remove it. */
static void refused(struct bench *bench, const char *image, const struct th_key *keys, const char *name,
		    const char *line)
{
	char logged[512], *node;
	unsigned before;

	snprintf(logged, sizeof(logged), "<3>d1/%s: %s\n", name, line);
	before = th_log_count(bench->host, logged);
	th_disk_write(bench->host, 1, 0, image, keys);
	th_log_wait(bench->host, logged, before + 1);
	good_still_good(bench);
	th_disk_remove(bench->host, 1, 0);
	fence(bench);
	node = th_store_read(bench->host, error_node);
	assert_null(node);
	assert_int_equal(th_log_count(bench->host, logged), before + 1);
}

static const struct {
	struct th_key key;
	const char *name, *line;
} wrong[] = {
	{{"frontend", "/local/domain/2/device/virtio_disk/51712"},
	 "xvda",
	 "frontend '/local/domain/2/device/virtio_disk/51712': must be /local/domain/1/device/virtio_disk/51712"},
	{{"frontend-id", "2"}, "xvda", "frontend-id '2': the directory is for domain 1"},
	{{"online", "maybe"}, "xvda", "online 'maybe': must be 0 or 1"},
	{{"state", "77"}, "xvda", "state '77': must be a number, at most 8"},
	{{"specification", "xen"}, "xvda", "specification 'xen': must be virtio"},
	{{"transport", "pci"}, "xvda", "transport 'pci': must be mmio"},
	{{"grant_usage", "0"},
	 "xvda",
	 "grant_usage '0': the guest grants nothing; write grant_usage=1 into xl's disk line, or "
	 "allow all of its memory to be mapped by --allow-foreign"},
	{{"grant_usage", NULL},
	 "xvda",
	 "grant_usage '': absent, so a guest of domain 0's uses no grants; write grant_usage=1 into xl's disk line, or "
	 "allow all of its memory to be mapped by --allow-foreign"},
	{{"base", "0x1"}, "xvda", "base '0x1': must be a multiple of 0x200"},
	{{"base", "33554944"}, "xvda", "base '0x2000200': another device of the guest has it"},
	{{"irq", "x"}, "xvda", "irq 'x': must be a number, at most 1019"},
	{{"irq", "34"}, "xvda", "irq '34': another device of the guest has it"},
	{{"mode", "rw"}, "xvda", "mode 'rw': must be r or w"},
	{{"device-type", "tape"}, "xvda", "device-type 'tape': must be disk or cdrom"},
	{{"dev", "x/y"}, "51712", "dev 'x/y': must be a name as xvda"},
	{{"discard-enable", "-"}, "xvda", "discard-enable '-': must be 0 or 1"},
	{{"direct-io-safe", "2"}, "xvda", "direct-io-safe '2': must be 0 or 1"},
	{{"params", ""}, "xvda", "params '': must be an absolute path or an nbd:// address"},
};

static void each_key(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, NULL);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct th_key keys[] = {wrong[i].key, {NULL, NULL}};

		refused(&bench, bench.bad_image, keys, wrong[i].name, wrong[i].line);
	}
	bench_close(&bench);
}

static void images(void **state)
{
	const char *dir = ((struct th_host *)*state)->dir;
	struct bench bench;
	char path[128], line[256];

	bench_open(&bench, *state, NULL);
	snprintf(path, sizeof(path), "%s/none.raw", dir);
	snprintf(line, sizeof(line), "%s: cannot open: No such file or directory", path);
	refused(&bench, path, NULL, "xvda", line);
	snprintf(line, sizeof(line), "%s: ", dir); /* a directory: whatever the engine says of it */
	th_disk_write(bench.host, 1, 0, dir, NULL);
	th_log_wait(bench.host, line, 1);
	good_still_good(&bench);
	th_disk_remove(bench.host, 1, 0);
	/* The image of the good disk, which is that disk's alone. */
	snprintf(line, sizeof(line), "<3>d1/xvda: %s: ", bench.image);
	th_disk_write(bench.host, 1, 0, bench.image, NULL);
	th_log_wait(bench.host, line, 1);
	th_disk_remove(bench.host, 1, 0);
	bench_close(&bench);
}

static void image_dirs(void **state)
{
	struct th_host *host = *state;
	struct bench bench;
	char outside[] = "/tmp/grantio-outside-XXXXXX", line[128], link[96];
	int fd = mkstemp(outside);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, TH_MIB), 0);
	close(fd);
	bench_open(&bench, host, (const char *const[]){"--image-dir", host->dir, NULL});
	snprintf(line, sizeof(line), "<3>d1/xvda: %s: ", outside);
	th_disk_write(host, 1, 0, outside, NULL);
	th_log_wait(host, line, 1);
	th_disk_remove(host, 1, 0);
	snprintf(link, sizeof(link), "%s/link.raw", host->dir);
	assert_int_equal(symlink(outside, link), 0);
	snprintf(line, sizeof(line), "<3>d1/xvda: %s: ", link);
	th_disk_write(host, 1, 0, link, NULL);
	th_log_wait(host, line, 1);
	th_disk_remove(host, 1, 0);
	bench_close(&bench);
	unlink(outside);
}

/* The line is there once, the node stands as long as it is true; mending the key is all that is needed. */
static void mended(void **state)
{
	static const struct th_key keys[] = {{"irq", "1"}, {NULL, NULL}};
	struct bench bench;
	struct gp_disk *disk;
	char *node;

	bench_open(&bench, *state, NULL);
	th_disk_write(bench.host, 1, 0, bench.bad_image, keys);
	th_log_wait(bench.host, "<3>d1/xvda: irq '1': must be 32 to 1019\n", 1);
	th_disk_key(bench.host, 1, 0, "mode", "x");
	fence(&bench); /* looked at again, and nothing new to say */
	node = th_store_read(bench.host, error_node);
	assert_string_equal(node, "irq '1': must be 32 to 1019");
	free(node);
	th_disk_key(bench.host, 1, 0, "irq", "33");
	th_log_wait(bench.host, "<3>d1/xvda: mode 'x': must be r or w\n", 1);
	th_disk_key(bench.host, 1, 0, "base", "33554944");
	th_disk_key(bench.host, 1, 0, "mode", "w");
	th_log_wait(bench.host, "<3>d1/xvda: base '0x2000200': another device of the guest has it\n", 1);
	th_disk_key(bench.host, 1, 0, "base", "33554432");
	th_disk_wait(bench.host, 1, 0, 2);
	th_log_wait(bench.host, "<6>d1/xvda: serving", 1);
	assert_int_equal(th_log_count(bench.host, "<3>"), 3);
	node = th_store_read(bench.host, error_node);
	assert_null(node);
	good_still_good(&bench);
	th_guest_close(bench.disk);
	disk = th_guest_open(bench.host, 1, 0);
	th_guest_check(disk, bench.bad_image, 0, 4096, 1);
	th_guest_close(disk);
	bench.disk = th_guest_open(bench.host, 1, GOOD);
	bench_close(&bench);
}

static void missing_image_comes_by_sighup(void **state)
{
	struct bench bench;
	char path[96], *node;

	bench_open(&bench, *state, NULL);
	snprintf(path, sizeof(path), "%s/late.raw", bench.host->dir);
	th_disk_write(bench.host, 1, 0, path, NULL);
	th_log_wait(bench.host, "late.raw: cannot open: No such file or directory", 1);
	th_image(bench.host, "late.raw", TH_MIB);
	kill(bench.host->grantiod, SIGHUP);
	th_disk_wait(bench.host, 1, 0, 2);
	node = th_store_read(bench.host, error_node);
	assert_null(node);
	bench_close(&bench);
}

/* Directories that are no device's, and a value that ends a line: nothing comes of them but a line. */
static void nonsense_in_xenstore(void **state)
{
	static const struct th_key keys[] = {{"dev", "a\n<0>b"}, {NULL, NULL}};
	struct bench bench;

	bench_open(&bench, *state, NULL);
	assert_true(xs_write(bench.host->xs, XBT_NULL, "/local/domain/0/backend/virtio_disk/zero/1/state", "1", 1));
	th_log_wait(bench.host, "not a device's directory", 1);
	assert_true(xs_write(bench.host->xs, XBT_NULL, "/local/domain/0/backend/virtio_disk/1/xvda/state", "1", 1));
	th_log_wait(bench.host, "/1/xvda/state': not a device's directory", 1);
	th_disk_write(bench.host, 1, 0, bench.bad_image, keys);
	th_log_wait(bench.host, "<3>d1/51712: dev 'a?<0>b': must be a name as xvda\n", 1);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_key, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(images, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(image_dirs, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(mended, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(missing_image_comes_by_sighup, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(nonsense_in_xenstore, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
