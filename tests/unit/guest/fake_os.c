/* SPDX-License-Identifier: MIT */
#include "tests/unit/guest/fake_os_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Before each allocation: finds frees of what was never allocated, or with a wrong size. */
struct chunk {
	struct chunk *next, *prev;
	size_t bytes;
	size_t pad; /* keeps the user's memory aligned to 16 */
};

static __thread unsigned locks_held;

static void *host_alloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		fprintf(stderr, "fake_os: no memory for %zu * %zu bytes\n", n, size);
		exit(1);
	}
	return p;
}

static void *host_pages(size_t n)
{
	void *p = aligned_alloc(GIO_PAGE_SIZE, n * GIO_PAGE_SIZE);

	if (!p) {
		fprintf(stderr, "fake_os: no memory for %zu pages\n", n);
		exit(1);
	}
	return memset(p, 0, n * GIO_PAGE_SIZE);
}

void fake_os_mistake(struct gio_os *os, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("fake_os: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	__atomic_fetch_add(&os->mistakes, 1, __ATOMIC_RELAXED);
}

/* Calls that may sleep. */
static void may_sleep(struct gio_os *os, const char *what)
{
	if (locks_held)
		fake_os_mistake(os, "%s with a lock held", what);
}

/* Under the lock. */
static bool fails_one(struct gio_os *os, enum fake_fault fault)
{
	if (!os->fail[fault] || --os->fail[fault])
		return false;
	os->struck[fault] = true;
	return true;
}

static bool fails(struct gio_os *os, enum fake_fault fault)
{
	bool one = fails_one(os, fault);

	return fails_one(os, FAKE_ANY) || one;
}

static uint32_t entries_per_frame(const struct gio_os *os)
{
	return GIO_PAGE_SIZE / (os->config.version == 1 ? 8 : 16);
}

struct gio_os *fake_os_new(const struct fake_os_config *config)
{
	struct gio_os *os = host_alloc(1, sizeof(*os));

	if (config)
		os->config = *config;
	os->config.pages = os->config.pages ? (os->config.pages + 1) & ~(size_t)1 : 256;
	os->config.version = os->config.version ? os->config.version : 1;
	os->config.frames = os->config.frames ? os->config.frames : 1;
	os->config.max_frames = os->config.max_frames ? os->config.max_frames : 4;
	os->config.gfn_base = os->config.gfn_base ? os->config.gfn_base : 0x40000;
	os->arena = host_pages(os->config.pages);
	os->pages = host_alloc(os->config.pages, sizeof(*os->pages));
	os->entries = os->config.frames * entries_per_frame(os);
	os->max_entries = os->config.max_frames * entries_per_frame(os);
	os->table = host_pages(os->config.max_frames);
	os->status = os->config.version == 2 ? host_alloc(os->max_entries, sizeof(*os->status)) : NULL;
	os->pins = host_alloc(os->max_entries, sizeof(*os->pins));
	pthread_mutex_init(&os->lock, NULL);
	pthread_mutex_init(&os->peer_lock, NULL);
	return os;
}

static void find_leaks(struct gio_os *os)
{
	struct fake_os_counts c;

	fake_os_count(os, &c);
	if (c.allocs)
		fake_os_mistake(os, "%zu allocations leaked, %zu bytes", c.allocs, c.bytes);
	if (c.pages)
		fake_os_mistake(os, "%zu pages leaked", c.pages);
	if (c.holds)
		fake_os_mistake(os, "%zu page holds leaked", c.holds);
	if (c.active)
		fake_os_mistake(os, "%zu grants are still active", c.active);
	if (c.ports)
		fake_os_mistake(os, "%zu ports leaked", c.ports);
	if (fake_peer_pins(os))
		fake_os_mistake(os, "the test left %zu grants pinned", fake_peer_pins(os));
}

unsigned fake_os_delete(struct gio_os *os)
{
	unsigned mistakes;

	find_leaks(os);
	mistakes = os->mistakes;
	while (os->chunks) {
		struct chunk *next = os->chunks->next;

		free(os->chunks);
		os->chunks = next;
	}
	pthread_mutex_destroy(&os->peer_lock);
	pthread_mutex_destroy(&os->lock);
	free(os->pins);
	free(os->status);
	free(os->table);
	free(os->pages);
	free(os->arena);
	free(os);
	return mistakes;
}

unsigned fake_os_mistakes(struct gio_os *os)
{
	return __atomic_load_n(&os->mistakes, __ATOMIC_RELAXED);
}

void fake_os_fail(struct gio_os *os, enum fake_fault fault, unsigned n)
{
	pthread_mutex_lock(&os->lock);
	os->fail[fault] = n;
	os->struck[fault] = false;
	pthread_mutex_unlock(&os->lock);
}

bool fake_os_struck(struct gio_os *os, enum fake_fault fault)
{
	bool struck;

	pthread_mutex_lock(&os->lock);
	struck = os->struck[fault];
	pthread_mutex_unlock(&os->lock);
	return struck;
}

uint16_t *fake_os_flags(struct gio_os *os, gio_gref_t ref)
{
	return os->config.version == 1 ? &((struct gio_grant_entry_v1 *)os->table)[ref].flags
				       : &((union gio_grant_entry_v2 *)os->table)[ref].hdr.flags;
}

void fake_os_count(struct gio_os *os, struct fake_os_counts *out)
{
	pthread_mutex_lock(&os->lock);
	*out = (struct fake_os_counts){.allocs = os->allocs,
				       .bytes = os->bytes,
				       .holds = os->holds,
				       .grows = os->grows,
				       .entries = os->entries};
	for (size_t i = 0; i < os->config.pages; i++)
		out->pages += os->pages[i].allocated || os->pages[i].holds;
	for (uint32_t i = 0; i < FAKE_OS_PORTS; i++)
		out->ports += os->port[i].open;
	for (uint32_t i = 0; i < os->entries; i++)
		out->active += (__atomic_load_n(fake_os_flags(os, i), __ATOMIC_RELAXED) & GIO_GTF_TYPE_MASK) != 0;
	pthread_mutex_unlock(&os->lock);
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

void *gio_os_alloc(struct gio_os *os, size_t bytes)
{
	struct chunk *c = NULL;

	may_sleep(os, "gio_os_alloc");
	pthread_mutex_lock(&os->lock);
	if (!fails(os, FAKE_ALLOC)) {
		c = host_alloc(1, sizeof(*c) + bytes);
		c->bytes = bytes;
		c->next = os->chunks;
		if (os->chunks)
			os->chunks->prev = c;
		os->chunks = c;
		os->allocs++;
		os->bytes += bytes;
	}
	pthread_mutex_unlock(&os->lock);
	return c ? c + 1 : NULL;
}

void gio_os_free(struct gio_os *os, void *p, size_t bytes)
{
	struct chunk *c;

	if (!p)
		return;
	pthread_mutex_lock(&os->lock);
	for (c = os->chunks; c && c + 1 != p; c = c->next)
		;
	if (!c || c->bytes != bytes) {
		fake_os_mistake(os, "gio_os_free of %zu bytes at %p, which is %s", bytes, p,
				c ? "of another size" : "not allocated");
	} else {
		if (c->prev)
			c->prev->next = c->next;
		else
			os->chunks = c->next;
		if (c->next)
			c->next->prev = c->prev;
		os->allocs--;
		os->bytes -= bytes;
		free(c);
	}
	pthread_mutex_unlock(&os->lock);
}

static bool pages_free(const struct gio_os *os, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		if (os->pages[i].allocated || os->pages[i].holds)
			return false;
	return true;
}

void *gio_os_pages_alloc(struct gio_os *os, size_t npages)
{
	char *va = NULL;

	may_sleep(os, "gio_os_pages_alloc");
	pthread_mutex_lock(&os->lock);
	if (!npages)
		fake_os_mistake(os, "gio_os_pages_alloc of no pages");
	if (npages && !fails(os, FAKE_PAGES_ALLOC))
		for (size_t i = 0; !va && npages <= os->config.pages && i <= os->config.pages - npages; i++) {
			if (!pages_free(os, i, npages))
				continue;
			for (size_t j = i; j < i + npages; j++)
				os->pages[j].allocated = true;
			os->pages[i].run = npages;
			va = os->arena + i * GIO_PAGE_SIZE;
		}
	pthread_mutex_unlock(&os->lock);
	return va ? memset(va, 0, npages * GIO_PAGE_SIZE) : NULL;
}

/* The page of `va`, or the number of pages if it lies outside. */
static size_t page_of(const struct gio_os *os, const void *va)
{
	uintptr_t off = (uintptr_t)va - (uintptr_t)os->arena;

	return off / GIO_PAGE_SIZE < os->config.pages ? off / GIO_PAGE_SIZE : os->config.pages;
}

void gio_os_pages_free(struct gio_os *os, void *va, size_t npages)
{
	size_t first;

	if (!va)
		return;
	first = page_of(os, va);
	pthread_mutex_lock(&os->lock);
	if (first == os->config.pages || os->pages[first].run != npages || (uintptr_t)va % GIO_PAGE_SIZE) {
		fake_os_mistake(os, "gio_os_pages_free of %zu pages at %p, which were not allocated so", npages, va);
	} else {
		os->pages[first].run = 0;
		for (size_t i = first; i < first + npages; i++)
			os->pages[i].allocated = false;
	}
	pthread_mutex_unlock(&os->lock);
}

gio_gfn_t gio_os_gfn(struct gio_os *os, const void *va)
{
	size_t page = page_of(os, va);

	if (page < os->config.pages)
		return os->config.gfn_base + (page ^ 1);
	fake_os_mistake(os, "gio_os_gfn of %p, which cannot be granted", va);
	return UINT64_C(0xbad);
}

/* The page of a frame, or the number of pages. */
static size_t page_of_gfn(const struct gio_os *os, gio_gfn_t gfn)
{
	gio_gfn_t page = (gfn - os->config.gfn_base) ^ 1;

	return gfn >= os->config.gfn_base && page < os->config.pages ? (size_t)page : os->config.pages;
}

void *fake_os_va(struct gio_os *os, gio_gfn_t gfn)
{
	size_t page = page_of_gfn(os, gfn);

	return page < os->config.pages ? os->arena + page * GIO_PAGE_SIZE : NULL;
}

static void hold(struct gio_os *os, gio_gfn_t gfn, bool get)
{
	size_t page = page_of_gfn(os, gfn);

	pthread_mutex_lock(&os->lock);
	if (page == os->config.pages) {
		fake_os_mistake(os, "hold of frame %#llx, which is not in the arena", (unsigned long long)gfn);
	} else if (get && !os->pages[page].allocated && !os->pages[page].holds) {
		fake_os_mistake(os, "hold of frame %#llx, which is free", (unsigned long long)gfn);
	} else if (!get && !os->pages[page].holds) {
		fake_os_mistake(os, "put of frame %#llx, which nobody holds", (unsigned long long)gfn);
	} else {
		os->pages[page].holds += get ? 1u : -1u;
		os->holds += get ? (size_t)1 : (size_t)-1;
	}
	pthread_mutex_unlock(&os->lock);
}

void gio_os_page_get(struct gio_os *os, gio_gfn_t gfn)
{
	hold(os, gfn, true);
}

void gio_os_page_put(struct gio_os *os, gio_gfn_t gfn)
{
	hold(os, gfn, false);
}

unsigned fake_os_page_holds(struct gio_os *os, gio_gfn_t gfn)
{
	size_t page = page_of_gfn(os, gfn);
	unsigned holds;

	pthread_mutex_lock(&os->lock);
	holds = page < os->config.pages ? os->pages[page].holds : 0;
	pthread_mutex_unlock(&os->lock);
	return holds;
}

bool fake_os_page_used(struct gio_os *os, gio_gfn_t gfn)
{
	size_t page = page_of_gfn(os, gfn);
	bool used;

	pthread_mutex_lock(&os->lock);
	used = page < os->config.pages && (os->pages[page].allocated || os->pages[page].holds);
	pthread_mutex_unlock(&os->lock);
	return used;
}

/* ---- locks -------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct gio_lock), "gio_lock has room for a mutex");

void gio_os_lock_init(struct gio_lock *lock)
{
	pthread_mutex_init((pthread_mutex_t *)lock->opaque, NULL);
}

void gio_os_lock_exit(struct gio_lock *lock)
{
	pthread_mutex_destroy((pthread_mutex_t *)lock->opaque);
}

void gio_os_lock(struct gio_lock *lock)
{
	pthread_mutex_lock((pthread_mutex_t *)lock->opaque);
	locks_held++;
}

void gio_os_unlock(struct gio_lock *lock)
{
	locks_held--;
	pthread_mutex_unlock((pthread_mutex_t *)lock->opaque);
}

/* ---- grant table -------------------------------------------------------------------------------------------- */

int gio_os_grant_table(struct gio_os *os, uint32_t entries, struct gio_os_grant_table *out)
{
	int ret = 0;

	may_sleep(os, "gio_os_grant_table");
	pthread_mutex_lock(&os->lock);
	if (entries > os->max_entries) {
		ret = -GIO_ENOSPC;
	} else if (entries > os->entries) {
		uint32_t per = entries_per_frame(os);

		if (fails(os, FAKE_GROW)) {
			ret = -GIO_ENOMEM;
		} else {
			os->entries = (entries + per - 1) / per * per;
			os->grows++;
		}
	}
	*out = (struct gio_os_grant_table){.shared = os->table,
					   .status = os->status,
					   .entries = os->entries,
					   .max = os->max_entries,
					   .version = os->config.version};
	pthread_mutex_unlock(&os->lock);
	return ret;
}

/* ---- device registers --------------------------------------------------------------------------------------- */

void fake_os_set_mmio(struct gio_os *os, const struct fake_os_mmio *mmio)
{
	os->mmio = *mmio;
}

uint32_t gio_os_mmio_read(struct gio_os *os, uint64_t addr, unsigned size)
{
	if (os->mmio.read)
		return os->mmio.read(os->mmio.opaque, addr, size);
	fake_os_mistake(os, "read of register %#llx: no device", (unsigned long long)addr);
	return UINT32_MAX;
}

void gio_os_mmio_write(struct gio_os *os, uint64_t addr, unsigned size, uint32_t value)
{
	if (os->mmio.write)
		os->mmio.write(os->mmio.opaque, addr, size, value);
	else
		fake_os_mistake(os, "write of register %#llx: no device", (unsigned long long)addr);
}

/* ---- event channels and time --------------------------------------------------------------------------------- */

void fake_os_set_ports(struct gio_os *os, const struct fake_os_ports *ports)
{
	os->ports = *ports;
}

/* The entry of an open port; NULL, and a mistake, if it is none. */
static struct fake_port *port_of(struct gio_os *os, uint32_t port, const char *what)
{
	if (port && port < FAKE_OS_PORTS && os->port[port].open)
		return &os->port[port];
	fake_os_mistake(os, "%s of port %u, which is not open", what, port);
	return NULL;
}

int gio_os_port_open(struct gio_os *os, gio_domid_t remote, uint32_t *port)
{
	int err = -GIO_ENOSPC;

	may_sleep(os, "gio_os_port_open");
	pthread_mutex_lock(&os->lock);
	if (!fails(os, FAKE_PORT))
		for (uint32_t i = 1; i < FAKE_OS_PORTS && err; i++) {
			if (os->port[i].open)
				continue;
			os->port[i] = (struct fake_port){.open = true, .remote = remote};
			*port = i;
			err = 0;
		}
	pthread_mutex_unlock(&os->lock);
	return err;
}

void gio_os_port_close(struct gio_os *os, uint32_t port)
{
	struct fake_port *p = port_of(os, port, "gio_os_port_close");

	if (p)
		p->open = false;
}

gio_domid_t fake_os_port_remote(struct gio_os *os, uint32_t port)
{
	return port < FAKE_OS_PORTS && os->port[port].open ? os->port[port].remote : UINT16_MAX;
}

void gio_os_port_send(struct gio_os *os, uint32_t port)
{
	if (port_of(os, port, "gio_os_port_send") && os->ports.send)
		os->ports.send(os->ports.opaque, port);
}

void fake_os_port_raise(struct gio_os *os, uint32_t port)
{
	struct fake_port *p = port_of(os, port, "fake_os_port_raise");

	if (p)
		__atomic_store_n(&p->pending, 1, __ATOMIC_SEQ_CST);
}

void fake_os_pass(struct gio_os *os, unsigned ms)
{
	__atomic_fetch_add(&os->now_ms, ms, __ATOMIC_SEQ_CST);
}

bool gio_os_port_wait(struct gio_os *os, uint32_t port, unsigned ms)
{
	struct fake_port *p = port_of(os, port, "gio_os_port_wait");

	may_sleep(os, "gio_os_port_wait");
	if (!p)
		return false;
	if (!__atomic_load_n(&p->pending, __ATOMIC_SEQ_CST) && os->ports.wait)
		os->ports.wait(os->ports.opaque, port, ms);
	if (__atomic_exchange_n(&p->pending, 0, __ATOMIC_SEQ_CST))
		return true;
	fake_os_pass(os, ms);
	return false;
}

uint64_t gio_os_now_ms(struct gio_os *os)
{
	return __atomic_load_n(&os->now_ms, __ATOMIC_SEQ_CST);
}
