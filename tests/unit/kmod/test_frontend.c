/* SPDX-License-Identifier: MIT */
/* The module's xenstore frontend, as it is, in a kernel made of paper (shim/world.h): states, types, save and restore.
 */
#include "shim/world.h"

#include "../../../kmod/dma_ops.h"
#include "../../../kmod/frontend.h"
#include "../../../kmod/platform.h"
#include "../../../kmod/reap.h"
#include "../../../kmod/sysfs.h"
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

const struct attribute_group *gk_groups[2];

static struct xenbus_device disk(const char *devicetype)
{
	return (struct xenbus_device){
		.devicetype = devicetype, .nodename = "device/x/1", .otherend = "backend", .otherend_id = 3};
}

static void backend_is(struct xenbus_device *xbdev, enum xenbus_state state)
{
	world.backend = state;
	world.driver->otherend_changed(xbdev, state);
}

static void begin(struct xenbus_device *xbdev)
{
	assert_int_equal(gio_grants_open(&gk_os.grants, &gk_os, 0), 0);
	assert_int_equal(gk_virtio_register(), 0);
	assert_int_equal(gk_front_register(), 0);
	assert_int_equal(world.driver->probe(xbdev, NULL), 0);
}

/* A connection that begins anew may have to wait for its time. */
static void connect(struct xenbus_device *xbdev)
{
	backend_is(xbdev, XenbusStateInitWait);
	while (world_work())
		;
	backend_is(xbdev, XenbusStateConnected);
}

static void end(struct xenbus_device *xbdev)
{
	world.driver->remove(xbdev);
	gk_front_unregister();
	gk_virtio_unregister();
	assert_int_equal(world.devices, 0);
	assert_int_equal(world.handlers, 0);
	assert_int_equal(shim_module, 0);
	assert_int_equal(shim_warnings, 0);
	assert_int_equal(gio_grants_close(gk_os.grants), 0);
}

static const struct dev_pm_ops *pm(void)
{
	return &world.device->dev.pm_domain->ops;
}

/* As the kernel has it: no work is done from here on until the guest goes on. */
static int saves(void)
{
	world.work_stops = true;
	return pm()->freeze(&world.device->dev);
}

static void goes_on(void)
{
	world.work_stops = false;
	while (world_work())
		;
}

static void test_connects_and_holds_the_module(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	world_new();
	begin(&xbdev);
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_int_equal(world.devices, 1);
	assert_int_equal(shim_module, 1);
	end(&xbdev);
}

/* ---- the kind of device ----------------------------------------------------------------------------------------- */

static void test_the_type_is_the_toolstacks(void **state)
{
	static const struct {
		const char *devicetype, *type;
		u32 id;
		bool works;
	} cases[] = {
		{"virtio_disk", "", 2, true},
		{"virtio_disk", "", 18, false},
		{"virtio_disk", "virtio,device12", 18, false},
		{"virtio_disk", "", 0, false},
		{"virtio", "", 2, true},
		{"virtio", "", 1, false},
		{"virtio", "virtio,device12", 18, true},
		{"virtio", "virtio,device12", 2, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct xenbus_device xbdev = disk(cases[i].devicetype);

		world_new();
		strcpy(world.type, cases[i].type);
		world.device_id = cases[i].id;
		begin(&xbdev);
		connect(&xbdev);
		assert_int_equal(xbdev.state, cases[i].works ? XenbusStateConnected : XenbusStateClosed);
		assert_int_equal(world.devices, cases[i].works);
		if (cases[i].works)
			assert_int_equal(gk_dma_of(&world.device->dev)->type, cases[i].id);
		end(&xbdev);
	}
}

static void test_a_type_that_is_none(void **state)
{
	struct xenbus_device xbdev = disk("virtio");

	(void)state;
	world_new();
	strcpy(world.type, "keyboard");
	begin(&xbdev);
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateClosed);
	assert_int_equal(world.devices, 0);
	assert_string_equal(world.said, "type: must be virtio,deviceN, N the hexadecimal number of a type of device");
	end(&xbdev);
}

