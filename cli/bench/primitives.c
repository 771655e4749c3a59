/* SPDX-License-Identifier: MIT */
/*
 * Each primitive is done again and again in batches that take about a millisecond, and the median of the batches is
 * shown: an interrupt or another process then costs a batch, and not the result.
 */
#include "cli/bench/primitives.h"
#include "cli/command.h"
#include "cli/store.h"
#include "model/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <xen/xen.h>
#include <xencall.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#define PAGE	   4096u
#define PAGES	   64u
#define COPIES	   16u
#define BATCHES	   31
#define BATCH_NS   1000000u
#define BATCH_MOST (1u << 20)
#define WAIT_MS	   10000
#define VERSION	   0 /* XENVER_version: the hypercall with the least to do */

/* All that the primitives need. What could not be had is NULL, or says why. */
struct bed {
	xencall_handle *call;
	xengnttab_handle *gnttab;
	xengntshr_handle *gntshr;
	xenevtchn_handle *events;
	struct gm_guest *guest;
	struct gm_guest_disk place;
	int events_error, guest_error;
	uint32_t self;
	uint8_t *shared, *mapped, *own; /* granted to ourselves; the first page of it, mapped again; our buffer */
	uint32_t refs[PAGES];
	int ports[2]; /* what is sent on the first one arrives at the second */
};

struct primitive {
	const char *key, *what;
	int (*once)(struct bed *bed);
	unsigned count; /* how many such things one call does */
};

struct result {
	int error;
	double median, least; /* ns */
};

/* ---- the primitives --------------------------------------------------------------------------------------------- */

static int memcpy_once(struct bed *bed)
{
	memcpy(bed->mapped, bed->own, PAGE);
	__asm__ volatile("" ::: "memory"); /* it is done each time */
	return 0;
}

/* On the model there is no hypervisor to call, and the answer is ENOSYS. */
static int hypercall_once(struct bed *bed)
{
	if (!bed->call)
		return -ENODEV;
	errno = 0;
	return xencall2(bed->call, __HYPERVISOR_xen_version, VERSION, 0) < 0 ? -errno : 0;
}

/* From our buffer to pages that we have granted: the same work for Xen as with another domain's pages. */
static int copy(struct bed *bed, unsigned pages, uint16_t bytes)
{
	xengnttab_grant_copy_segment_t segments[COPIES];

	for (unsigned i = 0; i < pages; i++) {
		segments[i] = (xengnttab_grant_copy_segment_t){.len = bytes, .flags = GNTCOPY_dest_gref};
		segments[i].source.virt = bed->own + (size_t)i * PAGE;
		segments[i].dest.foreign.ref = bed->refs[i];
		segments[i].dest.foreign.domid = (uint16_t)bed->self;
	}
	if (xengnttab_grant_copy(bed->gnttab, pages, segments))
		return -errno;
	for (unsigned i = 0; i < pages; i++)
		if (segments[i].status != GNTST_okay)
			return -EIO;
	return 0;
}

static int copy_byte_once(struct bed *bed)
{
	return copy(bed, 1, 1);
}

static int copy_once(struct bed *bed)
{
	return copy(bed, 1, PAGE);
}

static int copies_once(struct bed *bed)
{
	return copy(bed, COPIES, PAGE);
}

/* Both are one call of the library, and at least one hypercall each. */
static int map(struct bed *bed, uint32_t pages)
{
	volatile uint8_t *at =
		xengnttab_map_domain_grant_refs(bed->gnttab, pages, bed->self, bed->refs, PROT_READ | PROT_WRITE);

	if (!at)
		return -errno;
	for (uint32_t i = 0; i < pages; i++)
		at[(size_t)i * PAGE] = 1; /* a mapping that nobody touches may be made later, or never */
	return xengnttab_unmap(bed->gnttab, (void *)at, pages) ? -errno : 0;
}

static int map_once(struct bed *bed)
{
	return map(bed, 1);
}

static int maps_once(struct bed *bed)
{
	return map(bed, PAGES);
}

/* Nobody takes these events: what is sent to a port that is pending costs the same hypercall. */
static int send_once(struct bed *bed)
{
	if (bed->events_error)
		return bed->events_error;
	return xenevtchn_notify(bed->events, bed->ports[0]) ? -errno : 0;
}

