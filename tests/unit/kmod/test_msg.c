/* SPDX-License-Identifier: MIT */
/*
 * The module's transport "msg", as it is, in a kernel made of paper (shim/world.h), against a device that answers as
 * docs/xenbus.md says (shim/device.c): how it comes and goes, is saved and restored, and what its data go through.
 */
#include "msg_rig.h"

#include "../../../kmod/dma_ops.h"
#include "../../../kmod/frontend.h"
#include "../../../kmod/reap.h"
#include "../../../kmod/virtio.h"

#include <abi/dma_addr.h>

#include <setjmp.h>

#include <cmocka.h>

/* ---- the connection --------------------------------------------------------------------------------------------- */

static void test_connects(void **state)
{
	(void)state;
	rig_connected();
	assert_string_equal(world_answer("grantio-version"), "2");
	assert_string_equal(world_answer("transport"), "virtio-msg");
	assert_string_equal(world_answer("virtio-msg/draft"), GIO_MSG_DRAFT);
	assert_int_equal(strspn(world_answer("connection"), "0123456789abcdef"), 16);
	assert_int_equal(strlen(world_answer("connection")), 16);
	assert_string_equal(world_answer("dma"), "pool");
	assert_string_equal(world_answer("queue-channels"), "2"); /* one for each processor */
	assert_int_not_equal(rig_port("event-channel"), rig_port("queue-0/event-channel"));
	assert_int_not_equal(rig_port("queue-0/event-channel"), rig_port("queue-1/event-channel"));
	assert_int_equal(shim_module, 1);
	assert_int_equal(world_device.status, 15);
	assert_int_equal(world_device.queue[0].size, 64);
	assert_int_equal(world_device.queue[1].size, 1024);
	assert_null(world.vqs[1]);
	assert_int_equal(world.vqs[2]->index, 1);
	assert_string_equal(world.vqs[2]->name, "b");
	rig_end();
}

/* Which pages of the pool there are, and what the backend may do there. */
static void test_pool_is_named_as_it_is_granted(void **state)
{
	u64 pages = 0;
	unsigned runs;

	(void)state;
	rig_connected();
	runs = (unsigned)atoi(world_answer("pool-runs"));
	assert_in_range(runs, 2, GIO_POOL_RUNS_MAX);
	for (unsigned i = 0; i < runs; i++) {
		unsigned first, count;
		char key[16], perm;

		snprintf(key, sizeof(key), "pool-%u", i);
		assert_int_equal(sscanf(world_answer(key), "%u:%u:%c", &first, &count, &perm), 3);
		for (unsigned k = 0; k < count; k++) {
			assert_non_null(world_reach((dma_addr_t)(first + k) << PAGE_SHIFT, false));
			assert_int_equal(!!world_reach((dma_addr_t)(first + k) << PAGE_SHIFT, true), perm == 'w');
		}
		pages += count;
	}
	assert_int_equal(pages, 1024); /* 4 MiB */
	rig_end();
}

/* A pool that the backend would not map is served by copies; the guest's own pages are granted in no case. */
static void test_pool_that_is_too_large(void **state)
{
	(void)state;
	rig_begin();
	strcpy(world_device.pool_max, "1023");
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_string_equal(world_answer("dma"), "grant");
	assert_string_equal(world_answer("pool-runs"), "0");
	assert_true(rig_front()->dma.pooled);
	rig_end();
}

