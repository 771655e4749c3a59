/* SPDX-License-Identifier: MIT */
/*
 * A disk's life: being the guest, finding the device, starting its driver and interrupt thread, and the way back.
 */
#include "disk_priv.h"

#include <abi/grant_table.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/os/model.h"

#define POLL_BATCH 4u	 /* completions at once that make it worth looking for more */
#define POLL_US	   2000u /* how long after the last one */

#define PORTS	 32u  /* that had an event, taken by one wait */
#define AGAIN_MS 1000 /* GIO_BLK_IRQ_AGAIN: within a second */

struct report {
	char *text;
	size_t size;
};

/* Say what failed, with the error's text behind it, and hand the error on. A text that is too long loses its end. */
__attribute__((format(printf, 3, 4))) static int report(const struct report *to, int error, const char *format, ...)
{
	va_list args;
	int used;

	va_start(args, format);
	used = vsnprintf(to->text, to->size, format, args);
	va_end(args);
	if (used >= 0 && (size_t)used < to->size)
		snprintf(to->text + used, to->size - (size_t)used, ": %s", strerror(-error));
	return error;
}

/* ---- the interrupt thread ----------------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* One callback after all queues: its submissions go out with one kick each. */
static unsigned reap_all(struct gp_disk *disk)
{
	unsigned done = 0;

	for (unsigned queue = 0; queue < disk->queues; queue++)
		done += gio_blk_reap(disk->blk, queue);
	if (done && disk->reaped)
		disk->reaped(disk->opaque);
	return done;
}

/*
 * While completions keep coming in batches, look for the next one for a while instead of asking for an interrupt: an
 * interrupt costs three exits to the hypervisor. A lone request is not worth it, so light load never spins.
 */
static void reap_while_busy(struct gp_disk *disk)
{
	uint64_t last = now_us();
	unsigned done = reap_all(disk);

	if (done < POLL_BATCH)
		return;
	while (now_us() - last < POLL_US && !atomic_load_explicit(&disk->stop, memory_order_relaxed)) {
		done = reap_all(disk);
		if (done)
			last = now_us();
		else
			sched_yield();
	}
}

/* By messages. What came by the message port is looked at here; that of queues by the caller. */
static int events_wait(struct gp_disk *disk)
{
	uint32_t ports[PORTS];
	int count = gio_os_model_ports_wait(disk->os, ports, PORTS, disk->again ? AGAIN_MS : -1);
	bool told = disk->again;

	for (int i = 0; i < count; i++)
		told |= ports[i] == gp_messages_port(disk->messages);
	if (count >= 0 && told)
		disk->again = gio_blk_interrupt_ack(disk->blk) & GIO_BLK_IRQ_AGAIN;
	return count < 0 ? count : 0;
}

/* By registers. */
static int interrupt_wait(struct gp_disk *disk)
{
	int err = gm_guest_irq_wait(disk->guest, disk->place.irq, -1);

	if (!err)
		gio_blk_interrupt_ack(disk->blk);
	return err;
}

/* What comes between two waits, a wake-up as well, is not lost: the model keeps it until the next wait. */
static void *irq_main(void *arg)
{
	struct gp_disk *disk = arg;

	pthread_setname_np(pthread_self(), "guest-irq");
	while (!atomic_load_explicit(&disk->stop, memory_order_relaxed)) {
		int err = disk->messages ? events_wait(disk) : interrupt_wait(disk);

		if (err == -EINTR)
			continue;
		if (err)
			break; /* the domain goes down */
		reap_while_busy(disk);
		for (unsigned queue = 0; queue < disk->queues; queue++)
			gio_blk_poll(disk->blk, queue);
		if (disk->reaped)
			disk->reaped(disk->opaque);
	}
	return NULL;
}

/* The program's signals are for its own threads. */
static int irq_start(struct gp_disk *disk)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&disk->irq_thread, NULL, irq_main, disk);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

static void irq_stop(struct gp_disk *disk)
{
	atomic_store_explicit(&disk->stop, true, memory_order_relaxed);
	if (disk->messages)
		gio_os_model_ports_wake(disk->os);
	else
		gm_guest_irq_wake(disk->guest, disk->place.irq);
	pthread_join(disk->irq_thread, NULL);
}

/* ---- open and close ----------------------------------------------------------------------------------------- */

