/* SPDX-License-Identifier: MIT */
#include "tests/hostile/guest.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define LIMIT_MS (TH_SECONDS * 1000)
#define STEP_MS	 2 /* between two looks at a count, of whose change nobody tells */

uint64_t hg_dma_bit = GIO_DMA_GRANT_BIT;

/* ---- grants ----------------------------------------------------------------------------------------------------- */

void hg_grant(struct hg *hg, uint32_t ref, uint16_t flags)
{
	hg->grants[ref].frame = ref;
	hg->grants[ref].domid = 0;
	/* Release: Xen reads the flags first (public/grant_table.h, "Introducing a valid entry"). */
	__atomic_store_n(&hg->grants[ref].flags, flags, __ATOMIC_RELEASE);
}

void hg_revoke(struct hg *hg, uint32_t ref)
{
	int64_t end = th_now_ms() + LIMIT_MS;
	uint16_t flags;

	do {
		flags = __atomic_load_n(&hg->grants[ref].flags, __ATOMIC_ACQUIRE);
		if (th_now_ms() > end)
			fail_msg("grant %u is still in use", ref);
	} while ((flags & GIO_GTF_IN_USE) || !__atomic_compare_exchange_n(&hg->grants[ref].flags, &flags, 0, false,
									  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
}

void hg_enter(struct hg *hg, struct th_host *host, uint16_t domid, uint64_t base, unsigned irq)
{
	struct gm_grant_table table;
	size_t bytes;

	assert_int_equal(gm_guest_open(&hg->guest, host->dir, domid), 0);
	assert_int_equal(gm_guest_grant_version(hg->guest, 1), 0);
	assert_int_equal(gm_guest_grant_table(hg->guest, HG_GRANTS, &table), 0);
	hg->ram = gm_guest_ram(hg->guest, &bytes);
	assert_true(bytes > HG_HOLE + HG_PAGE);
	hg->grants = table.shared;
	for (uint32_t ref = HG_FIRST; ref < HG_GRANTS; ref++)
		hg_grant(hg, ref, GIO_GTF_PERMIT_ACCESS);
	hg->base = base;
	hg->irq = irq;
}

void hg_open(struct hg *hg, struct th_host *host, uint16_t domid)
{
	struct gm_guest_disk disk;

	hg_enter(hg, host, domid, 0, 0);
	assert_int_equal(gm_guest_find_disk(hg->guest, "xvda", LIMIT_MS, &disk), 0);
	hg->base = disk.base;
	hg->irq = disk.irq;
}

/* ---- registers -------------------------------------------------------------------------------------------------- */

uint64_t hg_access(struct hg *hg, uint64_t offset, unsigned size, bool write, uint64_t value)
{
	int err = gm_guest_mmio(hg->guest, hg->base + offset, size, write, &value, LIMIT_MS);

	if (err)
		fail_msg("%s of %u bytes at 0x%llx: %s", write ? "write" : "read", size, (unsigned long long)offset,
			 strerror(-err));
	return value;
}

uint32_t hg_read(struct hg *hg, uint64_t offset)
{
	return (uint32_t)hg_access(hg, offset, 4, false, 0);
}

void hg_write(struct hg *hg, uint64_t offset, uint32_t value)
{
	hg_access(hg, offset, 4, true, value);
}

void hg_reset(struct hg *hg)
{
	hg_write(hg, GIO_VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_STATUS), 0);
}

static void status_add(struct hg *hg, uint32_t bit)
{
	hg_write(hg, GIO_VIRTIO_MMIO_STATUS, hg_read(hg, GIO_VIRTIO_MMIO_STATUS) | bit);
}

void hg_probe(struct hg *hg, uint64_t features)
{
	hg_reset(hg);
	status_add(hg, GIO_VIRTIO_STATUS_ACKNOWLEDGE);
	status_add(hg, GIO_VIRTIO_STATUS_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		hg_write(hg, GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		hg_write(hg, GIO_VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * half)));
	}
	status_add(hg, GIO_VIRTIO_STATUS_FEATURES_OK);
	assert_true(hg_read(hg, GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_FEATURES_OK);
}

void hg_queue_place(struct hg *hg, unsigned q, unsigned size)
{
	uint32_t at = (HG_FIRST + 4 * q) * HG_PAGE;

	hg->queue[q] = (struct hg_queue){.size = size, .desc = at, .avail = at + HG_PAGE, .used = at + 2 * HG_PAGE};
}

static void address_write(struct hg *hg, uint64_t offset, uint32_t ram)
{
	hg_write(hg, offset, (uint32_t)hg_dma(ram));
	hg_write(hg, offset + 4, (uint32_t)(hg_dma(ram) >> 32));
}

void hg_queue_ready(struct hg *hg, unsigned q)
{
	struct hg_queue *queue = &hg->queue[q];

	queue->next = queue->seen = 0;
	memset(hg->ram + queue->desc, 0, gio_virtq_desc_bytes(queue->size));
	memset(hg->ram + queue->avail, 0, gio_virtq_avail_bytes(queue->size));
	memset(hg->ram + queue->used, 0, gio_virtq_used_bytes(queue->size));
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_SEL, q);
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_NUM, queue->size);
	address_write(hg, GIO_VIRTIO_MMIO_QUEUE_DESC_LOW, queue->desc);
	address_write(hg, GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW, queue->avail);
	address_write(hg, GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW, queue->used);
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_READY, 1);
}

