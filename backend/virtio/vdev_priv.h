/* SPDX-License-Identifier: MIT */
/*
 * The inside of a device: its registers (mmio.c) and its life (vdev.c). The interface is vdev.h.
 *
 * Registers belong to the domain's ioreq thread; what other threads see or change is in struct gd_status and struct
 * gd_blk, and is atomic there.
 */
#ifndef GD_VDEV_PRIV_H
#define GD_VDEV_PRIV_H

#include "backend/guestmem/guestmem.h"
#include "backend/blk/blk.h"
#include "backend/virtio/status.h"
#include "backend/virtio/ring.h"
#include "backend/virtio/vdev.h"
#include "backend/virtio/worker.h"

#define GD_VDEV_QUEUES	   GD_LEDGER_QUEUES
#define GD_VDEV_QUEUE_SIZE GD_LEDGER_HEADS

/* Bits of the status that are the driver's to set. */
#define GD_VDEV_STATUS_DRIVER                                                                     \
	(GIO_VIRTIO_STATUS_ACKNOWLEDGE | GIO_VIRTIO_STATUS_DRIVER | GIO_VIRTIO_STATUS_DRIVER_OK | \
	 GIO_VIRTIO_STATUS_FEATURES_OK | GIO_VIRTIO_STATUS_FAILED)

/* A queue as its registers say, and as it is when it is ready. */
struct gd_vdev_queue {
	uint32_t num;
	gio_dma_t desc, driver, device;
	bool ready; /* its rings are mapped */
	struct gd_ring ring;
	struct gd_worker *worker;
};

struct gd_vdev {
	struct gd_vdev_config config;
	struct gd_status status;
	struct gd_blk blk;
	struct gd_guestmem *mem; /* for rings: the ioreq thread's */
	struct gd_vdev_queue queues[GD_VDEV_QUEUES];
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t features; /* as the driver wrote them */
	uint64_t kicks;	   /* gd_count */
	uint64_t resets;
};

/* Lifecycle, for the registers. Never wait for the disk. */
void gd_vdev_queue_start(struct gd_vdev *vdev, unsigned index); /* QUEUE_READY = 1: map */
void gd_vdev_queue_stop(struct gd_vdev *vdev, unsigned index);	/* QUEUE_READY = 0: let go, unmap */
void gd_vdev_driver_ok(struct gd_vdev *vdev);			/* the ready queues begin to work */
void gd_vdev_reset(struct gd_vdev *vdev);

/* Whether the driver may have chosen these features. */
bool gd_vdev_acceptable(const struct gd_vdev *vdev);
/* Note the registers in the ledger: after each change of them, so that a successor's are the same. */
void gd_vdev_save(struct gd_vdev *vdev);

#endif
