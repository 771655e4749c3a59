/* SPDX-License-Identifier: MIT */
/* Ledger files that another version of grantiod wrote: which ones are read, and what becomes of the file. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/virtio/ledger.h"
#include "tests/unit/backend/ledger_rig.h"

#define SIZE_3 17888
#define COOKIE UINT64_C(0x1122334455667788)

static uint8_t image[32768];

static void put(size_t at, uint64_t value, unsigned bytes)
{
	memcpy(image + at, &value, bytes); /* little-endian, as everywhere here */
}

static void image_write(size_t size)
{
	int fd = open(ledger_rig_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, image, size), size);
	close(fd);
}

/* One of version 3 byte by byte: its second copy is the valid one. 664 bytes for each copy, 1032 for each queue. */
static void image_of_version_3(void)
{
	static const uint32_t sizes[] = {48, 536, 64, 64, 1032, 16};
	const size_t copy = 48 + 664, queue = 48 + 2 * 664 + 3 * 1032;

	memset(image, 0, sizeof(image));
	put(0, UINT64_C(0x6f69746e61726703), 8);
	put(8, COOKIE, 8);
	put(16, 1, 4); /* the second copy */
	put(20, 7, 4); /* unflushed */
	memcpy(image + 24, sizes, sizeof(sizes));
	put(48, 99, 8); /* features of the copy that is not valid */
	put(copy, 0x130000240, 8);
	put(copy + 8, 15, 4);
	put(copy + 12, 1, 4);		 /* virtio-mmio, */
	put(copy + 16, 2, 4);		 /* virtio-blk */
	put(copy + 24 + 3 * 32, 256, 4); /* queue 3: size, ready, three addresses */
	put(copy + 24 + 3 * 32 + 4, 1, 4);
	put(copy + 24 + 3 * 32 + 8, 0xa000, 8);
	put(copy + 24 + 3 * 32 + 16, 0xb000, 8);
	put(copy + 24 + 3 * 32 + 24, 0xc000, 8);
	put(copy + 536, 11, 4); /* three selectors */
	put(copy + 540, 12, 4);
	put(copy + 544, 13, 4);
	put(copy + 600, 1, 4); /* writeback */
	put(copy + 604, 4096, 4);
	put(queue, 500, 2);
	put(queue + 2, 501, 2);
	put(queue + 4, 2, 4); /* orphans */
	put(queue + 8 + 77, GD_LEDGER_CHANGING, 1);
}

static void version_3_check(struct gd_ledger *ledger)
{
	static const uint32_t transport[] = {11, 12, 13, 0}, class[] = {1, 4096, 0};
	struct gd_ledger_registers r;

	gd_ledger_load(ledger, &r);
	assert_int_equal(r.features, 0x130000240);
	assert_int_equal(r.status, 15);
	assert_int_equal(r.transport_id, 1);
	assert_int_equal(r.class_id, 2);
	assert_memory_equal(r.transport, transport, sizeof(transport));
	assert_memory_equal(r.class, class, sizeof(class));
	assert_int_equal(r.queue[3].num, 256);
	assert_int_equal(r.queue[3].ready, 1);
	assert_int_equal(r.queue[3].desc, 0xa000);
	assert_int_equal(r.queue[3].driver, 0xb000);
	assert_int_equal(r.queue[3].device, 0xc000);
	assert_int_equal(r.queue[2].ready, 0);
	assert_int_equal(*gd_ledger_unflushed(ledger), 7);
	assert_int_equal(gd_ledger_queue(ledger, 3)->shown, 500);
	assert_int_equal(gd_ledger_queue(ledger, 3)->next, 501);
	assert_int_equal(gd_ledger_queue(ledger, 3)->heads[77], GD_LEDGER_CHANGING);
	assert_int_equal(gd_ledger_pending(ledger), 3);
	assert_true(gd_ledger_cookie(ledger) == COOKIE);
}