static void test_offers_that_are_refused(void **state)
{
	static const struct {
		const char *max_size, *channels, *pool_max, *said;
	} cases[] = {
		{"265", "4", "0", "max-size"},	    {"", "4", "0", "max-size"},	     {"264", "0", "0", "max-queue"},
		{"264", "17", "0", "max-queue"},    {"264", "4x", "0", "max-queue"}, {"264", "4", "", "pool-max"},
		{"264", "4", "4294967296", "pool"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_begin();
		strcpy(world_device.max_size, cases[i].max_size);
		strcpy(world_device.channels, cases[i].channels);
		strcpy(world_device.pool_max, cases[i].pool_max);
		rig_connect();
		assert_int_equal(rig_xbdev.state, XenbusStateClosed);
		assert_non_null(strstr(world.said, cases[i].said));
		assert_int_equal(world_device.requests, 0);
		rig_end();
	}
}

/* Another draft is no offer of messages: such a backend is reached by registers, as before. */
static void test_another_draft(void **state)
{
	(void)state;
	rig_begin();
	strcpy(world_device.draft, GIO_MSG_DRAFT "x");
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_string_equal(world.device->name, "virtio-mmio");
	rig_end();
}

/*
 * A device of the device tree is left to it without messages, or if the administrator of the guest says so. Its
 * backend never sees it refused, since the device tree's driver may use its registers.
 */
static void test_devices_of_the_device_tree(void **state)
{
	static const struct {
		bool told, offered, right, ours;
	} cases[] = {
		{false, true, true, false},
		{true, false, true, false},
		{true, true, true, true},
		{true, true, false, true},
	};

	(void)state;
	assert_true(*shim_param_tree_messages); /* unless it is told otherwise */
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned long before;

		rig_begin();
		world.driver->remove(&rig_xbdev);
		strcpy(world.placed, "0x2000000");
		*shim_param_tree_messages = cases[i].told;
		if (!cases[i].offered)
			*world_device.draft = '\0';
		world_device.type = cases[i].right ? VIRTIO_ID_BLOCK : 18;
		assert_int_equal(world.driver->probe(&rig_xbdev, NULL), cases[i].ours ? 0 : -ENODEV);
		before = jiffies;
		gk_front_settle();
		assert_int_equal(jiffies - before, cases[i].ours ? 10 * HZ : 0); /* nothing has happened yet */
		if (cases[i].ours) {
			rig_connect();
			before = jiffies;
			gk_front_settle();
			assert_int_equal(jiffies, before);
			assert_int_equal(rig_xbdev.state,
					 cases[i].right ? XenbusStateConnected : XenbusStateInitialising);
			rig_end();
			continue;
		}
		gk_front_unregister();
		gk_virtio_unregister();
		assert_int_equal(gio_grants_close(gk_os.grants), 0);
	}
	*shim_param_tree_messages = true;
}

static void test_each_answer_is_another_connection(void **state)
{
	char first[32];

	(void)state;
	rig_connected();
	strcpy(first, world_answer("connection"));
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_string_not_equal(world_answer("connection"), first);
	assert_int_equal(world.made, 2);
	assert_int_equal(world.breaks, 1);
	rig_end();
}

/* At once, then after 1, 2, 4, ... 30 s. */
static void test_beginning_anew_takes_longer_each_time(void **state)
{
	static const unsigned long seconds[] = {0, 1, 2, 4, 8, 16, 30, 30};

	(void)state;
	rig_connected();
	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		unsigned long before = jiffies;

		rig_backend_is(XenbusStateInitWait);
		rig_works();
		assert_int_equal((jiffies - before) / HZ, seconds[i]);
		assert_int_equal(rig_xbdev.state, XenbusStateInitialised);
		rig_backend_is(XenbusStateConnected);
		rig_works();
		jiffies = before + (jiffies - before) / HZ * HZ;
	}
	/* After a minute of peace the next one is at once, and so is the one after it. */
	jiffies += 61 * HZ;
	for (unsigned i = 0; i < 2; i++) {
		unsigned long before = jiffies;

		rig_connect();
		assert_in_range(jiffies - before, 0, HZ - 1);
	}
	rig_end();
}

/* ---- removal ---------------------------------------------------------------------------------------------------- */

/* In order, with a reset, as long as the backend is there. */
static void test_toolstack_removes_it(void **state)
{
	(void)state;
	rig_connected();
	rig_backend_is(XenbusStateClosing);
	assert_int_equal(rig_xbdev.state, XenbusStateClosed);
	assert_int_equal(world.devices, 0);
	assert_int_equal(world_granted(), 0);
	rig_end();
}

