// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that the device tree describes (Arm). Their "iommus", or for a PCI device the "iommu-map" of its host bridge,
 * names a node "xen,grant-dma" and the backend's domain (tree.h). A kernel without CONFIG_XEN_VIRTIO waits for that
 * node's driver before it probes the device: here it is. It is no IOMMU, and says so of every device; what matters is
 * done just before a driver is bound to the device, when the kernel has given it its DMA operations: ours take their
 * place, and go when that driver has gone. The module stays as long as a device has them.
 *
 * Threads: notifiers run under the device's lock.
 * Not defended: a device that was bound before this module came (the kernel waits for it some ten seconds only) keeps
 * the kernel's own DMA operations, whose addresses no backend of grants takes: there is a line in the log. Unbinding it
 * is no way out: its virtio driver waits, without limit, for the first request. A driver whose probe fails must not
 * leave DMA memory to devres (dmam_*): virtio's does not.
 */
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/virtio_ids.h>

#include "compat.h"
#include "dma_ops.h"
#include "of.h"
#include "sysfs.h"
#include "tree.h"

static const struct of_device_id node_match[] = {{.compatible = "xen,grant-dma"}, {}};
/* As MODULE_DEVICE_TABLE() has it, which needs a modpost that was built for the kernel's word size. */
MODULE_ALIAS("of:N*T*Cxen,grant-dma");
MODULE_ALIAS("of:N*T*Cxen,grant-dmaC*");

/* ---- the node --------------------------------------------------------------------------------------------------- */

static struct iommu_device *iommu_probe(struct device *dev)
{
	return ERR_PTR(-ENODEV);
}

static const struct iommu_ops iommu_none = {
	.owner = THIS_MODULE,
	.probe_device = iommu_probe,
};

static int node_probe(struct platform_device *pdev)
{
	struct iommu_device *iommu = devm_kzalloc(&pdev->dev, sizeof(*iommu), GFP_KERNEL);
	int err;

	if (!iommu)
		return -ENOMEM;
	err = gk_iommu_register(iommu, &iommu_none, &pdev->dev);
	if (err)
		return err;
	platform_set_drvdata(pdev, iommu);
	return 0;
}

static void node_remove(struct platform_device *pdev)
{
	iommu_device_unregister(platform_get_drvdata(pdev));
}
GK_PLATFORM_DEFINE_REMOVE(node_remove)

static struct platform_driver node_driver = {
	.driver = {.name = "grantio-tree", .of_match_table = node_match},
	.probe = node_probe,
	GK_PLATFORM_REMOVE(node_remove),
};

/* ---- what the tree says of a device ------------------------------------------------------------------------------ */

static bool ours(const struct device_node *node)
{
	return of_match_node(node_match, node);
}

/* What its own "iommus" names, one more at the most than may be: how many. */
static size_t ids_of_node(struct device_node *node, struct gk_tree_id ids[GK_TREE_IDS + 1])
{
	struct of_phandle_args args;
	struct device_node *first;
	size_t n;
	int err;

	for (n = 0; n < GK_TREE_IDS + 1; n++) {
		err = of_parse_phandle_with_args(node, "iommus", "#iommu-cells", n, &args);
		if (err)
			break;
		ids[n].ours = ours(args.np);
		ids[n].cells = args.args_count;
		ids[n].id = args.args_count ? args.args[0] : 0;
		of_node_put(args.np);
	}
	if (n == GK_TREE_IDS + 1 || err == -ENOENT)
		return n;
	/* What cannot be read is nobody's, but for a node of ours that does not say how many cells it has. */
	first = of_parse_phandle(node, "iommus", 0);
	ids[n].ours = first && ours(first);
	ids[n].cells = 0;
	of_node_put(first);
	return n + 1;
}

/* The lines of "iommu-map"; NULL if there are none. */
static struct gk_tree_line *lines_of(const struct device_node *node, size_t *n)
{
	int cells = of_property_count_u32_elems(node, "iommu-map");
	struct gk_tree_line *lines;

	if (cells <= 0 || cells % 4)
		return NULL;
	*n = cells / 4;
	lines = kcalloc(*n, sizeof(*lines), GFP_KERNEL);
	if (lines && of_property_read_u32_array(node, "iommu-map", &lines->rid, cells)) {
		kfree(lines);
		lines = NULL;
	}
	return lines;
}

/* What its host bridge's "iommu-map" makes of a PCI device: 1, or 0 if that is nothing. */
static size_t ids_of_pci(struct pci_dev *pdev, struct gk_tree_id *id)
{
	u32 mask = ~0u, phandle, rid = PCI_DEVID(pdev->bus->number, pdev->devfn);
	struct device_node *bridge, *node = NULL;
	struct pci_bus *bus = pdev->bus;
	struct gk_tree_line *lines;
	size_t n;

	while (!pci_is_root_bus(bus))
		bus = bus->parent;
	bridge = bus->bridge->parent ? bus->bridge->parent->of_node : NULL;
	lines = bridge ? lines_of(bridge, &n) : NULL;
	if (!lines)
		return 0;
	of_property_read_u32(bridge, "iommu-map-mask", &mask);
	if (!gk_tree_map(lines, n, mask, rid, &phandle, &id->id))
		node = of_find_node_by_phandle(phandle);
	kfree(lines);
	if (!node)
		return 0;
	id->ours = ours(node);
	id->cells = 0;
	of_property_read_u32(node, "#iommu-cells", &id->cells);
	of_node_put(node);
	return 1;
}

