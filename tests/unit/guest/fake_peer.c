/* SPDX-License-Identifier: MIT */
/* The peer: it uses grants of the fake system as Xen does for a backend. */
#include "tests/unit/guest/fake_os_priv.h"

#include <abi/dma_addr.h>

#include <string.h>

static bool permits(uint16_t flags, gio_domid_t owner, gio_domid_t domid, bool write)
{
	return (flags & GIO_GTF_TYPE_MASK) == GIO_GTF_PERMIT_ACCESS && owner == domid &&
	       !(write && (flags & GIO_GTF_READONLY));
}

static uint16_t marks(bool write)
{
	return (uint16_t)(write ? GIO_GTF_IN_USE : GIO_GTF_READING);
}

static void run_hook(struct gio_os *os, gio_gref_t ref)
{
	if (os->hook)
		os->hook(os, ref, os->hook_opaque);
}

/* Xen's _set_status_v1: bounded tries, since the guest may rewrite the word all the time. */
static int pin_v1(struct gio_os *os, gio_domid_t domid, gio_gref_t ref, bool write, gio_gfn_t *gfn)
{
	struct gio_grant_entry_v1 *e = &((struct gio_grant_entry_v1 *)os->table)[ref];

	for (unsigned i = 0; i < 5; i++) {
		uint16_t flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);

		if (!permits(flags, __atomic_load_n(&e->domid, __ATOMIC_RELAXED), domid, write))
			return GIO_GNTST_GENERAL_ERROR;
		run_hook(os, ref);
		if (!__atomic_compare_exchange_n(&e->flags, &flags, (uint16_t)(flags | marks(write)), false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		*gfn = __atomic_load_n(&e->frame, __ATOMIC_RELAXED);
		return 0;
	}
	return GIO_GNTST_GENERAL_ERROR;
}

/* Xen's _set_status_v2. */
static int pin_v2(struct gio_os *os, gio_domid_t domid, gio_gref_t ref, bool write, gio_gfn_t *gfn)
{
	union gio_grant_entry_v2 *e = &((union gio_grant_entry_v2 *)os->table)[ref];
	uint16_t *status = &os->status[ref], before = __atomic_load_n(status, __ATOMIC_RELAXED);

	for (unsigned look = 0; look < 2; look++) {
		uint16_t flags = __atomic_load_n(&e->hdr.flags, __ATOMIC_SEQ_CST);

		if (!permits(flags, __atomic_load_n(&e->hdr.domid, __ATOMIC_RELAXED), domid, write)) {
			__atomic_store_n(status, before, __ATOMIC_RELEASE);
			return GIO_GNTST_GENERAL_ERROR;
		}
		if (look)
			break;
		/* Full barrier: the status word written here, before flags read again; pairs with revoke_v2(). */
		__atomic_fetch_or(status, marks(write), __ATOMIC_SEQ_CST);
		run_hook(os, ref);
	}
	*gfn = e->full_page.frame;
	return 0;
}

int fake_peer_pin(struct gio_os *os, gio_domid_t domid, gio_gref_t ref, bool write, gio_gfn_t *gfn)
{
	struct pins *p;
	int ret = 0;

	if (ref >= os->max_entries)
		return GIO_GNTST_BAD_GNTREF;
	pthread_mutex_lock(&os->peer_lock);
	p = &os->pins[ref];
	if (p->readers + p->writers && p->domid != domid) {
		ret = GIO_GNTST_GENERAL_ERROR;
	} else if (!(p->readers + p->writers) || (write && !p->writers)) {
		gio_gfn_t got;

		ret = (os->config.version == 1 ? pin_v1 : pin_v2)(os, domid, ref, write, &got);
		if (!ret && !(p->readers + p->writers))
			*p = (struct pins){.domid = domid, .gfn = got};
	}
	if (!ret) {
		*(write ? &p->writers : &p->readers) += 1;
		os->pinned++;
		if (gfn)
			*gfn = p->gfn;
	}
	pthread_mutex_unlock(&os->peer_lock);
	return ret;
}

void fake_peer_unpin(struct gio_os *os, gio_gref_t ref, bool write)
{
	struct pins *p = &os->pins[ref];
	uint16_t clear = 0, *word;

	pthread_mutex_lock(&os->peer_lock);
	if (!*(write ? &p->writers : &p->readers)) {
		fake_os_mistake(os, "the test unpins reference %u, which is not pinned so", ref);
	} else {
		*(write ? &p->writers : &p->readers) -= 1;
		os->pinned--;
		if (!p->writers)
			clear |= GIO_GTF_WRITING;
		if (!p->writers && !p->readers)
			clear |= GIO_GTF_READING;
		word = os->status ? &os->status[ref] : fake_os_flags(os, ref);
		__atomic_fetch_and(word, (uint16_t)~clear, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&os->peer_lock);
}

size_t fake_peer_pins(struct gio_os *os)
{
	size_t pinned;

	pthread_mutex_lock(&os->peer_lock);
	pinned = os->pinned;
	pthread_mutex_unlock(&os->peer_lock);
	return pinned;
}

void fake_peer_hook(struct gio_os *os, void (*hook)(struct gio_os *os, gio_gref_t ref, void *opaque), void *opaque)
{
	os->hook = hook;
	os->hook_opaque = opaque;
}

int fake_peer_copy(struct gio_os *os, gio_domid_t domid, uint64_t addr, void *buf, size_t len, bool write)
{
	char *at = buf;

	if (!gio_dma_addr_valid(addr))
		return GIO_GNTST_BAD_GNTREF;
	while (len) {
		uint32_t ref = gio_dma_addr_gref(addr), offset = gio_dma_addr_offset(addr);
		size_t part = GIO_PAGE_SIZE - offset < len ? GIO_PAGE_SIZE - offset : len;
		gio_gfn_t gfn;
		char *va;
		int ret = fake_peer_pin(os, domid, ref, write, &gfn);

		if (ret)
			return ret;
		va = fake_os_va(os, gfn);
		if (va && write)
			memcpy(va + offset, at, part);
		else if (va)
			memcpy(at, va + offset, part);
		fake_peer_unpin(os, ref, write);
		if (!va)
			return GIO_GNTST_BAD_PAGE;
		at += part;
		addr += part;
		len -= part;
	}
	return 0;
}
