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
	struct gd_transport *transport; /* the caller's, outlives the device; how it is reached at first */
	struct gd_bell *const *bells;	/* NULL, or one for each queue; the caller's, and outlive the device */
	/* The driver has set DRIVER_OK. Called from the transport's thread; may be NULL. */
	void (*driver_ok)(void *opaque);
	/* gd_vdev_inflight() may have become 0 after gd_vdev_quiesce(). Called from queue threads; may be NULL. */
	void (*quiet)(void *opaque);
	void *opaque;
};

/*
 * Widen the settings to what a driver has negotiated with a former process, as the ledger says: the number of queues,
 * their size, indirect descriptors. The driver goes on with these, and new settings apply only to later negotiations.
 */
void gd_device_config_keep(struct gd_device_config *config, const struct gd_ledger *ledger);

/*
 * Open a device. All steps that may block or fail are done here: it gets memory, a thread and an io_uring for each
 * queue, and what the class needs (its way to the disk). NBD connects all queues at the same time, so that it takes as
 * long as one connection. Call it from a job; later calls neither block on the disk nor start a thread. 0, or -errno
 * with a line in `error` (`size` bytes), which says what could not be had; the line is empty on success.
 */
int gd_vdev_open(struct gd_vdev **vdev, const struct gd_vdev_config *config, char *error, size_t size);
/*
 * Stop the threads, end every mapping and close the disk: when it returns nothing of the guest is held. It waits for
 * I/O in flight; if the disk does not answer, many queues take no longer than one. Takes NULL.
 */
void gd_vdev_close(struct gd_vdev *vdev);

/*
 * Have the device driven by another transport from now on. No driver drives it: what a former one did has been reset.
 * Call it while neither transport's thread calls the core. The ledger does not know of it before gd_vdev_commit().
 */
void gd_vdev_transport_set(struct gd_vdev *vdev, struct gd_transport *transport);
/* Reset the device, as its driver can, because its driver has gone. Call it in place of the transport's thread. */
void gd_vdev_reset(struct gd_vdev *vdev);

/* The device status (virtio 1.2, 2.1); 0: no driver uses the device. Any thread, at any time. */
uint32_t gd_vdev_status(const struct gd_vdev *vdev);
/* True if a driver has set DRIVER_OK, and has not reset the device since. Any thread. */
bool gd_vdev_driving(const struct gd_vdev *vdev);

/*
 * Go on where the former process ended, by its ledger, which was in `config`. Call it before the first access. The
 * rings are mapped again, and requests that were taken and not answered are done again. The transport notes that the
 * driver must be told of used buffers and of a change, because the former process's last interrupt may have been lost;
 * the caller raises the interrupt once accesses are answered. It waits for nothing but Xen, and may be called in a job.
 *
 * Returns 0. After an error the device, and its ledger, are as after gd_vdev_orphan():
 * -ESTALE: I/O that changes the disk was in flight when the former process ended, and the class cannot fence it
 *          (class.h). It may still take effect at any time, and might then undo what the guest writes next. (Reads and
 *          flushes in flight do no harm.)
 * -EINVAL: the ledger's content does not fit what this device offers.
 * Other errors are those of mapping.
 */
int gd_vdev_resume(struct gd_vdev *vdev);

/*
 * In place of gd_vdev_resume(): go on with nothing of what the former process left. The device is as if nobody had used
 * it, and its ledger says so.
 */
void gd_vdev_abandon(struct gd_vdev *vdev);

/*
 * Call this before the first access where there is nothing to resume: the guest's driver may still use the device that
 * another process served. DEVICE_NEEDS_RESET is set, and a configuration change is pending, until the driver resets the
 * device; the caller raises the interrupt once accesses are answered (virtio 1.2, 2.1.2).
 */
void gd_vdev_orphan(struct gd_vdev *vdev);

/*
 * Take no more chains, even if the guest kicks, before the process leaves its devices to a successor: the chains stay
 * in the rings. Those that were taken are still answered. It does not wait (see gd_vdev_inflight()). There is no way
 * back.
 */
void gd_vdev_quiesce(struct gd_vdev *vdev);
/*
 * How many chains were taken and are not yet shown to the guest as used, and how many I/Os are in flight of rings that
 * a reset took away. After gd_vdev_quiesce() it falls to 0 and stays there; a queue whose thread has not seen that call
 * yet counts as one. Any thread.
 */
unsigned gd_vdev_inflight(const struct gd_vdev *vdev);

/*
 * After gd_vdev_reset(): wait until no I/O is in flight of rings that a reset took away, for `ms` milliseconds at most.
 * False: there still is some.
 */
bool gd_vdev_drain(struct gd_vdev *vdev, unsigned ms);

/* Look whether the configuration has changed outside (the image's size); then the driver is told. Any thread. */
void gd_vdev_refresh(struct gd_vdev *vdev);

/* Read the device's counters. Any thread, at any time. */
void gd_vdev_stats(struct gd_vdev *vdev, struct gd_vdev_stats *out);

