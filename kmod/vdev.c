// SPDX-License-Identifier: GPL-2.0-only
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "vdev.h"
#include "vqs.h"

/* The virtio device, which lives until its last user has gone. */
struct device_of {
	struct virtio_device vdev;
	struct gk_vdev *v;
};

static struct gk_vdev *v_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct device_of, vdev)->v;
}

static bool dead(const struct gk_vdev *v)
{
	return gk_link_dead(v->link);
}

/* ---- configuration ---------------------------------------------------------------------------------------------- */

/*
 * A request of many segments must find room in the pool once all others have ended, or it would wait for ever: fewer
 * segments than the device takes may be shown.
 */
static void segments_bound(const struct gk_vdev *v, u8 *space, u32 bytes)
{
	const size_t at = offsetof(struct virtio_blk_config, seg_max);
	u32 most, seg_max;

	if (!v->pool || !gio_pool_mapping_max(v->pool) || v->link->driver.info.device_id != VIRTIO_ID_BLOCK ||
	    bytes < at + sizeof(seg_max))
		return;
	most = gio_pool_request_pages(v->pool) / (gio_pool_mapping_max(v->pool) >> GIO_PAGE_SHIFT);
	memcpy(&seg_max, space + at, sizeof(seg_max));
	seg_max = min(seg_max, most);
	memcpy(space + at, &seg_max, sizeof(seg_max));
}

static void config_keep(struct gk_vdev *v, const u8 *space, u32 bytes)
{
	struct gk_config *config = &v->config;
	unsigned long flags;

	spin_lock_irqsave(&config->lock, flags);
	if (!config->filled || config->bytes != bytes || memcmp(config->space, space, bytes)) {
		memcpy(config->space, space, bytes);
		config->bytes = bytes;
		config->generation++;
		WRITE_ONCE(config->untold, config->filled); /* before the first copy nobody has read it */
	}
	config->filled = true;
	spin_unlock_irqrestore(&config->lock, flags);
}

/* With the lock held. 0 or -errno; -EAGAIN: it changes all the time, and the copy is as it was. */
static int config_read(struct gk_vdev *v)
{
	u8 *space = kzalloc(GIO_MSG_CONFIG_SPACE_MAX, GFP_KERNEL);
	u32 generation, bytes = v->link->driver.info.config_bytes;
	int err;

	if (!space)
		return -ENOMEM;
	err = gio_msg_driver_config_read(&v->link->driver, space, &generation);
	if (!err) {
		segments_bound(v, space, bytes);
		config_keep(v, space, bytes);
	}
	kfree(space);
	return err;
}

static void config_fill(struct gk_vdev *v)
{
	if (READ_ONCE(v->config.filled) || dead(v))
		return;
	gk_link_lock(v->link);
	if (config_read(v) == -EAGAIN)
		gio_msg_driver_change_again(&v->link->driver);
	gk_link_unlock(v->link);
}

/* Behind the end there are zeroes. */
static void vdev_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	struct gk_config *config = &v_of(vdev)->config;
	unsigned long flags;

	config_fill(v_of(vdev));
	memset(buf, 0, len);
	spin_lock_irqsave(&config->lock, flags);
	if (offset < config->bytes)
		memcpy(buf, config->space + offset, min(len, config->bytes - offset));
	spin_unlock_irqrestore(&config->lock, flags);
}

static void vdev_set(struct virtio_device *vdev, unsigned int offset, const void *buf, unsigned int len)
{
	struct gk_vdev *v = v_of(vdev);
	int err;

	if (dead(v))
		return;
	gk_link_lock(v->link);
	err = gio_msg_driver_config_write(&v->link->driver, offset, buf, len);
	if (!err && config_read(v) == -EAGAIN)
		gio_msg_driver_change_again(&v->link->driver);
	gk_link_unlock(v->link);
	if (err)
		dev_warn(&vdev->dev, "grantio: configuration byte %u, %u bytes: not written: %d\n", offset, len, err);
}

static u32 vdev_generation(struct virtio_device *vdev)
{
	return READ_ONCE(v_of(vdev)->config.generation);
}

