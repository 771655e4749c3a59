/* SPDX-License-Identifier: MIT */
/*
 * The load: `depth` slots, each a request with its buffer. The disk's interrupt thread completes a batch of them and
 * then submits as many again, with one kick for each queue: what a guest's block layer does with its completions.
 */
#include "cli/bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* What --verify knows of a block: how often this run has written it, and whether a request on it is in flight. */
#define BLOCK_BUSY   0x80000000u
#define BLOCK_WRITES 0x7fffffffu
#define VERIFY_MOST  (1ull << 26) /* blocks: 256 MiB of memory */
#define MOST_QUEUES  16

/* Idle: before the start, when an interrupt may come already. */
enum phase { PHASE_IDLE, PHASE_RUN, PHASE_READBACK };

/*
 * One of the requests in flight, used again and again. Its buffer is granted anew for each request, as a guest's block
 * layer does it: keeping the grants would measure something that no guest does.
 */
struct slot {
	struct gio_blk_req req;
	struct gc_load *load;
	struct gio_sg *sg;
	uint64_t *buf;
	uint64_t block; /* number, in units of bs */
	uint64_t start_ns;
	unsigned queue;
	struct slot *next; /* in the list of those that are ready */
};

/*
 * A run. The interrupt thread submits and completes; the main thread starts it, stops it and asks for figures. What
 * both use is under the lock, which is never held while the backend has to answer.
 */
struct gc_load {
	struct gp_disk *disk;
	const struct gc_bench_config *config;
	uint64_t blocks; /* of bs bytes, that are used */
	unsigned pages;	 /* of a slot's buffer */
	int fd;

	pthread_mutex_t lock; /* all of the following */
	struct slot *slots, *ready;
	enum phase phase;
	bool stopping, ended;
	uint64_t random, next_block, submitted, start_ns, end_ns;
	uint32_t *written; /* --verify: for each block */
	struct gc_load_result result;
	struct gc_hist hist;
};

/* Monotonic: latencies must not be wrong when the wall clock is set. */
static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* splitmix64: any seed will do, zero too. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Of our own, so that a seed gives the same load on every system. */
static uint64_t random_next(struct gc_load *load)
{
	load->random += 0x9e3779b97f4a7c15;
	return mix(load->random);
}

/* ---- contents ----------------------------------------------------------------------------------------------- */

/* The first word of the contents of a block after its n-th write; the others follow by addition. */
static uint64_t content(const struct gc_load *load, uint64_t block, uint32_t writes)
{
	return mix(mix(load->config->seed + block) + writes);
}

/* Every word differs, so that a block that is mixed of two writes is found as well. */
static void content_fill(const struct gc_load *load, struct slot *slot, uint32_t writes)
{
	uint64_t word = content(load, slot->block, writes);

	for (size_t i = 0; i < load->config->bs / sizeof(word); i++)
		slot->buf[i] = word + i;
}

static bool content_is(const struct gc_load *load, const struct slot *slot, uint32_t writes)
{
	uint64_t word = content(load, slot->block, writes);

	for (size_t i = 0; i < load->config->bs / sizeof(word); i++) {
		if (slot->buf[i] != word + i)
			return false;
	}
	return true;
}

/* ---- completions -------------------------------------------------------------------------------------------- */

/* Only the first error is kept: later ones mostly follow from it. */
static void fail(struct gc_load *load, const struct slot *slot, int error)
{
	load->stopping = true;
	if (load->result.error)
		return;
	load->result.error = error;
	load->result.error_offset = slot->block * load->config->bs;
	load->result.error_write = slot->req.op == GIO_BLK_WRITE;
}

/* The time of the last completion ends the run, not the time when somebody looks. */
static void account(struct gc_load *load, struct slot *slot, uint64_t now)
{
	load->end_ns = now;
	load->result.requests++;
	load->result.bytes += load->config->bs;
	if (slot->req.op == GIO_BLK_WRITE)
		load->result.writes++;
	else
		load->result.reads++;
	gc_hist_add(&load->hist, now - slot->start_ns);
}