/* The toolstack says the type after the directory has been made, and before the backend makes its offer. */
static void test_type_that_comes_later(void **state)
{
	struct xenbus_device xbdev = disk("virtio");

	(void)state;
	world_new();
	world.device_id = 4;
	begin(&xbdev);
	strcpy(world.type, "virtio,device4");
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_int_equal(gk_dma_of(&world.device->dev)->type, 4);
	end(&xbdev);
}

/* ---- save and restore ------------------------------------------------------------------------------------------- */

static void test_cancelled_save(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	world_new();
	begin(&xbdev);
	connect(&xbdev);
	assert_int_equal(saves(), 0);
	assert_int_equal(pm()->thaw(&world.device->dev), 0);
	goes_on();
	assert_int_equal(world.freezes, 1);
	assert_int_equal(world.thaws, 1);
	assert_int_equal(world.restores, 0);
	assert_int_equal(world.written, XenbusStateConnected);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	end(&xbdev);
}

/* The same platform device goes on, with a new channel; the old one's port is another driver's, and stays open. */
static void test_restore(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	world_new();
	begin(&xbdev);
	connect(&xbdev);
	assert_int_equal(saves(), 0);
	world_restore(&xbdev);
	assert_int_equal(world.restores, 0); /* nobody is there yet */
	xbdev.otherend_id = 11;
	goes_on();
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_string_equal(world.owner[5], "netfront");
	assert_string_equal(world.owner[6], "grantio");
	assert_int_equal(world.made, 1);
	assert_int_equal(world.restores, 1);
	assert_int_equal(world.restored_irq, 2);
	assert_int_equal(world.handlers, 1);
	assert_int_equal(gk_dma_of(&world.device->dev)->dma.backend, 11);
	end(&xbdev);
}

/* Its driver has the registers mapped: the disk waits until they are where they were. */
static void test_restore_with_other_registers(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	world_new();
	begin(&xbdev);
	connect(&xbdev);
	assert_int_equal(saves(), 0);
	world_restore(&xbdev);
	strcpy(world.base, "4271902720");
	goes_on();
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateClosed);
	assert_non_null(strstr(world.said, "0xfea00000"));
	assert_int_equal(world.restores, 0);
	assert_int_equal(world.devices, 1);
	/* A second save while it waits. */
	assert_int_equal(saves(), 0);
	assert_int_equal(world.freezes, 1);
	assert_int_equal(pm()->thaw(&world.device->dev), 0);
	assert_int_equal(world.thaws, 0);
	goes_on();
	strcpy(world.base, "4271898624");
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_int_equal(world.restores, 1);
	assert_int_equal(world.made, 1);
	end(&xbdev);
}

/* A frozen driver is one of its type only, whatever the toolstack says where the guest goes on. */
static void test_restore_with_another_type(void **state)
{
	struct xenbus_device xbdev = disk("virtio");

	(void)state;
	world_new();
	strcpy(world.type, "virtio,device4");
	world.device_id = 4;
	begin(&xbdev);
	connect(&xbdev);
	assert_int_equal(saves(), 0);
	world_restore(&xbdev);
	strcpy(world.type, "virtio,device12");
	world.device_id = 18;
	goes_on();
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateClosed);
	assert_string_equal(world.said, "type: was 4 before this guest was saved, and must be, not 18");
	assert_int_equal(world.restores, 0);
	strcpy(world.type, "virtio,device4");
	world.device_id = 4;
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_int_equal(world.restores, 1);
	end(&xbdev);
}

/* Where the driver cannot be frozen its device goes, and another one comes. */
static void test_restore_without_freezing(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	world_new();
	world.virtio.pm = NULL;
	begin(&xbdev);
	connect(&xbdev);
	assert_int_equal(saves(), 0);
	world_restore(&xbdev);
	goes_on();
	connect(&xbdev);
	assert_int_equal(world.breaks, 1); /* what is still asked of the old one fails, and nobody waits for it */
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_string_equal(world.owner[5], "netfront");
	assert_int_equal(world.devices, 1);
	assert_int_equal(world.made, 2);
	end(&xbdev);
}

