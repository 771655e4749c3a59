/* SPDX-License-Identifier: MIT */
/*
 * What all virtio devices have in common, whatever their class and their transport: types, status bits (virtio 1.2,
 * 2.1), causes of interrupts, and the feature bits that are no device's own (6).
 */
#ifndef GRANTIO_ABI_VIRTIO_H
#define GRANTIO_ABI_VIRTIO_H

#include <stdint.h>

/* ---- types of devices: 5 ---------------------------------------------------------------------------------------- */

#define GIO_VIRTIO_ID_NONE  0u /* there is no device here */
#define GIO_VIRTIO_ID_BLOCK 2u
#define GIO_VIRTIO_ID_RNG   4u

/* ---- device status: 2.1. The driver sets bits, and clears them only by writing 0. -------------------------------- */

#define GIO_VIRTIO_STATUS_ACKNOWLEDGE 1u   /* driver: has seen the device */
#define GIO_VIRTIO_STATUS_DRIVER      2u   /* driver: knows how to drive it */
#define GIO_VIRTIO_STATUS_DRIVER_OK   4u   /* driver: is ready */
#define GIO_VIRTIO_STATUS_FEATURES_OK 8u   /* driver: has chosen features; reads back 0 if the device refuses them */
#define GIO_VIRTIO_STATUS_NEEDS_RESET 64u  /* device: cannot go on */
#define GIO_VIRTIO_STATUS_FAILED      128u /* driver: has given up */

/* ---- causes of an interrupt, as the registers of every transport have them: 2.3, 4.2.2 ----------------------------
 */

#define GIO_VIRTIO_INT_QUEUE  1u /* the device used a buffer in at least one queue */
#define GIO_VIRTIO_INT_CONFIG 2u /* the configuration, or the status (DEVICE_NEEDS_RESET), changed */

/* ---- reserved feature bits: 6 ---------------------------------------------------------------------------------- */

#define GIO_VIRTIO_F(bit) (UINT64_C(1) << (bit))

#define GIO_VIRTIO_F_INDIRECT_DESC     GIO_VIRTIO_F(28)
#define GIO_VIRTIO_F_EVENT_IDX	       GIO_VIRTIO_F(29)
#define GIO_VIRTIO_F_VERSION_1	       GIO_VIRTIO_F(32)
#define GIO_VIRTIO_F_ACCESS_PLATFORM   GIO_VIRTIO_F(33) /* addresses are the platform's: here, grant references */
#define GIO_VIRTIO_F_RING_PACKED       GIO_VIRTIO_F(34)
#define GIO_VIRTIO_F_IN_ORDER	       GIO_VIRTIO_F(35)
#define GIO_VIRTIO_F_ORDER_PLATFORM    GIO_VIRTIO_F(36)
#define GIO_VIRTIO_F_NOTIFICATION_DATA GIO_VIRTIO_F(38)
#define GIO_VIRTIO_F_RING_RESET	       GIO_VIRTIO_F(40)

#endif
