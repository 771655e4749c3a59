/* SPDX-License-Identifier: MIT */
/*
 * The guest library's system (grantio/os.h) on a guest of the Xen model: pages come from the guest's RAM, so that they
 * can be granted; bookkeeping comes from malloc, so that it cannot.
 */
#include <grantio/os.h>
#include "guest/os/model.h"
#include "guest/os/ports.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct page {
	uint32_t holds;
	bool allocated;
};

struct gio_os {
	struct gm_guest *guest;
	int patience_ms;
	bool unanswered; /* atomic */
	struct ports ports;
	uint8_t *ram;
	size_t npages;
	pthread_mutex_t lock; /* all below */
	struct page *pages;
	size_t used; /* allocated or held */
	size_t next; /* where to look first */
};

int gio_os_model_open(struct gio_os **os, struct gm_guest *guest)
{
	struct gio_os *o = calloc(1, sizeof(*o));
	size_t bytes;

	if (!o)
		return -ENOMEM;
	o->guest = guest;
	o->patience_ms = -1;
	o->ram = gm_guest_ram(guest, &bytes);
	o->npages = bytes / GIO_PAGE_SIZE;
	o->pages = calloc(o->npages, sizeof(*o->pages));
	o->next = 1; /* frame 0 is never given out: no valid address is 0 */
	if (!o->pages) {
		free(o);
		return -ENOMEM;
	}
	pthread_mutex_init(&o->lock, NULL);
	gio_os_ports_init(&o->ports, guest);
	*os = o;
	return 0;
}

void gio_os_model_close(struct gio_os *os)
{
	if (!os)
		return;
	gio_os_ports_exit(&os->ports);
	pthread_mutex_destroy(&os->lock);
	free(os->pages);
	free(os);
}

