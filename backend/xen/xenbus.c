/* SPDX-License-Identifier: MIT */
#include "backend/xen/xenbus.h"
#include "backend/xen/device.h"
#include "backend/xen/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_A_TURN	1024 /* then the directories are read, and the loop has its turn */
#define REMOVAL_SECONDS 1

struct gd_xenbus {
	const struct gd_config *config;
	struct gd_loop *loop;
	struct gd_device_env env;
	struct gd_store *store;
	struct gd_loop_source watch, wake, removal;
	struct gd_device *devices;
	bool stopping, lost;
	/* To be read again: whole classes, domains of a class (a bit each), and devices by their own flag. */
	bool dirty_class[GD_CLASSES], dirty_domains;
	bool domains_changed; /* some have come or gone */
	uint8_t dirty_domain[GD_CLASSES][(GD_DOMID_MAX + 8) / 8];
};

/* ---- what is said of a device --------------------------------------------------------------------------------- */

/* Once, until it is another line. `node`: the toolstack is told as well, as xenbus backends do. */
static void complain(struct gd_xenbus *xenbus, struct gd_device *device, enum gd_level level, const char *text,
		     bool node)
{
	if (device->said && !strcmp(device->said, text))
		return;
	free(device->said);
	device->said = strdup(text); /* without memory it may be said twice */
	gd_log(&device->log, level, "%s", text);
	if (node || device->error_node)
		gd_store_error(xenbus->store, &device->id, node ? text : NULL);
	device->error_node = node;
}

static void complain_no_more(struct gd_xenbus *xenbus, struct gd_device *device)
{
	if (device->error_node)
		gd_store_error(xenbus->store, &device->id, NULL);
	device->error_node = false;
	free(device->said);
	device->said = NULL;
}

/* The name becomes known with the directory. */
static void device_name(struct gd_device *device, const struct gd_keys *keys)
{
	char name[32], *slash = strchr(device->log.name, '/');

	gd_keys_name(keys, &device->id, name, sizeof(name));
	if (!slash || strcmp(slash + 1, name))
		gd_log_init(&device->log, device->id.domid, name);
}

/* ---- one device, by its directory ----------------------------------------------------------------------------- */

static bool state_wanted(const struct gd_keys_life *life)
{
	return life->online && life->state < GD_STATE_CLOSING;
}

static int device_check(struct gd_xenbus *xenbus, const struct gd_device *device, const struct gd_keys *keys,
			struct gd_keys_device *out, char error[GD_KEYS_ERROR])
{
	const struct gd_keys_policy policy = {
		.backend = gd_store_domid(xenbus->store),
		.config_target = gd_config_disk(xenbus->config, device->id.domid, device->id.devid),
		.foreign = gd_config_foreign(xenbus->config, device->id.domid),
	};

	return gd_keys_device(keys, &device->id, &policy, out, error);
}

/* Not when the toolstack has changed it since it was read: then there is an event for that. */
static void state_change(struct gd_xenbus *xenbus, struct gd_device *device, unsigned from, unsigned to)
{
	int ret = gd_store_state(xenbus->store, &device->id, from, to, NULL);

	if (ret && ret != -ENOENT && ret != -EBUSY)
		gd_log(&device->log, GD_ERR, "state: cannot write %u: %s", to, strerror(-ret));
}

static void device_stop(struct gd_xenbus *xenbus, struct gd_device *device, const char *why)
{
	if (device->phase == GD_DEVICE_SERVED) {
		gd_log(&device->log, GD_INFO, "stopping: %s", why);
		gd_store_remove(xenbus->store, &device->id, GD_KEY_IOREQ_SERVER);
		gd_store_remove(xenbus->store, &device->id, GD_KEY_LEDGER);
		if (!device->keys.base)
			gd_store_front_unwatch(xenbus->store, &device->id);
	}
	gd_device_stop(device);
}

static bool keys_equal(const struct gd_keys_device *a, const struct gd_keys_device *b)
{
	return a->base == b->base && a->irq == b->irq && a->readonly == b->readonly && a->discard == b->discard &&
	       a->direct == b->direct && a->foreign == b->foreign && !strcmp(a->target, b->target);
}

/*
 * In a driver domain it is ours to remove the directory of a device that has ended: libxl waits for that, ten seconds,
 * once it has seen state 6. That it has seen it nothing says: it is given a second. If that is too short, xl complains
 * that the backend has vanished, and goes on all the same.
 */