/* ---- saves that fail -------------------------------------------------------------------------------------------- */

static void connected(struct xenbus_device *xbdev)
{
	world_new();
	begin(xbdev);
	connect(xbdev);
	assert_int_equal(xbdev->state, XenbusStateConnected);
}

/* The backend has seen nothing of a save: it must find Initialising in xenstore, and begins anew then. */
static void reconnects(struct xenbus_device *xbdev)
{
	assert_int_equal(world.written, XenbusStateInitialising);
	connect(xbdev);
	assert_int_equal(xbdev->state, XenbusStateConnected);
	assert_int_equal(world.restores, 1);
	assert_int_equal(world.made, 1);
	assert_int_equal(world.handlers, 1);
}

/* Xen's part of the kernel restores all devices after dpm_suspend_end() has failed; xenstore is as it was. */
static void test_save_that_fails_late(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	connected(&xbdev);
	assert_int_equal(saves(), 0);
	xbdev.state = XenbusStateInitialising; /* xenbus's own: it writes nothing */
	world.driver->resume(&xbdev);
	pm()->restore(&world.device->dev);
	goes_on();
	reconnects(&xbdev);
	end(&xbdev);
}

/* After dpm_suspend_start() has failed no device is told anything. */
static void test_save_that_fails_early(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	connected(&xbdev);
	assert_int_equal(saves(), 0);
	goes_on();
	reconnects(&xbdev);
	end(&xbdev);
}

static void test_thaw_that_fails(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	connected(&xbdev);
	world.thaw_error = -ENOMEM;
	assert_int_equal(saves(), 0);
	assert_int_equal(pm()->thaw(&world.device->dev), 0);
	goes_on();
	reconnects(&xbdev);
	end(&xbdev);
}

/* Sleep, and a hibernation whose power stays on: xenbus restores the parent, as after a save. */
static void test_sleep(void **state)
{
	(void)state;
	for (int poweroff = 0; poweroff < 2; poweroff++) {
		struct xenbus_device xbdev = disk("virtio_disk");
		int (*sleeps)(struct device *), (*wakes)(struct device *);

		connected(&xbdev);
		sleeps = poweroff ? pm()->poweroff : pm()->suspend;
		wakes = poweroff ? pm()->restore : pm()->resume;
		world.work_stops = true;
		assert_int_equal(sleeps(&world.device->dev), 0);
		xbdev.state = XenbusStateInitialising;
		world.driver->resume(&xbdev);
		assert_int_equal(wakes(&world.device->dev), 0);
		assert_int_equal(world.restores, 0);
		goes_on();
		reconnects(&xbdev);
		end(&xbdev);
	}
}

/* Without its freeze virtio_mmio would reset the device under it. */
static void test_virtio_driver_without_freezing(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	connected(&xbdev);
	world.child_driver.freeze = NULL;
	assert_int_equal(saves(), 0);
	assert_int_equal(world.freezes, 0);
	assert_int_equal(pm()->thaw(&world.device->dev), 0);
	goes_on();
	assert_int_equal(world.thaws, 0);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_int_equal(world.made, 1);
	assert_int_equal(saves(), 0);
	world_restore(&xbdev);
	goes_on();
	connect(&xbdev);
	assert_int_equal(world.breaks, 1);
	assert_int_equal(world.made, 2);
	end(&xbdev);
}

/* The frontend has left a disk that was frozen, and another one has its place. */
static void test_save_of_a_disk_that_was_left(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");
	struct platform_device *left;
	struct gk_front *front;

	(void)state;
	connected(&xbdev);
	assert_int_equal(saves(), 0);
	left = world.device;
	front = container_of(gk_dma_of(&left->dev), struct gk_front, dma);
	world.driver->remove(&xbdev);
	goes_on();
	strcpy(world.base, "4271902720");
	assert_int_equal(world.driver->probe(&xbdev, NULL), 0);
	connect(&xbdev);
	assert_ptr_not_equal(world.device, left);
	assert_int_equal(left->dev.pm_domain->ops.freeze(&left->dev), 0);
	assert_int_equal(left->dev.pm_domain->ops.thaw(&left->dev), 0);
	assert_int_equal(world.freezes, 1);
	assert_int_equal(world.thaws, 0);
	world.driver->remove(&xbdev);
	gk_front_unregister();
	gk_virtio_unregister();
	front->frozen = false; /* in a kernel it stays for good; this test leaves nothing */
	gk_platform_destroy(front);
	free(front);
	assert_int_equal(gio_grants_close(gk_os.grants), 0);
}

