// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that the device tree describes (Arm). The property "iommus" of a device, or for a PCI device the "iommu-map"
 * of its host bridge, names a node "xen,grant-dma" and the backend's domain (tree.h).
 *
 * A kernel without CONFIG_XEN_VIRTIO does not probe the device before that node has a driver. This file has one. The
 * node is no IOMMU, so the driver refuses every device that the kernel offers to it as one.
 *
 * The device gets our DMA operations by a notifier. It runs just before a driver is bound to the device, when the
 * kernel has set the operations that it would use itself; ours replace them. They are removed when that driver is
 * unbound. The module cannot be unloaded as long as a device has them.
 *
 * Threads: notifiers run under the device's lock.
 *
 * Not defended:
 * - The kernel waits for some ten seconds for this module. A device that was bound before it was loaded keeps the
 *   kernel's own DMA operations, and a backend that takes only grants refuses their addresses. The log has a line about
 *   it. Unbinding the device does not help: its virtio driver waits without limit for the first request.
 * - A driver whose probe fails must not leave DMA memory to devres (dmam_*). virtio's drivers do not.
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
/* MODULE_DEVICE_TABLE() would write these lines, but it needs a modpost that was built for the kernel's word size. */
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

/* Read what the node's "iommus" names. Returns how many ids there are: at most one more than GK_TREE_IDS allows. */
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
	/*
	 * An id that cannot be read belongs to another node, unless the first node is ours and does not say how many
	 * cells an id has. Then it counts as ours with no cell, and gk_tree_backend() refuses it.
	 */
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

/* Read the id that the host bridge's "iommu-map" gives to a PCI device. Returns how many there are: 1 or 0. */
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

/* The backend's domain, as gk_tree_backend() finds it: 0 or its error. */
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
 * Which type of virtio device this must be. The child of its node says so ("virtio,device22"): xl writes one for some
 * types, and the bindings have one for all. A node without a child, and a PCI device, belongs to a disk.
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
static DEFINE_MUTEX(devices_lock); /* protects the list; entries are added and removed under their device's lock */

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
		return -EBUSY; /* a board file has set it; it is where we keep a pointer to our own data */
	if (!try_module_get(THIS_MODULE))
		return -ESHUTDOWN; /* the module is being unloaded */
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

/* The driver was unbound, and has unmapped all of its buffers. */
static void device_detach_ours(struct gk_tree_device *device)
{
	mutex_lock(&devices_lock);
	list_del(&device->entry);
	mutex_unlock(&devices_lock);
	sysfs_remove_group(&device->dev->kobj, &gk_group); /* it waits until no reader is in the directory */
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
			/*
			 * The device must not use other operations instead. Without its masks it can map nothing,
			 * until it has ours.
			 */
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
