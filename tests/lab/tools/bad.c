/* SPDX-License-Identifier: MIT */
/*
 * grantiod-bad: grantiod, but a bad one. It is linked with the same objects, and the linker puts these functions before
 * some of them (--wrap). For the lab only.
 *
 * What it offers is told by GRANTIO_BAD, "DEVICE=WHAT,...": DEVICE as in the log (xvdb), WHAT one of
 *   no-access-platform, no-version-1   the feature is not offered
 *   legacy                             virtio-mmio of version 1, whose rings have guest addresses
 * and each address of a ring that is no grant is told in the log, as is a driver that comes up in spite of it all.
 *   no-messages                        nothing but registers
 *   ring-flags                         before each completion all descriptors of the ring get NEXT, or lose it, and the
 *                                      available ring is written; the log says once what Xen said to it
 * With any of these all devices have registers alone: what is told below is asked there, and a guest
 * that has messages does not look at registers.
 *
 * What it keeps, of devices that have registers alone as well, is told by lines in the FIFO named by GRANTIO_BAD_FIFO,
 * answered in the log:
 * - keep DOMID: from now on map what each request of this guest names, before it is completed, and do not unmap it;
 *   KEEP_STEP pages at the most.
 * - sums: keep no more, and note what is in those pages. "bad: holds N pages, M show more than was mapped": they had
 *   anything but zeroes beside what the request named, when it was served.
 * - check: "bad: kept N pages, C have changed".
 * - drop: unmap all.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <abi/dma_addr.h>
#include <abi/virtio.h>
#include <abi/virtio_mmio.h>
#include <abi/virtio_ring.h>
#include <xengnttab.h>

#include "backend/mmio/mmio.h"
#include "backend/msg/msg.h"
#include "backend/virtio/ring.h"
#include "backend/virtio/vdev_priv.h"

#define KEEP_STEP 150u /* by each "keep" */
#define KEEP_MAX  (4 * KEEP_STEP)
#define PAGE	  4096u
#define PFN_REG	  0x040u /* virtio 1.2, 4.2.4: QueuePFN of the legacy interface */

int __real_xengnttab_grant_copy(xengnttab_handle *gnttab, uint32_t count, xengnttab_grant_copy_segment_t *segments);
int __wrap_xengnttab_grant_copy(xengnttab_handle *gnttab, uint32_t count, xengnttab_grant_copy_segment_t *segments);
uint64_t __real_gd_mmio_read(struct gd_mmio *mmio, uint64_t offset, unsigned size);
uint64_t __wrap_gd_mmio_read(struct gd_mmio *mmio, uint64_t offset, unsigned size);
void __real_gd_mmio_write(struct gd_mmio *mmio, uint64_t offset, unsigned size, uint64_t value);
void __wrap_gd_mmio_write(struct gd_mmio *mmio, uint64_t offset, unsigned size, uint64_t value);
int __real_gd_msg_open(struct gd_msg **msg, const struct gd_msg_config *config);
int __wrap_gd_msg_open(struct gd_msg **msg, const struct gd_msg_config *config);
int __real_gd_ring_open(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout,
			uint32_t size_max);
int __wrap_gd_ring_open(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout,
			uint32_t size_max);
bool __real_gd_ring_publish(struct gd_ring *ring);
bool __wrap_gd_ring_publish(struct gd_ring *ring);

/* ---- what it offers -----------------------------------------------------------------------------------------------
 */

static bool offer_is(const struct gd_vdev *vdev, const char *what)
{
	const char *device = strchr(vdev->class->config.log->name, '/'), *offers = getenv("GRANTIO_BAD");
	char text[64];

	if (!device || !offers)
		return false;
	snprintf(text, sizeof(text), "%s=%s", device + 1, what);
	return strstr(offers, text);
}

static bool offer_bad(const struct gd_vdev *vdev)
{
	return offer_is(vdev, "no-") || offer_is(vdev, "legacy");
}

/* A device without messages has none, which is no error. */
int __wrap_gd_msg_open(struct gd_msg **msg, const struct gd_msg_config *config)
{
	if (getenv("GRANTIO_BAD_FIFO") || getenv("GRANTIO_BAD"))
		return 0;
	return __real_gd_msg_open(msg, config);
}

uint64_t __wrap_gd_mmio_read(struct gd_mmio *mmio, uint64_t offset, unsigned size)
{
	uint64_t value = __real_gd_mmio_read(mmio, offset, size);
	const struct gd_vdev *vdev = mmio->transport.vdev;

	if (offset == GIO_VIRTIO_MMIO_VERSION && offer_is(vdev, "legacy"))
		return 1;
	if (offset != GIO_VIRTIO_MMIO_DEVICE_FEATURES || mmio->device_features_sel != 1)
		return value;
	if (offer_is(vdev, "no-access-platform"))
		value &= ~(GIO_VIRTIO_F_ACCESS_PLATFORM >> 32);
	if (offer_is(vdev, "no-version-1") || offer_is(vdev, "legacy"))
		value &= ~(GIO_VIRTIO_F_VERSION_1 >> 32);
	return value;
}

