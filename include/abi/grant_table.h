/* SPDX-License-Identifier: MIT */
/*
 * Wire layout of a Xen grant table: what a guest shares with the hypervisor to let other domains reach its pages.
 *
 * A table is an array of entries, all of version 1 or all of version 2; a grant reference is an index into it. The
 * first GIO_GRANT_RESERVED entries may have been filled by the toolstack. In version 2 the marks of use stand in an
 * array of their own (the status words), so that the guest may clear an entry without an atomic operation.
 *
 * Writers are named per field: [GST] the guest that owns the table, [XEN] the hypervisor. Other domains write nothing
 * here; they act on it through hypercalls only. Byte order is little-endian, as everywhere in Xen.
 *
 * Source: xen/include/public/grant_table.h. The names carry a prefix so that both headers fit in one source file.
 */
#ifndef GRANTIO_ABI_GRANT_TABLE_H
#define GRANTIO_ABI_GRANT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define GIO_GRANT_RESERVED 8u /* GNTTAB_NR_RESERVED_ENTRIES: console, xenstore and six more */

/* Type, bits 0-1 of `flags` [GST]. */
#define GIO_GTF_INVALID		0u /* grants nothing */
#define GIO_GTF_PERMIT_ACCESS	1u /* `domid` may map and copy the frame */
#define GIO_GTF_ACCEPT_TRANSFER 2u /* `domid` may give a page to the guest */
#define GIO_GTF_TRANSITIVE	3u /* version 2: access through another domain's grant */
#define GIO_GTF_TYPE_MASK	3u

/* Subflags of PERMIT_ACCESS. READING and WRITING stand in `flags` (version 1) or in the status word (version 2). */
#define GIO_GTF_READONLY (1u << 2) /* [GST] no writable mapping, no copy into the frame */
#define GIO_GTF_READING	 (1u << 3) /* [XEN] in use for reading now */
#define GIO_GTF_WRITING	 (1u << 4) /* [XEN] in use for writing now */
#define GIO_GTF_PWT	 (1u << 5) /* [GST] x86 cache attributes of mappings */
#define GIO_GTF_PCD	 (1u << 6)
#define GIO_GTF_PAT	 (1u << 7)
#define GIO_GTF_SUB_PAGE (1u << 8) /* [GST] version 2: a part of the page, for copies only */

#define GIO_GTF_IN_USE (GIO_GTF_READING | GIO_GTF_WRITING)

struct gio_grant_entry_v1 {
	uint16_t flags; /* [GST, XEN] type and subflags; XEN sets and clears READING and WRITING */
	uint16_t domid; /* [GST] who may access */
	uint32_t frame; /* [GST] guest frame number */
};

struct gio_grant_entry_header {
	uint16_t flags; /* [GST] type and subflags; the marks of use are in the status word */
	uint16_t domid; /* [GST] who may access */
};

union gio_grant_entry_v2 {
	struct gio_grant_entry_header hdr;
	struct {
		struct gio_grant_entry_header hdr;
		uint32_t pad0;
		uint64_t frame; /* [GST] guest frame number */
	} full_page;
	struct {
		struct gio_grant_entry_header hdr;
		uint16_t page_off; /* [GST] first byte that may be accessed */
		uint16_t length;   /* [GST] bytes */
		uint64_t frame;	   /* [GST] guest frame number */
	} sub_page;
	struct {
		struct gio_grant_entry_header hdr;
		uint16_t trans_domid; /* [GST] whose grant is passed on */
		uint16_t pad0;
		uint32_t gref; /* [GST] and which */
	} transitive;
	uint32_t spacer[4];
};

/* Version 2: one word per entry, READING and WRITING [XEN]; the guest only reads it. */
typedef uint16_t gio_grant_status_t;

_Static_assert(sizeof(struct gio_grant_entry_v1) == 8, "v1 entry");
_Static_assert(offsetof(struct gio_grant_entry_v1, flags) == 0, "v1 flags");
_Static_assert(offsetof(struct gio_grant_entry_v1, domid) == 2, "v1 domid");
_Static_assert(offsetof(struct gio_grant_entry_v1, frame) == 4, "v1 frame");
_Static_assert(sizeof(union gio_grant_entry_v2) == 16, "v2 entry");
_Static_assert(offsetof(union gio_grant_entry_v2, hdr.domid) == 2, "v2 domid");
_Static_assert(offsetof(union gio_grant_entry_v2, full_page.frame) == 8, "v2 full_page frame");
_Static_assert(offsetof(union gio_grant_entry_v2, sub_page.page_off) == 4, "v2 sub_page offset");
_Static_assert(offsetof(union gio_grant_entry_v2, sub_page.length) == 6, "v2 sub_page length");
_Static_assert(offsetof(union gio_grant_entry_v2, sub_page.frame) == 8, "v2 sub_page frame");
_Static_assert(offsetof(union gio_grant_entry_v2, transitive.trans_domid) == 4, "v2 trans_domid");
_Static_assert(offsetof(union gio_grant_entry_v2, transitive.gref) == 8, "v2 transitive gref");
_Static_assert(sizeof(gio_grant_status_t) == 2, "v2 status word");

/* What a grant-table operation answers, per reference. */
enum {
	GIO_GNTST_OKAY = 0,
	GIO_GNTST_GENERAL_ERROR = -1,
	GIO_GNTST_BAD_DOMAIN = -2,
	GIO_GNTST_BAD_GNTREF = -3,
	GIO_GNTST_BAD_HANDLE = -4,
	GIO_GNTST_BAD_VIRT_ADDR = -5,
	GIO_GNTST_BAD_DEV_ADDR = -6,
	GIO_GNTST_NO_DEVICE_SPACE = -7,
	GIO_GNTST_PERMISSION_DENIED = -8,
	GIO_GNTST_BAD_PAGE = -9,
	GIO_GNTST_BAD_COPY_ARG = -10,
	GIO_GNTST_ADDRESS_TOO_BIG = -11,
	GIO_GNTST_EAGAIN = -12,
	GIO_GNTST_NO_SPACE = -13
};

#endif
