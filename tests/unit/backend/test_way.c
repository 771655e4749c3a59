/* SPDX-License-Identifier: MIT */
/*
 * A way to guest memory that nobody has heard of: plain memory, at addresses of its own. It shows that all that is
 * common to the ways works with any table of operations, and how often these are called.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/backend/fake.h"

#include "backend/base/count.h"
#include "backend/guestmem/copy.h"
#include "backend/guestmem/way.h"

#define PAGES 8
#define BASE  (UINT64_C(1) << 62)
#define ROOM  64

static struct {
	char ram[PAGES][GIO_PAGE_SIZE];
	unsigned opens, closes, maps, unmaps, copies, segments;
	bool written;	   /* the last mapping was for writing */
	int fail;	   /* what the next call of any operation fails with */
	uint32_t hole;	   /* the number of a page that is refused; 0: none */
	unsigned mappings; /* that are there now */
} flat;

struct handle {
	struct gd_guestmem mem;
	uint16_t domid; /* the fields behind the common part are the way's own */
};

static int fails(void)
{
	int err = flat.fail;

	flat.fail = 0;
	return err;
}

static int flat_open(struct gd_guestmem *mem)
{
	struct handle *handle = (struct handle *)mem;

	assert_int_equal(handle->domid, 0); /* all zeroes, but for the common part */
	handle->domid = mem->domid;
	flat.opens++;
	return fails();
}

static void flat_close(struct gd_guestmem *mem)
{
	assert_int_equal(((struct handle *)mem)->domid, FAKE_DOMID);
	assert_int_equal(flat.mappings, 0);
	flat.closes++;
}

static int flat_map(struct gd_guestmem *mem, uint32_t first, uint32_t pages, bool write, void **base)
{
	(void)mem;
	flat.maps++;
	flat.written = write;
	assert_true(pages >= 1 && pages <= GD_GUESTMAP_PAGES);
	if (first + pages > PAGES)
		return -EINVAL;
	*base = flat.ram[first];
	flat.mappings += !flat.fail;
	return fails();
}

static void flat_unmap(struct gd_guestmem *mem, void *base, uint32_t pages)
{
	(void)mem, (void)pages;
	assert_true((char *)base >= flat.ram[0] && (char *)base < flat.ram[PAGES - 1] + GIO_PAGE_SIZE);
	flat.unmaps++;
	flat.mappings--;
}

static void segment_do(xengnttab_grant_copy_segment_t *segment)
{
	bool fetch = segment->flags == GNTCOPY_source_gref;
	const union xengnttab_copy_ptr *remote = fetch ? &segment->source : &segment->dest;
	char *there = flat.ram[remote->foreign.ref % PAGES] + remote->foreign.offset;

	assert_true(remote->foreign.offset + segment->len <= GIO_PAGE_SIZE);
	assert_int_equal(remote->foreign.domid, FAKE_DOMID);
	if (flat.hole && remote->foreign.ref == flat.hole) {
		segment->status = GNTST_bad_gntref;
		return;
	}
	if (fetch)
		memcpy(segment->dest.virt, there, segment->len);
	else
		memcpy(there, segment->source.virt, segment->len);
	segment->status = GNTST_okay;
}

static int flat_copy(struct gd_guestmem *mem, uint32_t count, xengnttab_grant_copy_segment_t *segments,
		     uint64_t *hypercalls)
{
	(void)mem;
	flat.copies++;
	flat.segments += count;
	*hypercalls = 3;
	for (uint32_t i = 0; !flat.fail && i < count; i++)
		segment_do(&segments[i]);
	return fails();
}

static const struct gd_way way = {.base = BASE,
				  .features = GIO_VIRTIO_F_ACCESS_PLATFORM | GIO_VIRTIO_F_VERSION_1,
				  .bytes = sizeof(struct handle),
				  .open = flat_open,
				  .close = flat_close,
				  .map = flat_map,
				  .unmap = flat_unmap,
				  .copy = flat_copy};

static gio_dma_t at(uint32_t page, uint32_t offset)
{
	return BASE | (uint64_t)page << 12 | offset;
}

static int setup(void **state)
{
	(void)state;
	memset(&flat, 0, sizeof(flat));
	for (unsigned page = 0; page < PAGES; page++)
		for (unsigned i = 0; i < GIO_PAGE_SIZE; i++)
			flat.ram[page][i] = (char)(page * 31 + i);
	return 0;
}

static void test_addresses_and_features(void **state)
{
	(void)state;
	assert_int_equal(gd_way_features(&way), GIO_VIRTIO_F_ACCESS_PLATFORM | GIO_VIRTIO_F_VERSION_1);
	assert_true(gd_guestmem_range_valid(&way, at(0, 0), 1));
	assert_true(gd_guestmem_range_valid(&way, at(UINT32_MAX, 0), 4096));
	assert_false(gd_guestmem_range_valid(&way, at(UINT32_MAX, 1), 4096));
	assert_false(gd_guestmem_range_valid(&way, 0, 1));
	assert_false(gd_guestmem_range_valid(&way, gio_dma_addr(0, 0), 1));
	assert_false(gd_guestmem_range_valid(&way, at(0, 0) | GIO_DMA_GRANT_BIT, 1));
}

