/* SPDX-License-Identifier: MIT */
/*
 * A virtio device: its status, its features, its queues and their threads (virtio 1.2, 2).
 *
 * This header has two parts. The first one is for the owner of the device, who opens and closes it. The second one is
 * for its transport (transport.h), which asks here for what the driver wants. The device itself knows nothing of
 * registers, of xenstore or of ioreqs.
 */
#ifndef GD_VDEV_H
#define GD_VDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/virtio/class.h"
#include "backend/virtio/ledger.h"
#include "backend/virtio/stats.h"
#include "backend/virtio/transport.h"

struct gd_vdev;

struct gd_vdev_config {
	struct gd_class_device *class;	/* with `ledger`: consumed on success; stays the caller's on failure */
	struct gd_ledger *ledger;	/* NULL: the device has one in memory only, and no successor */
	struct gd_transport *transport; /* the caller's, outlives the device */
	/* The driver has set DRIVER_OK. Called from the transport's thread; may be NULL. */
	void (*driver_ok)(void *opaque);
	/* gd_vdev_inflight() may have become 0 after gd_vdev_quiesce(). Called from queue threads; may be NULL. */
	void (*quiet)(void *opaque);
	void *opaque;
};

/*
 * Settings are for what drivers negotiate from now on. What one has negotiated with a former process, by its ledger, is
 * offered to it again, whatever the settings have become: queues, their sizes, indirect descriptors.
 */
void gd_device_config_keep(struct gd_device_config *config, const struct gd_ledger *ledger);

/*
 * All that may block or fail for the device's own sake is done here: memory, a thread and an io_uring for each queue,
 * and what the class needs (its way to the disk). NBD connects all queues side by side, so that it takes as long as one
 * connection. So it is for a job; what comes later neither blocks on the disk nor starts a thread. 0, or -errno with a
 * line in `error`
 * (`size` bytes), which says what could not be had; it is empty on success.
 */
int gd_vdev_open(struct gd_vdev **vdev, const struct gd_vdev_config *config, char *error, size_t size);
/*
 * Stop the threads, end every mapping, close the disk: when it returns nothing of the guest is held. Waits for I/O in
 * flight; if the disk does not answer, no longer with many queues than with one. Takes NULL.
 */
void gd_vdev_close(struct gd_vdev *vdev);

/* The device status (virtio 1.2, 2.1); 0: no driver uses the device. Any thread, at any time. */
uint32_t gd_vdev_status(const struct gd_vdev *vdev);
/* True if a driver has set DRIVER_OK, and has not reset the device since. Any thread. */
bool gd_vdev_driving(const struct gd_vdev *vdev);

/*
 * Before the first access: go on where the former process ended, by its ledger, which `config` had. The rings are
 * mapped again, and what was taken and not answered is done again. The transport notes that the driver is to hear of
 * used buffers and of a change, since what that process told may not have been heard: the caller raises the interrupt
 * when accesses are answered. Waits for nothing but Xen; may be called in a job.
 *
 * 0; or it is as after gd_vdev_orphan(), and the ledger says so too:
 * -ESTALE: the class cannot fence what a former process began (class.h), and had I/O that changes it in flight when
 *that process ended. It may be done at any time yet, so that to do it again, and go on, might undo what the guest
 *writes next. (Reads and flushes in flight are no hindrance.) -EINVAL, when what stands in the ledger is not what this
 *device offers, or the error of mapping.
 */
int gd_vdev_resume(struct gd_vdev *vdev);

/*
 * Before the first access, where there is nothing to resume: the guest's driver may believe that this device is the one
 * that another process served. DEVICE_NEEDS_RESET, and a configuration change, are there for it until it resets the
 * device; the caller raises the interrupt when accesses are answered (virtio 1.2, 2.1.2).
 */
void gd_vdev_orphan(struct gd_vdev *vdev);

/*
 * Before the process leaves its devices to a successor: take no more chains, even if the guest kicks; they stay in its
 * rings. Chains that were taken are still answered. Does not wait: see gd_vdev_inflight(). There is no way back.
 */