/* Only one process at a time can be a domain's guest: say which one it is, since a person has to end it. */
static int guest_refused(const struct gp_disk_config *config, int error, const struct report *to)
{
	int pid = error == -EBUSY ? gm_guest_pid(config->machine, config->domid) : 0;

	if (pid > 0)
		return report(to, error, "domain %u of machine %s: cannot be its guest, since process %d is",
			      config->domid, config->machine, pid);
	if (error == -ENOENT)
		return report(to, error, "machine %s: it does not run (see 'grantio model start')", config->machine);
	return report(to, error, "domain %u of machine %s: cannot be its guest", config->domid, config->machine);
}

static int guest_open(struct gp_disk *disk, const struct gp_disk_config *config, const struct report *to)
{
	int err = gm_guest_open(&disk->guest, config->machine, config->domid);

	if (err)
		return guest_refused(config, err, to);
	err = gio_os_model_open(&disk->os, disk->guest);
	if (err) {
		report(to, err, "domain %u: cannot set up the guest's memory and threads", config->domid);
		goto close_guest;
	}
	if (config->timeout_ms)
		gio_os_model_patience(disk->os, (int)config->timeout_ms);
	err = gio_grants_open(&disk->grants, disk->os, GIO_GRANT_RESERVED);
	if (err) {
		report(to, err, "domain %u: cannot set up the grant table", config->domid);
		goto close_os;
	}
	return 0;

close_os:
	gio_os_model_close(disk->os);
close_guest:
	gm_guest_close(disk->guest);
	return err;
}

/* Each kind of leak is counted before the part is closed that could still tell of it. -EBUSY: there are some. */
static int guest_close(struct gp_disk *disk, struct gp_disk_leaks *leaks)
{
	struct gio_grants_stats grants;
	uint32_t left, before = UINT32_MAX;
	size_t pages;

	/* What a process before us left may have waited since our first request: what has ended by now is no leak. */
	while ((left = gio_grants_reap(disk->grants)) && left < before)
		before = left;
	gio_grants_stats(disk->grants, &grants);
	leaks->grants = grants.used;
	leaks->held = gio_grants_close(disk->grants);
	pages = gio_os_model_pages_used(disk->os);
	leaks->pages = pages;
	gio_os_model_close(disk->os);
	gm_guest_close(disk->guest);
	return leaks->grants || leaks->held || leaks->pages ? -EBUSY : 0;
}

static int messages_open(struct gp_disk *disk, const struct gp_disk_config *config, const struct report *to)
{
	const struct gp_messages_config messages = {.guest = disk->guest,
						    .os = disk->os,
						    .grants = disk->grants,
						    .place = &disk->place,
						    .queues = config->queues,
						    .wait_ms = config->wait_ms,
						    .timeout_ms = config->timeout_ms};
	int err = gp_messages_open(&disk->messages, &messages);

	if (err == -EOPNOTSUPP)
		return report(to, err, "domain %u, disk %s: its backend offers no messages", config->domid,
			      config->name ? config->name : "(first)");
	if (err)
		return report(to, err, "domain %u, disk %s: cannot connect to its backend by messages", config->domid,
			      config->name ? config->name : "(first)");
	return 0;
}

static void device_close(struct gp_disk *disk)
{
	gio_blk_close(disk->blk);
	disk->blk = NULL;
	gp_messages_close(disk->messages);
	disk->messages = NULL;
}

/* What a transfer may be, from what the device says. */
static int limits_take(struct gp_disk *disk, const struct gp_disk_config *config, const struct report *to)
{
	struct gio_blk_info info;
	int err;

	gio_blk_info(disk->blk, &info);
	disk->queues = info.queues ? info.queues : 1;
	err = gp_limits_init(&disk->limits, &info);
	if (!err)
		return 0;
	report(to, err, "domain %u, disk %s: no block of %u bytes fits in a request (size_max %u, seg_max %u, ring %u)",
	       config->domid, config->name ? config->name : "(first)", info.block_size, info.size_max, info.seg_max,
	       info.queue_size);
	device_close(disk);
	return err;
}