/*
 * ---- for the transport ----
 *
 * The driver's accesses, as the transport passes them on. The driver chooses every value, and a wrong one has no
 * effect. These functions do not wait for the disk, and are called by the transport's thread.
 */

/* The addresses of a queue's parts, as the driver wrote them. They are not checked before the queue starts. */
struct gd_vdev_layout {
	uint32_t size; /* entries */
	gio_dma_t desc, driver, device;
};

/*
 * The transport calls this at the end of each step for its driver. The states of the device and of the transport are
 * saved in the ledger, and only then may queues begin to work: so a successor knows of every queue that works. The
 * driver gets its answer after that.
 */
void gd_vdev_commit(struct gd_vdev *vdev);

uint32_t gd_vdev_id(const struct gd_vdev *vdev);      /* virtio device id (virtio 1.2, 5) */
uint32_t gd_vdev_queues(const struct gd_vdev *vdev);  /* how many it has */
uint64_t gd_vdev_offered(const struct gd_vdev *vdev); /* features */
/* The features that the driver has chosen; and choose others, which has no effect after FEATURES_OK. */
uint64_t gd_vdev_features(const struct gd_vdev *vdev);
void gd_vdev_features_choose(struct gd_vdev *vdev, uint64_t features);

/*
 * The driver writes the device status: it sets bits, and clears them only all at once, by 0, which resets the device.
 * FEATURES_OK is not set if the device does not accept the features, nor is DRIVER_OK without FEATURES_OK.
 * gd_vdev_status() then returns the bits that are set.
 */
void gd_vdev_status_write(struct gd_vdev *vdev, uint32_t value);

/* Maximum of entries of a queue; 0: there is no such queue. */
uint32_t gd_vdev_queue_max(const struct gd_vdev *vdev, uint32_t index);
/* Whether it is started. False where there is no such queue. */
bool gd_vdev_queue_ready(const struct gd_vdev *vdev, uint32_t index);
/* The layout that the driver wrote last; zeroes where there is no such queue. */
struct gd_vdev_layout gd_vdev_queue_layout(const struct gd_vdev *vdev, uint32_t index);
/* Set the layout of a queue. It has no effect on a queue that is started or does not exist. */
void gd_vdev_queue_lay_out(struct gd_vdev *vdev, uint32_t index, const struct gd_vdev_layout *layout);
/*
 * The guest's pool (guestmem/pool.h) of all queues that start from now on, gd_vdev_resume() included; NULL: none. It
 * stays the transport's, who calls this while no queue is started. It may be unmapped when all queues are stopped and
 * gd_vdev_orphans() is 0, or after gd_vdev_close().
 */
void gd_vdev_use_pool(struct gd_vdev *vdev, const struct gd_pool *pool);
/*
 * How many I/Os are in flight that belong to queues which were stopped. As long as there are any, the disk may still
 * read and write the guest's pool; queues take nothing new meanwhile. Any thread.
 */
unsigned gd_vdev_orphans(const struct gd_vdev *vdev);
/* Map the queue's rings. It works after gd_vdev_commit() and DRIVER_OK. No effect before FEATURES_OK. */
void gd_vdev_queue_start(struct gd_vdev *vdev, uint32_t index);
/*
 * Start a queue with a layout that is checked here, all or nothing: 0, or -errno, and nothing has changed. -EINVAL: the
 * size or an address is wrong, the queue is started or does not exist, or features are not chosen yet.
 */
int gd_vdev_queue_enable(struct gd_vdev *vdev, uint32_t index, const struct gd_vdev_layout *layout);
/* Whether the address is one that the device's way to guest memory can reach. */
bool gd_vdev_address_valid(const struct gd_vdev *vdev, gio_dma_t addr);
/* Stop the queue: when it returns the rings are neither used nor mapped. No effect before FEATURES_OK. */
void gd_vdev_queue_stop(struct gd_vdev *vdev, uint32_t index);
/* The driver has made buffers available in a queue. */
void gd_vdev_kick(struct gd_vdev *vdev, uint32_t index);
/* The same for a queue that shares another one's bell. Any thread. */
void gd_vdev_wake(struct gd_vdev *vdev, uint32_t index);

/* Read the configuration space (virtio 1.2, 2.5): any offset and length are answered, behind its end by zeroes. */
void gd_vdev_config_read(struct gd_vdev *vdev, uint64_t offset, void *data, size_t length);
/* True if it was written. The driver may write only some fields, each as a whole. */
bool gd_vdev_config_write(struct gd_vdev *vdev, uint64_t offset, const void *data, size_t length);
uint32_t gd_vdev_config_bytes(const struct gd_vdev *vdev); /* how long it is */
/* The range of it that may change without the driver. */
struct gd_class_range gd_vdev_config_changes(const struct gd_vdev *vdev);
/* It changes whenever the configuration space does. */
uint32_t gd_vdev_generation(struct gd_vdev *vdev);

/* The driver took `us` microseconds to acknowledge an interrupt (see gd_status_interrupt_us()). Any thread. */
void gd_vdev_interrupt_took(struct gd_vdev *vdev, uint64_t us);

#endif
