/* SPDX-License-Identifier: MIT */
/*
 * What a backend and a guest agree on through xenstore where there is no device tree (docs/xenbus.md). Each side writes
 * its own directory, and the other one can read it. Nothing that stands there may be believed.
 */
#ifndef GRANTIO_ABI_XENBUS_H
#define GRANTIO_ABI_XENBUS_H

#define GIO_XENBUS_VERSION 1u /* of the protocol: in both directories */

/* Keys of the backend's directory. */
#define GIO_XENBUS_KEY_VERSION	 "grantio-version" /* decimal; the guest writes its own into its directory */
#define GIO_XENBUS_KEY_TRANSPORT "transport"	   /* the toolstack's: GIO_XENBUS_TRANSPORT_MMIO */
#define GIO_XENBUS_KEY_MMIO_BASE "mmio-base"	   /* decimal: the guest-physical address of the registers */

#define GIO_XENBUS_TRANSPORT_MMIO "mmio"

/* Keys of the guest's directory. */
#define GIO_XENBUS_KEY_DMA  "dma"	    /* GIO_XENBUS_DMA_GRANT */
#define GIO_XENBUS_KEY_PORT "event-channel" /* decimal: the guest's port, unbound, for the backend's domain */

#define GIO_XENBUS_DMA_GRANT "grant" /* each address that the device gets is made of grants */

/* Where a backend may put the registers of a device (GIO_VIRTIO_MMIO_BYTES of abi/virtio_mmio.h). */
#define GIO_XENBUS_MMIO_BASE 0xfea00000u
#define GIO_XENBUS_MMIO_END  0xfec00000u
#define GIO_XENBUS_MMIO_STEP 0x1000u /* at multiples of this */

#endif