/* Data is compared in the interrupt thread: the slot's buffer is used again as soon as the lock is free. */
static void verify(struct gc_load *load, struct slot *slot)
{
	uint32_t *written = &load->written[slot->block];

	*written &= ~BLOCK_BUSY;
	if (slot->req.op != GIO_BLK_READ || !*written || slot->req.result)
		return;
	load->result.verified++;
	if (!content_is(load, slot, *written))
		fail(load, slot, -EILSEQ);
}

/* In the interrupt thread. The slot waits for gc_load_reaped() to be used again. */
static void slot_done(struct gio_blk_req *req)
{
	struct slot *slot = req->opaque;
	struct gc_load *load = slot->load;
	uint64_t now = now_ns();

	pthread_mutex_lock(&load->lock);
	load->result.in_flight--;
	if (req->result)
		fail(load, slot, req->result);
	else if (load->phase == PHASE_RUN)
		account(load, slot, now);
	if (load->written)
		verify(load, slot);
	slot->next = load->ready;
	load->ready = slot;
	pthread_mutex_unlock(&load->lock);
}

/* ---- submissions -------------------------------------------------------------------------------------------- */

/* The block for the next request of the run. One that is busy is passed over: there are more blocks than slots. */
static uint64_t block_pick(struct gc_load *load)
{
	uint64_t block = load->config->random ? random_next(load) % load->blocks : load->next_block;

	while (load->written && load->written[block] & BLOCK_BUSY)
		block = (block + 1) % load->blocks;
	load->next_block = (block + 1) % load->blocks;
	return block;
}

/* The next block that was written, of those from next_block on; load->blocks when there is none. */
static uint64_t block_written(struct gc_load *load)
{
	uint64_t block = load->next_block;

	while (block < load->blocks && !load->written[block])
		block++;
	load->next_block = block + 1;
	return block;
}

/* Choose what a slot does next; false: nothing, the phase is over. */
static bool slot_fill(struct gc_load *load, struct slot *slot)
{
	const struct gc_bench_config *config = load->config;
	bool read = true;

	if (load->phase == PHASE_READBACK) {
		slot->block = block_written(load);
		if (slot->block >= load->blocks)
			return false;
	} else {
		if (config->requests && load->submitted >= config->requests)
			return false;
		slot->block = block_pick(load);
		read = random_next(load) % 100 < config->read_percent;
	}
	slot->req = (struct gio_blk_req){
		.op = read ? GIO_BLK_READ : GIO_BLK_WRITE,
		.sector = slot->block * (config->bs / GIO_BLK_SECTOR),
		.sg = slot->sg,
		.segments = gp_limits_segments(gp_disk_limits(load->disk), slot->buf, config->bs, slot->sg),
		.done = slot_done,
		.opaque = slot,
	};
	return true;
}

/* Submit what slot_fill() chose, and note it. 0, or the error of a request that the driver did not take. */
static int slot_submit(struct gc_load *load, struct slot *slot)
{
	uint32_t *written = load->written ? &load->written[slot->block] : NULL;
	bool write = slot->req.op == GIO_BLK_WRITE;
	uint32_t writes = written ? (*written + write) & BLOCK_WRITES : 0;
	int err;

	if (written && write)
		content_fill(load, slot, writes);
	slot->start_ns = now_ns();
	err = gio_blk_submit(gp_disk_blk(load->disk), slot->queue, &slot->req);
	if (err)
		return err;
	if (written)
		*written = writes | BLOCK_BUSY; /* its completion waits for the lock that we hold */
	load->submitted++;
	load->result.in_flight++;
	return 0;
}

/* What a completion may mend: the ring, the grant references or the driver's memory ran out. */
static bool full(int err)
{
	return err == -GIO_ENOSPC || err == -GIO_ENOMEM;
}

/* Choose and submit; when there is no room, the choice is as if never made. */
static int slot_start(struct gc_load *load, struct slot *slot)
{
	uint64_t random = load->random, next_block = load->next_block;
	int err;

	if (!slot_fill(load, slot))
		return -EAGAIN;
	err = slot_submit(load, slot);
	if (full(err)) {
		load->random = random;
		load->next_block = next_block;
	}
	return err;
}