/* ---- status ----------------------------------------------------------------------------------------------------- */

/* What the driver has set, as far as the device lets it stay, and what the device has added. */
static u8 vdev_get_status(struct virtio_device *vdev)
{
	struct gk_vdev *v = v_of(vdev);

	return dead(v) ? v->status : gio_msg_driver_status(&v->link->driver);
}

static void vdev_set_status(struct virtio_device *vdev, u8 status)
{
	struct gk_vdev *v = v_of(vdev);

	v->status = status;
	if (!dead(v)) {
		gk_link_lock(v->link);
		gio_msg_driver_status_write(&v->link->driver, status);
		gk_link_unlock(v->link);
	}
	/* Some kernels mend what is broken when they make the device ready. */
	if (dead(v))
		virtio_break_device(vdev);
}

/* When it returns the device touches nothing any more, or it is given up. No callback runs then. */
static void vdev_reset(struct virtio_device *vdev)
{
	struct gk_vdev *v = v_of(vdev);

	v->status = 0;
	if (!dead(v)) {
		gk_link_lock(v->link);
		gio_msg_driver_reset(&v->link->driver);
		gk_link_unlock(v->link);
	}
	gk_link_sync(v->link);
}

/* ---- features --------------------------------------------------------------------------------------------------- */

static u64 vdev_get_features(struct virtio_device *vdev)
{
	struct gk_vdev *v = v_of(vdev);
	uint64_t features = 0;

	if (dead(v))
		return 0;
	gk_link_lock(v->link);
	gio_msg_driver_features_read(&v->link->driver, &features);
	gk_link_unlock(v->link);
	return features;
}

static int vdev_finalize_features(struct virtio_device *vdev)
{
	struct gk_vdev *v = v_of(vdev);
	int err;

	vring_transport_features(vdev);
	if (dead(v))
		return 0;
	if (!__virtio_test_bit(vdev, VIRTIO_F_VERSION_1) || !__virtio_test_bit(vdev, VIRTIO_F_ACCESS_PLATFORM)) {
		dev_err(&vdev->dev, "grantio: features %#llx: need VERSION_1 and ACCESS_PLATFORM\n", vdev->features);
		return -ENODEV;
	}
	gk_link_lock(v->link);
	err = gio_msg_driver_features_write(&v->link->driver, vdev->features);
	gk_link_unlock(v->link);
	if (!err)
		config_fill(v);
	return err && !dead(v) ? err : 0;
}

static void __maybe_unused vdev_synchronize_cbs(struct virtio_device *vdev)
{
	gk_link_sync(v_of(vdev)->link);
}

static const char *vdev_bus_name(struct virtio_device *vdev)
{
	return dev_name(vdev->dev.parent);
}

static int vdev_find_vqs(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[], GK_FIND_VQS_WANTED,
			 struct irq_affinity *affinity)
{
	return gk_vqs_find(&v_of(vdev)->vqs, vdev, n, vqs, GK_FIND_VQS_ARGS);
}

static void vdev_del_vqs(struct virtio_device *vdev)
{
	gk_vqs_del(&v_of(vdev)->vqs);
}

static const struct virtio_config_ops config_ops = {
	.get = vdev_get,
	.set = vdev_set,
	.generation = vdev_generation,
	.get_status = vdev_get_status,
	.set_status = vdev_set_status,
	.reset = vdev_reset,
	.find_vqs = vdev_find_vqs,
	.del_vqs = vdev_del_vqs,
	GK_VIRTIO_SYNCHRONIZE_CBS(vdev_synchronize_cbs).get_features = vdev_get_features,
	.finalize_features = vdev_finalize_features,
	.bus_name = vdev_bus_name,
};

/* ---- what comes unasked ----------------------------------------------------------------------------------------- */

/*
 * With the lock held. Reads the configuration anew if the device has changed it, and not more often than the library
 * lets it. True: the driver is to be told. A device whose backend was restarted says so to be sure, and mostly has not
 * changed; a driver that is told looks at its disk anew, and userspace gets an event.
 */
