/* SPDX-License-Identifier: MIT */
/*
 * A pool: pages that are granted once, when a device comes up, and through which all of its data goes. No grant is made
 * or ended for a request, and the backend sees no page of the guest's own.
 *
 * Concepts. A pool belongs to one device, and has two *areas*: from `r` the device only reads, and it is granted so;
 * the device may write `w`. *Getting* space takes whole 4 KiB units that follow one another, and yields the DMA address
 * of the first byte, an ordinary grant address; *putting* it gives them back. Data is copied in before the device is
 * told of it, and copied out after it has answered. Small things lie side by side, apart from data: what the device
 * reads, up to GIO_POOL_SMALL_READ bytes (request headers, ranges); what it writes, up to GIO_POOL_SMALL_WRITE (status
 * bytes).
 *
 * What is shown. The pages are zeroed before they are granted. Later they hold what passed through this device, and
 * nothing else. Space that the device reads is zeroed behind the `len` bytes that were asked for. Space that the device
 * is to write is not cleared: what the device leaves unwritten is old data of this same device, so copy out only what
 * it says it has written.
 *
 * Threads: any function may be called at once on the same pool, but open and close; space belongs to the caller that
 * got it. Between open and close nothing here sleeps, allocates, takes a lock or waits, and interrupts may be off.
 * Callers with different hints (queues, processors) work on memory of their own until theirs is full.
 * Errors: 0 or -GIO_E*. Putting space that was not got, or with another length, changes nothing and is counted.
 * The device may change `w` at any time, also after it has answered: each byte is copied out once, and no length is
 * taken from there.
 */
#ifndef GRANTIO_POOL_H
#define GRANTIO_POOL_H

#include <grantio/dma.h>
#include <grantio/grant.h>
#include <grantio/os.h>
#include <grantio/types.h>

#define GIO_POOL_SMALL_READ  16u    /* bytes: what the device reads of at most so many lies in a slot of this size */
#define GIO_POOL_SMALL_WRITE 1u	    /* the same for what it writes */
#define GIO_POOL_PAGES_MAX   16384u /* of both areas together: 64 MiB */
#define GIO_POOL_RUNS	     8u	    /* at most so many runs of references make up a pool */
#define GIO_POOL_WORD	     64u    /* units: no mapping is longer; areas that are a multiple of it are used best */

struct gio_pool;

struct gio_pool_config {
	struct gio_os *os;
	struct gio_grants *grants;
	gio_domid_t backend;
	uint32_t read_pages, write_pages; /* of each area, its small slots included; 0: 512, which makes 4 MiB */
	uint32_t small_read, small_write; /* slots for small things, rounded up to whole pages; 0: none */
	uint32_t mapping_pages;		  /* the longest mapping, up to GIO_POOL_WORD; 0: as long as fits */
	unsigned shares;		  /* hints that are in use: queues, or processors. 0: one */
	uint32_t user;			  /* whose its references are (gio_grants_user()); 0: nobody else's */
};

/*
 * Make a pool and grant all of it. May sleep. -GIO_EINVAL (an area without a page for data, more than
 * GIO_POOL_PAGES_MAX, a longer mapping than there can be), -GIO_ENOMEM, -GIO_ENOSPC (references: none is left granted).
 * `os` and `grants` stay the caller's and must outlive the pool.
 */
int gio_pool_open(struct gio_pool **pool, const struct gio_pool_config *config);
/*
 * End the grants and free the pages. Those that the backend still holds go to quarantine, reference and page, and are
 * used for nothing else until it lets go: at most the whole pool. Returns how many. The device must not be told of the
 * space any more. May sleep. Takes NULL.
 */
uint32_t gio_pool_close(struct gio_pool *pool);

/* A run of references that the pool is made of, as the backend is told of it. */
struct gio_pool_run {
	gio_gref_t first;
	uint32_t count;
	bool readonly; /* to the device */
};

/* Fills `runs` and returns how many there are. They stay as they are until the pool is closed. */
unsigned gio_pool_runs(const struct gio_pool *pool, struct gio_pool_run runs[GIO_POOL_RUNS]);

/*
 * What a driver may rely on, seen by what is free when it is asked: after it has got what it keeps, and before it maps
 * data. Both are 0 if there is no room at all.
 *
 * The longest mapping in bytes: one of that length can be had in either area.
 */
size_t gio_pool_mapping_max(const struct gio_pool *pool);
/*
 * The most pages of data that a request may take, in mappings of any lengths up to that, so that it can always be
 * mapped once all those before it have ended: at most half of the smaller area (or one longest mapping), so that as a
 * rule there is room for two.
 */
uint32_t gio_pool_request_pages(const struct gio_pool *pool);
/* Data bytes of an area for this direction, when it is empty. */
size_t gio_pool_data_bytes(const struct gio_pool *pool, enum gio_dma_dir dir);

/* ---- space -------------------------------------------------------------------------------------------------- */

/*
 * Get space for `len` bytes: in `r` for GIO_DMA_TO_DEVICE, else in `w`. `hint` says whose share is looked at first. The
 * caller may leave a word there (`cookie`; a Linux port: the address of the buffer that the space stands for).
 * -GIO_ENOMEM: nothing is free, try again after something has been put; -GIO_EINVAL: no bytes; -GIO_ERANGE: longer than
 * gio_pool_mapping_max().
 */
int gio_pool_get(struct gio_pool *pool, unsigned hint, size_t len, enum gio_dma_dir dir, uint64_t cookie,
		 gio_dma_t *addr);
/* Put space that gio_pool_get() gave: the same address and length. -GIO_EINVAL: it is not that; nothing changed. */
int gio_pool_put(struct gio_pool *pool, gio_dma_t addr, size_t len);

/*
 * What is behind any address within space that is in use: `cookie` is the caller's word, counted on by as many bytes as
 * the address lies behind the beginning; `left` bytes of the space follow. -GIO_EINVAL: no such space.
 */
int gio_pool_find(const struct gio_pool *pool, gio_dma_t addr, uint64_t *cookie, size_t *left);

/* ---- bytes -------------------------------------------------------------------------------------------------- */

/*
 * Where the byte behind an address of this pool lies; the bytes of space follow one another. NULL for an address that
 * is not in the pool. The memory is shared: load each value once, and work on the copy.
 */
void *gio_pool_va(const struct gio_pool *pool, gio_dma_t addr);
/* Copy `len` bytes to or from an address within space that the caller has got, which is not left by them. */
void gio_pool_copy_in(struct gio_pool *pool, gio_dma_t addr, const void *src, size_t len);
void gio_pool_copy_out(struct gio_pool *pool, gio_dma_t addr, void *dst, size_t len);

/* Get space and, unless the device is only to write it, copy the buffer in. As gio_pool_get(). */
int gio_pool_map(struct gio_pool *pool, unsigned hint, const void *va, size_t len, enum gio_dma_dir dir,
		 gio_dma_t *addr);
/* Unless the device was only to read it, copy out to the buffer; put the space. As gio_pool_put(). */
int gio_pool_unmap(struct gio_pool *pool, void *va, size_t len, enum gio_dma_dir dir, gio_dma_t addr);

/* ---- counts ------------------------------------------------------------------------------------------------- */

struct gio_pool_stats {
	uint32_t pages;	   /* granted */
	uint32_t used;	   /* of these, in use for data now */
	uint64_t full;	   /* gets refused for want of space */
	uint64_t misuses;  /* puts refused: a caller's error */
	uint32_t small[2]; /* slots in use now: that the device reads; that it writes */
};
void gio_pool_stats(const struct gio_pool *pool, struct gio_pool_stats *out);

#endif
