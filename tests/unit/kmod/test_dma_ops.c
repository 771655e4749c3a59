/* SPDX-License-Identifier: MIT */
/* The module's DMA operations, as they are, in a kernel made of paper (shim/world.h): what a backend reaches, and when.
 */
#include "shim/world.h"

#include <grantio/dma.h>

#include "../../../kmod/dma_ops.h"
#include "../../../kmod/reap.h"
#include "../../../kmod/virtio.h"

#include <setjmp.h>

#include <cmocka.h>

struct gio_os gk_os;

void gk_reap_schedule(void)
{
}

u32 gk_reap_held(u32 user)
{
	u32 left = gio_grants_reap(gk_os.grants);

	for (u32 i = left / 64; i; i--)
		gio_grants_reap(gk_os.grants);
	return gio_grants_held(gk_os.grants, user);
}

struct fixture {
	struct device dev, other;
	struct device_driver driver;
	struct gk_dma dma, other_dma;
	const struct dma_map_ops *ops;
	char *page;
};

static void open_fixture(struct fixture *f)
{
	*f = (struct fixture){.driver = {.name = "virtio-mmio"}};
	world_new();
	assert_int_equal(gio_grants_open(&gk_os.grants, &gk_os, 0), 0);
	gk_dma_init(&f->dma);
	gk_dma_init(&f->other_dma);
	assert_int_equal(gk_dma_attach(&f->dev, &f->dma, 7, 2), 0);
	assert_int_equal(gk_dma_attach(&f->other, &f->other_dma, 9, 2), 0);
	f->dev.driver = f->other.driver = &f->driver;
	f->ops = f->dev.dma_ops;
	f->page = alloc_pages_exact(PAGE_SIZE, __GFP_ZERO);
}

static void close_fixture(struct fixture *f)
{
	gk_dma_detach(&f->dev);
	gk_dma_detach(&f->other);
	assert_int_equal(gio_grants_close(gk_os.grants), 0);
	assert_int_equal(world_granted(), 0);
}

static dma_addr_t map(struct fixture *f, void *v, size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	dma_addr_t addr = f->ops->map_page(&f->dev, virt_to_page(v), offset_in_page(v), size, dir, attrs);

	assert_true(addr != DMA_MAPPING_ERROR);
	return addr;
}

/* ---- rings ------------------------------------------------------------------------------------------------------ */

/* Linux takes from descriptors what it unmaps: the backend reads them and the available ring, and writes the used ring.
 */
static void test_ring_is_granted_in_two_parts(void **state)
{
	(void)state;
	for (unsigned num = 1; num <= 32768; num *= 2) {
		size_t size = vring_size(num, PAGE_SIZE), used = ALIGN(num * 16 + (3 + num) * 2, PAGE_SIZE);
		struct fixture f;
		dma_addr_t addr;
		void *va;

		open_fixture(&f);
		va = f.ops->alloc(&f.dev, size, &addr, GFP_KERNEL, 0);
		assert_non_null(va);
		for (size_t at = 0; at < size; at += PAGE_SIZE) {
			assert_non_null(world_reach(addr + at, false));
			assert_int_equal(!!world_reach(addr + at, true), at >= used);
		}
		f.ops->free(&f.dev, size, va, addr, 0);
		assert_int_equal(virt_to_page(va)->count, 0);
		close_fixture(&f);
	}
}

static void test_other_rings_are_refused(void **state)
{
	/* Packed rings and their events; a split ring in one piece; an entry too many; what virtio_pci has. */
	const size_t sizes[] = {4, 4096, 256 * 16, vring_size(256, 64), vring_size(256, PAGE_SIZE) + 8, 1, 65536};
	struct device_driver pci = {.name = "virtio-pci"};
	struct fixture f;
	dma_addr_t addr;

	(void)state;
	open_fixture(&f);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_null(f.ops->alloc(&f.dev, sizes[i], &addr, GFP_KERNEL, 0));
	f.dev.driver = &pci;
	assert_null(f.ops->alloc(&f.dev, vring_size(256, PAGE_SIZE), &addr, GFP_KERNEL, 0));
	assert_int_equal(shim_errors, 1); /* however often it tries */
	assert_int_equal(world_granted(), 0);
	/* However often it begins anew, too. */
	for (size_t i = 0; i < 100; i++) {
		gk_dma_detach(&f.dev);
		assert_int_equal(gk_dma_attach(&f.dev, &f.dma, 7, 2), 0);
		assert_null(f.ops->alloc(&f.dev, 1, &addr, GFP_KERNEL, 0));
	}
	assert_int_equal(shim_errors, 10);
	close_fixture(&f);
}

/* ---- copies ----------------------------------------------------------------------------------------------------- */

