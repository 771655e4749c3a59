/* SPDX-License-Identifier: MIT */
/*
 * The world of kmod/'s files in a test (shim.h): memory, a grant table of version 1 and its peer, xenstore, event
 * channels, and the platform device's driver. All of it is one, and begins anew by world_new().
 */
#ifndef GRANTIO_TESTS_KMOD_WORLD_H
#define GRANTIO_TESTS_KMOD_WORLD_H

#include "shim.h"

void world_new(void);

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
	const char *owner[64]; /* of event channels: NULL, nobody */
	unsigned handlers;     /* interrupts that ours hold */
};
extern struct world world;

/* Work that was put off, for a time or while the queue was frozen, is done: whether there was any. */
bool world_work(void);

/* The guest is restored: its channels are gone, another driver's come first, and xenbus tells the drivers. */
void world_restore(struct xenbus_device *xbdev);

#endif
