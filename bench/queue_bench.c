/* SPDX-License-Identifier: MIT */
/*
 * What a request costs grantiod's queue thread, without a transport, without Xen and without another process: its
 * processor time, for a file of this machine, at a depth, with a pool or with grant copies.
 *
 * Usage: queue_bench FILE DEPTH (grant|pv|pvh) (read|write) (cached|direct) REQUESTS
 *
 * grant: all is copied by grants. pv, pvh: all lies in a pool, which in a PV domain only memcpy touches. It writes to
 * FILE at random places. Compare the ways in turn, by the least of several runs each: other programs add to all of
 * them.
 *
 * libxengnttab is played by memory: a copy is a memcpy and a system call, which is about what a hypercall costs at the
 * least. The guest is this program's main thread, whose own time is not counted.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <xengnttab.h>

#include <abi/dma_addr.h>
#include <abi/virtio.h>
#include <abi/virtio_blk.h>
#include <abi/virtio_ring.h>

#include "backend/blk/blk.h"
#include "backend/disk/disk.h"
#include "backend/guestmem/pool.h"
#include "backend/mmio/mmio.h"
#include "backend/virtio/vdev.h"

#define PAGE   4096u
#define FIRST  100u /* reference of the first page */
#define RING   256u
#define DEPTHS 128u
/* Pages: three for the rings, then the headers, the status bytes, and the data. */
enum { DESC, AVAIL, USED, HEADERS, STATUS = 8, DATA = 16, PAGES = DATA + DEPTHS };

static uint8_t *ram;
static struct gd_mmio mmio;
static struct gd_vdev *vdev;
static int interrupt_fd;
static struct gio_virtq_desc *desc;
static struct gio_virtq_avail *avail;
static struct gio_virtq_used *used;

/* ---- Xen -------------------------------------------------------------------------------------------------------- */

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned flags)
{
	(void)logger, (void)flags;
	return malloc(1);
}

int xengnttab_close(xengnttab_handle *handle)
{
	free(handle);
	return 0;
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *handle, uint32_t count, uint32_t domid, uint32_t *refs,
				      int prot)
{
	(void)handle, (void)count, (void)domid, (void)prot;
	return ram + (size_t)(refs[0] - FIRST) * PAGE;
}

int xengnttab_unmap(xengnttab_handle *handle, void *start, uint32_t count)
{
	(void)handle, (void)start, (void)count;
	return 0;
}

int xengnttab_grant_copy(xengnttab_handle *handle, uint32_t count, xengnttab_grant_copy_segment_t *segments)
{
	(void)handle;
	syscall(SYS_getppid);
	for (uint32_t i = 0; i < count; i++) {
		bool fetch = segments[i].flags == GNTCOPY_source_gref;
		union xengnttab_copy_ptr *far = fetch ? &segments[i].source : &segments[i].dest;
		uint8_t *there = ram + (size_t)(far->foreign.ref - FIRST) * PAGE + far->foreign.offset;

		if (fetch)
			memcpy(segments[i].dest.virt, there, segments[i].len);
		else
			memcpy(there, segments[i].source.virt, segments[i].len);
		segments[i].status = GNTST_okay;
	}
	return 0;
}

/* ---- the guest -------------------------------------------------------------------------------------------------- */

static uint64_t at(unsigned page, unsigned offset)
{
	return gio_dma_addr(FIRST + page, offset);
}

