/* SPDX-License-Identifier: MIT */
#include "backend/xen/domain.h"
#include "backend/xen/ioreq.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IRQS 1024u /* Arm's interrupt lines */

struct gd_domain {
	uint16_t domid;
	struct gd_log log;
	struct gd_bus *bus;
	struct gd_ioreq *ioreq;
	unsigned attached, reserved;
	uint8_t irqs[IRQS / 8]; /* a bit for each line that a device has */
};

struct gd_domains {
	struct gd_domain *domain[DOMID_FIRST_RESERVED];
};

int gd_domains_open(struct gd_domains **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void gd_domains_close(struct gd_domains *domains)
{
	free(domains);
}

static int domain_open(struct gd_domains *domains, uint16_t domid, const uint16_t *adopt, unsigned adopts, char *error,
		       size_t size)
{
	struct gd_domain *domain = calloc(1, sizeof(*domain));
	struct gd_ioreq_config config;
	int err = -ENOMEM;

	if (!domain)
		goto fail;
	domain->domid = domid;
	gd_log_init(&domain->log, domid, "ioreq");
	err = gd_bus_open(&domain->bus, &domain->log);
	if (err)
		goto free_domain;
	config = (struct gd_ioreq_config){domid, &domain->log, domain->bus, adopt, adopts};
	err = gd_ioreq_open(&domain->ioreq, &config, error, size);
	if (err) {
		gd_bus_close(domain->bus);
		free(domain);
		return err; /* `error` is filled in */
	}
	domains->domain[domid] = domain;
	return 0;

free_domain:
	free(domain);
fail:
	snprintf(error, size, "%s", strerror(-err));
	return err;
}

/* Called when a device goes; the last one takes its domain along. Accesses that wait for a device are answered. */
static void domain_put(struct gd_domains *domains, struct gd_domain *domain)
{
	if (domain->attached || domain->reserved)
		return;
	domains->domain[domain->domid] = NULL;
	gd_ioreq_close(domain->ioreq);
	gd_bus_close(domain->bus);
	free(domain);
}

static bool irq_used(const struct gd_domain *domain, unsigned irq)
{
	return irq && domain->irqs[irq % IRQS / 8] & 1u << irq % 8;
}

static void irq_flip(struct gd_domain *domain, unsigned irq)
{
	if (irq)
		domain->irqs[irq % IRQS / 8] ^= (uint8_t)(1u << irq % 8);
}

/* The bus comes first: the first access that Xen sends must find the device. */
static int range_add(struct gd_domain *domain, const struct gd_domain_device *device, char *error, size_t size)
{
	int err = device->reserved ? gd_bus_fill(domain->bus, &device->range) : gd_bus_add(domain->bus, &device->range);

	if (err) {
		snprintf(error, size, "base '0x%" PRIx64 "': %s", device->range.base,
			 err == -EADDRINUSE ? "another device of the guest has it" : strerror(-err));
		return err;
	}
	err = gd_ioreq_map(domain->ioreq, device->range.base, device->range.size);
	if (err) {
		snprintf(error, size, "base '0x%" PRIx64 "': cannot have its accesses sent here: %s",
			 device->range.base, strerror(-err));
		gd_bus_remove(domain->bus, device->range.base);
	}
	return err;
}

static void range_remove(struct gd_domain *domain, const struct gd_domain_device *device)
{
	gd_ioreq_unmap(domain->ioreq, device->range.base, device->range.size);
	gd_bus_remove(domain->bus, device->range.base);
}

int gd_domain_adopt(struct gd_domains *domains, uint16_t domid, const uint16_t *servers, unsigned count, char *error,
		    size_t size)
{
	if (!count || domains->domain[domid])
		return 0;
	return domain_open(domains, domid, servers, count, error, size);
}

void gd_domain_reserve(struct gd_domains *domains, uint16_t domid, struct gd_domain_device *device)
{
	struct gd_domain *domain = domains->domain[domid];
	int err;

	if (!domain || device->domain || !device->range.base)
		return;
	err = gd_bus_reserve(domain->bus, device->range.base, device->range.size);
	if (err) {
		gd_log(&domain->log, GD_WARN, "base '0x%" PRIx64 "': accesses there cannot wait for their device: %s",
		       device->range.base, strerror(-err));
		return;
	}
	device->domain = domain;
	device->reserved = true;
	domain->reserved++;
}

void gd_domain_settled(struct gd_domains *domains, uint16_t domid)
{
	struct gd_domain *domain = domains->domain[domid];
	int err;

	if (!domain)
		return;
	err = gd_ioreq_start(domain->ioreq);
	if (err) /* it is tried again whenever a device is attached */
		gd_log(&domain->log, GD_ERR, "cannot start a thread: %s; its accesses wait", strerror(-err));
	domain_put(domains, domain);
}

static int domain_attach(struct gd_domain *domain, struct gd_domain_device *device, char *error, size_t size)
{
	int err;

	if (irq_used(domain, device->irq)) {
		snprintf(error, size, "irq '%u': another device of the guest has it", device->irq);
		return -EADDRINUSE;
	}
	err = range_add(domain, device, error, size);
	if (err)
		return err;
	err = gd_ioreq_start(domain->ioreq);
	if (err) {
		snprintf(error, size, "cannot start a thread: %s", strerror(-err));
		range_remove(domain, device);
	}
	return err;
}

int gd_domain_attach(struct gd_domains *domains, uint16_t domid, struct gd_domain_device *device, char *error,
		     size_t size)
{
	int err = domains->domain[domid] ? 0 : domain_open(domains, domid, NULL, 0, error, size);
	struct gd_domain *domain = domains->domain[domid];

	if (err)
		return err;
	err = domain_attach(domain, device, error, size);
	if (err) {
		domain_put(domains, domain);
		return err; /* a reservation counts as a device until it is detached */
	}
	domain->attached++;
	irq_flip(domain, device->irq);
	if (device->reserved) {
		device->reserved = false;
		domain->reserved--;
		gd_ioreq_look(domain->ioreq); /* some accesses may have waited for this device */
	}
	device->domain = domain;
	return 0;
}

void gd_domain_detach(struct gd_domains *domains, struct gd_domain_device *device)
{
	struct gd_domain *domain = device->domain;

	if (!domain)
		return;
	range_remove(domain, device);
	if (device->reserved) {
		domain->reserved--;
		gd_ioreq_look(domain->ioreq);
	} else {
		domain->attached--;
		irq_flip(domain, device->irq);
	}
	device->reserved = false;
	device->domain = NULL;
	domain_put(domains, domain);
}

bool gd_domain_others(struct gd_domains *domains, uint16_t domid, unsigned devices, uint32_t *servers)
{
	const struct gd_domain *domain = domains->domain[domid];
	unsigned have = domain ? domain->attached + domain->reserved : 0;

	if (have != devices || gd_ioreq_servers(domid, servers))
		return false;
	if (domain)
		*servers &= ~(1u << gd_ioreq_id(domain->ioreq) % 32);
	return true;
}

uint16_t gd_domain_server(const struct gd_domain_device *device)
{
	return gd_ioreq_id(device->domain->ioreq);
}

uint64_t gd_domain_answered(const struct gd_domain_device *device)
{
	return gd_ioreq_answered(device->domain->ioreq);
}

bool gd_domain_alive(struct gd_domains *domains, uint16_t domid)
{
	struct gd_domain *domain = domains->domain[domid];

	return !domain || gd_ioreq_alive(domain->ioreq);
}