/* Wait for an event, take it, and let its port be told of again. Returns the port, or -errno. */
static int event_take(struct bed *bed)
{
	struct pollfd wait = {.fd = xenevtchn_fd(bed->events), .events = POLLIN};
	int port;

	if (poll(&wait, 1, WAIT_MS) <= 0)
		return -ETIMEDOUT;
	port = xenevtchn_pending(bed->events);
	if (port < 0 || xenevtchn_unmask(bed->events, port))
		return -errno;
	return port;
}

/* The first event may be an older one, and so may those of the other port, which a new binding raises. */
static int event_once(struct bed *bed)
{
	int port = send_once(bed);

	while (!port || (port > 0 && port != bed->ports[1]))
		port = event_take(bed);
	return port < 0 ? port : 0;
}

/*
 * The guest's vCPU waits while the ioreq goes to grantiod's thread and the answer comes back: two events and two
 * changes of the thread that runs. On real Xen the trap of the vCPU comes on top of that.
 */
static int ioreq_once(struct bed *bed)
{
	uint64_t value = 0;

	if (!bed->guest)
		return bed->guest_error;
	return gm_guest_mmio(bed->guest, bed->place.base, 4, false, &value, WAIT_MS);
}

static const struct primitive primitives[] = {
	{"memcpy_4k", "4 KiB copied into a page that is mapped", memcpy_once, 1},
	{"hypercall", "a hypercall that does nothing (the version), by privcmd", hypercall_once, 1},
	{"copy_1", "a byte, by a grant copy", copy_byte_once, 1},
	{"copy_4k", "4 KiB, by a grant copy", copy_once, 1},
	{"copy_16", "the same, 16 in a call", copies_once, COPIES},
	{"map_4k", "a page mapped, touched and unmapped", map_once, 1},
	{"map_64", "the same, 64 pages in a call", maps_once, PAGES},
	{"event_send", "an event sent", send_once, 1},
	{"event", "an event sent, waited for and taken", event_once, 1},
	{"ioreq", "a register read by a guest, and answered", ioreq_once, 1},
};

#define COUNT (sizeof(primitives) / sizeof(primitives[0]))

