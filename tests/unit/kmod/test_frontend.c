/* SPDX-License-Identifier: MIT */
/* The module's xenstore frontend, as it is, in a kernel made of paper (shim/world.h): states, types, save and restore.
 */
#include "shim/world.h"

#include "../../../kmod/grantio.h"

#include <setjmp.h>

#include <cmocka.h>

struct gio_os gk_os;

void gk_reap_schedule(void)
{
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
	assert_int_equal(gio_grants_init(&gk_os.grants, &gk_os, 0), 0);
	assert_int_equal(gk_front_register(), 0);
	assert_int_equal(world.driver->probe(xbdev, NULL), 0);
}

static void connect(struct xenbus_device *xbdev)
{
	backend_is(xbdev, XenbusStateInitWait);
	backend_is(xbdev, XenbusStateConnected);
}

static void end(struct xenbus_device *xbdev)
{
	world.driver->remove(xbdev);
	gk_front_unregister();
	assert_int_equal(world.devices, 0);
	assert_int_equal(world.handlers, 0);
	assert_int_equal(shim_module, 0);
	assert_int_equal(shim_warnings, 0);
	assert_int_equal(gio_grants_exit(gk_os.grants), 0);
}

static int saves(void)
{
	return world.device->dev.pm_domain->ops.freeze(&world.device->dev);
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
	assert_int_equal(gk_front_register(), 0);
	assert_int_equal(world.driver->probe(&xbdev, NULL), -EINVAL);
	gk_front_unregister();
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
	assert_int_equal(world.device->dev.pm_domain->ops.thaw(&world.device->dev), 0);
	assert_int_equal(world.freezes, 1);
	assert_int_equal(world.thaws, 1);
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
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateClosed);
	assert_non_null(strstr(world.said, "0xfea00000"));
	assert_int_equal(world.restores, 0);
	assert_int_equal(world.devices, 1);
	/* A second save while it waits. */
	assert_int_equal(saves(), 0);
	assert_int_equal(world.freezes, 1);
	assert_int_equal(world.device->dev.pm_domain->ops.thaw(&world.device->dev), 0);
	assert_int_equal(world.thaws, 0);
	strcpy(world.base, "4271898624");
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_int_equal(world.restores, 1);
	assert_int_equal(world.made, 1);
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
	connect(&xbdev);
	assert_int_equal(xbdev.state, XenbusStateConnected);
	assert_string_equal(world.owner[5], "netfront");
	assert_int_equal(world.devices, 1);
	assert_int_equal(world.made, 2);
	end(&xbdev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects_and_holds_the_module),
		cmocka_unit_test(test_the_type_is_the_toolstacks),
		cmocka_unit_test(test_a_type_that_is_none),
		cmocka_unit_test(test_cancelled_save),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_restore_with_other_registers),
		cmocka_unit_test(test_restore_without_freezing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