/* As gk_tree_backend(). */
static int backend_of(struct device *dev, domid_t *backend)
{
	struct gk_tree_id ids[GK_TREE_IDS + 1];
	size_t n = 0;
	int err;

	if (dev_is_pci(dev))
		n = ids_of_pci(to_pci_dev(dev), ids);
	else if (dev->of_node)
		n = ids_of_node(dev->of_node, ids);
	err = gk_tree_backend(ids, n, backend);
	if (err && err != -ENODEV)
		dev_err(dev, "grantio: iommus: %zu, the first of %u cells and for %#x: must all be one domain: %d\n", n,
			ids[0].cells, ids[0].id, err);
	return err;
}

/*
 * What kind of virtio device it must be: its node's child says so, as xl has it for some kinds ("virtio,device22"), and
 * the bindings for all. A node without a child, and a PCI device, is a disk's.
 */
static int type_of(struct device *dev, u32 *type)
{
	struct device_node *child = dev->of_node ? of_get_next_child(dev->of_node, NULL) : NULL;
	const char *text;
	int err = -EINVAL;

	*type = VIRTIO_ID_BLOCK;
	if (!child)
		return 0;
	if (!of_property_read_string(child, "compatible", &text))
		err = gk_tree_type(text, type);
	of_node_put(child);
	if (err)
		dev_err(dev, "grantio: its child node is compatible with no virtio,deviceN\n");
	return err;
}

/* ---- the devices that have our DMA operations ---------------------------------------------------------------------
 */

struct gk_tree_device {
	struct list_head entry;
	struct device *dev;
	struct gk_dma dma;
};

static LIST_HEAD(devices);
static DEFINE_MUTEX(devices_lock); /* of the list alone: a device's entry comes and goes under the device's own lock */

static struct gk_tree_device *device_find(const struct device *dev)
{
	struct gk_tree_device *device, *found = NULL;

	mutex_lock(&devices_lock);
	list_for_each_entry(device, &devices, entry)
	{
		if (device->dev == dev)
			found = device;
	}
	mutex_unlock(&devices_lock);
	return found;
}

static int device_attach_ours(struct device *dev)
{
	struct gk_tree_device *device;
	domid_t backend;
	u32 type;
	int err = backend_of(dev, &backend);

	if (err)
		return err;
	err = type_of(dev, &type);
	if (err)
		return err;
	if (dev_get_platdata(dev))
		return -EBUSY; /* a board file's: where our own goes */
	if (!try_module_get(THIS_MODULE))
		return -ESHUTDOWN; /* we are going */
	device = kzalloc(sizeof(*device), GFP_KERNEL);
	err = -ENOMEM;
	if (!device)
		goto put_module;
	gk_dma_init(&device->dma);
	err = gk_dma_attach(dev, &device->dma, backend, type);
	if (err)
		goto put_module;
	err = sysfs_create_group(&dev->kobj, &gk_group);
	if (err)
		goto detach;
	device->dev = dev;
	mutex_lock(&devices_lock);
	list_add(&device->entry, &devices);
	mutex_unlock(&devices_lock);
	dev_info(dev, "grantio: grants to domain %u\n", backend);
	return 0;

detach:
	gk_dma_detach(dev);
put_module:
	kfree(device);
	module_put(THIS_MODULE);
	return err;
}

/* Its driver has let go of it, and of all that was mapped. */
static void device_detach_ours(struct gk_tree_device *device)
{
	mutex_lock(&devices_lock);
	list_del(&device->entry);
	mutex_unlock(&devices_lock);
	sysfs_remove_group(&device->dev->kobj, &gk_group); /* no reader is in it any more */
	gk_dma_detach(device->dev);
	kfree(device);
	module_put(THIS_MODULE);
}

static int notify(struct notifier_block *block, unsigned long what, void *opaque)
{
	struct gk_tree_device *device;
	struct device *dev = opaque;
	int err;

	switch (what) {
	case BUS_NOTIFY_BIND_DRIVER:
		err = device_attach_ours(dev);
		if (err && err != -ENODEV) {
			/* With no other operations instead: without masks, until it is ours, it can map nothing. */
			dev_err(dev, "grantio: no DMA for it: %d\n", err);
			dev->dma_mask = NULL;
			dev->coherent_dma_mask = 0;
		}
		break;
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
	case BUS_NOTIFY_UNBOUND_DRIVER:
		device = device_find(dev);
		if (device)
			device_detach_ours(device);
		break;
	}
	return NOTIFY_OK;
}

static int say_if_bound(struct device *dev, void *unused)
{
	domid_t backend;

	if (dev->driver && !device_find(dev) && !backend_of(dev, &backend))
		dev_warn(dev, "grantio: bound before grantio came, and cannot work: load grantio first, at boot\n");
	return 0;
}

/* ---- module -------------------------------------------------------------------------------------------------------
 */

static struct notifier_block platform_block = {.notifier_call = notify};
static struct notifier_block pci_block = {.notifier_call = notify};

int gk_of_register(void)
{
	int err = bus_register_notifier(&platform_bus_type, &platform_block);

	if (err)
		return err;
	err = gk_pci_notifier_register(&pci_block);
	if (err)
		goto unregister_platform;
	bus_for_each_dev(&platform_bus_type, NULL, NULL, say_if_bound);
	err = platform_driver_register(&node_driver);
	if (err)
		goto unregister_pci;
	return 0;

unregister_pci:
	gk_pci_notifier_unregister(&pci_block);
unregister_platform:
	bus_unregister_notifier(&platform_bus_type, &platform_block);
	return err;
}

void gk_of_unregister(void)
{
	platform_driver_unregister(&node_driver);
	gk_pci_notifier_unregister(&pci_block);
	bus_unregister_notifier(&platform_bus_type, &platform_block);
}
