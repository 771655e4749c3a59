/* SPDX-License-Identifier: MIT */
/*
 * Pages that programs share (libxengnttab's gntshr). The frames are taken from the top of the domain's RAM, where the
 * fewest others are in use.
 */
#include "model/share.h"
#include "model/attach.h"
#include "model/domain.h"
#include "model/grant.h"
#include "model/notify.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_REF 8u /* those below are the toolstack's */

struct gm_shared_page {
	uint64_t frame;
	uint32_t ref;
};

/* ---- notifications ------------------------------------------------------------------------------------------ */

int gm_share_notify(struct gm_machine *machine, const struct gm_share *share, uint32_t offset, uint32_t port)
{
	return gm_notify_add(machine, GM_NOTIFY_SHARED | (uint32_t)share->page[0].frame, offset, port);
}

/* ---- sharing ------------------------------------------------------------------------------------------------ */

static void share_free(struct gm_share *s)
{
	if (s)
		free(s->page);
	free(s);
}

/* The page list comes with it, so that nothing has to be allocated once pages are granted. */
static struct gm_share *share_new(uint32_t count)
{
	struct gm_share *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->count = count;
	s->page = calloc(count, sizeof(*s->page));
	if (s->page)
		return s;
	share_free(s);
	return NULL;
}

/*
 * One page more for the share: a frame that no grant names, and a reference to it. From the top, where the fewest
 * others are; those from *end on have been looked at.
 */
static int page_share(struct gm_machine *m, struct gm_attach *a, uint16_t domid, bool writable, uint64_t *end,
		      struct gm_shared_page *page)
{
	struct gm_offer offer = {.domid = domid, .writable = writable, .ref = FIRST_REF};
	int err;

	while (*end > 1 && gm_grant_names(m, a, *end - 1))
		--*end;
	if (*end <= 1)
		return -ENOMEM;
	page->frame = --*end;
	memset(a->ram + page->frame * GM_PAGE_SIZE, 0, GM_PAGE_SIZE);
	offer.frame = page->frame;
	err = gm_grant_offer(m, a, &offer);
	page->ref = offer.ref;
	return err;
}

/* In one range of addresses, as the caller expects; the frames need not be consecutive. */
static int pages_map(struct gm_share *s, const struct gm_attach *a)
{
	const int shared = MAP_SHARED | MAP_FIXED;
	size_t bytes = (size_t)s->count * GM_PAGE_SIZE;
	uint8_t *addr = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (addr == MAP_FAILED)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->count; i++) {
		if (mmap(addr + (size_t)i * GM_PAGE_SIZE, GM_PAGE_SIZE, PROT_READ | PROT_WRITE, shared, a->ram_fd,
			 (off_t)(s->page[i].frame * GM_PAGE_SIZE)) == MAP_FAILED) {
			munmap(addr, bytes);
			return -ENOMEM;
		}
	}
	madvise(addr, bytes, MADV_DONTFORK);
	s->addr = addr;
	return 0;
}

/* With share_lock held. */
static int share_make(struct gm_machine *m, struct gm_attach *a, uint16_t domid, bool writable, struct gm_share *s)
{
	uint64_t end = a->ram_frames;
	uint32_t done;
	int err = 0;

	for (done = 0; done < s->count && !err; done += !err)
		err = page_share(m, a, domid, writable, &end, &s->page[done]);
	if (!err)
		err = pages_map(s, a);
	for (; err && done; done--)
		gm_grant_withdraw(m, a, s->page[done - 1].ref);
	return err;
}

/* share_lock keeps two threads from choosing the same frame. Other processes cannot: this one is the domain's guest. */
int gm_share(struct gm_machine *machine, uint16_t domid, uint32_t count, bool writable, uint32_t *refs,
	     struct gm_share **out)
{
	struct gm_attach *a;
	struct gm_share *s;
	int err;

	if (!count || count > GM_MAX_TRACKS)
		return -EINVAL;
	a = gm_attach_get(machine, machine->domid);
	s = share_new(count);
	pthread_mutex_lock(&machine->share_lock);
	err = a && s ? gm_guest_claim(machine) : -ENOMEM;
	if (!err)
		err = share_make(machine, a, domid, writable, s);
	pthread_mutex_unlock(&machine->share_lock);
	gm_attach_put(machine, a);
	if (err) {
		share_free(s);
		return err;
	}
	for (uint32_t i = 0; i < count; i++)
		refs[i] = s->page[i].ref;
	*out = s;
	return 0;
}

/* The notification runs while the memory is still there, then the grants end. A domain that has a page mapped keeps it.
 */
void gm_unshare(struct gm_machine *machine, struct gm_share *share)
{
	struct gm_attach *a = gm_attach_get(machine, machine->domid);

	gm_notify_run_shared(machine, machine->proc, share->page[0].frame);
	munmap(share->addr, (size_t)share->count * GM_PAGE_SIZE);
	pthread_mutex_lock(&machine->share_lock);
	for (uint32_t i = 0; i < share->count && a; i++)
		gm_grant_withdraw(machine, a, share->page[i].ref);
	pthread_mutex_unlock(&machine->share_lock);
	gm_attach_put(machine, a);
	share_free(share);
}
