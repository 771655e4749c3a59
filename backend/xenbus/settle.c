/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/settle.h"
#include "backend/xen/domain.h"
#include "backend/xen/ioreq.h"

#include <stdlib.h>

#define SERVERS 16u /* maximum that is looked at; Xen allows 8 per guest (MAX_NR_IOREQ_SERVERS) */

struct vote {
	uint16_t server;
	unsigned count; /* how many directories name it */
};

static unsigned votes_count(const struct gd_guest *guest, struct vote votes[SERVERS])
{
	unsigned count = 0;

	for (const struct gd_served *device = guest->devices; device; device = device->sibling) {
		unsigned i = 0;

		if (!device->note.server)
			continue;
		while (i < count && votes[i].server != device->note.server_id)
			i++;
		if (i == SERVERS)
			continue;
		if (i == count)
			votes[count++] = (struct vote){.server = device->note.server_id};
		votes[i].count++;
	}
	return count;
}

static int vote_compare(const void *a, const void *b)
{
	const struct vote *left = a, *right = b;

	return left->count < right->count ? 1 : left->count > right->count ? -1 : 0;
}

/* Collect what the guest's directories say of other backends' servers. False: they say nothing. */
static bool others_noted(const struct gd_guest *guest, uint32_t *others)
{
	bool any = false;

	*others = 0;
	for (const struct gd_served *device = guest->devices; device; device = device->sibling) {
		any |= device->note.others;
		if (device->note.others)
			*others |= (uint32_t)device->note.others_id;
	}
	return any;
}

/*
 * No directory names a server, but a former process was about to make or destroy one: it may exist, and is none of
 * those that existed beside it. If another backend has made a server since, its event channels cannot be bound, and so
 * it is not taken over.
 */
static void nameless_adopt(struct gd_domains *domains, const struct gd_guest *guest)
{
	uint32_t others, servers;
	char error[256];

	if (!others_noted(guest, &others) || gd_ioreq_servers(guest->domid, &servers))
		return;
	for (uint16_t id = 0; id < 32; id++) {
		if (!((servers & ~others) >> id & 1))
			continue;
		if (!gd_domain_adopt(domains, guest->domid, &id, 1, error, sizeof(error)))
			return;
		gd_log(NULL, GD_NOTICE, "d%u/ioreq: server %u is noted by no device: not taken over: %s", guest->domid,
		       id, error);
	}
}

/* Of the servers that are named, one that exists is taken; of several that exist, the one that most devices name. */
bool gd_settle(struct gd_domains *domains, struct gd_guest *guest)
{
	struct vote votes[SERVERS];
	uint16_t servers[SERVERS];
	unsigned count = votes_count(guest, votes);
	char error[256];

	qsort(votes, count, sizeof(votes[0]), vote_compare);
	for (unsigned i = 0; i < count; i++)
		servers[i] = votes[i].server;
	if (gd_domain_adopt(domains, guest->domid, servers, count, error, sizeof(error))) {
		if (!guest->unsettled_said)
			gd_log(NULL, GD_WARN,
			       "d%u/ioreq: cannot take over what a former grantiod left: %s; trying again",
			       guest->domid, error);
		guest->unsettled_said = true;
		return false;
	}
	if (!count)
		nameless_adopt(domains, guest);
	for (struct gd_served *device = guest->devices; device; device = device->sibling)
		if (device->coming)
			gd_served_reserve(device);
	gd_domain_settled(domains, guest->domid);
	guest->settled = true;
	return true;
}