/* However short the time, a run makes requests: one that was held up at its start has something to tell, too. */
static bool time_over(const struct gc_load *load)
{
	const uint64_t limit = load->config->time_ns;

	return load->phase == PHASE_RUN && limit && load->submitted && now_ns() - load->start_ns >= limit;
}

/* Under the lock: submit what is ready; returns the queues to kick, as bits. */
static unsigned slots_start(struct gc_load *load)
{
	unsigned kick = 0;

	while (load->ready && !load->stopping) {
		struct slot *slot = load->ready;
		int err = slot_start(load, slot);

		if (full(err) && load->result.in_flight)
			break; /* a completion makes room */
		if (err == -EAGAIN)
			load->stopping = true;
		else if (err)
			fail(load, slot, err);
		if (err)
			break;
		load->ready = slot->next;
		kick |= 1u << slot->queue;
	}
	return kick;
}

/*
 * Submit what is ready, with one kick a queue; at the end, when nothing is in flight, tell the descriptor. A kick waits
 * for the backend's answer: it comes after the lock, so that whoever asks for the figures does not wait with it.
 */
static void pump(struct gc_load *load)
{
	const uint64_t one = 1;
	unsigned kick = 0;

	pthread_mutex_lock(&load->lock);
	if (load->phase != PHASE_IDLE && !load->ended) {
		load->stopping = load->stopping || time_over(load);
		kick = slots_start(load);
		if (load->stopping && !load->result.in_flight)
			load->ended = write(load->fd, &one, sizeof(one)) == sizeof(one);
	}
	pthread_mutex_unlock(&load->lock);
	for (unsigned i = 0; kick >> i; i++) {
		if (kick >> i & 1)
			gio_blk_kick(gp_disk_blk(load->disk), i);
	}
}

/*
 * Interrupts come before the load exists, since the driver is started first. The pointer is published when the load is
 * complete.
 */
void gc_load_reaped(void *opaque)
{
	struct gc_load *load = __atomic_load_n((struct gc_load **)opaque, __ATOMIC_ACQUIRE);

	if (load)
		pump(load);
}

/* ---- open and close ----------------------------------------------------------------------------------------- */

/* Compare what was asked for with what the disk has. */
static int check(const struct gc_load *load, uint64_t size, char *error, size_t room)
{
	const struct gc_bench_config *config = load->config;
	const struct gp_limits *limits = gp_disk_limits(load->disk);
	struct gio_blk_info info;
	char one[32], two[32];

	gp_disk_info(load->disk, &info);
	if (info.readonly && config->read_percent < 100)
		snprintf(error, room, "option --rw %s: the disk is read-only", config->rw);
	else if (config->bs % limits->block || config->bs > limits->request)
		snprintf(error, room, "option --bs %u: the disk takes multiples of %u up to %s", config->bs,
			 limits->block, gc_report_size(limits->request, one));
	else if (config->size > size)
		snprintf(error, room, "option --size: %s is more than the disk's %s", gc_report_size(config->size, one),
			 gc_report_size(size, two));
	else if (load->blocks < (config->verify ? config->depth + 1 : 1))
		snprintf(error, room, "%llu blocks of %u bytes are too few for --depth %u",
			 (unsigned long long)load->blocks, config->bs, config->depth);
	else if (config->verify && load->blocks > VERIFY_MOST)
		snprintf(error, room,
			 "option --verify: keeps at most %llu blocks in mind, and there are %llu (use --size)",
			 VERIFY_MOST, (unsigned long long)load->blocks);
	else
		return 0;
	return -EINVAL;
}

/* Slots are spread over the queues once and for all, so that a queue's requests stay together. */
static int slot_init(struct gc_load *load, struct slot *slot, unsigned index, unsigned queues)
{
	slot->load = load;
	slot->queue = index % queues;
	slot->sg = calloc(gp_disk_limits(load->disk)->segments, sizeof(*slot->sg));
	slot->buf = gp_disk_pages(load->disk, load->pages);
	if (!slot->sg || !slot->buf)
		return -ENOMEM;
	for (size_t i = 0; i < load->config->bs / sizeof(*slot->buf); i++)
		slot->buf[i] = random_next(load); /* nothing that a disk could store for less */
	slot->next = load->ready;
	load->ready = slot;
	return 0;
}