/* ---- what the backend and the memory may do meanwhile ------------------------------------------------------------ */

static void test_restore_for_a_domain_that_is_none(void **state)
{
	const int none[] = {0x7ff0, 0x10003, -1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		struct xenbus_device xbdev = disk("virtio_disk");

		connected(&xbdev);
		assert_int_equal(saves(), 0);
		world_restore(&xbdev);
		xbdev.otherend_id = none[i];
		goes_on();
		connect(&xbdev);
		assert_int_equal(xbdev.state, XenbusStateClosed);
		assert_non_null(strstr(world.said, "backend-id"));
		assert_int_equal(world.restores, 0);
		xbdev.otherend_id = 4;
		connect(&xbdev);
		assert_int_equal(xbdev.state, XenbusStateConnected);
		end(&xbdev);
	}
}

static void restored_without_memory(struct xenbus_device *xbdev, unsigned times)
{
	connected(xbdev);
	assert_int_equal(saves(), 0);
	world_restore(xbdev);
	goes_on();
	world.restore_error = -ENOMEM;
	world.restore_errors = times;
	connect(xbdev);
	assert_int_equal(xbdev->state, XenbusStateInitialised);
	while (world_work())
		;
}

static void test_restore_waits_for_memory(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	restored_without_memory(&xbdev, 7);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_int_equal(world.restores, 8);
	end(&xbdev);
}

static void test_restore_does_not_wait_for_ever(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	restored_without_memory(&xbdev, 1000);
	assert_int_equal(xbdev.state, XenbusStateClosed);
	assert_int_equal(world.restores, 61);
	world.restore_errors = 0;
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	end(&xbdev);
}

/* The backend says another type after the frontend has looked, and begins anew again and again. */
static void test_type_that_changes(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	connected(&xbdev);
	world.child_type = 18;
	for (unsigned i = 0; i < 100; i++) {
		connect(&xbdev);
		assert_int_equal(world.child.id.device, 0);
	}
	assert_int_equal(shim_errors, 10);
	end(&xbdev);
}

/* A driver may find the device before the bus has told of it: the virtio core asks once more. */
static void test_type_when_a_driver_has_it(void **state)
{
	struct xenbus_device xbdev = disk("virtio_disk");

	(void)state;
	connected(&xbdev);
	assert_true(virtio_check_mem_acc_cb(&world.child));
	assert_true(world.child.features >> VIRTIO_F_ACCESS_PLATFORM & 1);
	world.child.id.device = 18;
	assert_true(virtio_check_mem_acc_cb(&world.child));
	assert_false(world.child.features >> VIRTIO_F_ACCESS_PLATFORM & 1);
	end(&xbdev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects_and_holds_the_module),
		cmocka_unit_test(test_the_type_is_the_toolstacks),
		cmocka_unit_test(test_a_type_that_is_none),
		cmocka_unit_test(test_type_that_comes_later),
		cmocka_unit_test(test_restore_with_another_type),
		cmocka_unit_test(test_cancelled_save),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_restore_with_other_registers),
		cmocka_unit_test(test_restore_without_freezing),
		cmocka_unit_test(test_save_that_fails_late),
		cmocka_unit_test(test_save_that_fails_early),
		cmocka_unit_test(test_thaw_that_fails),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_virtio_driver_without_freezing),
		cmocka_unit_test(test_save_of_a_disk_that_was_left),
		cmocka_unit_test(test_restore_for_a_domain_that_is_none),
		cmocka_unit_test(test_restore_waits_for_memory),
		cmocka_unit_test(test_restore_does_not_wait_for_ever),
		cmocka_unit_test(test_type_that_changes),
		cmocka_unit_test(test_type_when_a_driver_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
