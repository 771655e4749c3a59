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
/* No device is left that gk_dma_attach() has had. */
void gk_virtio_unregister(void);

/* False if a driver of one of its virtio devices knows no freezing. The tasks that bind drivers stand still. */
bool gk_virtio_freezable(struct device *parent);
/* Nobody serves its virtio devices any more: new requests fail at once. */
void gk_virtio_break(struct device *parent);

#endif