/* A running system's file of the version before: read, and from then on one of this version. */
static void test_version_3(void **state)
{
	struct gd_ledger *ledger;
	struct stat st;

	(void)state;
	image_of_version_3();
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE + 1), -EINVAL);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), 0);
	version_3_check(ledger);
	gd_ledger_leave(ledger);
	assert_int_equal(stat(ledger_rig_path, &st), 0);
	assert_int_not_equal(st.st_size, SIZE_3);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), 0);
	version_3_check(ledger);
	gd_ledger_close(ledger);
	put(16, 2, 4); /* there are two copies */
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), -EINVAL);
	put(16, 1, 4);
	put(0, UINT64_C(0x6f69746e61726702), 8); /* too old, and a version to come */
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), -EINVAL);
	put(0, UINT64_C(0x6f69746e61726705), 8);
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), -EINVAL);
	put(0, UINT64_C(0x6f69746e61726703), 8);
	put(32, 65, 4); /* lengths that lie */
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), -EINVAL);
}

/* A file as it stands at `ledger_rig_path`, and what may stand there while one of version 3 is replaced. */
struct replaced {
	uint8_t old[32768], ours[32768], now[32768];
	ssize_t size;
};

static ssize_t image_load(uint8_t *to)
{
	int fd = open(ledger_rig_path, O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, to, sizeof(image));

	close(fd);
	return size;
}

static void replace_work(void *opaque)
{
	struct gd_ledger *ledger;

	(void)opaque;
	if (gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE))
		_exit(1);
}

/* The old file as it was, or ours with all that is in it. */
static void replace_check(void *opaque)
{
	struct replaced *files = opaque;
	ssize_t size = image_load(files->now);

	if (size == SIZE_3)
		assert_memory_equal(files->now, files->old, size);
	else
		assert_memory_equal(files->now, files->ours, files->size);
}

/* A process that is killed while it replaces a file of version 3 leaves one that its successor can adopt. */
static void test_version_3_replaced_at_once(void **state)
{
	static struct replaced files;
	struct gd_ledger *ledger;

	(void)state;
	image_of_version_3();
	image_write(SIZE_3);
	image_load(files.old);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), 0);
	gd_ledger_leave(ledger);
	files.size = image_load(files.ours);
	image_write(SIZE_3);
	ledger_rig_steps(replace_work, replace_check, &files);
	assert_int_equal(image_load(files.now), files.size);
}

/* Version 3 with shorter parts (24 bytes of the device, 4 and 8) and one queue; and with one that is longer than ours.
 */
static void test_other_lengths(void **state)
{
	static const uint32_t sizes[] = {48, 24, 4, 8, 1032, 1};
	const size_t copy = 48 + 36, queue = 48 + 2 * 36;
	struct gd_ledger_registers r;
	struct gd_ledger *ledger;

	(void)state;
	memset(image, 0, sizeof(image));
	put(0, UINT64_C(0x6f69746e61726703), 8);
	put(8, COOKIE, 8);
	put(16, 1, 4);
	memcpy(image + 24, sizes, sizeof(sizes));
	put(copy, 5, 8);
	put(copy + 8, 3, 4);
	put(copy + 24, 21, 4);
	put(copy + 28, 22, 4);
	put(queue, 9, 2);
	image_write(queue + 1032);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), 0);
	gd_ledger_load(ledger, &r);
	assert_int_equal(r.features, 5);
	assert_int_equal(r.status, 3);
	assert_int_equal(r.transport[0], 21);
	assert_int_equal(r.transport[4], 0);
	assert_int_equal(r.class[0], 22);
	assert_int_equal(gd_ledger_queue(ledger, 0)->shown, 9);
	gd_ledger_close(ledger);
	image_write(queue + 1031);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), -EINVAL);
	put(36, GD_LEDGER_CLASS + 8, 4);
	image_write(queue + 1032 + 2 * GD_LEDGER_CLASS);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, COOKIE), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, ledger_rig_setup, ledger_rig_teardown)
		T(test_version_3),
		T(test_version_3_replaced_at_once),
		T(test_other_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
