/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtqueues of a device behind messages. Each is a split ring in pages of its own, of which the backend may only
 * read the driver's part: Linux believes what stands in descriptors.
 */
#ifndef GRANTIO_KMOD_VQS_H
#define GRANTIO_KMOD_VQS_H

#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "compat.h"
#include "link.h"

struct gk_vq;

struct gk_vqs {
	struct gk_link *link;
	struct gk_vq *vq[GIO_MSG_QUEUES_MAX]; /* by index; NULL: none */
};

/* An event of a channel has come: look at its queues. False: there was nothing new. In interrupts. */
bool gk_vqs_used(struct gk_vqs *vqs, unsigned int channel);
/* As the operations of struct virtio_config_ops. */
int gk_vqs_find(struct gk_vqs *vqs, struct virtio_device *vdev, unsigned int n, struct virtqueue *found[],
		GK_FIND_VQS_WANTED);
void gk_vqs_del(struct gk_vqs *vqs);

#endif
