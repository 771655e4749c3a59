/* SPDX-License-Identifier: MIT */
#include "msg_rig.h"

#include "../../../kmod/dma_ops.h"
#include "../../../kmod/frontend.h"
#include "../../../kmod/reap.h"
#include "../../../kmod/sysfs.h"
#include "../../../kmod/virtio.h"

#include <setjmp.h>

#include <cmocka.h>

struct gio_os gk_os;

void gk_reap_schedule(void)
{
	gio_grants_reap(gk_os.grants);
}

u32 gk_reap_held(u32 user)
{
	u32 left = gio_grants_reap(gk_os.grants);

	for (u32 i = left / 64; i; i--)
		gio_grants_reap(gk_os.grants);
	return gio_grants_held(gk_os.grants, user);
}

const struct attribute_group *gk_groups[2];

struct xenbus_device rig_xbdev;

void rig_backend_is(enum xenbus_state state)
{
	world.backend = state;
	world.driver->otherend_changed(&rig_xbdev, state);
}

void rig_works(void)
{
	while (world_work())
		;
}

void rig_connect(void)
{
	rig_backend_is(XenbusStateInitWait);
	rig_works();
	rig_backend_is(XenbusStateConnected);
	rig_works();
}

void rig_begin(void)
{
	rig_xbdev = (struct xenbus_device){
		.devicetype = "virtio_disk", .nodename = "device/x/1", .otherend = "backend", .otherend_id = 3};
	world_new();
	strcpy(world_device.draft, "other " GIO_MSG_DRAFT);
	assert_int_equal(gio_grants_open(&gk_os.grants, &gk_os, 0), 0);
	assert_int_equal(gk_virtio_register(), 0);
	assert_int_equal(gk_front_register(), 0);
	assert_int_equal(world.driver->probe(&rig_xbdev, NULL), 0);
}

void rig_connected(void)
{
	rig_begin();
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_true(world.probed);
}

/* Nothing is left: no device, no interrupt, no hold on the module, no grant. */
void rig_end(void)
{
	world.driver->remove(&rig_xbdev);
	gk_front_unregister();
	gk_virtio_unregister();
	assert_int_equal(world.devices, 0);
	assert_int_equal(world.handlers, 0);
	assert_int_equal(shim_module, 0);
	assert_int_equal(shim_warnings, 0);
	assert_int_equal(world_granted(), 0);
	assert_int_equal(world_device.violations, 0);
	assert_int_equal(gio_grants_close(gk_os.grants), 0);
}

struct gk_front *rig_front(void)
{
	return container_of(gk_dma_of(&world.device->dev), struct gk_front, dma);
}

struct virtio_device *rig_vdev(void)
{
	return rig_front()->msg.vdev.vdev;
}

evtchn_port_t rig_port(const char *key)
{
	return (evtchn_port_t)atoi(world_answer(key));
}

u64 rig_capacity(void)
{
	u64 sectors;

	rig_vdev()->config->get(rig_vdev(), 0, &sectors, sizeof(sectors));
	return sectors;
}
