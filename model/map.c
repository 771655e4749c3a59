/* SPDX-License-Identifier: MIT */
/* Grant mappings: pins for a run of references, and one range of memory over their frames. */
#include "model/grant.h"
#include "model/attach.h"
#include "model/lock.h"
#include "model/notify.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* A walk over a run: the attachment of the domain whose grant_lock is held now. */
struct walk {
	struct gm_machine *m;
	struct gm_attach *attach; /* NULL: no lock is held */
};

static uint16_t run_domid(const struct gm_run *run, uint32_t i)
{
	return (uint16_t)run->domids[run->one_domain ? 0 : i];
}

/* Never two domains' locks at once: a run over several domains changes the lock at each border. */
static void walk_leave(struct walk *w)
{
	if (w->attach)
		gm_grant_unlock(w->m, w->attach->domid);
	gm_attach_put(w->m, w->attach);
	w->attach = NULL;
}

static bool walk_enter(struct walk *w, uint32_t domid)
{
	if (w->attach && w->attach->domid == domid)
		return true;
	walk_leave(w);
	w->attach = domid < GM_MAX_DOMAINS ? gm_attach_get(w->m, (uint16_t)domid) : NULL;
	if (w->attach)
		gm_grant_lock(w->m, w->attach);
	return w->attach;
}

/* Pin every reference by its track; the frames go to `frames`. Returns how many references, in order, succeeded. */
static uint32_t run_pin(struct gm_machine *m, const struct gm_run *run, const uint32_t *tracks, uint64_t *frames)
{
	struct walk w = {.m = m};
	uint32_t i;

	for (i = 0; i < run->count; i++) {
		struct gm_pin pin = {.ref = run->refs[i], .write = run->prot & PROT_WRITE, .track = tracks[i]};

		if (!walk_enter(&w, run->domids[run->one_domain ? 0 : i]))
			break;
		pin.attach = w.attach;
		if (gm_grant_pin(m, &pin))
			break;
		frames[i] = pin.frame;
	}
	walk_leave(&w);
	return i;
}

/* How many pages from `i` on are consecutive frames of one domain. */
static uint32_t pages_together(const struct gm_run *run, const uint64_t *frames, uint32_t i)
{
	uint32_t n = 1;

	while (i + n < run->count && frames[i + n] == frames[i] + n && run_domid(run, i + n) == run_domid(run, i))
		n++;
	return n;
}

/* Such pages become one mmap. */
static int pages_place(struct gm_machine *m, uint8_t *addr, const struct gm_run *run, const uint64_t *frames)
{
	for (uint32_t i = 0, n; i < run->count; i += n) {
		struct gm_attach *a = gm_attach_get(m, run_domid(run, i));
		void *p;
		int err;

		n = pages_together(run, frames, i);
		if (!a)
			return -EINVAL; /* cannot be: our pins keep the domain's files */
		/* Read-only by descriptor, so that mprotect cannot make more of it. */
		p = mmap(addr + (size_t)i * GM_PAGE_SIZE, (size_t)n * GM_PAGE_SIZE, run->prot, MAP_SHARED | MAP_FIXED,
			 run->prot & PROT_WRITE ? a->ram_fd : a->ram_ro_fd, (off_t)(frames[i] * GM_PAGE_SIZE));
		err = p == MAP_FAILED ? -errno : 0;
		gm_attach_put(m, a);
		if (err)
			return err;
	}
	return 0;
}

static uint8_t *pages_map(struct gm_machine *m, const struct gm_run *run, const uint64_t *frames)
{
	size_t bytes = (size_t)run->count * GM_PAGE_SIZE;
	uint8_t *addr = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (addr == MAP_FAILED)
		return NULL;
	if (pages_place(m, addr, run, frames)) {
		munmap(addr, bytes);
		return NULL;
	}
	madvise(addr, bytes, MADV_DONTFORK); /* as gntdev: a child has no part in its parent's mappings */
	return addr;
}

static void mapping_free(struct gm_mapping *mapping)
{
	if (mapping)
		free(mapping->tracks);
	free(mapping);
}

/* Tracks are taken before anything is pinned, so that a pin never lacks the place where it is noted. */
static struct gm_mapping *mapping_new(struct gm_machine *m, uint32_t count)
{
	struct gm_mapping *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	map->count = count;
	map->tracks = malloc(count * sizeof(*map->tracks));
	if (map->tracks && gm_tracks_take(m, count, map->tracks))
		return map;
	mapping_free(map);
	return NULL;
}

static void tracks_drop(struct gm_machine *m, uint32_t n, const uint32_t *tracks)
{
	for (uint32_t i = 0; i < n; i++)
		gm_track_drop(m, m->proc, tracks[i]);
}

/*
 * Pins come before pages: a frame that is mapped must not be given back meanwhile. Counts are those of gntdev, which
 * makes one hypercall however many references it maps.
 */
int gm_grant_map(struct gm_machine *machine, const struct gm_run *run, struct gm_mapping **out)
{
	uint32_t count = run->count, pinned;
	struct gm_mapping *map;
	uint64_t *frames;
	int err = -ENOMEM;

	if (!count || count > GM_MAX_TRACKS)
		return -EINVAL;
	map = mapping_new(machine, count);
	if (!map)
		return -ENOMEM;
	frames = malloc(count * sizeof(*frames));
	if (!frames)
		goto err_tracks;
	GM_COUNT(machine, hypercalls, 1);
	GM_COUNT(machine, grant_maps, 1);
	pinned = run_pin(machine, run, map->tracks, frames);
	if (pinned < count) {
		GM_COUNT(machine, grants_refused, 1);
		err = -EINVAL; /* gntdev says the same whatever the status was */
		goto err_pins;
	}
	GM_COUNT(machine, pages_mapped, count);
	map->addr = pages_map(machine, run, frames);
	if (!map->addr)
		goto err_pins;
	free(frames);
	*out = map;
	return 0;

err_pins:
	tracks_drop(machine, pinned, map->tracks);
	free(frames);
err_tracks:
	gm_tracks_give(machine, count, map->tracks);
	mapping_free(map);
	return err;
}

/* Pages go before pins, for the same reason the other way round. */
void gm_grant_unmap(struct gm_machine *machine, struct gm_mapping *mapping)
{
	GM_COUNT(machine, hypercalls, 1);
	GM_COUNT(machine, grant_unmaps, 1);
	munmap(mapping->addr, (size_t)mapping->count * GM_PAGE_SIZE);
	tracks_drop(machine, mapping->count, mapping->tracks);
	gm_tracks_give(machine, mapping->count, mapping->tracks);
	mapping_free(mapping);
}

int gm_grant_notify(struct gm_machine *machine, const struct gm_mapping *mapping, uint32_t offset, uint32_t port)
{
	bool inside = offset / GM_PAGE_SIZE < mapping->count;

	return gm_notify_add(machine, mapping->tracks[inside ? offset / GM_PAGE_SIZE : 0],
			     inside ? offset % GM_PAGE_SIZE : GM_PAGE_SIZE, port);
}