size_t gio_os_model_pages_used(struct gio_os *os)
{
	size_t used;

	pthread_mutex_lock(&os->lock);
	used = os->used;
	pthread_mutex_unlock(&os->lock);
	return used;
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

/* Bookkeeping is ordinary memory of the process: it lies outside of the guest's RAM, so that no grant can reach it. */
void *gio_os_alloc(struct gio_os *os, size_t bytes)
{
	(void)os;
	return calloc(1, bytes);
}

void gio_os_free(struct gio_os *os, void *p, size_t bytes)
{
	(void)os, (void)bytes;
	free(p);
}

/* A page that was freed stays in use for as long as somebody holds it: its grant has not ended yet. */
static bool page_free(const struct page *page)
{
	return !page->allocated && !page->holds;
}

/* With the lock held: the first of `n` free pages in a row, looked for from `from` up to `to`; 0: none. */
static size_t run_find(const struct gio_os *os, size_t n, size_t from, size_t to)
{
	size_t run = 0;

	for (size_t i = from; i < to; i++) {
		run = page_free(&os->pages[i]) ? run + 1 : 0;
		if (run == n)
			return i + 1 - n;
	}
	return 0;
}

/*
 * The search goes on where the last one ended, so that a guest which allocates and frees in turn does not look at all
 * of its RAM each time. Pages are cleared, as the interface promises.
 */
void *gio_os_pages_alloc(struct gio_os *os, size_t npages)
{
	size_t at = 0;

	if (!npages || npages >= os->npages)
		return NULL;
	pthread_mutex_lock(&os->lock);
	at = run_find(os, npages, os->next, os->npages);
	if (!at)
		at = run_find(os, npages, 1, os->npages);
	if (at) {
		for (size_t i = at; i < at + npages; i++)
			os->pages[i].allocated = true;
		os->used += npages;
		os->next = at + npages;
	}
	pthread_mutex_unlock(&os->lock);
	return at ? memset(os->ram + at * GIO_PAGE_SIZE, 0, npages * GIO_PAGE_SIZE) : NULL;
}

void gio_os_pages_free(struct gio_os *os, void *va, size_t npages)
{
	size_t at;

	if (!va)
		return;
	at = (size_t)gio_os_gfn(os, va);
	pthread_mutex_lock(&os->lock);
	for (size_t i = at; i < at + npages; i++) {
		os->pages[i].allocated = false;
		os->used -= !os->pages[i].holds;
	}
	if (at < os->next)
		os->next = at; /* what was used last is warm */
	pthread_mutex_unlock(&os->lock);
}

/* RAM begins at frame 0, so that an address within it says which frame it is in. */
gio_gfn_t gio_os_gfn(struct gio_os *os, const void *va)
{
	return (gio_gfn_t)((size_t)((const uint8_t *)va - os->ram) / GIO_PAGE_SIZE);
}

void gio_os_page_get(struct gio_os *os, gio_gfn_t gfn)
{
	if (gfn >= os->npages)
		return;
	pthread_mutex_lock(&os->lock);
	os->used += page_free(&os->pages[gfn]);
	os->pages[gfn].holds++;
	pthread_mutex_unlock(&os->lock);
}

void gio_os_page_put(struct gio_os *os, gio_gfn_t gfn)
{
	if (gfn >= os->npages)
		return;
	pthread_mutex_lock(&os->lock);
	os->pages[gfn].holds--;
	if (page_free(&os->pages[gfn])) {
		os->used--;
		if (gfn < os->next)
			os->next = (size_t)gfn;
	}
	pthread_mutex_unlock(&os->lock);
}

/* ---- locks -------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct gio_lock), "struct gio_lock has room for a mutex");
_Static_assert(_Alignof(pthread_mutex_t) <= _Alignof(struct gio_lock), "and is aligned for one");

static pthread_mutex_t *mutex_of(struct gio_lock *lock)
{
	return (pthread_mutex_t *)(void *)lock->opaque;
}

void gio_os_lock_init(struct gio_lock *lock)
{
	pthread_mutex_init(mutex_of(lock), NULL);
}

void gio_os_lock_exit(struct gio_lock *lock)
{
	pthread_mutex_destroy(mutex_of(lock));
}

void gio_os_lock(struct gio_lock *lock)
{
	pthread_mutex_lock(mutex_of(lock));
}

void gio_os_unlock(struct gio_lock *lock)
{
	pthread_mutex_unlock(mutex_of(lock));
}

/* ---- grant table and devices -------------------------------------------------------------------------------- */

/* The model's errors are those of the host; the guest library has numbers of its own (grantio/types.h). */
int gio_os_grant_table(struct gio_os *os, uint32_t entries, struct gio_os_grant_table *out)
{
	struct gm_grant_table table;
	int err = gm_guest_grant_table(os->guest, entries, &table);

	if (err)
		return err == -ENOSPC ? -GIO_ENOSPC : -GIO_ENOMEM;
	*out = (struct gio_os_grant_table){.shared = table.shared,
					   .status = table.status,
					   .entries = table.entries,
					   .max = table.max,
					   .version = table.version};
	return 0;
}

void gio_os_model_patience(struct gio_os *os, int timeout_ms)
{
	os->patience_ms = timeout_ms;
}

/*
 * After an access that was not answered in time, all others fail at once. A program that closes its disk then ends
 * instead of waiting once per register.
 */
static int mmio(struct gio_os *os, uint64_t addr, unsigned size, bool write, uint64_t *value)
{
	int err;

	if (__atomic_load_n(&os->unanswered, __ATOMIC_RELAXED))
		return -ETIMEDOUT;
	err = gm_guest_mmio(os->guest, addr, size, write, value, os->patience_ms);
	if (err == -ETIMEDOUT)
		__atomic_store_n(&os->unanswered, true, __ATOMIC_RELAXED);
	return err;
}

uint32_t gio_os_mmio_read(struct gio_os *os, uint64_t addr, unsigned size)
{
	uint64_t value = UINT32_MAX;

	/* A machine that is going down reads as ones, like a bus with nobody on it. */
	if (mmio(os, addr, size, false, &value))
		return UINT32_MAX;
	return (uint32_t)value;
}

void gio_os_mmio_write(struct gio_os *os, uint64_t addr, unsigned size, uint32_t value)
{
	uint64_t v = value;

	(void)mmio(os, addr, size, true, &v);
}

/* ---- event channels and time -------------------------------------------------------------------------------- */

int gio_os_port_open(struct gio_os *os, gio_domid_t remote, uint32_t *port)
{
	return gio_os_ports_bind(&os->ports, remote, port) ? -GIO_ENOSPC : 0;
}

void gio_os_port_close(struct gio_os *os, uint32_t port)
{
	(void)gio_os_ports_close(&os->ports, port); /* the library closes what it has opened */
}

void gio_os_port_send(struct gio_os *os, uint32_t port)
{
	(void)gio_os_ports_send(&os->ports, port); /* a port that is gone hears nothing */
}

bool gio_os_port_wait(struct gio_os *os, uint32_t port, unsigned ms)
{
	return gio_os_ports_wait(&os->ports, port, (int)ms);
}

int gio_os_model_ports_wait(struct gio_os *os, uint32_t *ports, unsigned max, int timeout_ms)
{
	return gio_os_ports_wait_any(&os->ports, ports, max, timeout_ms);
}

void gio_os_model_ports_wake(struct gio_os *os)
{
	gio_os_ports_wake(&os->ports);
}

struct ports *gio_os_model_ports(struct gio_os *os)
{
	return &os->ports;
}

uint64_t gio_os_now_ms(struct gio_os *os)
{
	struct timespec t;

	(void)os;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
