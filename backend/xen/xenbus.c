/* SPDX-License-Identifier: MIT */
#include "backend/xen/xenbus.h"
#include "backend/xen/alone.h"
#include "backend/xen/device.h"
#include "backend/xen/step.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_A_TURN 1024 /* then the directories are read, and the loop has its turn */

struct gd_xenbus {
	struct gd_loop *loop;
	struct gd_device_env env;
	struct gd_store *store;
	struct gd_step step;
	struct gd_loop_source watch, wake, removal;
	struct gd_device *devices;
	bool stopping, lost;
	/* To be read again: whole classes, domains of a class (a bit each), and devices by their own flag. */
	bool dirty_class[GD_CLASSES], dirty_domains;
	bool domains_changed; /* some have come or gone */
	uint8_t dirty_domain[GD_CLASSES][(GD_DOMID_MAX + 8) / 8];
};

/* ---- all of them ---------------------------------------------------------------------------------------------- */

static struct gd_device *device_find(struct gd_xenbus *xenbus, const struct gd_device_id *id)
{
	struct gd_device *device = xenbus->devices;

	while (device &&
	       (device->id.class != id->class || device->id.domid != id->domid || device->id.devid != id->devid))
		device = device->next;
	return device;
}

static void device_touch(void *opaque, const struct gd_device_id *id)
{
	struct gd_xenbus *xenbus = opaque;
	struct gd_device *device = device_find(xenbus, id);
	char name[16];

	if (!device) {
		snprintf(name, sizeof(name), "%" PRIu32, id->devid);
		device = gd_device_new(&xenbus->env, id, name);
		if (!device) {
			gd_log(NULL, GD_ERR, "d%u/%" PRIu32 ": no memory for it", id->domid, id->devid);
			return;
		}
		device->next = xenbus->devices;
		xenbus->devices = device;
	}
	device->dirty = true;
}

static void domain_touch(void *opaque, const struct gd_device_id *id)
{
	struct gd_xenbus *xenbus = opaque;

	xenbus->dirty_domain[id->class][id->domid / 8] |= (uint8_t)(1u << id->domid % 8);
	xenbus->dirty_domains = true;
}

/* Domains have come or gone. Those that have gone lose their devices, whatever their directories say. */
static void domains_check(struct gd_xenbus *xenbus)
{
	for (struct gd_device *device = xenbus->devices; device; device = device->next) {
		uint16_t domid = device->id.domid;

		if (device->phase == GD_DEVICE_IDLE)
			device->dirty = true; /* may have waited for its domain */
		else if ((device->phase == GD_DEVICE_SERVED || device->phase == GD_DEVICE_OPENED) &&
			 (gd_store_introduced(xenbus->store, domid) == 0 ||
			  !gd_domain_alive(xenbus->env.domains, domid)))
			gd_step_stop(&xenbus->step, device, "its domain has gone");
	}
}

static void event_handle(struct gd_xenbus *xenbus, const struct gd_store_event *event)
{
	if (event->kind == GD_STORE_DOMAINS)
		xenbus->domains_changed = true;
	else if (event->depth == 0)
		xenbus->dirty_class[event->id.class] = true;
	else if (event->depth == 1)
		domain_touch(xenbus, &event->id);
	else
		device_touch(xenbus, &event->id);
}

/* What stands below a directory, and what stood there. */
static void list(struct gd_xenbus *xenbus, enum gd_class class, const uint16_t *domid)
{
	int ret = gd_store_list(xenbus->store, class, domid, domid ? device_touch : domain_touch, xenbus);

	if (ret && ret != -ENOENT)
		gd_log(NULL, GD_WARN, "xenstore: cannot list backend/%s: %s", gd_class_names[class], strerror(-ret));
	for (struct gd_device *device = xenbus->devices; device; device = device->next)
		if (device->id.class == class && (!domid || device->id.domid == *domid))
			device->dirty = true;
}

