/* SPDX-License-Identifier: MIT */
/*
 * Limits of Xen's interface that both sides of a device check a peer's numbers against. The names carry a prefix so
 * that Xen's own headers fit in one source file; grant tables have a header of their own (abi/grant_table.h).
 */
#ifndef GRANTIO_ABI_XEN_H
#define GRANTIO_ABI_XEN_H

#define GIO_DOMID_MAX 0x7fefu /* the largest number that a domain can have: public/xen.h, DOMID_FIRST_RESERVED - 1 */
#define GIO_DEVID_MAX 0x1fffffffu /* the largest number of a device: xen-vbd-interface(7), the extended form */
#define GIO_PORTS_MAX 131072u	  /* event channels of a domain: public/event_channel.h, EVTCHN_FIFO_NR_CHANNELS */

/* Where the toolstack puts virtio-mmio registers of an Arm guest: public/arch-arm.h, GUEST_VIRTIO_MMIO_BASE and _SIZE.
 */
#define GIO_ARM_MMIO_BASE 0x02000000u
#define GIO_ARM_MMIO_END  0x02100000u

#endif
