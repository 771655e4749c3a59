/* SPDX-License-Identifier: MIT */
/* What the fake system and the peer that uses its grants share. */
#ifndef FAKE_OS_PRIV_H
#define FAKE_OS_PRIV_H

#include "tests/unit/guest/fake_os.h"

#include <abi/grant_table.h>

#include <pthread.h>

struct page {
	size_t run;	/* pages of the allocation that starts here */
	bool allocated; /* by the library */
	unsigned holds;
};

/* What the hypervisor remembers of a reference in use. */
struct pins {
	unsigned readers, writers;
	gio_domid_t domid;
	gio_gfn_t gfn;
};

/* An event channel's end here. */
struct fake_port {
	bool open;
	gio_domid_t remote;
	unsigned pending; /* atomic: an event has come and was not taken */
};

struct gio_os {
	struct fake_os_config config;
	pthread_mutex_t lock; /* of everything but the grant table itself */
	unsigned mistakes;

	unsigned fail[FAKE_FAULTS];
	bool struck[FAKE_FAULTS];

	struct chunk *chunks; /* live gio_os_alloc */
	size_t allocs, bytes;

	char *arena;
	struct page *pages;
	size_t holds;

	void *table;
	uint16_t *status;
	uint32_t entries, max_entries;
	unsigned grows;

	pthread_mutex_t peer_lock; /* the hypervisor's lock of the table */
	struct pins *pins;
	size_t pinned;
	void (*hook)(struct gio_os *os, gio_gref_t ref, void *opaque);
	void *hook_opaque;

	struct fake_os_mmio mmio;

	struct fake_os_ports ports; /* the hooks */
	struct fake_port port[FAKE_OS_PORTS];
	uint64_t now_ms; /* atomic */
};

/* Count a mistake of the library or of the test, and print it. */
__attribute__((format(printf, 2, 3))) void fake_os_mistake(struct gio_os *os, const char *format, ...);
/* The flags of an entry; they stand first in both versions. */
uint16_t *fake_os_flags(struct gio_os *os, gio_gref_t ref);

#endif
