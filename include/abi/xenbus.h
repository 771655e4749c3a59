/* SPDX-License-Identifier: MIT */
/*
 * What a backend and a guest agree on through xenstore where there is no device tree (docs/xenbus.md). Each side writes
 * its own directory, and the other one can read it. Nothing that stands there may be believed.
 */
#ifndef GRANTIO_ABI_XENBUS_H
#define GRANTIO_ABI_XENBUS_H

#define GIO_XENBUS_VERSION     1u /* of the protocol: in both directories. Virtio-mmio: registers behind ioreqs */
#define GIO_XENBUS_VERSION_MSG 2u /* messages and event channels: abi/virtio_msg_bus.h */

/* Keys of the backend's directory. */
#define GIO_XENBUS_KEY_VERSION	 "grantio-version" /* decimal; the guest writes its own into its directory */
#define GIO_XENBUS_KEY_TRANSPORT "transport"	   /* the toolstack's: GIO_XENBUS_TRANSPORT_MMIO */
#define GIO_XENBUS_KEY_MMIO_BASE "mmio-base"	   /* decimal: the guest-physical address of the registers */

#define GIO_XENBUS_TRANSPORT_MMIO "mmio"

/* The backend's offer of messages. The draft's strings are parted by spaces, the best first; numbers are decimal. */
#define GIO_XENBUS_KEY_DRAFT	    "virtio-msg/draft"	  /* GIO_MSG_DRAFT is one of them; the guest answers with one */
#define GIO_XENBUS_KEY_REVISION	    "virtio-msg/revision" /* 1 */
#define GIO_XENBUS_KEY_MAX_SIZE	    "virtio-msg/max-size" /* GIO_MSG_MAX */
#define GIO_XENBUS_KEY_BUS_FEATURES "virtio-msg/features" /* 0 */
#define GIO_XENBUS_KEY_MAX_CHANNELS "virtio-msg/max-queue-channels" /* 1 to GIO_MSG_CHANNELS_MAX */
#define GIO_XENBUS_KEY_POOL_MAX	    "virtio-msg/pool-max" /* pages of the pool that it is willing to keep mapped */

/* Keys of the guest's directory. */
#define GIO_XENBUS_KEY_DMA  "dma"	    /* GIO_XENBUS_DMA_GRANT */
#define GIO_XENBUS_KEY_PORT "event-channel" /* decimal: the guest's port, unbound, for the backend's domain */
/* The toolstack's, of a device of its list `virtio`: GIO_XENBUS_TYPE, and the type's number in hexadecimal. */
#define GIO_XENBUS_KEY_TYPE "type"
#define GIO_XENBUS_TYPE	    "virtio,device"

#define GIO_XENBUS_DMA_GRANT "grant" /* each address that the device gets is made of grants */
#define GIO_XENBUS_DMA_POOL  "pool"  /* and those in descriptors are addresses in the pool */

/* The guest's answer to an offer of messages, in which GIO_XENBUS_KEY_PORT is the channel of messages. */
#define GIO_XENBUS_KEY_CONNECTION  "connection"	     /* 16 hexadecimal digits at random, new in every answer */
#define GIO_XENBUS_KEY_DRIVER_PAGE "driver-page-ref" /* grant references, decimal */
#define GIO_XENBUS_KEY_DEVICE_PAGE "device-page-ref"
#define GIO_XENBUS_KEY_CHANNELS	   "queue-channels"	    /* how many */
#define GIO_XENBUS_KEY_QUEUE_PORT  "queue-%u/event-channel" /* for 0 to queue-channels - 1: ports, as above */
#define GIO_XENBUS_KEY_POOL_RUNS   "pool-runs"		    /* how many: 0 to GIO_POOL_RUNS_MAX; absent: 0 */
#define GIO_XENBUS_KEY_POOL_RUN	   "pool-%u"		    /* for 0 to pool-runs - 1: FIRST:COUNT:r or FIRST:COUNT:w */

#define GIO_XENBUS_TRANSPORT_MSG "virtio-msg" /* the guest's word, in its own directory */

/* Where a backend may put the registers of a device (GIO_VIRTIO_MMIO_BYTES of abi/virtio_mmio.h). */
#define GIO_XENBUS_MMIO_BASE 0xfea00000u
#define GIO_XENBUS_MMIO_END  0xfec00000u
#define GIO_XENBUS_MMIO_STEP 0x1000u /* at multiples of this */

#endif
