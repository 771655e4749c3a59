/* SPDX-License-Identifier: MIT */
/* Grant mappings: pins for a run of references, and one range of memory over their frames. */
#include "model/grant.h"
#include "model/attach.h"
#include "model/lock.h"
#include "model/notify.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* A run being mapped: which domain's lock is held now, and how far it has come. */
struct run {
	struct gm_machine *m;
	struct gm_attach *attach; /* of the reference looked at last; its grant_lock is held */
	uint32_t refused;
};

static void run_leave(struct run *r)
{
	if (r->attach)
		gm_grant_unlock(r->m, r->attach->domid);
	gm_attach_put(r->m, r->attach);
	r->attach = NULL;
}

static bool run_enter(struct run *r, uint32_t domid)
{
	if (r->attach && r->attach->domid == domid)
		return true;
	run_leave(r);
	r->attach = domid < GM_MAX_DOMAINS ? gm_attach_get(r->m, (uint16_t)domid) : NULL;
	if (r->attach)
		gm_grant_lock(r->m, r->attach);
	return r->attach;
}

/* Pin every reference; frames and their domains go to `frames` and `from`. How many succeeded, in order. */
static uint32_t run_pin(struct run *r, uint32_t count, const uint32_t *domids, bool one, const uint32_t *refs,
			bool write, const uint32_t *tracks, uint64_t *frames)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct gm_pin pin;

		if (!run_enter(r, domids[one ? 0 : i]) ||
		    gm_grant_pin(r->m, r->attach, refs[i], write, false, tracks[i], &pin))
			break;
		frames[i] = pin.frame;
	}
	run_leave(r);
	return i;
}

/* Pages of consecutive frames of one domain become one mmap. */
static int pages_place(struct gm_machine *m, uint8_t *addr, uint32_t count, const uint32_t *domids, bool one,
		       const uint64_t *frames, int prot)
{
	for (uint32_t i = 0, n; i < count; i += n) {
		uint16_t domid = (uint16_t)domids[one ? 0 : i];
		struct gm_attach *a = gm_attach_get(m, domid);
		void *p;
		int err;

		for (n = 1; i + n < count && frames[i + n] == frames[i] + n && (one || domids[i + n] == domid); n++)
			;
		if (!a)
			return -EINVAL; /* cannot be: our pins keep the domain's files */
		/* Read-only by descriptor, so that mprotect cannot make more of it. */
		p = mmap(addr + (size_t)i * GM_PAGE_SIZE, (size_t)n * GM_PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED,
			 prot & PROT_WRITE ? a->ram_fd : a->ram_ro_fd, (off_t)(frames[i] * GM_PAGE_SIZE));
		err = p == MAP_FAILED ? -errno : 0;
		gm_attach_put(m, a);
		if (err)
			return err;
	}
	return 0;
}

static uint8_t *pages_map(struct gm_machine *m, uint32_t count, const uint32_t *domids, bool one,
			  const uint64_t *frames, int prot)
{
	size_t bytes = (size_t)count * GM_PAGE_SIZE;
	uint8_t *addr = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (addr == MAP_FAILED)
		return NULL;
	if (pages_place(m, addr, count, domids, one, frames, prot)) {
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

int gm_grant_map(struct gm_machine *machine, uint32_t count, const uint32_t *domids, bool one_domain,
		 const uint32_t *refs, int prot, struct gm_mapping **out)
{
	struct run r = {.m = machine};
	struct gm_mapping *map;
	uint64_t *frames;
	uint32_t pinned;
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
	pinned = run_pin(&r, count, domids, one_domain, refs, prot & PROT_WRITE, map->tracks, frames);
	if (pinned < count) {
		GM_COUNT(machine, grants_refused, 1);
		err = -EINVAL; /* gntdev says the same whatever the status was */
		goto err_pins;
	}
	GM_COUNT(machine, pages_mapped, count);
	map->addr = pages_map(machine, count, domids, one_domain, frames, prot);
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
