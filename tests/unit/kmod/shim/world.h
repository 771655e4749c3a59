/* SPDX-License-Identifier: MIT */
/*
 * The world of kmod/'s files in a test (shim.h): memory, a grant table of version 1 and its peer, xenstore, event
 * channels, and the platform device's driver. All of it is one, and begins anew by world_new().
 */
#ifndef GRANTIO_TESTS_KMOD_WORLD_H
#define GRANTIO_TESTS_KMOD_WORLD_H

#include <abi/virtio_msg_bus.h>

#include "shim.h"

void world_new(void);
/* The part of it that is virtio.c's: no devices, and drivers that can be frozen. */
void world_devices_new(void);
/* There is a virtio device on `parent`: world.child. */
void world_child_on(struct device *parent);

/* What the backend may do by an address: NULL if nothing is granted there, or not for that. */
void *world_reach(dma_addr_t addr, bool write);
/* The backend maps the page of an address, and does not let go; or it does. */
void world_hold(dma_addr_t addr, bool held);
/* References active now. */
unsigned world_granted(void);

struct world {
	struct xenbus_driver *driver;
	enum xenbus_state backend;
	char base[32];			/* mmio-base */
	char type[32];			/* the frontend's own; "": none */
	char placed[16];		/* the toolstack's base; "": none */
	u32 device_id;			/* what the registers say */
	char said[256];			/* the last error in xenstore */
	unsigned devices, made;		/* platform devices that there are, and that have been */
	struct platform_device *device; /* the last one */
	struct device_driver virtio;	/* its driver */
	unsigned freezes, thaws, restores;
	int thaw_error, restore_error;	   /* what its driver says to that, */
	unsigned restore_errors;	   /* so many times */
	struct virtio_device child;	   /* the virtio device on the platform device, */
	struct virtio_driver child_driver; /* and its driver */
	unsigned breaks;		   /* devices that were broken when they went */
	u32 child_type;			   /* what virtio_mmio finds, if not 0 */
	enum xenbus_state written;	   /* the frontend's state in xenstore */
	bool work_stops;		   /* the queue is frozen */
	u64 restored_irq;
	struct virtqueue *vqs[3]; /* that the driver of ours has; the second is none */
	bool probed;		  /* it has begun */
	unsigned configs;	  /* changes of the configuration that its driver was told of */
	const char *owner[64];	  /* of event channels: NULL, nobody */
	unsigned handlers;	  /* interrupts that ours hold */
};
extern struct world world;

/*
 * The device behind messages (device.c). It answers within the guest's event, and only if the backend's state is
 * Connected and its keys offer it.
 */
struct world_device {
	char draft[64], max_size[8], channels[8], pool_max[16]; /* of its offer; draft "": there is none */

	u32 type, status, generation, config_bytes;
	u64 features, chosen;
	u8 config[64];
	struct gio_msg_queue queue[4];

	unsigned told[64];	       /* events of the guest's, by port */
	unsigned requests, violations; /* what it was asked; pages that are not granted as they must be */
	unsigned id_asked[0x50];       /* by the number of the message */
	unsigned resets_late;	       /* so often a reset is not over yet */
	/* Called with each response before it is written. False: it is not. */
	bool (*hook)(const struct gio_msg *request, struct gio_msg *response);

	u32 taken, sent; /* its counters */
};
extern struct world_device world_device;

/* It writes a message into its page, and sends an event. */
void world_device_say(const struct gio_msg *msg);
/* An EVENT_CONFIG: its status or its configuration has changed. */
void world_device_changed(void);
/* It has answered `n` more requests of a queue: it counts them, and sends an event. */
void world_device_uses(unsigned queue, unsigned n);
/* An event of the guest's to its port. */
void world_device_told(evtchn_port_t port);
/* A new connection begins. */
void world_device_begin(void);

/* What the guest has answered in xenstore; "" if nothing. */
const char *world_answer(const char *key);
/* The backend sends an event. The number of those that were let go on with the flag that there was nothing. */
void world_event(evtchn_port_t port);
extern unsigned world_spurious;

/* Work that was put off, for a time or while the queue was frozen, is done: whether there was any. */
bool world_work(void);

/* The guest is restored: its channels are gone, another driver's come first, and xenbus tells the drivers. */
void world_restore(struct xenbus_device *xbdev);

#endif
