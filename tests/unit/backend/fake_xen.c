/* SPDX-License-Identifier: MIT */
/*
 * libxengnttab and libxenforeignmemory over an array. Symbols as in their headers; semantics as in Xen's grant_table.c,
 * and Linux's gntdev and privcmd.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xenforeignmemory.h>
#include <xengnttab.h>

#include "tests/unit/backend/fake.h"

struct fake_xen fake_xen;

struct xengntdev_handle {
	int unused;
};

static unsigned add(unsigned *counter, unsigned n)
{
	return __atomic_fetch_add(counter, n, __ATOMIC_SEQ_CST);
}

/* True when this is the call that is to fail. */
static bool strikes(unsigned *countdown)
{
	unsigned n = __atomic_load_n(countdown, __ATOMIC_SEQ_CST);

	while (n > 0)
		if (__atomic_compare_exchange_n(countdown, &n, n - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return n == 1;
	return false;
}

void fake_xen_reset(void)
{
	if (fake_xen.ram) {
		munmap(fake_xen.ram, (size_t)FAKE_PAGES * FAKE_PAGE);
		close(fake_xen.ram_fd);
	}
	memset(&fake_xen, 0, sizeof(fake_xen));
	fake_xen.ram_fd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fake_xen.ram_fd, (off_t)FAKE_PAGES * FAKE_PAGE), 0);
	fake_xen.ram =
		mmap(NULL, (size_t)FAKE_PAGES * FAKE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fake_xen.ram_fd, 0);
	assert_true(fake_xen.ram != MAP_FAILED);
	memset(fake_xen.grants, FAKE_WRITABLE, sizeof(fake_xen.grants));
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned flags)
{
	(void)flags;
	assert_non_null(logger); /* the library's own would let a guest fill the log */
	if (strikes(&fake_xen.fail_open)) {
		if (!fake_xen.no_errno)
			errno = ENOENT;
		return NULL;
	}
	add(&fake_xen.handles, 1);
	return malloc(sizeof(xengnttab_handle)); /* not calloc: tests make that fail */
}

int xengnttab_close(xengnttab_handle *handle)
{
	add(&fake_xen.handles, -1u);
	free(handle);
	return 0;
}

static int16_t access_check(uint32_t ref, uint16_t domid, bool write)
{
	if (domid != FAKE_DOMID)
		return GNTST_bad_domain;
	if (ref < FAKE_GREF_BASE || ref - FAKE_GREF_BASE >= FAKE_PAGES)
		return GNTST_bad_gntref;
	if (fake_xen.grants[ref - FAKE_GREF_BASE] == FAKE_NONE)
		return GNTST_bad_gntref;
	if (write && fake_xen.grants[ref - FAKE_GREF_BASE] == FAKE_READONLY)
		return GNTST_general_error;
	return GNTST_okay;
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *handle, uint32_t count, uint32_t domid, uint32_t *refs,
				      int prot)
{
	(void)handle;
	add(&fake_xen.maps, 1);
	if (strikes(&fake_xen.fail_map)) {
		errno = fake_xen.fail_errno;
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++) {
		errno = EINVAL; /* as gntdev's mmap says when a grant is refused */
		if (access_check(refs[i], (uint16_t)domid, prot & PROT_WRITE) != GNTST_okay)
			return NULL;
		assert_int_equal(refs[i], refs[0] + i);
	}
	add(&fake_xen.mapped, count);
	add(prot & PROT_WRITE ? &fake_xen.writable : &fake_xen.readable, count);
	return fake_page(refs[0] - FAKE_GREF_BASE);
}

int xengnttab_unmap(xengnttab_handle *handle, void *start, uint32_t count)
{
	(void)handle, (void)start;
	add(&fake_xen.unmaps, 1);
	add(&fake_xen.mapped, -count);
	return 0;
}

/* Operations as gntdev makes them: one for each local page of a segment. */
static unsigned segment_operations(const void *local, uint16_t length)
{
	return (unsigned)(((uintptr_t)local % FAKE_PAGE + length + FAKE_PAGE - 1) / FAKE_PAGE);
}