void hg_driver_ok(struct hg *hg)
{
	status_add(hg, GIO_VIRTIO_STATUS_DRIVER_OK);
}

void hg_start(struct hg *hg, uint64_t features, unsigned queues)
{
	hg_probe(hg, HG_FEATURES | features);
	for (unsigned q = 0; q < queues; q++) {
		hg_queue_place(hg, q, HG_ENTRIES);
		hg_queue_ready(hg, q);
		assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_READY), 1);
	}
	hg_driver_ok(hg);
}

/* ---- rings ------------------------------------------------------------------------------------------------------ */

struct gio_virtq_desc *hg_desc(struct hg *hg, unsigned q, unsigned index)
{
	return (struct gio_virtq_desc *)(void *)(hg->ram + hg->queue[q].desc) + index;
}

struct gio_virtq_avail *hg_avail(struct hg *hg, unsigned q)
{
	return (struct gio_virtq_avail *)(void *)(hg->ram + hg->queue[q].avail);
}

struct gio_virtq_used *hg_used(struct hg *hg, unsigned q)
{
	return (struct gio_virtq_used *)(void *)(hg->ram + hg->queue[q].used);
}

void hg_desc_set(struct hg *hg, unsigned q, unsigned index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	*hg_desc(hg, q, index) = (struct gio_virtq_desc){addr, len, flags, next};
}

void hg_push(struct hg *hg, unsigned q, uint16_t head)
{
	struct hg_queue *queue = &hg->queue[q];

	hg_avail(hg, q)->ring[queue->next % queue->size] = head;
	queue->next++;
	/* Release: the entry and its descriptors before the index. Pairs with the acquire in gd_ring_look(). */
	__atomic_store_n(&hg_avail(hg, q)->idx, queue->next, __ATOMIC_RELEASE);
}