static void list_domains(struct gd_xenbus *xenbus, enum gd_class class)
{
	for (unsigned domid = 0; domid <= GD_DOMID_MAX; domid++) {
		uint8_t *byte = &xenbus->dirty_domain[class][domid / 8], bit = (uint8_t)(1u << domid % 8);
		uint16_t id = (uint16_t)domid;

		if (!(*byte & bit))
			continue;
		*byte &= (uint8_t)~bit;
		list(xenbus, class, &id);
	}
}

static void events_take(struct gd_xenbus *xenbus)
{
	struct gd_store_event event;
	unsigned count = 0;
	int ret = 0;

	while (count++ < EVENTS_A_TURN && (ret = gd_store_next(xenbus->store, &event)) == 1)
		event_handle(xenbus, &event);
	if (ret < 0) {
		gd_log(NULL, GD_ERR, "xenstore: connection lost: %s", strerror(-ret));
		gd_loop_remove(xenbus->loop, &xenbus->watch);
		xenbus->lost = true;
	}
}

/* It may be served soon: its directory is to be read, or its image is being opened. */
static bool device_coming(const struct gd_device *device)
{
	return device->dirty || device->phase == GD_DEVICE_OPENING || device->phase == GD_DEVICE_OPENED;
}

/* Guests whose devices of a former grantiod are all there, or will not come, are answered from now on. */
static void domains_go(struct gd_xenbus *xenbus)
{
	for (struct gd_device *device = xenbus->devices; device; device = device->next) {
		bool coming = device->phase != GD_DEVICE_SERVED;

		for (struct gd_device *other = xenbus->devices; other && !coming; other = other->next)
			coming = other->id.domid == device->id.domid && other->phase != GD_DEVICE_SERVED &&
				 device_coming(other);
		if (!coming)
			gd_domain_go(&device->place);
	}
}

void gd_xenbus_work(struct gd_xenbus *xenbus)
{
	struct gd_device **link = &xenbus->devices;

	if (!xenbus->lost)
		events_take(xenbus);
	/* First: a directory that is found below may be that of a new domain with an old number. */
	if (xenbus->domains_changed && !xenbus->stopping)
		domains_check(xenbus);
	xenbus->domains_changed = false;
	for (unsigned class = 0; class < GD_CLASSES; class ++)
		if (xenbus->dirty_class[class]) {
			xenbus->dirty_class[class] = false;
			list(xenbus, (enum gd_class) class, NULL);
		}
	for (unsigned class = 0; class < GD_CLASSES && xenbus->dirty_domains; class ++)
		list_domains(xenbus, (enum gd_class) class);
	xenbus->dirty_domains = false;
	while (*link) {
		struct gd_device *device = *link;

		if (device->dirty && !xenbus->stopping) {
			device->dirty = false;
			if (!gd_step_follow(&xenbus->step, device)) {
				*link = device->next;
				gd_step_forgive(&xenbus->step, device);
				gd_device_free(device);
				continue;
			}
		} else if (xenbus->stopping && device->phase == GD_DEVICE_OPENED) {
			gd_step_stop(&xenbus->step, device, "");
		}
		link = &device->next;
	}
	domains_go(xenbus);
}

static void removal_ready(struct gd_loop_source *source, uint32_t events)
{
	struct gd_xenbus *xenbus = source->opaque;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0)
		return;
	for (struct gd_device *device = xenbus->devices; device; device = device->next) {
		int ret = device->leaving ? gd_store_forget(xenbus->store, &device->id) : 0;

		if (ret && ret != -ENOENT && ret != -EBUSY)
			gd_log(&device->log, GD_WARN, "cannot remove its directory: %s", strerror(-ret));
		device->leaving = false;
	}
}

/* The events are taken by gd_xenbus_work(), which follows. */
static void watch_ready(struct gd_loop_source *source, uint32_t events)
{
	(void)source;
	(void)events;
}

static void wake_ready(struct gd_loop_source *source, uint32_t events)
{
	struct gd_xenbus *xenbus = source->opaque;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0)
		return;
	for (struct gd_device *device = xenbus->devices; device; device = device->next)
		if (device->phase == GD_DEVICE_SERVED && !device->connected && gd_device_driver_ok(device))
			device->dirty = true;
}

