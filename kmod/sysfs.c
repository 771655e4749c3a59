// SPDX-License-Identifier: GPL-2.0-only
/*
 * The directory "grantio" of each device that uses grants. For a device that xenstore describes it is
 * /sys/bus/xen/devices/DEVICE/grantio/. For one that the device tree describes it is
 * /sys/bus/platform/devices/DEVICE/grantio/ (or pci instead of platform), as long as a driver is bound to the device.
 * Each file has one number:
 *   backend      the domain that grants are made to
 *   grants       references that are granted now, those of pool, rings and message pages among them
 *   quarantined  references that went to quarantine at an unmap, since the device was made
 *   maps         buffers that were mapped since then
 *   pooled       how many of these were mapped by a copy in the device's pool (pooled.c)
 *   bounced      how many of these were mapped by a copy that was granted for it (bounce.c)
 *   errors       maps that failed and unmaps that were refused since then
 *   held         references that are in quarantine now, of all devices
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "dma_ops.h"
#include "front.h"
#include "reap.h"
#include "sysfs.h"

/* The result lives longer than the directory, since the directory's removal waits for readers. */
static const struct gk_dma *dma_of(const struct device *dev)
{
	return gk_dma_attached(dev) ? gk_dma_of(dev) : &((struct gk_front *)dev_get_drvdata(dev))->dma;
}

static ssize_t backend_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n",
			  gk_dma_attached(dev) ? gk_dma_of(dev)->dma.backend : to_xenbus_device(dev)->otherend_id);
}
static DEVICE_ATTR_RO(backend);

/* Of all that the device uses. A device of the device tree has DMA operations alone. */
static void stats_read(const struct device *dev, struct gio_dma_stats *all)
{
	const struct gk_dma *dma = dma_of(dev);
	struct gio_dma_stats link = {0};

	gio_dma_stats(&dma->dma, all);
	if (!gk_dma_attached(dev))
		gio_dma_stats(&container_of(dma, struct gk_front, dma)->msg.link.dma, &link);
	all->granted += link.granted + READ_ONCE(dma->pool_pages);
	all->quarantined += link.quarantined;
	all->maps += atomic64_read(&dma->pooled_maps);
	all->failures += link.failures;
	all->misuses += link.misuses;
}

#define STAT_SHOW(name, expression)                                                              \
	static ssize_t name##_show(struct device *dev, struct device_attribute *attr, char *buf) \
	{                                                                                        \
		struct gio_dma_stats stats;                                                      \
                                                                                                 \
		stats_read(dev, &stats);                                                         \
		return sysfs_emit(buf, "%llu\n", (unsigned long long)(expression));              \
	}                                                                                        \
	static DEVICE_ATTR_RO(name)

STAT_SHOW(grants, stats.granted);
STAT_SHOW(quarantined, stats.quarantined);
STAT_SHOW(maps, stats.maps);
STAT_SHOW(errors, stats.failures + stats.misuses);

static ssize_t held_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gio_grants_stats stats;

	gio_grants_stats(gk_os.grants, &stats);
	return sysfs_emit(buf, "%u\n", stats.quarantined);
}
static DEVICE_ATTR_RO(held);

static ssize_t bounced_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", (long long)atomic64_read(&dma_of(dev)->bounced));
}
static DEVICE_ATTR_RO(bounced);

static ssize_t pooled_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", (long long)atomic64_read(&dma_of(dev)->pooled_maps));
}
static DEVICE_ATTR_RO(pooled);

static struct attribute *attrs[] = {&dev_attr_pooled.attr, &dev_attr_bounced.attr,     &dev_attr_backend.attr,
				    &dev_attr_grants.attr, &dev_attr_quarantined.attr, &dev_attr_maps.attr,
				    &dev_attr_errors.attr, &dev_attr_held.attr,	       NULL};

const struct attribute_group gk_group = {.name = "grantio", .attrs = attrs};
const struct attribute_group *gk_groups[] = {&gk_group, NULL};