static void removal_ask(struct gd_xenbus *xenbus, struct gd_device *device)
{
	const struct itimerspec when = {.it_value.tv_sec = REMOVAL_SECONDS};

	if (!gd_store_domid(xenbus->store) || device->leaving)
		return;
	device->leaving = true;
	timerfd_settime(xenbus->removal.fd, 0, &when, NULL); /* cannot fail: the descriptor and `when` are ours */
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

/* Not open. */
static void idle_step(struct gd_xenbus *xenbus, struct gd_device *device, const struct gd_keys *keys)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	struct gd_keys_device parsed;
	bool failed;
	int ret;

	device_name(device, keys);
	ret = gd_keys_life(keys, &life, error);
	if (!ret && life.state == GD_STATE_CLOSING) {
		complain_no_more(xenbus, device);
		state_change(xenbus, device, GD_STATE_CLOSING, GD_STATE_CLOSED);
		return;
	}
	if (!ret && life.state == GD_STATE_CLOSED && !life.online)
		removal_ask(xenbus, device);
	if (!ret && (!state_wanted(&life) || !gd_store_introduced(xenbus->store, device->id.domid)))
		return;
	if (!ret)
		ret = device_check(xenbus, device, keys, &parsed, error);
	if (ret) {
		complain(xenbus, device, ret == -EINVAL ? GD_ERR : GD_INFO, error, ret == -EINVAL);
		return;
	}
	failed = device->result && keys_equal(&parsed, &device->keys);
	device->result = 0; /* a change in the directory, and a refresh, try again */
	if (failed || gd_device_open(device, &parsed))
		complain(xenbus, device, GD_ERR, device->error, true);
}

/* Where its registers go: the toolstack's address, or one that no other device of the guest has; 0: there is none. */
static uint64_t base_choose(const struct gd_xenbus *xenbus, const struct gd_device *device)
{
	uint64_t used[(GD_FRONT_END - GD_FRONT_BASE) / GD_FRONT_STEP];
	size_t count = 0;

	if (device->keys.base)
		return device->keys.base;
	for (const struct gd_device *other = xenbus->devices; other; other = other->next)
		if (other->id.domid == device->id.domid && other->phase == GD_DEVICE_SERVED &&
		    count < sizeof(used) / sizeof(used[0]))
			used[count++] = other->base;
	return gd_front_base(gd_store_domid(xenbus->store), device->keys.former_base, used, count);
}

static void serving_say(struct gd_device *device)
{
	char irq[32] = "interrupts by event channel";

	if (device->keys.base)
		snprintf(irq, sizeof(irq), "irq %u", device->keys.irq);
	gd_log(&device->log, GD_INFO, "serving %s (%" PRIu64 " bytes, blocks of %u%s, at 0x%" PRIx64 ", %s)",
	       device->target, device->info.size, device->info.block_size, device->keys.readonly ? ", read-only" : "",
	       device->base, irq);
	if (device->keys.foreign)
		gd_log(&device->log, GD_WARN,
		       "grant_usage '0': serving without grants: any memory of the guest may be mapped here");
}

/* A failure is complained of when the device is IDLE again: see idle_step(). */
static void serve(struct gd_xenbus *xenbus, struct gd_device *device, unsigned state)
{
	uint64_t base = base_choose(xenbus, device);
	bool before = state != GD_STATE_INITIALISING; /* it was served before */
	struct gd_store_note note;
	int ret;

	if (!base)
		gd_device_fail(device, -ENOSPC, "no address is free for its registers");
	if (!base || gd_device_serve(device, base, before)) {
		device_stop(xenbus, device, "");
		return;
	}
	complain_no_more(xenbus, device); /* before the state tells the toolstack to look */
	note = (struct gd_store_note){.server = gd_domain_server(&device->place),
				      .ledger = device->ledger,
				      .base = device->keys.base ? 0 : (uint32_t)base};
	device->connected = device->resumed && state == GD_STATE_CONNECTED;
	ret = gd_store_state(xenbus->store, &device->id, state, device->resumed ? state : GD_STATE_INIT_WAIT, &note);
	if (!ret && !device->keys.base)
		ret = gd_store_front_watch(xenbus->store, &device->id);
	if (ret && ret != -ENOENT && ret != -EBUSY)
		gd_device_fail(device, ret, "cannot write its state");
	if (ret) {
		device_stop(xenbus, device, "its state has changed"); /* and look at its directory again */
		return;
	}
	serving_say(device);
	if (device->resumed)
		gd_log(&device->log, GD_NOTICE, "state %u: going on where a former grantiod ended", state);
	else if (before)
		gd_log(&device->log, GD_NOTICE, "state %u: served before: a driver that uses it must reset it", state);
}

/* The image is open: serve it, if that is still what the directory wants. */
static void opened_step(struct gd_xenbus *xenbus, struct gd_device *device, const struct gd_keys *keys)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	struct gd_keys_device parsed;

	if (keys && !gd_keys_life(keys, &life, error) && state_wanted(&life) &&
	    !device_check(xenbus, device, keys, &parsed, error) && keys_equal(&parsed, &device->keys))
		serve(xenbus, device, life.state);
	else
		device_stop(xenbus, device, ""); /* and begin again from its directory */
}

/*
 * A device that we chose the address of: what the guest's side wants, by its state (docs/xenbus.md). `state` is ours.
 * True when it has let go of the device.
 */