static void interrupt(void *opaque)
{
	uint64_t one = 1;

	(void)opaque;
	if (write(interrupt_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void die(const char *what, int err)
{
	fprintf(stderr, "queue_bench: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void device_open(const char *path, bool direct, const struct gd_pool *pool)
{
	static struct gd_log log = {.name = "bench"};
	struct gd_disk_config file = {.target = path, .raw = true, .direct = direct};
	struct gd_device_config config = {
		.domid = 1, .way = &gd_way_grants, .log = &log, .queues = 1, .queue_size = RING};
	struct gd_vdev_config core = {.transport = &mmio.transport};
	struct gd_blk_config blk = {.writeback = true};
	char error[256];
	int err;

	err = gd_disk_open(&blk.disk, &file, &log, error, sizeof(error));
	if (!err)
		err = gd_blk_open(&core.class, &config, &blk, error, sizeof(error));
	gd_mmio_init(&mmio, interrupt, NULL);
	if (!err)
		err = gd_vdev_open(&vdev, &core, error, sizeof(error));
	if (err)
		die(error, err);
	gd_vdev_use_pool(vdev, pool);
}

static void driver_start(void)
{
	struct gd_vdev_layout layout = {
		.size = RING, .desc = at(DESC, 0), .driver = at(AVAIL, 0), .device = at(USED, 0)};

	desc = (void *)(ram + DESC * PAGE);
	avail = (void *)(ram + AVAIL * PAGE);
	used = (void *)(ram + USED * PAGE);
	gd_vdev_features_choose(vdev, gd_vdev_offered(vdev));
	gd_vdev_status_write(vdev, 3);
	gd_vdev_status_write(vdev, 11);
	gd_vdev_queue_lay_out(vdev, 0, &layout);
	gd_vdev_queue_start(vdev, 0);
	gd_vdev_status_write(vdev, 15);
	gd_vdev_commit(vdev);
	if (!gd_vdev_queue_ready(vdev, 0))
		die("the queue", -EIO);
}

static unsigned depth, size_sectors;
static bool writing;
static uint16_t avail_index, used_index;

/* Three descriptors for each request that is in flight, in places that do not change. */
static void request_place(unsigned slot)
{
	uint16_t head = (uint16_t)(3 * slot);
	uint16_t data = writing ? 0 : GIO_VIRTQ_DESC_F_WRITE;

	desc[head] = (struct gio_virtq_desc){at(HEADERS, 16 * slot), 16, GIO_VIRTQ_DESC_F_NEXT, (uint16_t)(head + 1)};
	desc[head + 1] =
		(struct gio_virtq_desc){at(DATA + slot, 0), PAGE, data | GIO_VIRTQ_DESC_F_NEXT, (uint16_t)(head + 2)};
	desc[head + 2] = (struct gio_virtq_desc){at(STATUS, slot), 1, GIO_VIRTQ_DESC_F_WRITE, 0};
}

static void request_submit(uint16_t head)
{
	static uint64_t random = 1;
	struct gio_virtio_blk_outhdr *header = (void *)(ram + HEADERS * PAGE + 16 * (head / 3u));

	random = random * 6364136223846793005u + 1442695040888963407u;
	header->type = writing ? GIO_VIRTIO_BLK_T_OUT : GIO_VIRTIO_BLK_T_IN;
	header->sector = (random >> 33) % (size_sectors / 8) * 8;
	ram[STATUS * PAGE + head / 3u] = 0xff;
	avail->ring[avail_index++ & (RING - 1)] = head;
}

static void publish(uint16_t before)
{
	/* Release: entries before the index. The full barrier orders it before the load of avail_event (2.7.13.4.1). */
	__atomic_store_n(&avail->idx, avail_index, __ATOMIC_RELEASE);
	__sync_synchronize();
	if (gio_virtq_need_event(*(uint16_t *)((char *)used + gio_virtq_avail_event_offset(RING)), avail_index, before))
		gd_vdev_kick(vdev, 0);
}

static unsigned interrupts;

/* Ask for an interrupt at the next entry, and wait for it unless there is one. */
static void used_wait(void)
{
	struct pollfd wait = {.fd = interrupt_fd, .events = POLLIN};
	uint64_t count;

	__atomic_store_n((uint16_t *)((char *)avail + gio_virtq_used_event_offset(RING)), used_index, __ATOMIC_SEQ_CST);
	__sync_synchronize();
	while (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == used_index) {
		if (poll(&wait, 1, 10000) <= 0 || read(interrupt_fd, &count, sizeof(count)) != sizeof(count))
			die("no interrupt", -ETIMEDOUT);
		interrupts++;
	}
}

static void load(uint64_t requests)
{
	uint64_t submitted = 0, done = 0;

	for (; submitted < depth; submitted++)
		request_submit((uint16_t)(3 * submitted));
	publish(0);
	while (done < requests) {
		uint16_t before = avail_index;

		used_wait();
		while (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != used_index) {
			uint16_t head = (uint16_t)used->ring[used_index++ & (RING - 1)].id;

			if (ram[STATUS * PAGE + head / 3u])
				die("a request failed", -EIO);
			done++;
			if (submitted < requests) {
				request_submit(head);
				submitted++;
			}
		}
		if (avail_index != before)
			publish(before);
	}
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

static double clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void measure(uint64_t requests)
{
	double all = clock_us(CLOCK_PROCESS_CPUTIME_ID), own = clock_us(CLOCK_THREAD_CPUTIME_ID);
	double wall = clock_us(CLOCK_MONOTONIC);
	struct gd_vdev_stats before, now;

	gd_vdev_stats(vdev, &before);
	load(requests);
	all = clock_us(CLOCK_PROCESS_CPUTIME_ID) - all;
	own = clock_us(CLOCK_THREAD_CPUTIME_ID) - own;
	wall = clock_us(CLOCK_MONOTONIC) - wall;
	gd_vdev_stats(vdev, &now);
	printf("%.3f us of the queue's thread, %.3f us of time, %.2f system calls, %.2f copy calls, %.2f interrupts\n",
	       (all - own) / (double)requests, wall / (double)requests,
	       (double)(now.syscalls - before.syscalls) / (double)requests,
	       (double)(now.copy_calls - before.copy_calls) / (double)requests, interrupts / (double)requests);
}

int main(int argc, char **argv)
{
	static const struct gd_pool_run runs[] = {{FIRST, STATUS, false}, {FIRST + STATUS, PAGES - STATUS, true}};
	struct gd_pool_config config = {.domid = 1, .runs = runs, .count = 2, .pages_most = PAGES};
	struct gd_pool *pool = NULL;
	uint64_t requests;
	uint8_t capacity[8];

	if (argc != 7)
		return fprintf(stderr, "Usage: queue_bench FILE DEPTH (grant|pv|pvh) (read|write) (cached|direct) "
				       "REQUESTS\n"),
		       2;
	depth = (unsigned)atoi(argv[2]);
	writing = !strcmp(argv[4], "write");
	requests = strtoull(argv[6], NULL, 10);
	if (depth < 1 || 3 * depth > RING || requests < depth)
		return fprintf(stderr, "queue_bench: DEPTH or REQUESTS is not possible\n"), 2;
	ram = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	interrupt_fd = eventfd(0, EFD_CLOEXEC);
	setenv("GRANTIO_GUEST_TYPE", !strcmp(argv[3], "pvh") ? "PVH" : "PV", 1);
	if (strcmp(argv[3], "grant") != 0 && gd_pool_map(&pool, &config))
		return 1;
	device_open(argv[1], !strcmp(argv[5], "direct"), pool);
	gd_vdev_config_read(vdev, 0, capacity, sizeof(capacity));
	memcpy(&size_sectors, capacity, sizeof(size_sectors));
	driver_start();
	for (unsigned slot = 0; slot < depth; slot++)
		request_place(slot);
	load(requests / 10 > depth ? requests / 10 : depth);
	interrupts = 0;
	measure(requests);
	gd_vdev_close(vdev);
	gd_pool_unmap(pool);
	return 0;
}