void __wrap_gd_mmio_write(struct gd_mmio *mmio, uint64_t offset, unsigned size, uint64_t value)
{
	const struct gd_vdev *vdev = mmio->transport.vdev;
	bool high = offset == GIO_VIRTIO_MMIO_QUEUE_DESC_HIGH || offset == GIO_VIRTIO_MMIO_QUEUE_DRIVER_HIGH ||
		    offset == GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH;

	if (offset == PFN_REG || (high && value && !(value >> 31)))
		fprintf(stderr, "bad: %s: a ring at a guest address: 0x%" PRIx64 " at register 0x%" PRIx64 "\n",
			vdev->class->config.log->name, value, offset);
	if (offset == GIO_VIRTIO_MMIO_STATUS && value & GIO_VIRTIO_STATUS_DRIVER_OK)
		fprintf(stderr, "bad: %s: a driver came up%s\n", vdev->class->config.log->name,
			offer_bad(vdev) ? " all the same" : "");
	__real_gd_mmio_write(mmio, offset, size, value);
}

/* ---- what it writes -----------------------------------------------------------------------------------------------
 */

#define RINGS	   8u
#define RING_DESCS 256u /* of a ring: so many of them */

/* Of one ring, whose queue's thread alone uses it. */
struct ring {
	struct gd_ring *of;
	gio_dma_t desc, avail;
	uint32_t size;
	unsigned rounds;
};
static struct ring rings[RINGS];

/* How the last request's data went, which tells whose rings there are: the scenario has one guest. */
static struct {
	xengnttab_handle *gnttab;
	uint16_t domid;
} way;

int __wrap_gd_ring_open(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout,
			uint32_t size_max)
{
	int err = __real_gd_ring_open(ring, mem, layout, size_max);
	const char *offers = getenv("GRANTIO_BAD");
	unsigned i = 0;

	if (err || !offers || !strstr(offers, "=ring-flags"))
		return err;
	while (i < RINGS - 1 && rings[i].of && rings[i].of != ring)
		i++;
	rings[i] = (struct ring){ring, layout->desc, layout->driver, layout->size, 0};
	return 0;
}

static void ring_write_add(xengnttab_grant_copy_segment_t *segment, gio_dma_t addr, uint16_t *value)
{
	*segment = (xengnttab_grant_copy_segment_t){.flags = GNTCOPY_dest_gref, .len = sizeof(*value)};
	segment->source.virt = value;
	segment->dest.foreign.ref = gio_dma_addr_gref(addr);
	segment->dest.foreign.offset = gio_dma_addr_offset(addr);
	segment->dest.foreign.domid = way.domid;
}

/* By grant copy: each status is what Xen says to it. The last segment is the available ring's. */
static void ring_spoil(struct ring *ring)
{
	uint16_t flags = ring->rounds % 2 ? GIO_VIRTQ_DESC_F_NEXT : 0, quiet = GIO_VIRTQ_AVAIL_F_NO_INTERRUPT;
	xengnttab_grant_copy_segment_t segments[RING_DESCS + 1];
	uint32_t count = ring->size < RING_DESCS ? ring->size : RING_DESCS, refused = 0;

	for (uint32_t i = 0; i < count; i++)
		ring_write_add(&segments[i], ring->desc + i * sizeof(struct gio_virtq_desc) + 12, &flags);
	ring_write_add(&segments[count], ring->avail, &quiet);
	if (__real_xengnttab_grant_copy(way.gnttab, count + 1, segments))
		return;
	for (uint32_t i = 0; i < count; i++)
		refused += segments[i].status != GNTST_okay;
	if (!ring->rounds++)
		fprintf(stderr, "bad: d%u: %u of %u descriptors are refused, the available ring is %s\n", way.domid,
			refused, count, segments[count].status != GNTST_okay ? "refused" : "written");
}

bool __wrap_gd_ring_publish(struct gd_ring *ring)
{
	for (unsigned i = 0; i < RINGS; i++)
		if (rings[i].of == ring && way.gnttab && ring->next_used != ring->published)
			ring_spoil(&rings[i]);
	return __real_gd_ring_publish(ring);
}

/* ---- what it keeps ------------------------------------------------------------------------------------------------
 */

static struct {
	pthread_mutex_t lock;
	xengnttab_handle *gnttab;
	bool on;
	uint16_t domid;
	unsigned count, limit, beside;
	struct {
		uint32_t ref;
		uint8_t *page;
		uint64_t sum;
	} held[KEEP_MAX];
} keep = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool held(uint32_t ref)
{
	for (unsigned i = 0; i < keep.count; i++)
		if (keep.held[i].ref == ref)
			return true;
	return false;
}

