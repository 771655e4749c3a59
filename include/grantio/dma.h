/* SPDX-License-Identifier: MIT */
/*
 * DMA by grants: a device sees grant references instead of guest-physical addresses, so that its backend reaches the
 * mapped buffers, while they are mapped, and nothing else.
 *
 * Concepts. A `struct gio_dma` belongs to one device and names its backend's domain. *Mapping* a buffer grants every
 * 4 KiB unit that it touches, by a run of consecutive references, and yields one DMA address. *Unmapping* ends those
 * grants; one that the backend still holds is quarantined with its page (grantio/grant.h), and the device goes on: up
 * to a bound, so that no backend can take all references. Beyond it that device alone is *broken*: nothing more is
 * mapped.
 *
 * Threads: any function here may be called on the same `struct gio_dma` at once; a buffer belongs to one caller.
 * Errors: 0 or -GIO_E*; on failure nothing is granted and everything is as before the call. Where a call may fail:
 * -GIO_EINVAL (no bytes, or NULL), -GIO_EOVERFLOW (the range wraps, or no table could hold it), -GIO_ENOSPC (no run of
 * references at the hypervisor's limit), -GIO_ENOMEM, -GIO_ERANGE (a frame too large for a table of version 1),
 * -GIO_EPROTO (the device is broken).
 * Unmapping an address or a length that no map returned changes nothing and is counted in `misuses`.
 * Not defended: whole units are granted. Bytes that share a 4 KiB unit with a buffer are visible to the backend while
 * it is mapped (writable, if the device may write); lay out memory accordingly, or map copies of such units in their
 * place (gio_dma_map_edges()). Xen has no write-only grants: what the device writes it can also read.
 */
#ifndef GRANTIO_DMA_H
#define GRANTIO_DMA_H

#include <grantio/grant.h>
#include <grantio/os.h>
#include <grantio/types.h>

enum gio_dma_dir {
	GIO_DMA_TO_DEVICE,   /* the device reads: granted read-only */
	GIO_DMA_FROM_DEVICE, /* the device writes */
	GIO_DMA_BOTH
};

/* What a device's DMA layer has done; read with gio_dma_stats(). */
struct gio_dma_stats {
	uint64_t maps;	      /* buffers mapped */
	uint64_t unmaps;      /* buffers unmapped */
	uint64_t failures;    /* maps refused (references, memory, range) */
	uint64_t granted;     /* references granted to the backend now */
	uint64_t quarantined; /* references sent to quarantine at unmap, so far */
	uint64_t misuses;     /* unmaps refused: not what a map returned, a caller's error */
};

#define GIO_DMA_HELD_MAX 256u /* `held_max` as gio_dma_init() sets it: 1 MiB */

struct gio_dma {
	struct gio_os *os;
	struct gio_grants *grants;
	gio_domid_t backend;
	uint32_t user; /* of `grants`: whose its runs are. May be set to a former one's, whose held grants then count */
	uint32_t held_max;			/* references in quarantine that break the device, from then on */
	uint32_t broken;			/* atomic; set once, never cleared */
	uint64_t held_checked;			/* atomic; `quarantined` at which they are counted next */
	_Alignas(8) struct gio_dma_stats stats; /* updated atomically, without locks */
};

/*
 * Set up `dma` for a device whose backend is `backend`. `mask` is the device's DMA mask: all 64 bits, or -GIO_ERANGE,
 * since the address of a grant has bit 63. `grants` and `os` stay the caller's and must outlive `dma`.
 */
int gio_dma_init(struct gio_dma *dma, struct gio_os *os, struct gio_grants *grants, gio_domid_t backend, uint64_t mask);

/* Map `len` bytes (not 0) at `va`, which may start and end anywhere in a page; its frames need not be consecutive. */
int gio_dma_map(struct gio_dma *dma, const void *va, size_t len, enum gio_dma_dir dir, gio_dma_t *addr);

/*
 * The same for memory known by its frames: `len` bytes at `offset` in consecutive frames from `gfn` on. `gfn` counts
 * units of 4 KiB also where the system's pages are larger, and `offset` may reach beyond the first unit: a Linux page
 * of 16 or 64 KiB is given by its first unit and the offset in that page.
 */
int gio_dma_map_gfn(struct gio_dma *dma, gio_gfn_t gfn, uint32_t offset, size_t len, enum gio_dma_dir dir,
		    gio_dma_t *addr);

/* Frames to be granted in place of a buffer's first and last unit; GIO_DMA_OWN: its own. A single unit is the first. */
struct gio_dma_edges {
	gio_gfn_t first, last;
};
#define GIO_DMA_OWN UINT64_MAX

/*
 * The same, with other frames at the edges: for a buffer that begins or ends inside a unit, and is to show nothing of
 * what shares it. The caller copies to and from them, at the same offsets, and keeps them until the buffer is unmapped.
 */
int gio_dma_map_edges(struct gio_dma *dma, gio_gfn_t gfn, uint32_t offset, size_t len, enum gio_dma_dir dir,
		      const struct gio_dma_edges *edges, gio_dma_t *addr);

/*
 * End what gio_dma_map* made: the same address and length; a held grant is quarantined. Afterwards what the device
 * wrote is visible. Never fails but by -GIO_EINVAL, a caller's error: the memory may be granted still, and must not be
 * reused.
 */
int gio_dma_unmap(struct gio_dma *dma, gio_dma_t addr, size_t len);

/* One element of a scatter-gather list. */
struct gio_sg {
	const void *va;
	size_t len;
	gio_dma_t addr; /* filled by gio_dma_map_sg */
};

/* Map every element, or none (then every `addr` is 0). No elements is not an error. */
int gio_dma_map_sg(struct gio_dma *dma, struct gio_sg *sg, unsigned count, enum gio_dma_dir dir);
/* End what gio_dma_map_sg() made: the same list. */
void gio_dma_unmap_sg(struct gio_dma *dma, const struct gio_sg *sg, unsigned count);

/*
 * The same for whole units, of which the device may only read the first `readonly` bytes (a multiple of 4 KiB, less
 * than `len`, else -GIO_EINVAL) and may write the others too: a ring, of which the device has no business in the
 * driver's part.
 */
int gio_dma_map_gfn_split(struct gio_dma *dma, gio_gfn_t gfn, size_t len, size_t readonly, gio_dma_t *addr);

/*
 * Coherent memory: whole zeroed pages for `bytes` bytes, granted until gio_dma_free(): the first `readonly` bytes (a
 * multiple of 4 KiB, less than `bytes`; 0: none) for reading alone, the rest for writing too. For rings and whatever
 * else both sides keep reading. NULL when pages or references run out, or if `readonly` is none of that.
 */
void *gio_dma_alloc(struct gio_dma *dma, size_t bytes, size_t readonly, gio_dma_t *addr);
/*
 * Takes NULL. The same bytes and address. Pages that the backend still maps go to quarantine and return to the system
 * later. An address that is not ours is counted, and the pages are kept: they may be granted still.
 */
void gio_dma_free(struct gio_dma *dma, void *va, size_t bytes, gio_dma_t addr);

/* True once the backend has held on to more than it may: all that maps fails with -GIO_EPROTO, for good. */
bool gio_dma_broken(const struct gio_dma *dma);

void gio_dma_stats(const struct gio_dma *dma, struct gio_dma_stats *out);

#endif
