/* SPDX-License-Identifier: MIT */
/*
 * Guests that have devices of ours: an ioreq server for each, from its first device to its last.
 *
 * Order of an end: the range is unmapped (Xen sends no more), the device leaves the bus (the answering thread is not in
 * it, and will not be), and only then may it be closed. The last one ends thread and server with it.
 *
 * Threads: the main thread. Errors: 0 or -errno, with a line in `error`.
 */
#ifndef GD_DOMAIN_H
#define GD_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/xen/bus.h"

struct gd_domains;
struct gd_domain;

/* A device's place in its guest; the caller's memory, until detached. */
struct gd_domain_device {
	struct gd_bus_range range;
	unsigned irq; /* no two devices of a guest share one; 0: no line of its controller */
	/* private */
	struct gd_domain *domain; /* NULL: neither attached nor reserved */
	bool reserved;		  /* at range.base */
};

int gd_domains_open(struct gd_domains **domains);
void gd_domains_close(struct gd_domains *domains); /* no devices are attached; takes NULL */

/*
 * Before any device of the guest is attached: take over the ioreq server that a former grantiod made for it, the first
 * of `count` that the guest still has, or make one if it has none of them. With none to look for nothing happens.
 */
int gd_domain_adopt(struct gd_domains *domains, uint16_t domid, const uint16_t *servers, unsigned count, char *error,
		    size_t size);
/* After that, and before gd_domain_settled(): accesses to device->range wait until it is attached or detached. */
void gd_domain_reserve(struct gd_domains *domains, uint16_t domid, struct gd_domain_device *device);
/* All that may come of what the former grantiod served has been reserved: accesses are answered from now on. */
void gd_domain_settled(struct gd_domains *domains, uint16_t domid);

/* Have the guest's accesses answered by the device, which may be reserved there. */
int gd_domain_attach(struct gd_domains *domains, uint16_t domid, struct gd_domain_device *device, char *error,
		     size_t size);
/*
 * When it returns no call into the device runs or will come. One that is neither attached nor reserved is left alone.
 */
void gd_domain_detach(struct gd_domains *domains, struct gd_domain_device *device);

/* The guest's ioreq server, to be noted for our successor. The device is attached. */
uint16_t gd_domain_server(const struct gd_domain_device *device);
uint64_t gd_domain_answered(const struct gd_domain_device *device); /* ioreqs of the whole guest */
/* False: the guest that had our server has ended, and this is another of the same number. True where we have none. */
bool gd_domain_alive(struct gd_domains *domains, uint16_t domid);

#endif