static void test_sync_by_the_driver(void **state)
{
	struct fixture f;
	dma_addr_t addr;
	char *part;

	(void)state;
	open_fixture(&f);
	part = f.page + 256;
	strcpy(part, "before");
	addr = map(&f, part, 1536, DMA_FROM_DEVICE, 0);
	strcpy(world_reach(addr, true), "from the wire");
	f.ops->sync_single_for_cpu(&f.dev, addr, 1536, DMA_FROM_DEVICE);
	assert_string_equal(part, "from the wire");
	strcpy(part, "checked");
	strcpy(world_reach(addr, true), "after the check");
	f.ops->unmap_page(&f.dev, addr, 1536, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
	assert_string_equal(part, "checked");
	/* Nor is it shown what the driver has not synced. */
	strcpy(part, "secret");
	addr = map(&f, part, 1536, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
	assert_string_equal(world_reach(addr, false), "");
	f.ops->sync_single_for_device(&f.dev, addr, 1536, DMA_TO_DEVICE);
	assert_string_equal(world_reach(addr, false), "secret");
	f.ops->unmap_page(&f.dev, addr, 1536, DMA_TO_DEVICE, 0);
	close_fixture(&f);
}

static void test_sync_for_a_device_that_writes(void **state)
{
	struct fixture f;
	dma_addr_t addr;

	(void)state;
	open_fixture(&f);
	addr = map(&f, f.page + 256, 64, DMA_FROM_DEVICE, 0);
	strcpy(world_reach(addr, true), "its own");
	f.ops->sync_single_for_device(&f.dev, addr, 64, DMA_FROM_DEVICE);
	f.ops->unmap_page(&f.dev, addr, 64, DMA_FROM_DEVICE, 0);
	assert_string_equal(f.page + 256, "its own");
	close_fixture(&f);
}

/* A page that is here by another domain's grant cannot be granted on; one of the page cache's may look like it. */
static void test_foreign_pages_are_copied(void **state)
{
	struct fixture f;
	dma_addr_t addr;

	(void)state;
	open_fixture(&f);
	virt_to_page(f.page)->foreign = true;
	addr = map(&f, f.page, PAGE_SIZE, DMA_TO_DEVICE, 0);
	assert_ptr_not_equal(world_reach(addr, false), f.page);
	f.ops->unmap_page(&f.dev, addr, PAGE_SIZE, DMA_TO_DEVICE, 0);
	virt_to_page(f.page)->mapping = &f;
	addr = map(&f, f.page, PAGE_SIZE, DMA_TO_DEVICE, 0);
	assert_ptr_equal(world_reach(addr, false), f.page);
	f.ops->unmap_page(&f.dev, addr, PAGE_SIZE, DMA_TO_DEVICE, 0);
	close_fixture(&f);
}

/* ---- mistakes --------------------------------------------------------------------------------------------------- */

static void test_what_is_not_unmapped_is_not_freed(void **state)
{
	const size_t size = vring_size(256, PAGE_SIZE);
	struct fixture f;
	dma_addr_t addr;
	void *va;

	(void)state;
	open_fixture(&f);
	va = f.ops->alloc(&f.dev, size, &addr, GFP_KERNEL, 0);
	f.ops->free(&f.dev, PAGE_SIZE, va, addr, 0);
	assert_int_equal(shim_warnings, 1);
	assert_int_equal(virt_to_page(va)->count, 1); /* it is granted */
	assert_non_null(world_reach(addr, false));
	f.ops->free(&f.dev, size, va, addr, 0);
	assert_int_equal(virt_to_page(va)->count, 0);
	close_fixture(&f);
}

static void test_no_device_ends_anothers_mapping(void **state)
{
	struct fixture f;
	dma_addr_t addr;

	(void)state;
	open_fixture(&f);
	addr = map(&f, f.page, PAGE_SIZE, DMA_TO_DEVICE, 0);
	f.ops->unmap_page(&f.other, addr, PAGE_SIZE, DMA_TO_DEVICE, 0);
	assert_int_equal(shim_warnings, 1);
	assert_non_null(world_reach(addr, false));
	f.ops->unmap_page(&f.dev, addr, PAGE_SIZE, DMA_TO_DEVICE, 0);
	assert_int_equal(shim_warnings, 1);
	close_fixture(&f);
}

/* Some references come back when requests are done: virtio drivers try again after -ENOMEM. */
static void test_want_of_references_is_temporary(void **state)
{
	struct scatterlist sg = {.length = PAGE_SIZE};
	static dma_addr_t addr[4096];
	struct fixture f;
	unsigned n = 0;

	(void)state;
	open_fixture(&f);
	sg.phys = __pa(f.page);
	for (; n < 4096; n++) {
		addr[n] = f.ops->map_page(&f.dev, virt_to_page(f.page), 0, PAGE_SIZE, DMA_TO_DEVICE, 0);
		if (addr[n] == DMA_MAPPING_ERROR)
			break;
	}
	assert_true(n > 0 && n < 4096);
	assert_int_equal(f.ops->map_sg(&f.dev, &sg, 1, DMA_TO_DEVICE, 0), -ENOMEM);
	while (n)
		f.ops->unmap_page(&f.dev, addr[--n], PAGE_SIZE, DMA_TO_DEVICE, 0);
	close_fixture(&f);
}

/* ---- a backend that holds too much ------------------------------------------------------------------------------ */

static dma_addr_t kept[GIO_DMA_HELD_MAX];

/* It lets go of none of so many pages. */
static void hold_too_much(struct fixture *f)
{
	assert_int_equal(gk_virtio_register(), 0);
	world_child_on(&f->dev);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		kept[i] = map(f, f->page, PAGE_SIZE, DMA_TO_DEVICE, 0);
		world_hold(kept[i], true);
		f->ops->unmap_page(&f->dev, kept[i], PAGE_SIZE, DMA_TO_DEVICE, 0);
	}
}

static void let_go(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		world_hold(kept[i], false);
	while (gio_grants_reap(gk_os.grants))
		;
	gk_virtio_unregister();
}

static void map_fails(struct fixture *f)
{
	assert_true(f->ops->map_page(&f->dev, virt_to_page(f->page), 0, PAGE_SIZE, DMA_TO_DEVICE, 0) ==
		    DMA_MAPPING_ERROR);
}

/* Its driver would try for ever. Before it is broken the requests in flight end; a ring is none. */
static void test_backend_that_holds_too_much(void **state)
{
	const size_t size = vring_size(256, PAGE_SIZE);
	dma_addr_t ring, busy, others;
	struct fixture f;
	void *va;

	(void)state;
	open_fixture(&f);
	va = f.ops->alloc(&f.dev, size, &ring, GFP_KERNEL, 0);
	busy = map(&f, f.page, PAGE_SIZE, DMA_TO_DEVICE, 0);
	hold_too_much(&f);
	map_fails(&f);
	for (unsigned i = 0; i < 10; i++)
		assert_true(world_work());
	assert_false(world.child.broken);
	f.ops->unmap_page(&f.dev, busy, PAGE_SIZE, DMA_TO_DEVICE, 0);
	while (world_work())
		;
	assert_true(world.child.broken);
	assert_int_equal(shim_errors, 1);
	others = f.ops->map_page(&f.other, virt_to_page(f.page), 0, PAGE_SIZE, DMA_TO_DEVICE, 0);
	assert_true(others != DMA_MAPPING_ERROR); /* another device goes on */
	f.ops->unmap_page(&f.other, others, PAGE_SIZE, DMA_TO_DEVICE, 0);
	/* A driver that is bound anew has queues that are not broken. */
	world.child.broken = false;
	map_fails(&f);
	while (world_work())
		;
	assert_true(world.child.broken);
	f.ops->free(&f.dev, size, va, ring, 0);
	assert_int_equal(atomic_read(&f.dma.ring_units), 0);
	let_go();
	close_fixture(&f);
}

/* What is in flight may never end. */
static void test_backend_that_holds_too_much_and_never_answers(void **state)
{
	unsigned long before;
	struct fixture f;
	dma_addr_t busy;

	(void)state;
	open_fixture(&f);
	busy = map(&f, f.page, PAGE_SIZE, DMA_TO_DEVICE, 0);
	hold_too_much(&f);
	before = jiffies;
	map_fails(&f);
	while (world_work())
		;
	assert_true(world.child.broken);
	assert_in_range(jiffies - before, 29 * HZ, 31 * HZ);
	/* A device that goes while that is waited for is not touched afterwards. */
	world.child.broken = false;
	map_fails(&f);
	f.ops->unmap_page(&f.dev, busy, PAGE_SIZE, DMA_TO_DEVICE, 0);
	gk_dma_end(&f.dma);
	assert_false(world_work());
	assert_false(world.child.broken);
	let_go();
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_is_granted_in_two_parts),
		cmocka_unit_test(test_other_rings_are_refused),
		cmocka_unit_test(test_sync_by_the_driver),
		cmocka_unit_test(test_sync_for_a_device_that_writes),
		cmocka_unit_test(test_foreign_pages_are_copied),
		cmocka_unit_test(test_what_is_not_unmapped_is_not_freed),
		cmocka_unit_test(test_no_device_ends_anothers_mapping),
		cmocka_unit_test(test_want_of_references_is_temporary),
		cmocka_unit_test(test_backend_that_holds_too_much),
		cmocka_unit_test(test_backend_that_holds_too_much_and_never_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
