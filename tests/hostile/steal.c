/* SPDX-License-Identifier: MIT */
/*
 * A backend that takes what it was not given. It knows nothing of grantio: only the libxen* interface, as any program
 * in a driver domain has it. Prints what became of the attempt: one line.
 *
 *   steal read  DOMID REF    copy from the page that REF grants
 *   steal write DOMID REF    copy to it
 *   steal map   DOMID REF    map it for writing
 *   steal frame DOMID GFN    map the guest's frame as a device model would, without any grant
 *   steal scan  DOMID N      copy from references 0 to N - 1, and say how many it got
 *
 * Exit status: 0 it got it, 1 it was refused, 2 usage or no Xen.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenforeignmemory.h>
#include <xengnttab.h>

#define PAGE 4096
#define SCAN 256 /* operations a call */

/* Xen's public/grant_table.h, GNTST_* */
static const char *status_name(int status)
{
	static const char *const names[] = {"GNTST_okay",	  "GNTST_general_error",   "GNTST_bad_domain",
					    "GNTST_bad_gntref",	  "GNTST_bad_handle",	   "GNTST_bad_virt_addr",
					    "GNTST_bad_dev_addr", "GNTST_no_device_space", "GNTST_permission_denied",
					    "GNTST_bad_page",	  "GNTST_bad_copy_arg",	   "GNTST_address_too_big",
					    "GNTST_eagain"};

	return -status >= 0 && -status < (int)(sizeof(names) / sizeof(*names)) ? names[-status] : "GNTST_unknown";
}

static int refused_status(int status)
{
	printf("refused: %s (%d)\n", status_name(status), status);
	return 1;
}

static int refused_errno(void)
{
	printf("refused: %s\n", strerror(errno));
	return 1;
}

/* A page of ours, whole, so that a copy never crosses one. */
static char *page_alloc(void)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

static xengnttab_grant_copy_segment_t segment(bool write, uint16_t domid, uint32_t ref, void *local)
{
	xengnttab_grant_copy_segment_t seg = {.len = PAGE};

	if (write) {
		seg.source.virt = local;
		seg.dest.foreign.ref = ref;
		seg.dest.foreign.domid = domid;
		seg.flags = GNTCOPY_dest_gref;
	} else {
		seg.source.foreign.ref = ref;
		seg.source.foreign.domid = domid;
		seg.dest.virt = local;
		seg.flags = GNTCOPY_source_gref;
	}
	return seg;
}

static int copy(xengnttab_handle *gnttab, bool write, uint16_t domid, uint32_t ref)
{
	char *page = page_alloc();
	xengnttab_grant_copy_segment_t seg = segment(write, domid, ref, page);

	if (!page)
		return 2;
	strcpy(page, "stolen");
	if (xengnttab_grant_copy(gnttab, 1, &seg))
		return refused_errno();
	if (seg.status != GNTST_okay)
		return refused_status(seg.status);
	if (write)
		printf("written\n");
	else
		printf("read: \"%.40s\"\n", page);
	return 0;
}

static int map(xengnttab_handle *gnttab, uint16_t domid, uint32_t ref)
{
	void *page = xengnttab_map_grant_ref(gnttab, domid, ref, PROT_READ | PROT_WRITE);

	if (!page)
		return refused_errno();
	printf("mapped\n");
	xengnttab_unmap(gnttab, page, 1);
	return 0;
}

static int frame(uint16_t domid, uint64_t gfn)
{
	xenforeignmemory_handle *foreign = xenforeignmemory_open(NULL, 0);
	xen_pfn_t pfn = gfn;
	int status = 0;
	void *page = foreign ? xenforeignmemory_map(foreign, domid, PROT_READ, 1, &pfn, &status) : NULL;

	if (!page || status) {
		errno = page ? -status : errno;
		return refused_errno();
	}
	printf("mapped: \"%.40s\"\n", (const char *)page);
	return 0;
}

static int scan(xengnttab_handle *gnttab, uint16_t domid, uint32_t count)
{
	xengnttab_grant_copy_segment_t segs[SCAN];
	char *page = page_alloc();
	unsigned got = 0;

	if (!page)
		return 2;
	for (uint32_t ref = 0; ref < count; ref += SCAN) {
		for (uint32_t i = 0; i < SCAN; i++)
			segs[i] = segment(false, domid, ref + i, page);
		if (xengnttab_grant_copy(gnttab, SCAN, segs))
			return refused_errno();
		for (uint32_t i = 0; i < SCAN && ref + i < count; i++)
			got += segs[i].status == GNTST_okay;
	}
	printf("%u of %u references readable\n", got, count);
	return got ? 0 : 1;
}

int main(int argc, char **argv)
{
	xengnttab_handle *gnttab;
	uint16_t domid;
	uint64_t what;

	if (argc != 4) {
		fprintf(stderr, "usage: steal read|write|map|frame|scan DOMID REF|GFN|N\n");
		return 2;
	}
	gnttab = xengnttab_open(NULL, 0);
	if (!gnttab) {
		fprintf(stderr, "steal: no grants here: %s\n", strerror(errno));
		return 2;
	}
	domid = (uint16_t)atoi(argv[2]);
	what = strtoull(argv[3], NULL, 0);
	if (!strcmp(argv[1], "read") || !strcmp(argv[1], "write"))
		return copy(gnttab, argv[1][0] == 'w', domid, (uint32_t)what);
	if (!strcmp(argv[1], "map"))
		return map(gnttab, domid, (uint32_t)what);
	if (!strcmp(argv[1], "frame"))
		return frame(domid, what);
	if (!strcmp(argv[1], "scan"))
		return scan(gnttab, domid, (uint32_t)what);
	fprintf(stderr, "steal: '%s': must be read, write, map, frame or scan\n", argv[1]);
	return 2;
}
