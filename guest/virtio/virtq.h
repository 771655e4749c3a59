/* SPDX-License-Identifier: MIT */
/*
 * Driver side of a split virtqueue (virtio 1.2, 2.7): the ring only, whatever the requests mean.
 *
 * Concepts. The ring lies in coherent memory that the backend may change at any time; everything that the driver needs
 * to know about it is kept in private memory: which descriptors are free, which chains are in flight, both indices.
 * From the ring it reads the used index, used elements and avail_event, each once, and checks them before use.
 * A request is: gio_virtq_reserve() descriptors, build a chain of just so many, publish it; later gio_virtq_reap()
 * returns its cookie. Between reserve and the chain the caller may drop its lock (to map buffers, which may sleep).
 *
 * Threads: one caller at a time for each queue. Errors: 0 or -GIO_E*. After -GIO_EPROTO the queue is `broken` for
 * good: it yields nothing more, and its owner completes what is in flight.
 * Not defended: a device that completes a chain it has not worked on. It owns the data, it may lie about it.
 */
#ifndef GRANTIO_VIRTIO_VIRTQ_H
#define GRANTIO_VIRTIO_VIRTQ_H

#include <abi/virtio_ring.h>
#include <grantio/dma.h>
#include <grantio/types.h>

struct gio_virtq_head {
	uint16_t count;	 /* descriptors of the chain that starts here; 0: no chain in flight does */
	uint16_t cookie; /* the owner's */
};

struct gio_virtq {
	/* Shared with the backend; see abi/virtio_ring.h. */
	struct gio_virtq_desc *desc;
	struct gio_virtq_avail *avail;
	struct gio_virtq_used *used;
	uint16_t *used_event;	     /* in the available ring */
	const uint16_t *avail_event; /* in the used ring */
	gio_dma_t desc_addr, avail_addr, used_addr;

	/* Private from here on. */
	struct gio_dma *dma;
	uint32_t size;
	bool event_idx;
	bool broken;
	bool quiet;	/* without event_idx: NO_INTERRUPT is set */
	uint16_t *next; /* of each descriptor: the next free one, or the next in its chain */
	struct gio_virtq_head *heads;
	uint16_t free_head; /* of the list of free descriptors; meaningless when there is none */
	uint32_t free;	    /* descriptors neither reserved nor in a chain */
	uint32_t in_flight; /* chains published and not reaped */
	uint16_t avail_idx; /* what the available ring's index says */
	uint16_t used_idx;  /* used elements consumed */
	uint16_t armed;	    /* used_idx for which an interrupt has been asked */
	uint32_t unkicked;  /* chains published since the device was last told */
};

/* Allocate a ring of `size` entries (a power of two up to GIO_VIRTQ_MAX); -GIO_EINVAL, -GIO_ENOMEM. */
int gio_virtq_init(struct gio_virtq *vq, struct gio_dma *dma, uint32_t size, bool event_idx);
/* The device must have let go of the ring, or its pages go to quarantine. Takes what init left on failure. */
void gio_virtq_exit(struct gio_virtq *vq);

/* Set `count` descriptors aside. -GIO_ENOSPC, or -GIO_EPROTO when the queue is broken. */
int gio_virtq_reserve(struct gio_virtq *vq, uint32_t count);
void gio_virtq_unreserve(struct gio_virtq *vq, uint32_t count);

/* A chain being written. The caller's stack; no clean-up. */
struct gio_virtq_chain {
	struct gio_virtq *vq;
	struct gio_virtq_desc *table; /* indirect table, or NULL */
	uint32_t count, added;
	uint16_t head, last;
};

/*
 * Write a chain of `count` buffers into that many reserved descriptors (virtio 1.2, 2.7.13.1): start, `count` times add
 * (device-readable buffers first), publish. The device may see it from publish on, and is told by a kick.
 */
void gio_virtq_chain_start(struct gio_virtq_chain *chain, struct gio_virtq *vq, uint32_t count);
/* The same through an indirect table (2.7.5.3) of at least `count` entries: takes one reserved descriptor. */
void gio_virtq_chain_start_indirect(struct gio_virtq_chain *chain, struct gio_virtq *vq, uint32_t count,
				    struct gio_virtq_desc *table, gio_dma_t table_addr);
void gio_virtq_chain_add(struct gio_virtq_chain *chain, gio_dma_t addr, uint32_t len, bool device_writes);
void gio_virtq_chain_publish(struct gio_virtq_chain *chain, uint16_t cookie);

/* Whether the device wants to be told of what was published since the last call that said so (2.7.13.4.1). */
bool gio_virtq_kick_prepare(struct gio_virtq *vq);

/*
 * Take one used element: 0 and the chain's cookie, its descriptors free again; -GIO_EAGAIN when there is none;
 * -GIO_EPROTO when the device wrote what it must not (2.7.8, 2.7.14).
 */
int gio_virtq_reap(struct gio_virtq *vq, uint16_t *cookie);

/*
 * Ask for an interrupt at the next used element, after a reap that found none. True when one has come meanwhile, for
 * which there may be no interrupt: reap again, then rearm again.
 */
bool gio_virtq_rearm(struct gio_virtq *vq);

#endif
