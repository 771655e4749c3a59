/* SPDX-License-Identifier: MIT */
/* The kernel's devices in a test: platform devices, virtio_mmio as far as it freezes, and the virtio core. */
#include "world.h"

/* ---- the platform device and its driver ------------------------------------------------------------------------- */

static const struct bus_type {
	int unused;
} virtio_bus;
static struct virtio_device *ours; /* registered */
static struct notifier_block *notifier;
bool (*virtio_check_mem_acc_cb)(struct virtio_device *vdev);

int register_virtio_driver(struct virtio_driver *driver)
{
	driver->driver.bus = &virtio_bus;
	return 0;
}

int bus_register_notifier(const struct bus_type *bus, struct notifier_block *block)
{
	(void)bus;
	notifier = block;
	return 0;
}

void bus_unregister_notifier(const struct bus_type *bus, struct notifier_block *block)
{
	(void)bus, (void)block;
	notifier = NULL;
}

int device_for_each_child(struct device *parent, void *data, int (*fn)(struct device *dev, void *data))
{
	if (ours && ours->dev.parent == parent)
		return fn(&ours->dev, data);
	return parent == world.child.dev.parent ? fn(&world.child.dev, data) : 0;
}

static int virtio_freeze(struct device *dev)
{
	(void)dev;
	world.freezes++;
	return 0;
}

static int virtio_thaw(struct device *dev)
{
	(void)dev;
	world.thaws++;
	return world.thaw_error;
}

static int virtio_restore(struct device *dev)
{
	world.restores++;
	world.restored_irq = container_of(dev, struct platform_device, dev)->resource[1].start;
	if (!world.restore_errors)
		return 0;
	world.restore_errors--;
	return world.restore_error;
}

static const struct dev_pm_ops virtio_pm = {.freeze = virtio_freeze,
					    .thaw = virtio_thaw,
					    .restore = virtio_restore,
					    .suspend = virtio_freeze,
					    .resume = virtio_restore,
					    .poweroff = virtio_freeze};

struct platform_device *platform_device_alloc(const char *name, int id)
{
	struct platform_device *pdev = calloc(1, sizeof(*pdev));

	(void)id;
	pdev->name = name;
	return pdev;
}

int platform_device_add_resources(struct platform_device *pdev, const struct resource *resources, unsigned count)
{
	if (count)
		memcpy(pdev->resource, resources, count * sizeof(*resources));
	return 0;
}

void world_child_on(struct device *parent)
{
	world.child = (struct virtio_device){
		.dev = {.parent = parent, .bus = &virtio_bus, .driver = &world.child_driver.driver},
		.id = {world.child_type ? world.child_type : world.device_id, 0},
		.features = 3ull << VIRTIO_F_VERSION_1,
	};
}

int platform_device_add(struct platform_device *pdev)
{
	world.device = pdev;
	world.devices++;
	world.made++;
	if (strcmp(pdev->name, "virtio-mmio"))
		return 0;
	pdev->dev.driver = &world.virtio;
	world_child_on(&pdev->dev);
	if (notifier)
		notifier->notifier_call(notifier, BUS_NOTIFY_ADD_DEVICE, &world.child.dev);
	return 0;
}

void platform_device_put(struct platform_device *pdev)
{
	free(pdev->dev.platform_data);
	free(pdev);
}

void platform_device_del(struct platform_device *pdev)
{
	world.devices--;
	world.breaks += world.child.broken;
	world.child.dev.parent = NULL;
}

struct resource *platform_get_resource(struct platform_device *pdev, int type, unsigned index)
{
	return type == IORESOURCE_IRQ && !index ? &pdev->resource[1] : NULL;
}

/* ---- the virtio core -------------------------------------------------------------------------------------------- */

static void status_add(struct virtio_device *vdev, u8 bits)
{
	vdev->config->set_status(vdev, vdev->config->get_status(vdev) | bits);
}

static int features_ok(struct virtio_device *vdev)
{
	int err = vdev->config->finalize_features(vdev);

	if (err)
		return err;
	status_add(vdev, 8);
	return vdev->config->get_status(vdev) & 8 ? 0 : -ENODEV;
}

static void configured(struct virtqueue *vq)
{
	(void)vq;
}

/* What a driver does when it begins: two queues, of which it leaves one name between them out. */
static int driver_begins(struct virtio_device *vdev)
{
	vq_callback_t *callbacks[] = {configured, NULL, configured};
	const char *names[] = {"a", NULL, "b"};
	int err = features_ok(vdev);

	if (!err)
		err = vdev->config->find_vqs(vdev, 3, world.vqs, callbacks, names, NULL, NULL);
	if (!err)
		status_add(vdev, 4);
	return err;
}

int register_virtio_device(struct virtio_device *vdev)
{
	vdev->dev.bus = &virtio_bus;
	vdev->dev.driver = &world.child_driver.driver;
	vdev->config->reset(vdev);
	status_add(vdev, 1);
	ours = vdev;
	if (notifier)
		notifier->notifier_call(notifier, BUS_NOTIFY_ADD_DEVICE, &vdev->dev);
	status_add(vdev, 2);
	vdev->features = vdev->config->get_features(vdev);
	world.probed = virtio_check_mem_acc_cb(vdev) && !(~vdev->features & 3ull << 32) && !driver_begins(vdev);
	if (!world.probed)
		status_add(vdev, 128);
	return 0;
}

void unregister_virtio_device(struct virtio_device *vdev)
{
	world.breaks += vdev->broken;
	vdev->config->reset(vdev);
	vdev->config->del_vqs(vdev);
	ours = NULL;
	vdev->dev.release(&vdev->dev);
}

int virtio_device_freeze(struct virtio_device *vdev)
{
	world.freezes++;
	vdev->config->reset(vdev);
	vdev->config->del_vqs(vdev);
	return 0;
}

int virtio_device_restore(struct virtio_device *vdev)
{
	world.restores++;
	if (world.restore_errors) {
		world.restore_errors--;
		return world.restore_error;
	}
	vdev->config->reset(vdev);
	status_add(vdev, 1 | 2);
	return driver_begins(vdev);
}

void virtio_config_changed(struct virtio_device *vdev)
{
	(void)vdev;
	world.configs++;
}

struct virtqueue *vring_new_virtqueue(unsigned index, unsigned num, unsigned align, struct virtio_device *vdev,
				      bool weak_barriers, bool ctx, void *pages, bool (*notify)(struct virtqueue *),
				      void (*callback)(struct virtqueue *), const char *name)
{
	struct virtqueue *vq = calloc(1, sizeof(*vq));

	(void)weak_barriers, (void)ctx;
	*vq = (struct virtqueue){.index = index, .vdev = vdev, .notify = notify, .callback = callback, .name = name};
	vq->used = (const u16 *)((char *)pages + ALIGN(18 * num + 6, (size_t)align)) + 1;
	return vq;
}

irqreturn_t vring_interrupt(int irq, void *opaque)
{
	struct virtqueue *vq = opaque;

	(void)irq;
	if (*vq->used == vq->seen)
		return IRQ_NONE;
	vq->seen = *vq->used;
	vq->events++;
	return IRQ_HANDLED;
}

static int child_freezes(struct virtio_device *vdev)
{
	(void)vdev;
	return 0;
}

void world_devices_new(void)
{
	ours = NULL;
	world.virtio = (struct device_driver){.name = "virtio-mmio", .pm = &virtio_pm};
	world.child_driver.freeze = child_freezes;
}