/* Each step has a line of its own for its failure, since a person reads it: which disk, where, and what. */
static int device_open(struct gp_disk *disk, const struct gp_disk_config *config, const struct report *to)
{
	const char *name = config->name ? config->name : "(first)";
	struct gio_blk_config blk = {
		.os = disk->os,
		.grants = disk->grants,
		.queues = config->queues,
		.queue_size = config->queue_size,
		.indirect = config->indirect,
		.no_event_idx = config->no_event_idx,
	};
	int err;

	err = gm_guest_find_disk(disk->guest, config->name, (int)config->wait_ms, &disk->place);
	if (err == -ENOENT)
		return report(to, err, "domain %u has no disk %s", config->domid, name);
	if (err == -ETIMEDOUT)
		return report(to, err, "domain %u, disk %s: no backend has answered within %u ms (does grantiod run?)",
			      config->domid, name, config->wait_ms);
	if (err)
		return report(to, err, "domain %u, disk %s: xenstore does not describe it", config->domid, name);
	if (config->messages) {
		err = messages_open(disk, config, to);
		if (err)
			return err;
		blk.connection = gp_messages_connection(disk->messages);
		blk.pool = gp_messages_pool(disk->messages);
	}
	blk.backend = disk->place.backend;
	blk.base = disk->place.base;
	err = gio_blk_open(&disk->blk, &blk);
	if (err) {
		report(to, err, "domain %u, disk %s at 0x%llx: the virtio-blk driver cannot start", config->domid, name,
		       (unsigned long long)disk->place.base);
		gp_messages_close(disk->messages);
		disk->messages = NULL;
		return err;
	}
	return limits_take(disk, config, to);
}

/* The interrupt thread comes last: it uses all that was made before it. */
static int parts_open(struct gp_disk *disk, const struct gp_disk_config *config, const struct report *to)
{
	int err = device_open(disk, config, to);

	if (err)
		return err;
	err = gp_pool_init(disk, config->buffers);
	if (err) {
		report(to, err, "domain %u: cannot allocate buffers in the guest's RAM", config->domid);
		goto close_device;
	}
	err = irq_start(disk);
	if (err) {
		report(to, err, "cannot start the interrupt thread");
		goto exit_pool;
	}
	return 0;

exit_pool:
	gp_pool_exit(disk);
close_device:
	device_close(disk);
	return err;
}

/* In three layers, each of which undoes its own on failure: the guest, its device, its threads. */
int gp_disk_open(struct gp_disk **disk, const struct gp_disk_config *config, char *error, size_t size)
{
	const struct report to = {error, size};
	struct gp_disk_leaks leaks;
	struct gp_disk *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return report(&to, -ENOMEM, "disk");
	d->timeout_ms = config->timeout_ms;
	d->reaped = config->reaped;
	d->opaque = config->opaque;
	err = guest_open(d, config, &to);
	if (err)
		goto free_disk;
	err = parts_open(d, config, &to);
	if (err)
		goto close_guest;
	*disk = d;
	return 0;

close_guest:
	guest_close(d, &leaks);
free_disk:
	free(d);
	return err;
}

/* The interrupt thread goes first: it must not reap a driver that is being closed. */
void gp_disk_stop(struct gp_disk *disk)
{
	if (!disk->blk)
		return;
	irq_stop(disk);
	device_close(disk);
}

int gp_disk_close(struct gp_disk *disk, struct gp_disk_leaks *leaks)
{
	struct gp_disk_leaks mine = {0};
	int err;

	if (leaks)
		*leaks = mine;
	if (!disk)
		return 0;
	gp_disk_stop(disk);
	gp_pool_exit(disk);
	err = guest_close(disk, &mine);
	if (leaks)
		*leaks = mine;
	free(disk);
	return err;
}

/* ---- what it is --------------------------------------------------------------------------------------------- */

void gp_disk_info(struct gp_disk *disk, struct gio_blk_info *info)
{
	gio_blk_info(disk->blk, info);
}

uint64_t gp_disk_size(struct gp_disk *disk)
{
	struct gio_blk_info info;

	gio_blk_info(disk->blk, &info);
	/* The device states the capacity, and a hostile one may state more than there are bytes to number. */
	return info.capacity > UINT64_MAX / GIO_BLK_SECTOR ? UINT64_MAX / GIO_BLK_SECTOR * GIO_BLK_SECTOR
							   : info.capacity * GIO_BLK_SECTOR;
}

const struct gp_limits *gp_disk_limits(const struct gp_disk *disk)
{
	return &disk->limits;
}

struct gio_blk *gp_disk_blk(struct gp_disk *disk)
{
	return disk->blk;
}

struct gm_guest *gp_disk_guest(struct gp_disk *disk)
{
	return disk->guest;
}

const struct gm_guest_disk *gp_disk_place(const struct gp_disk *disk)
{
	return &disk->place;
}

void *gp_disk_pages(struct gp_disk *disk, size_t npages)
{
	return gio_os_pages_alloc(disk->os, npages);
}

void gp_disk_pages_free(struct gp_disk *disk, void *va, size_t npages)
{
	gio_os_pages_free(disk->os, va, npages);
}
