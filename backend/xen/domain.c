/* SPDX-License-Identifier: MIT */
#include "backend/xen/domain.h"
#include "backend/xen/ioreq.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gd_domain {
	uint16_t domid;
	struct gd_log log;
	struct gd_bus *bus;
	struct gd_ioreq *ioreq;
	struct gd_domain_device *devices;
	struct gd_domain *next;
};

struct gd_domains {
	struct gd_domain *first;
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

static struct gd_domain *domain_find(struct gd_domains *domains, uint16_t domid)
{
	struct gd_domain *domain = domains->first;

	while (domain && domain->domid != domid)
		domain = domain->next;
	return domain;
}

static int domain_open(struct gd_domains *domains, uint16_t domid, const uint16_t *adopt, struct gd_domain **out,
		       char *error, size_t size)
{
	struct gd_domain *domain = calloc(1, sizeof(*domain));
	struct gd_ioreq_config config;
	int ret = -ENOMEM;

	if (!domain)
		goto fail;
	domain->domid = domid;
	gd_log_init(&domain->log, domid, "ioreq");
	ret = gd_bus_open(&domain->bus, &domain->log);
	if (ret)
		goto free_domain;
	config = (struct gd_ioreq_config){domid, &domain->log, domain->bus, adopt != NULL, adopt ? *adopt : 0};
	ret = gd_ioreq_open(&domain->ioreq, &config, error, size);
	if (ret) {
		gd_bus_close(domain->bus);
		free(domain);
		return ret; /* with its line */
	}
	domain->next = domains->first;
	domains->first = domain;
	*out = domain;
	return 0;

free_domain:
	free(domain);
fail:
	snprintf(error, size, "%s", strerror(-ret));
	return ret;
}

static void domain_close(struct gd_domains *domains, struct gd_domain *domain)
{
	struct gd_domain **link = &domains->first;

	while (*link != domain)
		link = &(*link)->next;
	*link = domain->next;
	gd_ioreq_close(domain->ioreq);
	gd_bus_close(domain->bus);
	free(domain);
}

static int irq_check(const struct gd_domain *domain, const struct gd_domain_device *device, char *error, size_t size)
{
	for (const struct gd_domain_device *other = domain->devices; other; other = other->next)
		if (device->irq && other->irq == device->irq) {
			snprintf(error, size, "irq '%u': another device of the guest has it", device->irq);
			return -EADDRINUSE;
		}
	return 0;
}

/* On the bus first: an access finds its device from the moment that Xen sends it. */
static int range_add(struct gd_domain *domain, const struct gd_domain_device *device, char *error, size_t size)
{
	int ret = gd_bus_add(domain->bus, &device->range);

	if (ret) {
		snprintf(error, size, "base '0x%" PRIx64 "': %s", device->range.base,
			 ret == -EADDRINUSE ? "another device of the guest has it" : strerror(-ret));
		return ret;
	}
	ret = gd_ioreq_map(domain->ioreq, device->range.base, device->range.size);
	if (ret) {
		snprintf(error, size, "base '0x%" PRIx64 "': cannot have its accesses sent here: %s",
			 device->range.base, strerror(-ret));
		gd_bus_remove(domain->bus, device->range.base);
	}
	return ret;
}

static void range_remove(struct gd_domain *domain, const struct gd_domain_device *device)
{
	gd_ioreq_unmap(domain->ioreq, device->range.base, device->range.size);
	gd_bus_remove(domain->bus, device->range.base);
}

int gd_domain_attach(struct gd_domains *domains, uint16_t domid, const uint16_t *adopt, struct gd_domain_device *device,
		     char *error, size_t size)
{
	struct gd_domain *domain = domain_find(domains, domid);
	int ret = domain ? 0 : domain_open(domains, domid, adopt, &domain, error, size);

	if (ret)
		return ret;
	ret = irq_check(domain, device, error, size);
	if (ret)
		goto close_unused;
	ret = range_add(domain, device, error, size);
	if (ret)
		goto close_unused;
	ret = gd_ioreq_adopted(domain->ioreq) ? 0 : gd_ioreq_start(domain->ioreq);
	if (ret) {
		snprintf(error, size, "cannot start a thread: %s", strerror(-ret));
		goto remove_range;
	}
	device->domain = domain;
	device->next = domain->devices;
	domain->devices = device;
	return 0;

remove_range:
	range_remove(domain, device);
close_unused:
	if (!domain->devices)
		domain_close(domains, domain);
	return ret;
}

void gd_domain_detach(struct gd_domains *domains, struct gd_domain_device *device)
{
	struct gd_domain *domain = device->domain;
	struct gd_domain_device **link;

	if (!domain)
		return;
	range_remove(domain, device);
	for (link = &domain->devices; *link != device; link = &(*link)->next)
		;
	*link = device->next;
	device->domain = NULL;
	if (!domain->devices)
		domain_close(domains, domain);
}

void gd_domain_go(struct gd_domain_device *device)
{
	int ret = gd_ioreq_start(device->domain->ioreq);

	if (ret)
		gd_log_guest(&device->domain->log, GD_ERR, "cannot start a thread: %s; its accesses wait",
			     strerror(-ret));
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
	struct gd_domain *domain = domain_find(domains, domid);

	return !domain || gd_ioreq_alive(domain->ioreq);
}
