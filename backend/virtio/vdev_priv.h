/* SPDX-License-Identifier: MIT */
/*
 * The inside of a device: its life (vdev.c), what its driver asks for (driver.c), and what is left to a successor
 * (inherit.c). The interface is vdev.h.
 *
 * The device belongs to its transport's thread; what other threads see or change is in struct gd_status and in the
 * class, and is atomic there.
 */
#ifndef GD_VDEV_PRIV_H
#define GD_VDEV_PRIV_H

#include "backend/guestmem/guestmem.h"
#include "backend/virtio/ring.h"
#include "backend/virtio/status.h"
#include "backend/virtio/vdev.h"
#include "backend/virtio/worker.h"

#include <abi/virtio.h>

#define GD_VDEV_QUEUES	   GD_LEDGER_QUEUES
#define GD_VDEV_QUEUE_SIZE GD_LEDGER_HEADS

/* Bits of the status that are the driver's to set. */
#define GD_VDEV_STATUS_DRIVER                                                                     \
	(GIO_VIRTIO_STATUS_ACKNOWLEDGE | GIO_VIRTIO_STATUS_DRIVER | GIO_VIRTIO_STATUS_DRIVER_OK | \
	 GIO_VIRTIO_STATUS_FEATURES_OK | GIO_VIRTIO_STATUS_FAILED)

/* A queue as its driver says, and as it is when it is ready. */
struct gd_vdev_queue {
	struct gd_vdev_layout layout;
	bool ready;   /* its rings are mapped */
	bool working; /* and its thread has them */
	struct gd_ring ring;
	struct gd_worker *worker;
};

struct gd_vdev {
	struct gd_vdev_config config;
	struct gd_status status;
	struct gd_class_device *class;
	struct gd_guestmem *mem; /* for rings: the transport's thread's */
	struct gd_vdev_queue queues[GD_VDEV_QUEUES];
	uint64_t offered;
	uint64_t features; /* as the driver wrote them */
	uint64_t kicks;	   /* gd_count */
	uint64_t resets;
};

/* Set back all that the driver did. Does not wait for the disk. */
void gd_vdev_reset(struct gd_vdev *vdev);
/* Where the queue's rings are, with what was negotiated: for gd_ring_open() and gd_ring_resume(). */
struct gd_ring_layout gd_vdev_ring_layout(const struct gd_vdev *vdev, unsigned index);
/* Let those queues work that are ready, if the driver has set DRIVER_OK: their ledger is saved. */
void gd_vdev_queues_work(struct gd_vdev *vdev);

/* Whether the driver may have chosen these features. */
bool gd_vdev_acceptable(const struct gd_vdev *vdev);
/* Note the device's state in the ledger: after each change of it, so that a successor's is the same. */
void gd_vdev_save(struct gd_vdev *vdev);

#endif