static void test_module_goes(void **state)
{
	(void)state;
	rig_connected();
	rig_end();
	assert_int_equal(world_device.status, 0);
	assert_int_equal(world.breaks, 0);
}

/* ---- save and restore ------------------------------------------------------------------------------------------- */

static const struct dev_pm_ops *pm(void)
{
	return &world.device->dev.pm_domain->ops;
}

static int saves(void)
{
	world.work_stops = true;
	return pm()->freeze(&world.device->dev);
}

static void goes_on(void)
{
	world.work_stops = false;
	rig_works();
}

static void test_cancelled_save(void **state)
{
	char first[32];

	(void)state;
	rig_connected();
	strcpy(first, world_answer("connection"));
	assert_int_equal(saves(), 0);
	assert_int_equal(world_device.status, 0);
	assert_int_equal(pm()->thaw(&world.device->dev), 0);
	goes_on();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_int_equal(world_device.status, 15);
	assert_string_equal(world_answer("connection"), first); /* over the same pages, channels and pool */
	assert_int_equal(world.made, 1);
	rig_end();
}

/* The same virtio device goes on behind a new connection; what its channels' ports are now is not touched. */
static void test_restore(void **state)
{
	(void)state;
	rig_connected();
	assert_int_equal(saves(), 0);
	world_restore(&rig_xbdev);
	assert_int_equal(world.restores, 0);
	assert_false(rig_front()->msg.vdev.events); /* nobody looks at pages that are gone */
	rig_xbdev.otherend_id = 11;
	world_device.config[0] = 42;
	goes_on();
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_string_equal(world.owner[5], "netfront");
	assert_int_equal(world.made, 1);
	assert_int_equal(world.restores, 1);
	assert_int_equal(world_device.status, 15);
	assert_int_equal(rig_capacity(), 42);
	assert_int_equal(world.configs, 1); /* it may have grown meanwhile */
	assert_int_equal(rig_front()->dma.dma.backend, 11);
	rig_end();
}

/* Xen's part of the kernel restores all devices after a save that has failed late; xenstore is as it was. */
static void test_save_that_fails_late(void **state)
{
	(void)state;
	rig_connected();
	assert_int_equal(saves(), 0);
	rig_xbdev.state = XenbusStateInitialising;
	world.driver->resume(&rig_xbdev);
	pm()->restore(&world.device->dev);
	goes_on();
	assert_int_equal(world.written, XenbusStateInitialising);
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_int_equal(world.made, 1);
	rig_end();
}

/* After the restore there is another kind of device: the disk waits, and its requests, until the right one comes. */
static void test_restore_with_another_device(void **state)
{
	(void)state;
	rig_connected();
	assert_int_equal(saves(), 0);
	world_restore(&rig_xbdev);
	goes_on();
	world_device.type = 18;
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateClosed);
	assert_int_equal(world.devices, 1);
	world_device.type = VIRTIO_ID_BLOCK;
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_int_equal(world.made, 1);
	rig_end();
}

/* A device that is frozen when its xenbus device goes ends as well: its driver goes on with queues that are broken. */
static void test_frozen_device_that_goes(void **state)
{
	(void)state;
	rig_connected();
	assert_int_equal(saves(), 0);
	world_restore(&rig_xbdev);
	world.work_stops = false;
	world.backend = XenbusStateUnknown;
	rig_end();
	assert_int_equal(world.breaks, 1);
}

/* ---- DMA -------------------------------------------------------------------------------------------------------- */

static bool in_pool(dma_addr_t addr)
{
	unsigned runs = (unsigned)atoi(world_answer("pool-runs"));

	for (unsigned i = 0; i < runs; i++) {
		unsigned first, count;
		char key[16];

		snprintf(key, sizeof(key), "pool-%u", i);
		sscanf(world_answer(key), "%u:%u", &first, &count);
		if (gio_dma_addr_gref(addr) - first < count)
			return true;
	}
	return false;
}

