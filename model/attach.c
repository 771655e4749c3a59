/* SPDX-License-Identifier: MIT */
/*
 * What one process has mapped of each domain. A domain id can be destroyed and given out again while another thread
 * still uses the old domain's memory, so an attachment belongs to one epoch of the id and lives until its last user
 * puts it.
 */
#include "model/attach.h"
#include "model/files.h"
#include "model/lock.h"

#include <fcntl.h>
#include <unistd.h>

static size_t bytes_of(const struct gm_attach *a, enum gm_file file)
{
	return gm_file_bytes(file, a->ram_frames, a->max_frames);
}

/* NULL when there is no file, or nothing in it. */
static void *map(int fd, const struct gm_attach *a, enum gm_file file)
{
	return fd >= 0 && bytes_of(a, file) ? gm_map_shared(fd, bytes_of(a, file)) : NULL;
}

/* Files are unmapped at the end only: pointers into them are handed out to callers without a lock. */
static void attach_free(struct gm_attach *a)
{
	gm_unmap_shared(a->ram, bytes_of(a, GM_FILE_RAM));
	gm_unmap_shared(a->grants, bytes_of(a, GM_FILE_GRANTS));
	gm_unmap_shared(a->active, bytes_of(a, GM_FILE_ACTIVE));
	gm_unmap_shared(a->io, bytes_of(a, GM_FILE_IOREQ));
	if (a->ram_fd >= 0)
		close(a->ram_fd);
	if (a->ram_ro_fd >= 0)
		close(a->ram_ro_fd);
	if (a->io_fd >= 0)
		close(a->io_fd);
	if (a->grant_fd >= 0)
		close(a->grant_fd);
	free(a);
}

/*
 * Map all of the domain's files. RAM is opened read-only, too, so that mprotect() cannot make a read-only grant mapping
 * writable.
 */
static bool attach_map(struct gm_machine *machine, struct gm_attach *a)
{
	int active_fd = gm_file_open(machine, a->domid, GM_FILE_ACTIVE, O_RDWR);

	a->ram_fd = gm_file_open(machine, a->domid, GM_FILE_RAM, O_RDWR);
	a->ram_ro_fd = gm_file_open(machine, a->domid, GM_FILE_RAM, O_RDONLY);
	a->io_fd = gm_file_open(machine, a->domid, GM_FILE_IOREQ, O_RDWR);
	a->grant_fd = gm_file_open(machine, a->domid, GM_FILE_GRANTS, O_RDWR);
	a->active = map(active_fd, a, GM_FILE_ACTIVE);
	a->ram = map(a->ram_fd, a, GM_FILE_RAM);
	a->grants = map(a->grant_fd, a, GM_FILE_GRANTS);
	a->io = map(a->io_fd, a, GM_FILE_IOREQ);
	if (active_fd >= 0)
		close(active_fd);
	return (a->ram || !a->ram_frames) && a->ram_ro_fd >= 0 && a->grants && a->active && a->io;
}

/* With machine->lock held. NULL also when the domain goes while we map it. */
static struct gm_attach *attach_new(struct gm_machine *machine, uint16_t domid, uint32_t epoch)
{
	struct gm_domain *d = gm_dom(machine, domid);
	struct gm_attach *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->domid = domid;
	a->epoch = epoch;
	a->ram_frames = d->ram_frames;
	a->max_frames = d->max_frames;
	a->ram_fd = a->ram_ro_fd = a->io_fd = a->grant_fd = -1;
	/* The epoch is read again: had the id changed hands meanwhile, we would hold another domain's files. */
	if (!attach_map(machine, a) || __atomic_load_n(&d->epoch, __ATOMIC_ACQUIRE) != epoch) {
		attach_free(a);
		return NULL;
	}
	return a;
}

/* An attachment is stale when its domain has gone, or when its id has become another domain's. */
static bool attach_stale(struct gm_machine *machine, const struct gm_attach *a)
{
	return machine->attach[a->domid] != a || gm_dom_state(machine, a->domid) == GM_DOMAIN_NONE ||
	       __atomic_load_n(&gm_dom(machine, a->domid)->epoch, __ATOMIC_ACQUIRE) != a->epoch;
}

/* With machine->lock held: forget `a` if the domain has gone and nobody uses it. */
static void attach_drop_stale(struct gm_machine *machine, struct gm_attach *a)
{
	if (a->refs || !attach_stale(machine, a))
		return;
	if (machine->attach[a->domid] == a)
		machine->attach[a->domid] = NULL;
	attach_free(a);
}

/*
 * The list keeps one attachment per domain id. A stale one leaves the list at once, so that nobody gets it again, but
 * is freed only when the references that were handed out before have come back.
 */
struct gm_attach *gm_attach_get(struct gm_machine *machine, uint16_t domid)
{
	struct gm_attach *a;

	if (gm_dom_state(machine, domid) == GM_DOMAIN_NONE)
		return NULL;
	pthread_mutex_lock(&machine->lock);
	a = machine->attach[domid];
	if (a && attach_stale(machine, a)) {
		machine->attach[domid] = NULL; /* its last user frees it */
		if (!a->refs)
			attach_free(a);
		a = NULL;
	}
	if (!a) {
		a = attach_new(machine, domid, __atomic_load_n(&gm_dom(machine, domid)->epoch, __ATOMIC_ACQUIRE));
		machine->attach[domid] = a;
	}
	if (a)
		a->refs++;
	pthread_mutex_unlock(&machine->lock);
	return a;
}

void gm_attach_put(struct gm_machine *machine, struct gm_attach *attach)
{
	if (!attach)
		return;
	pthread_mutex_lock(&machine->lock);
	attach->refs--;
	attach_drop_stale(machine, attach);
	pthread_mutex_unlock(&machine->lock);
}

void gm_attach_sweep(struct gm_machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++)
		if (machine->attach[i])
			attach_drop_stale(machine, machine->attach[i]);
	pthread_mutex_unlock(&machine->lock);
}

void gm_attach_end(struct gm_machine *machine)
{
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++)
		if (machine->attach[i])
			attach_free(machine->attach[i]);
}

void gm_domain_reap(struct gm_machine *machine, uint16_t domid)
{
	struct gm_domain *d = gm_dom(machine, domid);
	struct gm_attach *a;
	bool idle;

	if (gm_dom_state(machine, domid) != GM_DOMAIN_DYING)
		return;
	a = gm_attach_get(machine, domid);
	if (a)
		gm_grant_lock(machine, a);
	idle = !d->active_count && !d->foreign_count;
	if (idle) {
		gm_files_remove(machine, domid);
		__atomic_store_n(&d->state, GM_DOMAIN_NONE, __ATOMIC_RELEASE);
	}
	if (a)
		gm_grant_unlock(machine, domid);
	gm_attach_put(machine, a);
}

void gm_domain_let_go(struct gm_machine *machine, uint16_t domid)
{
	if (gm_dom_state(machine, domid) != GM_DOMAIN_DYING)
		return;
	gm_big_lock(machine);
	gm_domain_reap(machine, domid);
	gm_big_unlock(machine);
}