static void segment_copy(xengnttab_grant_copy_segment_t *seg)
{
	bool fetch = seg->flags == GNTCOPY_source_gref;
	void *local = fetch ? seg->dest.virt : seg->source.virt;
	const uint32_t ref = fetch ? seg->source.foreign.ref : seg->dest.foreign.ref;
	uint16_t offset = fetch ? seg->source.foreign.offset : seg->dest.foreign.offset;

	add(&fake_xen.operations, segment_operations(local, seg->len));
	if (fake_xen.eagain_always || strikes(&fake_xen.eagain))
		seg->status = GNTST_eagain;
	else
		seg->status = access_check(ref, fetch ? seg->source.foreign.domid : seg->dest.foreign.domid, !fetch);
	if (seg->status != GNTST_okay) {
		add(&fake_xen.refused, 1);
		return;
	}
	if (fetch)
		memcpy(local, fake_page(ref - FAKE_GREF_BASE) + offset, seg->len);
	else
		memcpy(fake_page(ref - FAKE_GREF_BASE) + offset, local, seg->len);
}

int xengnttab_grant_copy(xengnttab_handle *handle, uint32_t count, xengnttab_grant_copy_segment_t *segs)
{
	(void)handle;
	add(&fake_xen.copies, 1);
	add(&fake_xen.segments, count);
	if (strikes(&fake_xen.fail_copy)) {
		errno = ENOMEM;
		return -1;
	}
	for (uint32_t i = 0; i < count; i++) {
		const union xengnttab_copy_ptr *remote =
			segs[i].flags == GNTCOPY_source_gref ? &segs[i].source : &segs[i].dest;

		if (remote->foreign.offset + segs[i].len > FAKE_PAGE) {
			add(&fake_xen.crossings, 1);
			errno = EINVAL;
			return -1;
		}
		segment_copy(&segs[i]);
	}
	return 0;
}

/* ---- frames ---- */

struct xenforeignmemory_handle {
	uint32_t only; /* 0: any domain */
};

xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *logger, unsigned flags)
{
	xenforeignmemory_handle *handle;

	(void)flags;
	assert_non_null(logger);
	if (strikes(&fake_xen.fail_open)) {
		if (!fake_xen.no_errno)
			errno = ENOENT;
		return NULL;
	}
	add(&fake_xen.handles, 1);
	handle = malloc(sizeof(*handle));
	handle->only = 0;
	return handle;
}

int xenforeignmemory_close(xenforeignmemory_handle *handle)
{
	assert_int_equal(handle->only, FAKE_DOMID); /* nobody works with a handle that may do more */
	add(&fake_xen.handles, -1u);
	free(handle);
	return 0;
}

int xenforeignmemory_restrict(xenforeignmemory_handle *handle, domid_t domid)
{
	handle->only = domid;
	return 0;
}

/* Place a frame, or leave a hole that nobody may touch. */
static int frame_place(char *at, uint64_t frame, int prot)
{
	uint64_t page = frame - FAKE_FRAME_BASE;

	if (frame < FAKE_FRAME_BASE || page >= FAKE_PAGES || fake_xen.grants[page] == FAKE_NONE)
		return -EINVAL;
	if (fake_xen.grants[page] == FAKE_READONLY && prot & PROT_WRITE)
		return -EPERM;
	assert_ptr_equal(mmap(at, FAKE_PAGE, prot, MAP_SHARED | MAP_FIXED, fake_xen.ram_fd, (off_t)(page * FAKE_PAGE)),
			 at);
	return 0;
}

static void most_note(void)
{
	unsigned now = __atomic_load_n(&fake_xen.mapped, __ATOMIC_SEQ_CST), most = fake_xen.most_mapped;

	while (now > most && !__atomic_compare_exchange_n(&fake_xen.most_mapped, &most, now, false, __ATOMIC_SEQ_CST,
							  __ATOMIC_SEQ_CST))
		;
}

void *xenforeignmemory_map(xenforeignmemory_handle *handle, uint32_t domid, int prot, size_t pages,
			   const xen_pfn_t frames[], int errors[])
{
	char *base;
	int err = 0;

	assert_int_equal(handle->only, domid);
	add(&fake_xen.foreign_maps, 1);
	if (strikes(&fake_xen.fail_map)) {
		errno = fake_xen.fail_errno;
		return NULL;
	}
	base = mmap(NULL, pages * FAKE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(base != MAP_FAILED);
	for (size_t i = 0; i < pages; i++) {
		int status = frame_place(base + i * FAKE_PAGE, frames[i], prot);

		if (errors)
			errors[i] = status;
		else if (status)
			err = status;
	}
	if (err) {
		munmap(base, pages * FAKE_PAGE);
		errno = -err;
		return NULL;
	}
	add(&fake_xen.mapped, (unsigned)pages);
	most_note();
	return base;
}

int xenforeignmemory_unmap(xenforeignmemory_handle *handle, void *base, size_t pages)
{
	(void)handle;
	add(&fake_xen.mapped, -(unsigned)pages);
	return munmap(base, pages * FAKE_PAGE);
}