/* A buffer over a page's border, at an odd offset: the backend sees a copy, and what it writes comes back. */
static void test_buffers_are_copied(void **state)
{
	char *page, *buffer;
	dma_addr_t addr;
	struct device *dev;

	(void)state;
	rig_connected();
	dev = &world.device->dev;
	page = alloc_pages_exact(3 * PAGE_SIZE, __GFP_ZERO);
	buffer = page + 4000;
	memset(buffer, 'g', 5000);
	for (int dir = DMA_BIDIRECTIONAL; dir <= DMA_FROM_DEVICE; dir++) {
		unsigned granted = world_granted();

		addr = dev->dma_ops->map_page(dev, virt_to_page(page), 4000, 5000, dir, 0);
		assert_true(addr != DMA_MAPPING_ERROR);
		assert_true(in_pool(addr) && in_pool(addr + 4999));
		assert_int_equal(world_granted(), granted);
		assert_int_equal(!!world_reach(addr, true), dir != DMA_TO_DEVICE);
		if (dir != DMA_FROM_DEVICE)
			assert_int_equal(((char *)world_reach(addr + 4999, false))[0], 'g');
		if (dir != DMA_TO_DEVICE)
			memset(world_reach(addr, true), 'd', 1);
		dev->dma_ops->unmap_page(dev, addr, 5000, dir, 0);
		assert_int_equal(buffer[0], dir == DMA_TO_DEVICE ? 'g' : 'd');
		memset(buffer, 'g', 5000);
	}
	free_pages_exact(page, 3 * PAGE_SIZE);
	rig_end();
}

/* Small things lie apart from data, and beside nothing of the guest's own. */
static void test_exhausted_pool(void **state)
{
	struct device *dev;
	dma_addr_t addr[2000];
	unsigned n, used;
	char *page;

	(void)state;
	rig_connected();
	dev = &world.device->dev;
	page = alloc_pages_exact(PAGE_SIZE, __GFP_ZERO);
	for (n = 0; n < ARRAY_SIZE(addr); n++) {
		addr[n] = dev->dma_ops->map_page(dev, virt_to_page(page), 0, PAGE_SIZE, DMA_TO_DEVICE, 0);
		if (addr[n] == DMA_MAPPING_ERROR)
			break;
	}
	assert_in_range(n, 400, 512);
	used = n;
	while (n--)
		dev->dma_ops->unmap_page(dev, addr[n], PAGE_SIZE, DMA_TO_DEVICE, 0);
	for (n = 0; n < used; n++) {
		addr[n] = dev->dma_ops->map_page(dev, virt_to_page(page), 0, PAGE_SIZE, DMA_TO_DEVICE, 0);
		assert_true(addr[n] != DMA_MAPPING_ERROR);
	}
	while (n--)
		dev->dma_ops->unmap_page(dev, addr[n], PAGE_SIZE, DMA_TO_DEVICE, 0);
	free_pages_exact(page, PAGE_SIZE);
	rig_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects),
		cmocka_unit_test(test_pool_is_named_as_it_is_granted),
		cmocka_unit_test(test_pool_that_is_too_large),
		cmocka_unit_test(test_offers_that_are_refused),
		cmocka_unit_test(test_another_draft),
		cmocka_unit_test(test_devices_of_the_device_tree),
		cmocka_unit_test(test_each_answer_is_another_connection),
		cmocka_unit_test(test_beginning_anew_takes_longer_each_time),
		cmocka_unit_test(test_toolstack_removes_it),
		cmocka_unit_test(test_module_goes),
		cmocka_unit_test(test_cancelled_save),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_save_that_fails_late),
		cmocka_unit_test(test_restore_with_another_device),
		cmocka_unit_test(test_frozen_device_that_goes),
		cmocka_unit_test(test_buffers_are_copied),
		cmocka_unit_test(test_exhausted_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
