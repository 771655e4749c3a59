/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What grantio asks of the kernel's virtio core: which devices must be restricted to grants, of which type a device may
 * be, and whether its driver can be frozen. `parent` is always a device that gk_dma_attach() has had: the one on whose
 * registers the virtio device is.
 */
#ifndef GRANTIO_KMOD_VIRTIO_H
#define GRANTIO_KMOD_VIRTIO_H

#include <linux/device.h>

/*
 * From now on a virtio device on grants gets a driver only if it offers VERSION_1 and ACCESS_PLATFORM, and is of the
 * type that gk_dma_attach() was told. 0 or -errno.
 */
int gk_virtio_register(void);
/* Undo gk_virtio_register(). Call it when no device is left that was given to gk_dma_attach(). */
void gk_virtio_unregister(void);

/* False if a driver of its virtio devices cannot be frozen. Call it while the tasks that bind drivers are frozen. */
bool gk_virtio_freezable(struct device *parent);
/* Mark its virtio devices as broken, since nobody serves them any more: new requests fail at once. */
void gk_virtio_break(struct device *parent);

#endif