static void device_changed(struct gd_device *device)
{
	device->dirty = true;
}

static int sources_add(struct gd_xenbus *xenbus)
{
	int ret = gd_loop_add(xenbus->loop, &xenbus->wake, EPOLLIN);

	if (ret)
		return ret;
	ret = gd_loop_add(xenbus->loop, &xenbus->watch, EPOLLIN);
	if (ret)
		goto remove_wake;
	ret = gd_loop_add(xenbus->loop, &xenbus->removal, EPOLLIN);
	if (ret)
		goto remove_watch;
	return 0;

remove_watch:
	gd_loop_remove(xenbus->loop, &xenbus->watch);
remove_wake:
	gd_loop_remove(xenbus->loop, &xenbus->wake);
	return ret;
}

/* Ledgers of devices that went while no grantiod was there. */
static void ledgers_sweep(struct gd_xenbus *xenbus, const char *path)
{
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct gd_device_id id;
		struct gd_keys keys;

		if (!gd_device_ledger_parse(entry->d_name, &id))
			continue;
		if (gd_store_read(xenbus->store, &id, &keys) == -ENOENT)
			unlinkat(dirfd(dir), entry->d_name, 0);
		else
			gd_keys_free(&keys);
	}
	if (dir)
		closedir(dir);
}

int gd_xenbus_open(struct gd_xenbus **out, const struct gd_config *config, struct gd_loop *loop, struct gd_jobs *jobs,
		   struct gd_sizewatch *sizewatch)
{
	struct gd_xenbus *xenbus = calloc(1, sizeof(*xenbus));
	int ret;

	if (!xenbus)
		return -ENOMEM;
	xenbus->loop = loop;
	xenbus->wake = (struct gd_loop_source){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), wake_ready, xenbus};
	if (xenbus->wake.fd < 0) {
		ret = -errno;
		goto free_xenbus;
	}
	xenbus->removal.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (xenbus->removal.fd < 0) {
		ret = -errno;
		goto close_wake;
	}
	xenbus->removal = (struct gd_loop_source){xenbus->removal.fd, removal_ready, xenbus};
	xenbus->env = (struct gd_device_env){.config = config,
					     .jobs = jobs,
					     .sizewatch = sizewatch,
					     .wake = xenbus->wake.fd,
					     .changed = device_changed};
	ret = gd_domains_open(&xenbus->env.domains);
	if (ret)
		goto close_removal;
	ret = gd_store_open(&xenbus->store);
	if (ret)
		goto close_domains;
	ret = gd_alone_take(gd_store_domid(xenbus->store));
	if (ret)
		goto close_store;
	xenbus->step = (struct gd_step){config, xenbus->store, &xenbus->devices, xenbus->removal.fd};
	xenbus->watch = (struct gd_loop_source){gd_store_fd(xenbus->store), watch_ready, xenbus};
	ret = sources_add(xenbus);
	if (ret)
		goto close_store;
	ledgers_sweep(xenbus, config->state_dir);
	*out = xenbus;
	return 0;

close_store:
	gd_store_close(xenbus->store);
close_domains:
	gd_domains_close(xenbus->env.domains);
close_removal:
	close(xenbus->removal.fd);
close_wake:
	close(xenbus->wake.fd);
free_xenbus:
	free(xenbus);
	return ret;
}

void gd_xenbus_close(struct gd_xenbus *xenbus)
{
	struct gd_device *device, *next;

	if (!xenbus)
		return;
	for (device = xenbus->devices; device; device = next) {
		next = device->next;
		gd_device_free(device);
	}
	if (!xenbus->lost)
		gd_loop_remove(xenbus->loop, &xenbus->watch);
	gd_loop_remove(xenbus->loop, &xenbus->removal);
	gd_loop_remove(xenbus->loop, &xenbus->wake);
	gd_store_close(xenbus->store);
	gd_domains_close(xenbus->env.domains);
	close(xenbus->removal.fd);
	close(xenbus->wake.fd);
	free(xenbus);
}