/* ---- measuring -------------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How long one of the things takes that a call does, in nanoseconds. */
static int batch(struct bed *bed, const struct primitive *p, unsigned calls, double *each)
{
	uint64_t start = now_ns();

	for (unsigned i = 0; i < calls; i++) {
		int err = p->once(bed);

		if (err)
			return err;
	}
	*each = (double)(now_ns() - start) / calls / p->count;
	return 0;
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The least value is what the thing costs where nothing disturbs it; the median is what it costs here and now. A mean
 * would be neither, as one interruption by another process can take longer than a whole batch.
 */
static struct result measure(struct bed *bed, const struct primitive *p)
{
	struct result result = {0};
	double each[BATCHES];
	unsigned calls = 1;

	/* So many calls that a batch is long enough; this also warms up what is used. */
	for (;; calls *= 2) {
		result.error = batch(bed, p, calls, &each[0]);
		if (result.error)
			return result;
		if (calls >= BATCH_MOST || each[0] * p->count * calls >= BATCH_NS)
			break;
	}
	for (unsigned i = 0; i < BATCHES && !result.error; i++)
		result.error = batch(bed, p, calls, &each[i]);
	qsort(each, BATCHES, sizeof(each[0]), double_compare);
	result.median = each[BATCHES / 2];
	result.least = each[0];
	return result;
}

/* ---- what they need --------------------------------------------------------------------------------------------- */

/* Both ends of the channel are ours. A binding raises an event at once, which event_once() passes over. */
static int events_open(struct bed *bed)
{
	errno = 0;
	bed->events = xenevtchn_open(NULL, 0);
	if (!bed->events)
		return errno ? -errno : -ENODEV;
	bed->ports[1] = xenevtchn_bind_unbound_port(bed->events, bed->self);
	if (bed->ports[1] < 0)
		return -errno;
	bed->ports[0] = xenevtchn_bind_interdomain(bed->events, bed->self, (evtchn_port_t)bed->ports[1]);
	return bed->ports[0] < 0 ? -errno : 0;
}

/* Without registers (the device speaks by messages) there are no ioreqs. */
static int guest_open(struct bed *bed, const struct gc_primitives_config *config)
{
	int err;

	if (!config->domid)
		return -ENODEV;
	err = gm_guest_open(&bed->guest, config->machine, config->domid);
	if (err)
		return err;
	err = gm_guest_find_disk(bed->guest, config->disk, WAIT_MS, &bed->place);
	if (!err && !bed->place.base)
		err = -ENODEV;
	if (err) {
		gm_guest_close(bed->guest);
		bed->guest = NULL;
	}
	return err;
}

/* Our domain's number stands in our own directory of xenstore. */
static bool self_find(struct bed *bed)
{
	struct xs_handle *xs = gc_store_open(NULL);

	if (!xs)
		return false;
	bed->self = (uint32_t)gc_store_number(xs, 0, "domid");
	xs_close(xs);
	return true;
}

/* gntalloc makes pages and grants them, here to ourselves; gntdev maps the first one again. */
static int pages_open(struct bed *bed)
{
	bed->own = aligned_alloc(PAGE, (size_t)PAGES * PAGE);
	if (!bed->own)
		return gc_fail("no memory");
	memset(bed->own, 1, (size_t)PAGES * PAGE);
	bed->gnttab = xengnttab_open(NULL, 0);
	bed->gntshr = xengntshr_open(NULL, 0);
	if (!bed->gnttab || !bed->gntshr)
		return gc_fail("gntdev and gntalloc: %s; on a machine of the model, run 'grantio model exec grantio "
			       "bench --primitives'",
			       strerror(errno));
	bed->shared = xengntshr_share_pages(bed->gntshr, bed->self, PAGES, bed->refs, 1);
	if (!bed->shared)
		return gc_fail("granting pages to domain %u, ourselves: %s", bed->self, strerror(errno));
	bed->mapped = xengnttab_map_domain_grant_refs(bed->gnttab, 1, bed->self, bed->refs, PROT_READ | PROT_WRITE);
	return bed->mapped ? GC_OK : gc_fail("mapping a page of our own: %s", strerror(errno));
}

/* Without pages nothing can be measured; whatever else is missing costs a line of the table. */
static int bed_open(struct bed *bed, const struct gc_primitives_config *config)
{
	int code = self_find(bed) ? pages_open(bed) : GC_FAILED;

	if (code)
		return code;
	bed->call = xencall_open(NULL, 0);
	bed->events_error = events_open(bed);
	bed->guest_error = guest_open(bed, config);
	return GC_OK;
}

/* In reverse, and only what is there: any step of bed_open() may have failed. */
static void bed_close(struct bed *bed)
{
	gm_guest_close(bed->guest);
	if (bed->events)
		xenevtchn_close(bed->events);
	if (bed->call)
		xencall_close(bed->call);
	if (bed->mapped)
		xengnttab_unmap(bed->gnttab, bed->mapped, 1);
	if (bed->shared)
		xengntshr_unshare(bed->gntshr, bed->shared, PAGES);
	if (bed->gntshr)
		xengntshr_close(bed->gntshr);
	if (bed->gnttab)
		xengnttab_close(bed->gnttab);
	free(bed->own);
}

/* ---- the report ------------------------------------------------------------------------------------------------- */

/* What could not be measured is shown with its reason, since a missing line would be taken for an older program's. */
static void text_print(const struct result results[COUNT])
{
	printf("%-12s %10s %10s  %s\n", "primitive", "median ns", "least ns", "what it is");
	for (size_t i = 0; i < COUNT; i++) {
		const struct result *r = &results[i];

		if (r->error)
			printf("%-12s %10s %10s  %s: %s\n", primitives[i].key, "-", "-", primitives[i].what,
			       strerror(-r->error));
		else
			printf("%-12s %10.0f %10.0f  %s\n", primitives[i].key, r->median, r->least, primitives[i].what);
	}
}

/* Programs find each key, with null where there is no figure. */
static void json_print(const struct result results[COUNT])
{
	for (size_t i = 0; i < COUNT; i++) {
		printf("%c\"%s\":", i ? ',' : '{', primitives[i].key);
		if (results[i].error)
			printf("null");
		else
			printf("{\"median_ns\":%.1f,\"least_ns\":%.1f}", results[i].median, results[i].least);
	}
	printf("}\n");
}

int gc_primitives_run(const struct gc_primitives_config *config)
{
	struct result results[COUNT];
	struct bed bed = {0};
	int code = bed_open(&bed, config);

	for (size_t i = 0; !code && i < COUNT; i++)
		results[i] = measure(&bed, &primitives[i]);
	if (!code)
		(config->json ? json_print : text_print)(results);
	bed_close(&bed);
	return !code && fflush(stdout) ? gc_fail("output: %s", strerror(errno)) : code;
}