void hg_kick(struct hg *hg, unsigned q)
{
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

/* Until the next interrupt, or the end. False: that was the end. */
static bool interrupt_wait(struct hg *hg, int64_t end)
{
	int64_t left = end - th_now_ms();

	return left > 0 && gm_guest_irq_wait(hg->guest, hg->irq, (int)left) == 0;
}

/* Wait until the used index is `least` to `most` further than what was seen, and see all of it. */
static unsigned used_take(struct hg *hg, unsigned q, unsigned least, unsigned most)
{
	int64_t end = th_now_ms() + LIMIT_MS;
	uint16_t seen = hg->queue[q].seen, idx;

	/* Acquire: the index before the entries and the status bytes. Pairs with the release in gd_queue_publish(). */
	while (idx = __atomic_load_n(&hg_used(hg, q)->idx, __ATOMIC_ACQUIRE),
	       (uint16_t)(idx - seen) < least || (uint16_t)(idx - seen) > most)
		if (!interrupt_wait(hg, end))
			fail_msg("queue %u: used index %u, waited for %u", q, idx, seen + least);
	hg->queue[q].seen = idx;
	return (uint16_t)(idx - seen);
}

void hg_used_wait(struct hg *hg, unsigned q, unsigned count)
{
	used_take(hg, q, count, count);
}

unsigned hg_used_some(struct hg *hg, unsigned q, unsigned most)
{
	return used_take(hg, q, 1, most);
}

/* Wait until a register has one of these bits. */
static void bits_wait(struct hg *hg, uint64_t offset, uint32_t bits)
{
	int64_t end = th_now_ms() + LIMIT_MS;

	while (!(hg_read(hg, offset) & bits))
		if (!interrupt_wait(hg, end))
			fail_msg("register 0x%llx: no bit of 0x%x is set", (unsigned long long)offset, bits);
}

void hg_interrupts_end(struct hg *hg, uint32_t stays)
{
	int64_t end = th_now_ms() + LIMIT_MS;
	uint32_t status;

	do {
		hg_write(hg, GIO_VIRTIO_MMIO_INTERRUPT_ACK, ~stays);
		status = hg_read(hg, GIO_VIRTIO_MMIO_INTERRUPT_STATUS);
		if (th_now_ms() > end)
			fail_msg("interrupt status 0x%x, not 0x%x", status, stays);
	} while (status != stays);
}

void hg_broken_wait(struct hg *hg)
{
	bits_wait(hg, GIO_VIRTIO_MMIO_STATUS, GIO_VIRTIO_STATUS_NEEDS_RESET);
	if (hg_read(hg, GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_DRIVER_OK)
		bits_wait(hg, GIO_VIRTIO_MMIO_INTERRUPT_STATUS, GIO_VIRTIO_INT_CONFIG);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

void hg_header(struct hg *hg, unsigned slot, uint32_t type, uint64_t sector)
{
	struct gio_virtio_blk_outhdr header = {.type = type, .sector = sector};

	memcpy(hg->ram + HG_HEADERS + slot * sizeof(header), &header, sizeof(header));
}

volatile uint8_t *hg_status(struct hg *hg, unsigned slot)
{
	return hg->ram + HG_STATUS + slot;
}

/* Does the device write the data of such a request? */
static bool type_reads(uint32_t type)
{
	return type != GIO_VIRTIO_BLK_T_OUT && type != GIO_VIRTIO_BLK_T_DISCARD &&
	       type != GIO_VIRTIO_BLK_T_WRITE_ZEROES;
}

uint16_t hg_request(struct hg *hg, unsigned q, unsigned slot, uint32_t type, uint64_t sector, uint64_t data,
		    uint32_t length)
{
	uint16_t head = (uint16_t)(3 * slot), status = (uint16_t)(head + 2);
	uint16_t flags = (uint16_t)(HG_NEXT | (type_reads(type) ? HG_WRITE : 0));

	hg_header(hg, slot, type, sector);
	*hg_status(hg, slot) = HG_UNTOLD;
	hg_desc_set(hg, q, head, hg_dma(HG_HEADERS + 16 * slot), 16, HG_NEXT, length ? (uint16_t)(head + 1) : status);
	hg_desc_set(hg, q, head + 1u, data, length, flags, status);
	hg_desc_set(hg, q, status, hg_dma(HG_STATUS + slot), 1, HG_WRITE, 0);
	return head;
}

uint8_t hg_io(struct hg *hg, uint32_t type, uint64_t sector, uint32_t length)
{
	hg_push(hg, 0, hg_request(hg, 0, 0, type, sector, hg_dma(HG_DATA), length));
	hg_kick(hg, 0);
	hg_used_wait(hg, 0, 1);
	return *hg_status(hg, 0);
}

/* ---- the scene -------------------------------------------------------------------------------------------------- */

void hg_scene_begin(struct hg_scene *scene, void **state, const struct hg_options *options)
{
	static const struct hg_options none;
	struct th_host *host = *state;

	if (!options)
		options = &none;
	hg_dma_bit = options->foreign ? 0 : GIO_DMA_GRANT_BIT;
	*scene = (struct hg_scene){.host = host,
				   .image = th_image(host, "hostile.raw", HG_IMAGE),
				   .honest_image = th_image(host, "honest.raw", HG_IMAGE)};
	th_grantiod_start(host, options->arguments);
	th_domain_make(host, 1, options->vcpus ? options->vcpus : 2);
	th_domain_create(host, 2);
	th_disk_write(host, 1, 0, scene->image, options->keys);
	th_disk_write(host, 2, 0, scene->honest_image, NULL);
	th_disk_wait(host, 1, 0, 2);
	th_disk_wait(host, 2, 0, 2);
	scene->pid = host->grantiod;
	scene->honest = th_guest_open(host, 2, 0);
	hg_open(&scene->hg, host, 1);
}

void hg_scene_check(struct hg_scene *scene)
{
	siginfo_t info = {0};

	th_guest_check(scene->honest, scene->honest_image, TH_MIB, 65536, scene->rounds++);
	assert_int_equal(waitid(P_PID, (id_t)scene->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	assert_int_equal(info.si_pid, 0); /* it has not ended */
	assert_int_equal(scene->host->grantiod, scene->pid);
}

void hg_scene_end(struct hg_scene *scene)
{
	static const uint16_t guests[] = {1, 2, 0};
	struct th_host *host = scene->host;

	hg_scene_check(scene);
	hg_start(&scene->hg, 0, 1);
	assert_int_equal(hg_io(&scene->hg, GIO_VIRTIO_BLK_T_IN, 0, HG_PAGE), GIO_VIRTIO_BLK_S_OK);
	th_domain_destroy(host, 1);
	gm_guest_close(scene->hg.guest);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	hg_scene_check(scene);
	th_guest_close(scene->honest);
	th_disk_detach(host, 2, 0);
	th_quiet(host, guests);
	th_grantiod_end(host, guests);
}

/* The kernel's own helpers of an io_uring come and go as they like. */
static bool thread_counts(pid_t pid, const char *tid)
{
	char path[320], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", (int)pid, tid);
	file = fopen(path, "re");
	if (!file)
		return false; /* ended meanwhile; or . and .. */
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return strncmp(name, "iou-", 4) != 0;
}

unsigned hg_threads(const struct hg_scene *scene)
{
	struct dirent *entry;
	unsigned count = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)scene->pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.' && thread_counts(scene->pid, entry->d_name);
	closedir(dir);
	return count;
}

void hg_threads_expect(const struct hg_scene *scene, unsigned most)
{
	int64_t end = th_now_ms() + LIMIT_MS;
	unsigned threads;

	while ((threads = hg_threads(scene)) > most) {
		if (th_now_ms() > end)
			fail_msg("grantiod has %u threads, more than %u", threads, most);
		poll(NULL, 0, STEP_MS);
	}
}
