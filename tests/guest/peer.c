/* SPDX-License-Identifier: MIT */
/*
 * The guest's peer in its backend's domain: does by libxen* what the guest asks for, and says what came of it. It knows
 * nothing of grantio. Usage: peer DOMID IMAGE. Ends with the guest's directory in xenstore, or after ten minutes.
 *
 * The guest writes "COMMAND A B C SEQUENCE" to data/ask; the answer, "SEQUENCE RESULT DATA", goes to data/answer.
 *
 *   map A B C    map B references from A on, for writing if C; map2: as a second mapping
 *   unmap, unmap2
 *   peek A       the byte at A of what is mapped
 *   from A B C   copy C bytes at B from reference A; DATA: the status of it, or else 1000 + the first byte
 *   to A B C     copy C bytes there; DATA: the status
 *   mixed A B    copy from A, from B, and from A by one call; DATA: the statuses, as digits of a decimal number
 *   both A B     copy from reference A to reference B; DATA: the status
 *   bind A       bind the guest's port A; bind2: once more, and unbind that
 *   send, unbind the port that is bound
 *   event A      1 if it has an event within A ms
 *   resize A     the image has A bytes from now on
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#define PAGE	 4096
#define LIFE_S	 600
#define UNMAPPED (-1)

struct mapping {
	uint8_t *at;
	uint32_t count;
};

struct peer {
	uint32_t domid;
	const char *image;
	struct xs_handle *xs;
	xengnttab_handle *gnttab;
	xenevtchn_handle *evtchn;
	struct mapping mappings[2];
	int port;      /* -1: none */
	uint8_t *page; /* ours, to copy from and to */
	int data;      /* of the answer */
};

struct ask {
	char what[16];
	unsigned a, b, c, sequence;
};

/* ---- grants ----------------------------------------------------------------------------------------------------- */

static int map(struct peer *peer, struct mapping *mapping, const struct ask *ask)
{
	uint32_t refs[16];

	if (mapping->at || ask->b > sizeof(refs) / sizeof(refs[0]))
		return -EBUSY;
	for (unsigned i = 0; i < ask->b; i++)
		refs[i] = ask->a + i;
	mapping->at = xengnttab_map_domain_grant_refs(peer->gnttab, ask->b, peer->domid, refs,
						      PROT_READ | (ask->c ? PROT_WRITE : 0));
	mapping->count = ask->b;
	return mapping->at ? 0 : -errno;
}

static int unmap(struct peer *peer, struct mapping *mapping)
{
	int ret;

	if (!mapping->at)
		return UNMAPPED;
	ret = xengnttab_unmap(peer->gnttab, mapping->at, mapping->count) ? -errno : 0;
	mapping->at = NULL;
	return ret;
}

static int peek(struct peer *peer, unsigned at)
{
	if (!peer->mappings[0].at || at >= PAGE)
		return UNMAPPED;
	peer->data = peer->mappings[0].at[at];
	return 0;
}

static xengnttab_grant_copy_segment_t segment(struct peer *peer, bool to, uint32_t ref, unsigned offset, unsigned bytes)
{
	xengnttab_grant_copy_segment_t seg = {.flags = to ? GNTCOPY_dest_gref : GNTCOPY_source_gref,
					      .len = (uint16_t)bytes};

	if (to) {
		seg.dest.foreign.ref = ref;
		seg.dest.foreign.domid = (domid_t)peer->domid;
		seg.dest.foreign.offset = (uint16_t)offset;
		seg.source.virt = peer->page;
	} else {
		seg.source.foreign.ref = ref;
		seg.source.foreign.domid = (domid_t)peer->domid;
		seg.source.foreign.offset = (uint16_t)offset;
		seg.dest.virt = peer->page;
	}
	return seg;
}

static int copy(struct peer *peer, bool to, const struct ask *ask)
{
	xengnttab_grant_copy_segment_t seg = segment(peer, to, ask->a, ask->b, ask->c);
	int ret;

	memset(peer->page, to ? 0x5a : 0xee, PAGE);
	ret = xengnttab_grant_copy(peer->gnttab, 1, &seg) ? -errno : 0;
	peer->data = seg.status || to || ret ? seg.status : 1000 + peer->page[0];
	return ret;
}

static int copy_mixed(struct peer *peer, const struct ask *ask)
{
	xengnttab_grant_copy_segment_t segs[3] = {segment(peer, false, ask->a, 0, 16),
						  segment(peer, false, ask->b, 0, 16),
						  segment(peer, false, ask->a, 16, 16)};
	int ret = xengnttab_grant_copy(peer->gnttab, 3, segs) ? -errno : 0;

	peer->data = -(segs[0].status * 10000 + segs[1].status * 100 + segs[2].status);
	return ret;
}