/* Whether a page has anything but zeroes before `start` or from `end` on. */
static bool page_has_beside(const uint8_t *page, unsigned start, unsigned end)
{
	for (unsigned i = 0; i < PAGE; i++)
		if ((i < start || i >= end) && page[i])
			return true;
	return false;
}

static void keep_segment(const xengnttab_grant_copy_segment_t *segment)
{
	bool from = segment->flags & GNTCOPY_source_gref;
	uint32_t ref = from ? segment->source.foreign.ref : segment->dest.foreign.ref;
	uint16_t domid = from ? segment->source.foreign.domid : segment->dest.foreign.domid;
	uint16_t offset = from ? segment->source.foreign.offset : segment->dest.foreign.offset;
	void *page;

	if (segment->status != GNTST_okay || domid != keep.domid || keep.count == keep.limit || held(ref))
		return;
	page = xengnttab_map_grant_ref(keep.gnttab, domid, ref, from ? PROT_READ : PROT_READ | PROT_WRITE);
	if (!page)
		return;
	keep.beside += page_has_beside(page, offset, offset + segment->len);
	keep.held[keep.count].ref = ref;
	keep.held[keep.count++].page = page;
}

int __wrap_xengnttab_grant_copy(xengnttab_handle *gnttab, uint32_t count, xengnttab_grant_copy_segment_t *segments)
{
	int ret;

	pthread_mutex_lock(&keep.lock);
	ret = __real_xengnttab_grant_copy(gnttab, count, segments);
	if (count) {
		way.gnttab = gnttab;
		way.domid = segments->flags & GNTCOPY_source_gref ? segments->source.foreign.domid
								  : segments->dest.foreign.domid;
	}
	for (uint32_t i = 0; i < count && keep.on && !ret; i++)
		keep_segment(&segments[i]);
	pthread_mutex_unlock(&keep.lock);
	return ret;
}

static uint64_t page_sum(const uint8_t *page)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (unsigned i = 0; i < PAGE; i++)
		sum = (sum ^ page[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static void command_keep(unsigned domid)
{
	keep.on = true;
	keep.domid = (uint16_t)domid;
	keep.limit = keep.count + KEEP_STEP < KEEP_MAX ? keep.count + KEEP_STEP : KEEP_MAX;
	fprintf(stderr, "bad: keeps what d%u grants\n", domid);
}

static void command_sums(void)
{
	keep.on = false;
	for (unsigned i = 0; i < keep.count; i++)
		keep.held[i].sum = page_sum(keep.held[i].page);
	fprintf(stderr, "bad: holds %u pages, %u show more than was mapped\n", keep.count, keep.beside);
}

static void command_check(void)
{
	unsigned changed = 0;

	for (unsigned i = 0; i < keep.count; i++)
		changed += keep.held[i].sum != page_sum(keep.held[i].page);
	fprintf(stderr, "bad: kept %u pages, %u have changed\n", keep.count, changed);
}

static void command_drop(void)
{
	keep.on = false;
	while (keep.count)
		xengnttab_unmap(keep.gnttab, keep.held[--keep.count].page, 1);
	fprintf(stderr, "bad: dropped all\n");
}

static void command(const char *line)
{
	unsigned domid;

	pthread_mutex_lock(&keep.lock);
	if (sscanf(line, "keep %u", &domid) == 1)
		command_keep(domid);
	else if (!strcmp(line, "sums\n"))
		command_sums();
	else if (!strcmp(line, "check\n"))
		command_check();
	else if (!strcmp(line, "drop\n"))
		command_drop();
	pthread_mutex_unlock(&keep.lock);
}

static void *commands_run(void *fifo)
{
	char line[64];

	while (fgets(line, sizeof(line), fifo))
		command(line);
	fprintf(stderr, "bad: cannot read its FIFO\n");
	return NULL;
}

/* Before main(), which blocks signals for all threads that it makes. */
__attribute__((constructor)) static void commands_start(void)
{
	char *path = getenv("GRANTIO_BAD_FIFO");
	sigset_t all, before;
	pthread_t thread;
	FILE *fifo;

	if (!path)
		return;
	keep.gnttab = xengnttab_open(NULL, 0);
	fifo = fopen(path, "r+"); /* a writer, too: it never ends */
	if (!keep.gnttab || !fifo) {
		fprintf(stderr, "bad: cannot open %s\n", fifo ? "gnttab" : path);
		_exit(2);
	}
	__fsetlocking(fifo, FSETLOCKING_BYCALLER); /* or exit() would wait for the thread that reads it */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, commands_run, fifo))
		fprintf(stderr, "bad: no thread\n");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
