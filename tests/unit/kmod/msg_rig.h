/* SPDX-License-Identifier: MIT */
/* What the tests of the module's transport "msg" begin and end with. One device at a time. */
#ifndef GRANTIO_TESTS_KMOD_MSG_RIG_H
#define GRANTIO_TESTS_KMOD_MSG_RIG_H

#include "shim/world.h"

#include "../../../kmod/front.h"
#include "../../../kmod/vdev.h"

extern struct xenbus_device rig_xbdev;

/* A new world in which the backend offers messages, and the module has found the device. */
void rig_begin(void);
/* The same, and the device is connected. */
void rig_connected(void);
/* The device and the module go. Nothing is left: no device, no interrupt, no hold on the module, no grant. */
void rig_end(void);

/* The backend goes through its states, each of which the module's work item sees. */
void rig_connect(void);
void rig_backend_is(enum xenbus_state state);
/* Have all work done that waits for its time. */
void rig_works(void);

struct gk_front *rig_front(void);
struct virtio_device *rig_vdev(void);
/* The first field of the configuration, as its driver reads it. */
u64 rig_capacity(void);
/* A port in the guest's answer. */
evtchn_port_t rig_port(const char *key);

#endif