/* All memory is taken before the run: an allocation in between would be measured with it. */
static int slots_init(struct gc_load *load)
{
	struct gio_blk_info info;
	int err = 0;

	gp_disk_info(load->disk, &info);
	load->pages = (load->config->bs + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE;
	load->slots = calloc(load->config->depth, sizeof(*load->slots));
	if (load->config->verify)
		load->written = calloc(load->blocks, sizeof(*load->written));
	if (!load->slots || (load->config->verify && !load->written))
		return -ENOMEM;
	for (unsigned i = 0; i < load->config->depth && !err; i++)
		err = slot_init(load, &load->slots[i], i, info.queues ? info.queues : 1);
	return err;
}

/* On failure the caller's pointer stays NULL, so that the interrupt thread finds no load. */
int gc_load_open(struct gc_load **load, struct gp_disk *disk, const struct gc_bench_config *config, char *error,
		 size_t size)
{
	struct gc_load *l = calloc(1, sizeof(*l));
	uint64_t bytes = gp_disk_size(disk);
	int err;

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	l->disk = disk;
	l->config = config;
	l->random = config->seed;
	l->blocks = (config->size ? config->size : bytes) / config->bs;
	l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = l->fd < 0 ? -errno : check(l, bytes, error, size);
	if (!err) {
		err = slots_init(l);
		if (err)
			snprintf(error, size, "no memory for %u requests of %u bytes in the guest", config->depth,
				 config->bs);
	}
	if (err) {
		gc_load_close(l);
		return err;
	}
	__atomic_store_n(load, l, __ATOMIC_RELEASE);
	return 0;
}

/* Also for a load that gc_load_open() has made half of. The device must have stopped: it writes to the buffers. */
void gc_load_close(struct gc_load *load)
{
	if (!load)
		return;
	for (unsigned i = 0; load->slots && i < load->config->depth; i++) {
		free(load->slots[i].sg);
		gp_disk_pages_free(load->disk, load->slots[i].buf, load->pages);
	}
	if (load->fd >= 0)
		close(load->fd);
	free(load->slots);
	free(load->written);
	pthread_mutex_destroy(&load->lock);
	free(load);
}

/* ---- running ------------------------------------------------------------------------------------------------ */

/* The first requests are submitted by this thread, all others by the interrupt thread. */
void gc_load_start(struct gc_load *load)
{
	pthread_mutex_lock(&load->lock);
	load->phase = PHASE_RUN;
	load->start_ns = load->end_ns = now_ns();
	pthread_mutex_unlock(&load->lock);
	pump(load);
}

int gc_load_fd(const struct gc_load *load)
{
	return load->fd;
}

/* Requests in flight are waited for: their grants cannot be ended before they complete. */
void gc_load_stop(struct gc_load *load)
{
	pthread_mutex_lock(&load->lock);
	load->stopping = true;
	pthread_mutex_unlock(&load->lock);
	pump(load);
}

/* Starts a second phase that reads every block that was written. It needs a load that has ended without an error. */
int gc_load_readback(struct gc_load *load)
{
	uint64_t seen;
	int err = 0;

	pthread_mutex_lock(&load->lock);
	if (load->written && load->ended && !load->result.error) {
		load->phase = PHASE_READBACK;
		load->next_block = 0;
		load->stopping = load->ended = false;
		err = read(load->fd, &seen, sizeof(seen)) == sizeof(seen) || errno == EAGAIN ? 0 : -errno;
	} else {
		err = -EINVAL;
	}
	pthread_mutex_unlock(&load->lock);
	if (!err)
		pump(load);
	return err;
}

/* May be called at any time, for the progress line. The lock keeps the figures of one moment together. */
void gc_load_result(struct gc_load *load, struct gc_load_result *result, struct gc_hist *hist)
{
	pthread_mutex_lock(&load->lock);
	*result = load->result;
	result->elapsed_ns = load->end_ns - load->start_ns;
	if (hist)
		*hist = load->hist;
	pthread_mutex_unlock(&load->lock);
}
