/* SPDX-License-Identifier: MIT */
/*
 * The scalars of a grant-sharing guest, and its error numbers.
 *
 * Errors: every function of the guest library returns 0 (or a count) on success and a negative GIO_E* on failure.
 * The values are Linux's errno values, so that a port to Linux passes them through unchanged; the library itself
 * needs no <errno.h>.
 */
#ifndef GRANTIO_TYPES_H
#define GRANTIO_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Grants are made of 4 KiB units whatever the guest's own page size is (Xen: XEN_PAGE_SIZE). */
#define GIO_PAGE_SHIFT 12u
#define GIO_PAGE_SIZE  (1u << GIO_PAGE_SHIFT)
#define GIO_PAGE_MASK  (GIO_PAGE_SIZE - 1u)

typedef uint32_t gio_gref_t;  /* grant reference: index into the guest's grant table */
typedef uint64_t gio_dma_t;   /* DMA address as a device sees it: 1<<63 | gref<<12 | offset, see abi/dma_addr.h */
typedef uint64_t gio_gfn_t;   /* guest frame number, in units of GIO_PAGE_SIZE */
typedef uint16_t gio_domid_t; /* Xen domain id */

enum {
	GIO_EIO = 5,	     /* the device failed the request */
	GIO_EAGAIN = 11,     /* nothing to do now, or still in use: try later */
	GIO_ENOMEM = 12,     /* the system gave no memory */
	GIO_EBUSY = 16,	     /* already set up, or still in use */
	GIO_ENODEV = 19,     /* no such device, or one this driver refuses */
	GIO_EINVAL = 22,     /* the caller's argument is wrong */
	GIO_ENOSPC = 28,     /* out of grant references or ring slots; everything is as it was before the call */
	GIO_EROFS = 30,	     /* the device is read-only */
	GIO_ERANGE = 34,     /* a value does not fit: frame, length, DMA mask */
	GIO_EPROTO = 71,     /* the peer broke the protocol: never caused by the caller */
	GIO_EOVERFLOW = 75,  /* a length or count overflows */
	GIO_EOPNOTSUPP = 95, /* the device did not offer this */
	GIO_ETIMEDOUT = 110  /* the peer has not answered in time */
};

#endif
