/* SPDX-License-Identifier: GPL-2.0-only */
/* Devices of the device tree. There is an of.c where the kernel has CONFIG_OF_IOMMU. */
#ifndef GRANTIO_KMOD_OF_H
#define GRANTIO_KMOD_OF_H

/* Devices of the device tree that name a "xen,grant-dma" node are probed, with our DMA operations. 0 or -errno. */
int gk_of_register(void);
/* No device has them any more: the module is not unloaded before. */
void gk_of_unregister(void);

#endif