static void test_maps(void **state)
{
	struct gd_guestmem *mem;
	struct gd_guestmap map;

	(void)state;
	assert_int_equal(gd_guestmem_open(&mem, FAKE_DOMID, &way), 0);
	assert_int_equal(gd_guestmem_map(mem, at(2, 100), 4096, GD_ACCESS_WRITE, &map), 0);
	assert_ptr_equal(map.data, flat.ram[2] + 100);
	assert_int_equal(map.pages, 2);
	assert_true(flat.written);
	gd_guestmem_unmap(mem, &map);
	gd_guestmem_unmap(mem, &map);
	assert_int_equal(flat.unmaps, 1);
	assert_int_equal(gd_guestmem_map(mem, at(2, 0), 16, GD_ACCESS_READ, &map), 0);
	assert_false(flat.written);
	gd_guestmem_unmap(mem, &map);
	/* An error is the guest's fault, unless something lacks. The way never sees what cannot be an address. */
	assert_int_equal(gd_guestmem_map(mem, at(PAGES, 0), 16, GD_ACCESS_READ, &map), -EFAULT);
	flat.fail = -ENOMEM;
	assert_int_equal(gd_guestmem_map(mem, at(0, 0), 16, GD_ACCESS_READ, &map), -ENOMEM);
	flat.maps = 0;
	assert_int_equal(gd_guestmem_map(mem, 0x1000, 16, GD_ACCESS_READ, &map), -EFAULT);
	assert_int_equal(gd_guestmem_map(mem, at(0, 0), GD_GUESTMAP_PAGES * 4096 + 1, GD_ACCESS_READ, &map), -E2BIG);
	assert_int_equal(flat.maps, 0);
	gd_guestmem_close(mem);
	assert_int_equal(flat.closes, 1);
}

/* One call of the way per batch, however many pieces there are. */
static void test_copies_by_one_call(void **state)
{
	static char local[3 * GIO_PAGE_SIZE];
	const struct gd_copy_stats *stats;
	char out[] = "written";
	struct gd_copy *copy;
	int fault = 0;

	(void)state;
	assert_int_equal(gd_copy_open(&copy, FAKE_DOMID, &way, ROOM), 0);
	stats = gd_copy_counters(copy);
	gd_copy_add(copy, GD_COPY_FETCH, at(1, 1000), local, 2 * GIO_PAGE_SIZE, &fault);
	for (unsigned i = 0; i < 10; i++)
		gd_copy_add(copy, GD_COPY_FETCH, at(4, 16 * i), local + 2 * GIO_PAGE_SIZE + 16 * i, 16, &fault);
	gd_copy_add(copy, GD_COPY_PUSH, at(6, 4090), out, sizeof(out), &fault);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fault, 0);
	assert_int_equal(flat.copies, 1);
	assert_int_equal(flat.segments, 3 + 1 + 2); /* cut at pages; joined; cut */
	assert_memory_equal(local, flat.ram[1] + 1000, 2 * GIO_PAGE_SIZE);
	assert_memory_equal(local + 2 * GIO_PAGE_SIZE, flat.ram[4], 160);
	assert_memory_equal(flat.ram[6] + 4090, out, sizeof(out));
	assert_int_equal(gd_count_read(&stats->calls), 1);
	assert_int_equal(gd_count_read(&stats->hypercalls), 3);
	assert_int_equal(gd_count_read(&stats->bytes), 2 * GIO_PAGE_SIZE + 160 + sizeof(out));
	assert_int_equal(gd_copy_run(copy), 0); /* nothing to do, and so nothing is called */
	assert_int_equal(flat.copies, 1);
	gd_copy_close(copy);
}

static void test_faults_are_each_piece_its_own(void **state)
{
	int good = 0, bad = 0, all = 0;
	struct gd_copy *copy;
	char local[64];

	(void)state;
	assert_int_equal(gd_copy_open(&copy, FAKE_DOMID, &way, ROOM), 0);
	flat.hole = 5;
	gd_copy_add(copy, GD_COPY_FETCH, at(4, 0), local, 16, &good);
	gd_copy_add(copy, GD_COPY_FETCH, at(5, 0), local + 16, 16, &bad);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(good, 0);
	assert_int_equal(bad, -EFAULT);
	flat.fail = -ENOSPC;
	gd_copy_add(copy, GD_COPY_FETCH, at(4, 0), local, 16, &all);
	assert_int_equal(gd_copy_run(copy), -ENOSPC);
	assert_int_equal(all, -EIO);
	gd_copy_close(copy);
}

static void test_open_fails(void **state)
{
	struct gd_guestmem *mem = NULL;
	struct gd_copy *copy = NULL;

	(void)state;
	flat.fail = -EACCES;
	assert_int_equal(gd_guestmem_open(&mem, FAKE_DOMID, &way), -EACCES);
	flat.fail = -EACCES;
	assert_int_equal(gd_copy_open(&copy, FAKE_DOMID, &way, ROOM), -EACCES);
	assert_int_equal(flat.opens, 2);
	assert_int_equal(flat.closes, 0); /* what did not open is not closed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_addresses_and_features, setup),
		cmocka_unit_test_setup(test_maps, setup),
		cmocka_unit_test_setup(test_copies_by_one_call, setup),
		cmocka_unit_test_setup(test_faults_are_each_piece_its_own, setup),
		cmocka_unit_test_setup(test_open_fails, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