static int copy_both(struct peer *peer, const struct ask *ask)
{
	xengnttab_grant_copy_segment_t seg = segment(peer, false, ask->a, 0, 16);
	int ret;

	seg.flags |= GNTCOPY_dest_gref;
	seg.dest.foreign.ref = ask->b;
	seg.dest.foreign.domid = (domid_t)peer->domid;
	seg.dest.foreign.offset = 32;
	ret = xengnttab_grant_copy(peer->gnttab, 1, &seg) ? -errno : 0;
	peer->data = seg.status;
	return ret;
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static int bind(struct peer *peer, unsigned port)
{
	int ret = xenevtchn_bind_interdomain(peer->evtchn, peer->domid, port);

	if (ret < 0)
		return -errno;
	peer->port = ret;
	return 0;
}

static int bind_twice(struct peer *peer, unsigned port)
{
	int ret = xenevtchn_bind_interdomain(peer->evtchn, peer->domid, port);

	if (ret < 0)
		return -errno;
	xenevtchn_unbind(peer->evtchn, (evtchn_port_t)ret);
	return 1;
}

static int send_event(struct peer *peer)
{
	return xenevtchn_notify(peer->evtchn, (evtchn_port_t)peer->port) ? -errno : 0;
}

static int unbind(struct peer *peer)
{
	int ret = xenevtchn_unbind(peer->evtchn, (evtchn_port_t)peer->port) ? -errno : 0;

	peer->port = -1;
	return ret;
}

static int event(struct peer *peer, unsigned ms)
{
	struct pollfd fd = {.fd = xenevtchn_fd(peer->evtchn), .events = POLLIN};
	int port;

	if (poll(&fd, 1, (int)ms) <= 0)
		return 0;
	port = xenevtchn_pending(peer->evtchn);
	if (port < 0)
		return -errno;
	xenevtchn_unmask(peer->evtchn, (evtchn_port_t)port);
	return port == peer->port ? 1 : 2;
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

static bool is(const struct ask *ask, const char *what)
{
	return !strcmp(ask->what, what);
}

static int grant_command(struct peer *peer, const struct ask *ask)
{
	if (is(ask, "map"))
		return map(peer, &peer->mappings[0], ask);
	if (is(ask, "map2"))
		return map(peer, &peer->mappings[1], ask);
	if (is(ask, "unmap"))
		return unmap(peer, &peer->mappings[0]);
	if (is(ask, "unmap2"))
		return unmap(peer, &peer->mappings[1]);
	if (is(ask, "peek"))
		return peek(peer, ask->a);
	if (is(ask, "from") || is(ask, "to"))
		return copy(peer, is(ask, "to"), ask);
	if (is(ask, "mixed"))
		return copy_mixed(peer, ask);
	if (is(ask, "both"))
		return copy_both(peer, ask);
	return -ENOSYS;
}

static int command(struct peer *peer, const struct ask *ask)
{
	peer->data = 0;
	if (is(ask, "bind"))
		return bind(peer, ask->a);
	if (is(ask, "bind2"))
		return bind_twice(peer, ask->a);
	if (is(ask, "send"))
		return send_event(peer);
	if (is(ask, "unbind"))
		return unbind(peer);
	if (is(ask, "event"))
		return event(peer, ask->a);
	if (is(ask, "resize"))
		return truncate(peer->image, (off_t)ask->a) ? -errno : 0;
	return grant_command(peer, ask);
}

/* ---- xenstore --------------------------------------------------------------------------------------------------- */

/* Do what is asked, if it is not what was asked last. False: the guest's directory has gone. */
static bool serve(struct peer *peer, unsigned *last)
{
	char path[64], answer[64];
	struct ask ask = {.what = ""};
	char *text;
	int ret;

	snprintf(path, sizeof(path), "/local/domain/%u/data/ask", peer->domid);
	text = xs_read(peer->xs, XBT_NULL, path, NULL);
	if (!text) {
		snprintf(path, sizeof(path), "/local/domain/%u/domid", peer->domid);
		text = xs_read(peer->xs, XBT_NULL, path, NULL);
		free(text);
		return text;
	}
	ret = sscanf(text, "%15s %u %u %u %u", ask.what, &ask.a, &ask.b, &ask.c, &ask.sequence);
	free(text);
	if (ret != 5 || ask.sequence == *last)
		return true;
	*last = ask.sequence;
	ret = command(peer, &ask);
	snprintf(path, sizeof(path), "/local/domain/%u/data/answer", peer->domid);
	snprintf(answer, sizeof(answer), "%u %d %d", ask.sequence, ret, peer->data);
	xs_write(peer->xs, XBT_NULL, path, answer, (unsigned)strlen(answer));
	return true;
}

static int run(struct peer *peer)
{
	struct pollfd fd = {.fd = xs_fileno(peer->xs), .events = POLLIN};
	time_t end = time(NULL) + LIFE_S;
	unsigned last = 0;
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u", peer->domid);
	if (!xs_watch(peer->xs, path, "guest"))
		return 1;
	while (time(NULL) < end) {
		char **event_seen;

		if (poll(&fd, 1, 1000) < 0 && errno != EINTR)
			return 1;
		while ((event_seen = xs_check_watch(peer->xs)))
			free(event_seen);
		if (!serve(peer, &last))
			return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct peer peer = {.port = -1};

	if (argc != 3) {
		fprintf(stderr, "usage: peer DOMID IMAGE\n");
		return 2;
	}
	peer.domid = (uint32_t)strtoul(argv[1], NULL, 10);
	peer.image = argv[2];
	peer.xs = xs_open(0);
	peer.gnttab = xengnttab_open(NULL, 0);
	peer.evtchn = xenevtchn_open(NULL, 0);
	peer.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!peer.xs || !peer.gnttab || !peer.evtchn || peer.page == MAP_FAILED) {
		fprintf(stderr, "peer: no Xen: %s\n", strerror(errno));
		return 2;
	}
	return run(&peer);
}
