/* SPDX-License-Identifier: MIT */
/*
 * Guests that have devices of ours. Each has an ioreq server, as long as it has a device.
 *
 * A device ends in this order: its range is unmapped (Xen sends no more accesses), it leaves the bus (the answering
 * thread is not in it, and will not be), and only then may it be closed. With a guest's last device its thread and its
 * server end.
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
	unsigned irq; /* no two devices of a guest share one; 0: it is no line of the guest's interrupt controller */
	/* private */
	struct gd_domain *domain; /* NULL: neither attached nor reserved */
	bool reserved;		  /* at range.base */
};

int gd_domains_open(struct gd_domains **domains);
void gd_domains_close(struct gd_domains *domains); /* no devices are attached; takes NULL */

/*
 * Before any device of the guest is attached: take over the ioreq server that a former grantiod made for this guest. It
 * is the first of `count` servers that the guest still has; if it has none of them, one is made. With a count of 0
 * nothing happens.
 */
int gd_domain_adopt(struct gd_domains *domains, uint16_t domid, const uint16_t *servers, unsigned count, char *error,
		    size_t size);
/* After that, and before gd_domain_settled(): accesses to device->range wait until it is attached or detached. */
void gd_domain_reserve(struct gd_domains *domains, uint16_t domid, struct gd_domain_device *device);
/* Every device that may come back has its range reserved: from now on accesses are answered. */
void gd_domain_settled(struct gd_domains *domains, uint16_t domid);

/* Have the guest's accesses to the device's range answered by the device. The range may be reserved for it. */
int gd_domain_attach(struct gd_domains *domains, uint16_t domid, struct gd_domain_device *device, char *error,
		     size_t size);
/*
 * When this returns, no call into the device is running and none will come. Does nothing to a device that is neither
 * attached nor reserved.
 */
void gd_domain_detach(struct gd_domains *domains, struct gd_domain_device *device);

/*
 * The guest's ioreq servers that are not ours but might be taken for it, as bits: to be noted for our successor before
 * the first device is attached (`devices` 0), which makes ours, and before the last one is detached (1), which destroys
 * it. False: the guest has another number of devices here, or Xen cannot be asked.
 */
bool gd_domain_others(struct gd_domains *domains, uint16_t domid, unsigned devices, uint32_t *servers);

/* The number of the guest's ioreq server, to be noted for a successor. The device is attached. */
uint16_t gd_domain_server(const struct gd_domain_device *device);
uint64_t gd_domain_answered(const struct gd_domain_device *device); /* ioreqs of the whole guest */
/* False: the guest that had our server has ended, and this is another one of that number. True if we have no server. */
bool gd_domain_alive(struct gd_domains *domains, uint16_t domid);

#endif
