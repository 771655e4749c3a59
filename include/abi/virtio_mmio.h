/* SPDX-License-Identifier: MIT */
/*
 * Registers of a virtio device over MMIO, version 2 (virtio 1.2, 4.2.2). What they say is in abi/virtio.h.
 *
 * Each register is 32 bits wide, little-endian and accessed by aligned 32-bit accesses only; the configuration space
 * from GIO_VIRTIO_MMIO_CONFIG on takes 8, 16 and 32-bit accesses (64-bit fields are read as two halves). "R" and "W"
 * are the driver's accesses: the device writes what the driver reads.
 */
#ifndef GRANTIO_ABI_VIRTIO_MMIO_H
#define GRANTIO_ABI_VIRTIO_MMIO_H

#define GIO_VIRTIO_MMIO_MAGIC		    0x000u /* R: GIO_VIRTIO_MMIO_MAGIC_VALUE */
#define GIO_VIRTIO_MMIO_VERSION		    0x004u /* R: GIO_VIRTIO_MMIO_VERSION_2 */
#define GIO_VIRTIO_MMIO_DEVICE_ID	    0x008u /* R: GIO_VIRTIO_ID_*; 0: there is no device here */
#define GIO_VIRTIO_MMIO_VENDOR_ID	    0x00cu /* R */
#define GIO_VIRTIO_MMIO_DEVICE_FEATURES	    0x010u /* R: 32 bits of features, chosen by the next register */
#define GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL 0x014u /* W: 0: bits 0 to 31, 1: bits 32 to 63; others read 0 */
#define GIO_VIRTIO_MMIO_DRIVER_FEATURES	    0x020u /* W: 32 bits of accepted features, chosen by the next register */
#define GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL 0x024u /* W */
#define GIO_VIRTIO_MMIO_QUEUE_SEL	    0x030u /* W: the queue that the registers 0x034 to 0x0a4, 0x0c0 mean */
#define GIO_VIRTIO_MMIO_QUEUE_NUM_MAX	    0x034u /* R: most entries; 0: there is no such queue */
#define GIO_VIRTIO_MMIO_QUEUE_NUM	    0x038u /* W: entries that the driver uses */
#define GIO_VIRTIO_MMIO_QUEUE_READY	    0x044u /* RW: 1: the device may use the queue */
#define GIO_VIRTIO_MMIO_QUEUE_NOTIFY	    0x050u /* W: number of a queue that has new buffers */
#define GIO_VIRTIO_MMIO_INTERRUPT_STATUS    0x060u /* R: GIO_VIRTIO_INT_* */
#define GIO_VIRTIO_MMIO_INTERRUPT_ACK	    0x064u /* W: the bits of the former that are handled */
#define GIO_VIRTIO_MMIO_STATUS		    0x070u /* RW: GIO_VIRTIO_STATUS_*; writing 0 resets the device */
#define GIO_VIRTIO_MMIO_QUEUE_DESC_LOW	    0x080u /* W: DMA address of the descriptor table */
#define GIO_VIRTIO_MMIO_QUEUE_DESC_HIGH	    0x084u /* W */
#define GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW    0x090u /* W: of the available ring */
#define GIO_VIRTIO_MMIO_QUEUE_DRIVER_HIGH   0x094u /* W */
#define GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW    0x0a0u /* W: of the used ring */
#define GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH   0x0a4u /* W */
#define GIO_VIRTIO_MMIO_SHM_SEL		    0x0acu /* W: shared memory region */
#define GIO_VIRTIO_MMIO_SHM_LEN_LOW	    0x0b0u /* R: all ones when there is no such region */
#define GIO_VIRTIO_MMIO_SHM_LEN_HIGH	    0x0b4u /* R */
#define GIO_VIRTIO_MMIO_SHM_BASE_LOW	    0x0b8u /* R */
#define GIO_VIRTIO_MMIO_SHM_BASE_HIGH	    0x0bcu /* R */
#define GIO_VIRTIO_MMIO_QUEUE_RESET	    0x0c0u /* RW: only with VIRTIO_F_RING_RESET */
#define GIO_VIRTIO_MMIO_CONFIG_GENERATION   0x0fcu /* R: changes whenever the configuration space changes */
#define GIO_VIRTIO_MMIO_CONFIG		    0x100u /* the configuration space of the device type */
#define GIO_VIRTIO_MMIO_BYTES		    0x200u /* what xl gives a device on Arm: 256 bytes of configuration */

#define GIO_VIRTIO_MMIO_MAGIC_VALUE 0x74726976u /* "virt" */
#define GIO_VIRTIO_MMIO_VERSION_2   2u		/* version 1 (legacy) has 32-bit page numbers: no room for grants */

_Static_assert(GIO_VIRTIO_MMIO_CONFIG < GIO_VIRTIO_MMIO_BYTES, "4.2.2");

#endif