void gd_vdev_quiesce(struct gd_vdev *vdev);
/*
 * How many chains were taken and are not yet shown to the guest as used, and how many I/Os are in flight of rings that
 * a reset took away. After gd_vdev_quiesce() it falls to 0 and stays there; a queue that does not know of that yet
 * counts as one. Any thread.
 */
unsigned gd_vdev_inflight(const struct gd_vdev *vdev);

/* Look whether the configuration has changed outside (the image's size); then the driver is told. Any thread. */
void gd_vdev_refresh(struct gd_vdev *vdev);

/* Any thread, at any time. */
void gd_vdev_stats(struct gd_vdev *vdev, struct gd_vdev_stats *out);

/*
 * ---- for the transport ----
 *
 * What its driver asks for. Everything that comes in is the driver's, and may be wrong: then it is of no effect. All of
 * it answers at once, and is for the transport's thread.
 */

/* Where a queue's parts are, as the driver says. Nothing of it is checked before the queue starts. */
struct gd_vdev_layout {
	uint32_t size; /* entries */
	gio_dma_t desc, driver, device;
};

/*
 * The end of each thing that the transport did for its driver: the device's state goes into the ledger, the
 * transport's with it, and only then those queues begin to work that may. So a queue that works is one that a successor
 * knows of. The transport shows the driver its answer after that.
 */
void gd_vdev_commit(struct gd_vdev *vdev);

uint32_t gd_vdev_id(const struct gd_vdev *vdev);      /* virtio device id (virtio 1.2, 5) */
uint64_t gd_vdev_offered(const struct gd_vdev *vdev); /* features */
/* The features that the driver has chosen, and choose others: of no effect after FEATURES_OK. */
uint64_t gd_vdev_features(const struct gd_vdev *vdev);
void gd_vdev_features_choose(struct gd_vdev *vdev, uint64_t features);

/*
 * The driver writes the device status: it sets bits, and clears them only all at once, by 0, which resets the device.
 * FEATURES_OK does not stay where the features do not fit, nor DRIVER_OK without it: gd_vdev_status() says what did.
 */
void gd_vdev_status_write(struct gd_vdev *vdev, uint32_t value);

/* Most entries of a queue; 0: there is no such queue. */
uint32_t gd_vdev_queue_max(const struct gd_vdev *vdev, uint32_t index);
/* Whether it is started. False where there is no such queue. */
bool gd_vdev_queue_ready(const struct gd_vdev *vdev, uint32_t index);
/* As the driver wrote it last; zeroes where there is no such queue. */
struct gd_vdev_layout gd_vdev_queue_layout(const struct gd_vdev *vdev, uint32_t index);
/* Of no effect on a queue that is started, or does not exist. */
void gd_vdev_queue_lay_out(struct gd_vdev *vdev, uint32_t index, const struct gd_vdev_layout *layout);
/* Map the queue's rings; it works once it is committed and the driver has set DRIVER_OK. Not before FEATURES_OK. */
void gd_vdev_queue_start(struct gd_vdev *vdev, uint32_t index);
/* When it returns the queue is not at work, and its rings are not mapped. Not before FEATURES_OK. */
void gd_vdev_queue_stop(struct gd_vdev *vdev, uint32_t index);
/* The driver has made buffers available in a queue. */
void gd_vdev_kick(struct gd_vdev *vdev, uint32_t index);

/* Read the configuration space (virtio 1.2, 2.5): any offset and length are answered, behind its end by zeroes. */
void gd_vdev_config_read(struct gd_vdev *vdev, uint64_t offset, void *data, size_t length);
void gd_vdev_config_write(struct gd_vdev *vdev, uint64_t offset, const void *data, size_t length);
/* It changes whenever the configuration space does. */
uint32_t gd_vdev_generation(struct gd_vdev *vdev);

/* The driver took so long to acknowledge an interrupt: what one costs the guest, by its own word. Any thread. */
void gd_vdev_interrupt_took(struct gd_vdev *vdev, uint64_t us);

#endif
