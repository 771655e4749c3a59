/* SPDX-License-Identifier: MIT */
/*
 * The DMA address of a grant-sharing virtio device: what a guest writes into descriptors and queue registers.
 *
 *   bit 63      1: this address is made of grant references, not of guest-physical memory
 *   bits 12-43  the grant reference of the first page; page n of a buffer is reference + n
 *   bits 0-11   offset in that page
 *
 * Source: Linux drivers/xen/grant-dma-ops.c (XEN_GRANT_DMA_ADDR_OFF). Written by the guest, never trusted by a backend.
 */
#ifndef GRANTIO_ABI_DMA_ADDR_H
#define GRANTIO_ABI_DMA_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#define GIO_DMA_GRANT_BIT  (UINT64_C(1) << 63)
#define GIO_DMA_GREF_SHIFT 12u
#define GIO_DMA_OFF_MASK   UINT64_C(0xfff)

static inline uint64_t gio_dma_addr(uint32_t gref, uint32_t offset)
{
	return GIO_DMA_GRANT_BIT | (uint64_t)gref << GIO_DMA_GREF_SHIFT | (offset & GIO_DMA_OFF_MASK);
}

/* True when the address has the grant bit and a reference that fits 32 bits: anything else is not one of ours. */
static inline bool gio_dma_addr_valid(uint64_t addr)
{
	return (addr >> (GIO_DMA_GREF_SHIFT + 32)) == GIO_DMA_GRANT_BIT >> (GIO_DMA_GREF_SHIFT + 32);
}

static inline uint32_t gio_dma_addr_gref(uint64_t addr)
{
	return (uint32_t)(addr >> GIO_DMA_GREF_SHIFT);
}

static inline uint32_t gio_dma_addr_offset(uint64_t addr)
{
	return (uint32_t)(addr & GIO_DMA_OFF_MASK);
}

/* Grants that a buffer of `len` bytes (not 0) at `offset` in its first page takes; 64-bit, so it cannot overflow. */
static inline uint64_t gio_dma_pages(uint32_t offset, uint64_t len)
{
	return ((offset & GIO_DMA_OFF_MASK) + len + GIO_DMA_OFF_MASK) >> GIO_DMA_GREF_SHIFT;
}

#endif
