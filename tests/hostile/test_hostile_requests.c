/* SPDX-License-Identifier: MIT */
/* Requests that ask for what they may not have: each ends, with a status that says so. */
#include "tests/hostile/guest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OK     GIO_VIRTIO_BLK_S_OK
#define IOERR  GIO_VIRTIO_BLK_S_IOERR
#define UNSUPP GIO_VIRTIO_BLK_S_UNSUPP

#define SECTORS (HG_IMAGE / 512)

static void range_put(struct hg *hg, uint64_t sector, uint32_t count, uint32_t flags)
{
	struct gio_virtio_blk_range range = {sector, count, flags};

	memcpy(hg->ram + HG_DATA, &range, sizeof(range));
}

static void image_expect(const char *image, uint8_t byte)
{
	uint8_t data[65536];
	int fd = open(image, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, sizeof(data), 0), (ssize_t)sizeof(data));
	close(fd);
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], byte);
}

static void writes_accepted_on_a_read_only_image(void **state)
{
	static const struct th_key keys[] = {{"mode", "r"}, {NULL, NULL}};
	const struct hg_options options = {.keys = keys};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, &options);
	hg_start(hg, 0, 1); /* RO is not acknowledged: it knows nothing of it */
	memset(hg->ram + HG_DATA, 0xff, 65536);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_OUT, 0, 512), IOERR);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_OUT, 0, 65536), IOERR);
	range_put(hg, 0, 8, 0);
	assert_true(hg_io(hg, GIO_VIRTIO_BLK_T_DISCARD, 0, 16) != OK);
	assert_true(hg_io(hg, GIO_VIRTIO_BLK_T_WRITE_ZEROES, 0, 16) != OK);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 65536), OK);
	image_expect(scene.image, 0);
	hg_scene_end(&scene);
}

static void no_capacity_check(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t length;
		uint8_t status;
	} cases[] = {
		{SECTORS - 1, 512, OK},
		{SECTORS, 512, IOERR},
		{SECTORS - 1, 1024, IOERR},
		{SECTORS - 8, 65536, IOERR},
		{UINT64_C(1) << 32, 512, IOERR},
		{UINT64_C(1) << 54, 512, IOERR},
		{UINT64_C(1) << 55, 512, IOERR}, /* 2^64 bytes */
		{(UINT64_C(1) << 55) - 1, 1024, IOERR},
		{UINT64_MAX / 512, 4096, IOERR},
		{UINT64_MAX, 512, IOERR},
		{0, 511, IOERR},
		{0, 513, IOERR},
	};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	struct stat st;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (uint32_t type = GIO_VIRTIO_BLK_T_IN; type <= GIO_VIRTIO_BLK_T_OUT; type++)
			assert_int_equal(hg_io(hg, type, cases[i].sector, cases[i].length), cases[i].status);
	for (unsigned i = 1; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (uint32_t type = GIO_VIRTIO_BLK_T_DISCARD; type <= GIO_VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
			if (cases[i].length < 512 || cases[i].sector == 0)
				continue;
			range_put(hg, cases[i].sector, cases[i].length / 512, 0);
			assert_int_equal(hg_io(hg, type, 0, 16), IOERR);
			range_put(hg, cases[i].sector, UINT32_MAX, 0);
			assert_int_equal(hg_io(hg, type, 0, 16), IOERR);
		}
	assert_int_equal(stat(scene.image, &st), 0);
	assert_int_equal(st.st_size, HG_IMAGE); /* it has not grown */
	hg_scene_end(&scene);
}

/* Requests that no device knows, or that are no requests: all complete, and the next one is served. */
static void failed_io_never_completed(void **state)
{
	static const uint32_t types[] = {2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 255, 0x80000000, UINT32_MAX};
	static const uint32_t lengths[] = {0, 1, 15, 17, 512};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_int_equal(hg_io(hg, types[i], 0, 512), UNSUPP);
	for (unsigned part = 0; part < 3; part += 2) /* the header's, and the status's length */
		for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			uint16_t head = hg_request(hg, 0, 0, GIO_VIRTIO_BLK_T_IN, 0, hg_dma(HG_DATA), 512);

			hg_desc(hg, 0, head + part)->len = lengths[i];
			hg_push(hg, 0, head);
			hg_kick(hg, 0);
			hg_used_wait(hg, 0, 1);
			assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 512), OK);
		}
	/* Data both ways; writable before readable; a header to be written; flush with data; a discard of half a range.
	 */
	for (unsigned i = 0; i < 4; i++) {
		uint16_t head = hg_request(hg, 0, 0, i == 3 ? GIO_VIRTIO_BLK_T_FLUSH : GIO_VIRTIO_BLK_T_OUT, 0,
					   hg_dma(HG_DATA), 512);

		hg_desc(hg, 0, head)->flags |= i == 0 ? HG_WRITE : 0;
		hg_desc(hg, 0, head + 1)->flags ^= i == 1 ? HG_WRITE : 0;
		hg_desc(hg, 0, head + 2)->flags ^= i == 2 ? HG_WRITE : 0;
		hg_push(hg, 0, head);
		hg_kick(hg, 0);
		hg_used_wait(hg, 0, 1);
		assert_int_not_equal(*hg_status(hg, 0), OK);
	}
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_DISCARD, 0, 8), IOERR);
	assert_int_equal(th_log_count(scene.host, "needs a reset"), 0);
	hg_scene_end(&scene);
}

/* The image loses its second half while the guest reads and writes there: errors, in time, until it is there again. */
static void failed_io_of_a_shrunk_image(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, SECTORS / 2, 4096), OK);
	assert_int_equal(truncate(scene.image, HG_IMAGE / 2), 0);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, SECTORS / 2, 4096), IOERR);
	th_log_wait(scene.host, "size is now 2097152 bytes", 1);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_OUT, SECTORS / 2, 4096), IOERR);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, SECTORS / 2 - 8, 4096), OK);
	assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_CONFIG), SECTORS / 2);
	assert_int_equal(truncate(scene.image, HG_IMAGE), 0);
	th_log_wait(scene.host, "size is now 4194304 bytes", 1);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_OUT, SECTORS / 2, 4096), OK);
	hg_scene_end(&scene);
}

/* Twenty bytes at most, whatever the buffer's length. */
static void serial_overrun(void **state)
{
	static const uint32_t lengths[] = {1, 5, 19, 20, 21, 512, 65536};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint32_t told = lengths[i] < GIO_VIRTIO_BLK_ID_BYTES ? lengths[i] : GIO_VIRTIO_BLK_ID_BYTES;

		memset(hg->ram + HG_DATA, 0x5a, 65536 + HG_PAGE);
		assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_GET_ID, 0, lengths[i]), OK);
		/* The status counts only where all bytes before it were written (2.7.8.2). */
		assert_int_equal(hg_used(hg, 0)->ring[i].len, told + (told == lengths[i]));
		assert_int_not_equal(hg->ram[HG_DATA], 0x5a);
		for (uint32_t k = told; k < 65536 + HG_PAGE; k++)
			assert_int_equal(hg->ram[HG_DATA + k], 0x5a);
	}
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_GET_ID, 0, 0), IOERR);
	hg_scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HG_TEST(writes_accepted_on_a_read_only_image),
		HG_TEST(no_capacity_check),
		HG_TEST(failed_io_never_completed),
		HG_TEST(failed_io_of_a_shrunk_image),
		HG_TEST(serial_overrun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
