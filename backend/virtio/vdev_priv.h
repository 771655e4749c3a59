/* SPDX-License-Identifier: MIT */
/*
 * The inside of a virtio device: its opening and closing (vdev.c), its driver's accesses (driver.c), and what is left
 * to a successor (inherit.c). The interface is vdev.h.
 *
 * The device belongs to its transport's thread; what other threads see or change is in struct gd_status and in the
 * class, and is atomic there.
 */
#ifndef GD_VDEV_PRIV_H
#define GD_VDEV_PRIV_H

#include <pthread.h>

#include "backend/guestmem/guestmem.h"
#include "backend/virtio/ring.h"
#include "backend/virtio/status.h"
#include "backend/virtio/vdev.h"
#include "backend/virtio/worker.h"

#include <abi/virtio.h>

#define GD_VDEV_QUEUES	   GD_LEDGER_QUEUES
#define GD_VDEV_QUEUE_SIZE GD_LEDGER_HEADS

/* The bits of the device status that the driver may set. */
#define GD_VDEV_STATUS_DRIVER                                                                     \
	(GIO_VIRTIO_STATUS_ACKNOWLEDGE | GIO_VIRTIO_STATUS_DRIVER | GIO_VIRTIO_STATUS_DRIVER_OK | \
	 GIO_VIRTIO_STATUS_FEATURES_OK | GIO_VIRTIO_STATUS_FAILED)

/* A queue: where its driver says that it is, and its ring and its worker. */
struct gd_vdev_queue {
	struct gd_vdev_layout layout;
	bool ready;   /* its rings are mapped */
	bool working; /* its thread serves them */
	struct gd_ring ring;
	struct gd_worker *worker;
};

struct gd_vdev {
	struct gd_vdev_config config;
	struct gd_status status;
	struct gd_class_device *class;
	struct gd_guestmem *mem;    /* maps the rings; only the transport's thread uses it */
	const struct gd_pool *pool; /* the guest's; NULL: none */
	struct gd_vdev_queue queues[GD_VDEV_QUEUES];
	uint64_t offered;
	uint64_t features; /* as the driver wrote them */
	uint64_t kicks;	   /* gd_count */
	pthread_mutex_t lock;
	pthread_cond_t drained; /* status.orphans may have become 0 */
	uint64_t resets;
};

/* The addresses of the queue's ring and what was negotiated for it, for gd_ring_open() and gd_ring_resume(). */
struct gd_ring_layout gd_vdev_ring_layout(const struct gd_vdev *vdev, unsigned index);
/* Let the queues work that are ready, if the driver has set DRIVER_OK. Save the ledger before. */
void gd_vdev_queues_work(struct gd_vdev *vdev);

/* Whether the driver may have chosen these features. */
bool gd_vdev_acceptable(const struct gd_vdev *vdev);
/* Save the device's state in the ledger, after each change, so that a successor finds the same. */
void gd_vdev_save(struct gd_vdev *vdev);

#endif