static bool front_step(struct gd_xenbus *xenbus, struct gd_device *device, unsigned state)
{
	char error[GD_KEYS_ERROR];
	struct gd_front_keys keys;
	struct gd_front front;
	bool inherited;
	int ret = gd_store_front_read(xenbus->store, &device->id, &keys);

	if (ret)
		snprintf(error, sizeof(error), "cannot read the guest's directory: %s", strerror(-ret));
	else
		ret = gd_front_parse(&keys, &front, error);
	gd_front_keys_free(&keys);
	/*
	 * In state 4 without an event channel of ours it is a former grantiod's. If we go on where that ended, and have
	 * stayed in state 4, it is ours now; else the guest begins anew.
	 */
	inherited = device->resumed && state == GD_STATE_CONNECTED;
	if (!ret && front.port && front.port != device->port &&
	    (front.state == GD_STATE_INITIALISED || device->port || inherited)) {
		ret = gd_device_bind(device, front.port);
		if (ret)
			snprintf(error, sizeof(error), "the guest's event-channel '%u': cannot bind it: %s", front.port,
				 strerror(-ret));
	}
	if (ret) {
		gd_log_guest(&device->log, GD_WARN, "%s", error);
		return false;
	}
	if (!front.port && device->port)
		gd_device_bind(device, 0);
	if (device->port && state == GD_STATE_INIT_WAIT)
		state_change(xenbus, device, GD_STATE_INIT_WAIT, GD_STATE_CONNECTED);
	else if (front.state == GD_STATE_INITIALISING && state == GD_STATE_CONNECTED)
		state_change(xenbus, device, GD_STATE_CONNECTED, GD_STATE_INIT_WAIT);
	return !front.port;
}

static void served_step(struct gd_xenbus *xenbus, struct gd_device *device, const struct gd_keys *keys)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	bool chosen = !device->keys.base;

	if (!keys) {
		device_stop(xenbus, device, "its directory has gone");
		return;
	}
	if (gd_keys_life(keys, &life, error)) {
		complain(xenbus, device, GD_WARN, error, false);
		return;
	}
	if (life.state == GD_STATE_INITIALISING)
		device_stop(xenbus, device, "its directory is a new one");
	else if (chosen && !front_step(xenbus, device, life.state))
		return; /* before it is removed the guest's driver lets go of it, or its directory is removed */
	else if (life.state == GD_STATE_CLOSING || life.state == GD_STATE_CLOSED)
		device_stop(xenbus, device, "the toolstack removes it");
	else if (!chosen && gd_device_driver_ok(device) && !device->connected) {
		device->connected = true;
		state_change(xenbus, device, life.state, GD_STATE_CONNECTED);
	}
}

/* False: the device is to be forgotten. */
static bool device_step(struct gd_xenbus *xenbus, struct gd_device *device)
{
	struct gd_keys keys;
	bool keep = true;
	int ret;

	if (device->phase == GD_DEVICE_OPENING || device->phase == GD_DEVICE_CLOSING)
		return true; /* it becomes dirty again when that has ended */
	ret = gd_store_read(xenbus->store, &device->id, &keys);
	if (ret && ret != -ENOENT) {
		gd_log(&device->log, GD_WARN, "cannot read its directory: %s", strerror(-ret));
		return true;
	}
	if (device->phase == GD_DEVICE_SERVED)
		served_step(xenbus, device, ret ? NULL : &keys);
	else if (device->phase == GD_DEVICE_OPENED)
		opened_step(xenbus, device, ret ? NULL : &keys);
	else if (!ret)
		idle_step(xenbus, device, &keys);
	else
		keep = false;
	gd_keys_free(&keys);
	return keep;
}

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
			device_stop(xenbus, device, "its domain has gone");
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
			if (!device_step(xenbus, device)) {
				*link = device->next;
				complain_no_more(xenbus, device);
				gd_device_free(device);
				continue;
			}
		} else if (xenbus->stopping && device->phase == GD_DEVICE_OPENED) {
			device_stop(xenbus, device, "");
		}
		link = &device->next;
	}
	domains_go(xenbus);
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

int gd_xenbus_open(struct gd_xenbus **out, const struct gd_config *config, struct gd_loop *loop, struct gd_jobs *jobs,
		   struct gd_sizewatch *sizewatch)
{
	struct gd_xenbus *xenbus = calloc(1, sizeof(*xenbus));
	int ret;

	if (!xenbus)
		return -ENOMEM;
	xenbus->config = config;
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
	xenbus->watch = (struct gd_loop_source){gd_store_fd(xenbus->store), watch_ready, xenbus};
	ret = sources_add(xenbus);
	if (ret)
		goto close_store;
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
			device_stop(xenbus, device, "grantiod stops");
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
			fprintf(out, " target=%s", device->target);
		}
		fputc('\n', out);
	}
}