static bool change_act(struct gk_vdev *v)
{
	struct gio_msg_driver *driver = &v->link->driver;
	int later = gio_msg_driver_changed(driver);
	int err = later ? 0 : config_read(v);

	if (err == -EAGAIN || err == -ENOMEM) {
		gio_msg_driver_change_again(driver);
		later = gio_msg_driver_changed(driver);
	}
	/* Before the lock is let go, which would have us called at once for what is left. */
	if (later > 0)
		queue_delayed_work(system_freezable_wq, &v->event, msecs_to_jiffies(later));
	return !later && !err && xchg(&v->config.untold, 0);
}

static void event(struct gk_vdev *v)
{
	bool changed;
	u32 status;

	if (dead(v) || !READ_ONCE(v->events))
		return;
	gk_link_lock(v->link);
	if (gk_link_take(v->link))
		queue_delayed_work(system_freezable_wq, &v->event, 1);
	changed = change_act(v);
	status = gio_msg_driver_status(&v->link->driver);
	gk_link_unlock(v->link);
	if (status & VIRTIO_CONFIG_S_NEEDS_RESET && !dead(v))
		gk_link_give_up(v->link, "it needs a reset", -EIO);
	if (changed && !dead(v))
		virtio_config_changed(v->vdev);
}

static void event_work(struct work_struct *work)
{
	event(container_of(to_delayed_work(work), struct gk_vdev, event));
}

void gk_vdev_heard(struct gk_vdev *v)
{
	if (READ_ONCE(v->events) && !dead(v))
		queue_delayed_work(system_freezable_wq, &v->event, 0);
}

static void events_begin(struct gk_vdev *v)
{
	WRITE_ONCE(v->events, true);
	gk_vdev_heard(v); /* for what has come before */
}

static void events_end(struct gk_vdev *v)
{
	WRITE_ONCE(v->events, false);
	cancel_delayed_work_sync(&v->event);
}

/* ---- the device ------------------------------------------------------------------------------------------------- */

void gk_vdev_init(struct gk_vdev *v, struct gk_link *link)
{
	v->link = v->vqs.link = link;
	spin_lock_init(&v->config.lock);
	INIT_DELAYED_WORK(&v->event, event_work);
}

void gk_vdev_begin(struct gk_vdev *v, const struct gio_pool *pool)
{
	v->pool = pool;
	v->status = 0;
	v->config.filled = false;
}

static void device_release(struct device *dev)
{
	kfree(container_of(dev_to_virtio(dev), struct device_of, vdev));
}

int gk_vdev_register(struct gk_vdev *v, struct device *parent, u32 type)
{
	struct device_of *device = kzalloc(sizeof(*device), GFP_KERNEL);
	struct virtio_device *vdev;
	int err;

	if (!device)
		return -ENOMEM;
	device->v = v;
	vdev = &device->vdev;
	vdev->dev.parent = parent;
	vdev->dev.release = device_release;
	vdev->id.device = type;
	vdev->id.vendor = v->link->driver.info.vendor_id;
	vdev->config = &config_ops;
	/* Linux 5.10 does this after the first operation, and a device that is given up in that is broken already. */
	INIT_LIST_HEAD(&vdev->vqs);
	spin_lock_init(&vdev->vqs_list_lock);
	v->vdev = vdev;
	err = register_virtio_device(vdev);
	if (err) {
		v->vdev = NULL;
		put_device(&vdev->dev);
		return err;
	}
	events_begin(v);
	return 0;
}

void gk_vdev_unregister(struct gk_vdev *v)
{
	if (!v->vdev)
		return;
	events_end(v);
	unregister_virtio_device(v->vdev);
	v->vdev = NULL;
}

int gk_vdev_freeze(struct gk_vdev *v)
{
	int err;

	device_lock(&v->vdev->dev);
	err = gk_virtio_freeze(v->vdev);
	device_unlock(&v->vdev->dev);
	if (!err)
		events_end(v); /* the pages may be gone when there is work again */
	return err;
}

int gk_vdev_restore(struct gk_vdev *v)
{
	int err;

	device_lock(&v->vdev->dev);
	err = gk_virtio_restore(v->vdev);
	device_unlock(&v->vdev->dev);
	if (!err)
		events_begin(v);
	return err;
}