void gd_xenbus_stop(struct gd_xenbus *xenbus)
{
	xenbus->stopping = true;
	for (struct gd_device *device = xenbus->devices; device; device = device->next) {
		device->left = !xenbus->lost && gd_device_inheritable(device);
		if (device->left)
			gd_log(&device->log, GD_NOTICE, "left to the next grantiod: its guest waits for it");
		else if (device->phase == GD_DEVICE_SERVED || device->phase == GD_DEVICE_OPENED)
			gd_step_stop(&xenbus->step, device, "grantiod stops");
	}
}

bool gd_xenbus_idle(const struct gd_xenbus *xenbus)
{
	for (const struct gd_device *device = xenbus->devices; device; device = device->next)
		if (device->phase != GD_DEVICE_IDLE && !device->left)
			return false;
	return true;
}

bool gd_xenbus_leaves(const struct gd_xenbus *xenbus)
{
	for (const struct gd_device *device = xenbus->devices; device; device = device->next)
		if (device->left)
			return true;
	return false;
}

bool gd_xenbus_lost(const struct gd_xenbus *xenbus)
{
	return xenbus->lost;
}

void gd_xenbus_complain(struct gd_xenbus *xenbus)
{
	for (struct gd_device *device = xenbus->devices; device; device = device->next)
		if (device->phase != GD_DEVICE_IDLE && !device->left)
			gd_log(&device->log, GD_ERR, "%s does not end: left to the kernel",
			       device->phase == GD_DEVICE_OPENING ? "opening its image" : "closing its image");
}

/* ---- control -------------------------------------------------------------------------------------------------- */

static void device_refresh(struct gd_device *device)
{
	if (device->phase == GD_DEVICE_IDLE)
		device->dirty = true;
	else
		gd_device_refresh(device);
}

void gd_xenbus_refresh(struct gd_xenbus *xenbus)
{
	for (struct gd_device *device = xenbus->devices; device; device = device->next)
		device_refresh(device);
}

int gd_xenbus_refresh_one(struct gd_xenbus *xenbus, const char *name)
{
	char number[32];

	name += *name == 'd';
	for (struct gd_device *device = xenbus->devices; device; device = device->next) {
		snprintf(number, sizeof(number), "%u/%" PRIu32, device->id.domid, device->id.devid);
		if (strcmp(device->log.name + 1, name) && strcmp(number, name))
			continue;
		device_refresh(device);
		return 0;
	}
	return -ENOENT;
}

static const char *const phase_names[] = {[GD_DEVICE_IDLE] = "idle",
					  [GD_DEVICE_OPENING] = "opening",
					  [GD_DEVICE_OPENED] = "opening",
					  [GD_DEVICE_SERVED] = "served",
					  [GD_DEVICE_CLOSING] = "closing"};

void gd_xenbus_stats(struct gd_xenbus *xenbus, FILE *out)
{
	for (struct gd_device *device = xenbus->devices; device; device = device->next) {
		struct gd_vdev_stats stats = {0};

		fprintf(out, "%s phase=%s", device->log.name, phase_names[device->phase]);
		if (device->phase == GD_DEVICE_SERVED) {
			gd_vdev_stats(device->vdev, &stats);
			fprintf(out, " ioreqs=%" PRIu64, gd_domain_answered(&device->place));
#define STAT(name) fprintf(out, " " #name "=%" PRIu64, stats.name)
			STAT(requests), STAT(errors), STAT(bytes_read), STAT(bytes_written), STAT(batches), STAT(kicks);
			STAT(interrupts), STAT(syscalls), STAT(copy_calls), STAT(copy_ops), STAT(copy_hypercalls),
				STAT(resets), STAT(needs_reset);
#undef STAT
			fprintf(out, " status=%u target=%s", (unsigned)gd_vdev_status(device->vdev), device->target);
		}
		fputc('\n', out);
	}
}
