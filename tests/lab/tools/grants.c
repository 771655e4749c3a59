/* SPDX-License-Identifier: MIT */
/*
 * What a guest's grants let this domain reach: what the guest's table says, held against what Xen lets us do.
 *
 * - grants DOMID list: the entries of its table that grant something, a line each.
 * - grants DOMID probe: try to copy from and to, and to map, each reference that there is and some that there are not,
 *   until read-only entries were met; say what Xen answered, by name. Fails where that is not what the entry says.
 * - grants DOMID idle: the same, once.
 * - grants DOMID watch: SAMPLES samples of what can be reached, said by "enough samples"; after SIGTERM one more, and
 * what could be reached once and is ended by then is tried. Says "samples S constant C most M ever E now N ended X busy
 * B": C references in every sample, at most M in one, E in any, N in the last, and more than C in B of them. Fails
 * where a sample is not what the guest's table says, or an ended reference can be used.
 *
 * The table is read by a right of the control domain (XENMEM_acquire_resource): that is the oracle. The attempts are
 * plain grant operations, which any domain may make, and of no effect on the guest: see copy_try(). Its vCPUs stand
 * still for each pass over the table, so a sample is what can be reached at one moment, what differs is wrong, and no
 * grant is ended while we hold it (which would cost a guest with Linux's own layer its device). Between the passes it
 * goes on.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <xencall.h>
#include <xenctrl.h>
#include <xenforeignmemory.h>

#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/xen.h>

#define FRAME_ENTRIES (4096u / sizeof(grant_entry_v1_t))
#define FRAMES_MAX    256u
#define BATCH	      64u
#define REF_KNOWN     1u    /* the xenstore page's: granted to us by the domain's builder, and never ended */
#define BYTE_KNOWN    4095u /* in it: far behind struct xenstore_domain_interface */
#define BEYOND	      4096  /* references that the table does not have */
#define SAMPLES	      50    /* of a guest that is busy, by a watch, */
#define PACE	      20    /* ms between two, for the guest to go on, and the backend */
#define WRONG_LINES   10    /* that say what is wrong */
#define PASSES	      500   /* over the table, at the most, until a read-only entry was met */

/*
 * How a grant is mapped by hypercall alone. A PV domain can have it as an address for devices, which is none of its
 * own; a domain with a physical map of its own (Arm) is given it there, at pages where that has nothing.
 */
#ifdef __aarch64__
#define MAP_HOW	      GNTMAP_host_map
#define MAP_PAGE(i)   (UINT64_C(0x7000000000) + (uint64_t)(i)*4096)
#define UNMAP_BUS(op) 0
#else
#define MAP_HOW	      GNTMAP_device_map
#define MAP_PAGE(i)   0
#define UNMAP_BUS(op) ((op)->dev_bus_addr)
#endif

enum attempt { COPY_FROM, COPY_TO, MAP_READ, MAP_WRITE, ATTEMPTS };
static const char *const attempt_names[] = {"copy from", "copy to", "map read-only", "map writable"};

/* xen/grant_table.h: GNTTABOP_error_msgs has texts; these are the names. */
static const char *const status_names[] = {"GNTST_okay",	 "GNTST_general_error",	  "GNTST_bad_domain",
					   "GNTST_bad_gntref",	 "GNTST_bad_handle",	  "GNTST_bad_virt_addr",
					   "GNTST_bad_dev_addr", "GNTST_no_device_space", "GNTST_permission_denied",
					   "GNTST_bad_page",	 "GNTST_bad_copy_arg",	  "GNTST_address_too_big",
					   "GNTST_eagain",	 "GNTST_no_space"};
#define STATUSES (sizeof(status_names) / sizeof(status_names[0]))

enum class { NOT_GRANTED, OTHERS, READ_ONLY, WRITABLE, CLASSES };
static const char *const class_names[] = {"not granted", "granted to others", "read-only", "writable"};

struct view {
	xencall_handle *call;
	xc_interface *control;
	uint16_t domid;
	const volatile grant_entry_v1_t *table;
	uint32_t entries;
	struct gnttab_copy *copies;
	struct gnttab_map_grant_ref *maps;
	struct gnttab_unmap_grant_ref *unmaps;
};

static int grant_table_op(struct view *view, unsigned op, void *args, unsigned count)
{
	if (!xencall3(view->call, __HYPERVISOR_grant_table_op, op, (uint64_t)(uintptr_t)args, count))
		return 0;
	fprintf(stderr, "grants: grant_table_op %u: %s\n", op, strerror(errno));
	return -1;
}

/* Only frames that are there: to ask for more would make the guest's table grow. */
static int table_frames(struct view *view, unsigned *frames)
{
	struct gnttab_query_size *query = xencall_alloc_buffer(view->call, sizeof(*query));
	int ret;

	if (!query)
		return -1;
	*query = (struct gnttab_query_size){.dom = view->domid};
	ret = grant_table_op(view, GNTTABOP_query_size, query, 1);
	if (!ret && (query->status != GNTST_okay || !query->nr_frames || query->nr_frames > FRAMES_MAX)) {
		fprintf(stderr, "grants: domain %u: status %d, %u frames\n", view->domid, query->status,
			query->nr_frames);
		ret = -1;
	}
	*frames = query->nr_frames;
	xencall_free_buffer(view->call, query);
	return ret;
}

/* ---- what the guest says ------------------------------------------------------------------------------------------
 */

/* Without the bits that Xen sets while somebody uses the grant. */
static grant_entry_v1_t entry_read(const struct view *view, uint32_t ref)
{
	grant_entry_v1_t entry = {0};

	if (ref >= view->entries)
		return entry;
	entry.flags =
		__atomic_load_n(&view->table[ref].flags, __ATOMIC_ACQUIRE) & (uint16_t) ~(GTF_reading | GTF_writing);
	entry.domid = view->table[ref].domid;
	entry.frame = view->table[ref].frame;
	return entry;
}

static enum class entry_class(const grant_entry_v1_t *entry) {
	if ((entry->flags & GTF_type_mask) != GTF_permit_access) return NOT_GRANTED;
	if (entry->domid != 0) /* we run in domain 0 */
	return OTHERS;
	return entry->flags & GTF_readonly ? READ_ONLY : WRITABLE;
}

static int known_check(const struct view *view)
{
	grant_entry_v1_t entry = entry_read(view, REF_KNOWN);

	if (entry_class(&entry) == WRITABLE)
		return 0;
	fprintf(stderr, "grants: domain %u: reference %u is not xenstore's page\n", view->domid, REF_KNOWN);
	return -1;
}

static int view_open(struct view *view, uint16_t domid)
{
	xenforeignmemory_handle *memory = xenforeignmemory_open(NULL, 0);
	void *table = NULL;
	unsigned frames;

	*view = (struct view){
		.call = xencall_open(NULL, 0), .control = xc_interface_open(NULL, NULL, 0), .domid = domid};
	if (!memory || !view->call || !view->control || table_frames(view, &frames))
		return -1;
	if (!xenforeignmemory_map_resource(memory, domid, XENMEM_resource_grant_table,
					   XENMEM_resource_grant_table_id_shared, 0, frames, &table, PROT_READ, 0)) {
		fprintf(stderr, "grants: domain %u: cannot map its grant table: %s\n", domid, strerror(errno));
		return -1;
	}
	view->table = table;
	view->entries = frames * FRAME_ENTRIES;
	view->copies = xencall_alloc_buffer(view->call, BATCH * sizeof(*view->copies));
	view->maps = xencall_alloc_buffer(view->call, BATCH * sizeof(*view->maps));
	view->unmaps = xencall_alloc_buffer(view->call, BATCH * sizeof(*view->unmaps));
	return view->copies && view->maps && view->unmaps ? known_check(view) : -1;
}

static bool allowed(enum class class, enum attempt attempt)
{
	return class == WRITABLE || (class == READ_ONLY && (attempt == COPY_FROM || attempt == MAP_READ));
}

/* ---- what Xen says ------------------------------------------------------------------------------------------------
 */

/*
 * One byte each. The other end is a byte of xenstore's page that nobody uses; but a page that the guest lets us write
 * is copied onto itself, so that it stays as it is. (Xen 4.20 says okay to a copy of no bytes without a look at its
 * ends.)
 */
static int copy_try(struct view *view, const uint32_t *refs, unsigned count, bool to, int16_t *statuses)
{
	for (unsigned i = 0; i < count; i++) {
		struct gnttab_copy *op = &view->copies[i];
		grant_entry_v1_t entry = entry_read(view, refs[i]);
		bool self = to && entry_class(&entry) == WRITABLE;

		memset(op, 0, sizeof(*op));
		op->source.u.ref = to && !self ? REF_KNOWN : refs[i];
		op->source.offset = to && !self ? BYTE_KNOWN : 0;
		op->dest.u.ref = to ? refs[i] : REF_KNOWN;
		op->dest.offset = to ? 0 : BYTE_KNOWN;
		op->source.domid = op->dest.domid = view->domid;
		op->flags = GNTCOPY_source_gref | GNTCOPY_dest_gref;
		op->len = 1;
	}
	if (grant_table_op(view, GNTTABOP_copy, view->copies, count))
		return -1;
	for (unsigned i = 0; i < count; i++)
		statuses[i] = view->copies[i].status;
	return 0;
}

static int map_try(struct view *view, const uint32_t *refs, unsigned count, bool writable, int16_t *statuses)
{
	unsigned mapped = 0;

	for (unsigned i = 0; i < count; i++)
		view->maps[i] = (struct gnttab_map_grant_ref){.host_addr = MAP_PAGE(i),
							      .flags = MAP_HOW | (writable ? 0 : GNTMAP_readonly),
							      .ref = refs[i],
							      .dom = view->domid,
							      .status = GNTST_general_error};
	if (grant_table_op(view, GNTTABOP_map_grant_ref, view->maps, count))
		return -1;
	for (unsigned i = 0; i < count; i++) {
		struct gnttab_map_grant_ref *op = &view->maps[i];

		statuses[i] = op->status;
		if (statuses[i] == GNTST_okay)
			view->unmaps[mapped++] = (struct gnttab_unmap_grant_ref){
				.host_addr = op->host_addr, .dev_bus_addr = UNMAP_BUS(op), .handle = op->handle};
	}
	return mapped ? grant_table_op(view, GNTTABOP_unmap_grant_ref, view->unmaps, mapped) : 0;
}

static int refs_try(struct view *view, enum attempt attempt, const uint32_t *refs, unsigned count, int16_t *statuses)
{
	return attempt == COPY_FROM || attempt == COPY_TO ? copy_try(view, refs, count, attempt == COPY_TO, statuses)
							  : map_try(view, refs, count, attempt == MAP_WRITE, statuses);
}

static const char *status_name(int16_t status)
{
	return status <= 0 && (unsigned)-status < STATUSES ? status_names[-status] : "an unknown status";
}

/* ---- one against the other ----------------------------------------------------------------------------------------
 */

/* The guest stands still, or goes on. */
static int guest_pause(struct view *view, bool still)
{
	int ret = still ? xc_domain_pause(view->control, view->domid) : xc_domain_unpause(view->control, view->domid);

	if (ret)
		fprintf(stderr, "grants: domain %u: cannot %s it: %s\n", view->domid, still ? "pause" : "unpause",
			strerror(errno));
	return ret;
}

/* `count` references, by one call. Wrong ones are counted in `wrong`, and the first ones said. */
static int batch_try(struct view *view, enum attempt attempt, const uint32_t *refs, unsigned count, int16_t *statuses,
		     unsigned *wrong)
{
	if (refs_try(view, attempt, refs, count, statuses))
		return -1;
	for (unsigned i = 0; i < count; i++) {
		grant_entry_v1_t entry = entry_read(view, refs[i]);

		if ((statuses[i] == GNTST_okay) == allowed(entry_class(&entry), attempt))
			continue;
		if ((*wrong)++ < WRONG_LINES)
			fprintf(stderr,
				"grants: reference %" PRIu32 ": %s gives %s, and its entry is 0x%x for domain %u\n",
				refs[i], attempt_names[attempt], status_name(statuses[i]), entry.flags, entry.domid);
	}
	return 0;
}

static int list(struct view *view)
{
	for (uint32_t ref = 0; ref < view->entries; ref++) {
		grant_entry_v1_t entry = entry_read(view, ref);
		enum class class = entry_class(&entry);

		if (class != NOT_GRANTED)
			printf("%" PRIu32 " to %u %s frame 0x%" PRIx32 "\n", ref, entry.domid,
			       entry.flags & GTF_readonly ? "read-only" : "writable", entry.frame);
	}
	return 0;
}

static void counts_print(unsigned counts[CLASSES][ATTEMPTS][STATUSES])
{
	for (unsigned class = 0; class < CLASSES; class ++)
		for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++)
			for (unsigned status = 0; status < STATUSES; status++)
				if (counts[class][attempt][status])
					printf("%s, %s: %s %u\n", class_names[class], attempt_names[attempt],
					       status_names[status], counts[class][attempt][status]);
}

typedef unsigned counts_t[CLASSES][ATTEMPTS][STATUSES];

static int probe_batch(struct view *view, enum attempt attempt, uint32_t first, counts_t counts, unsigned *wrong)
{
	int16_t statuses[BATCH];
	uint32_t refs[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		refs[i] = first + i;
	if (batch_try(view, attempt, refs, BATCH, statuses, wrong))
		return -1;
	for (unsigned i = 0; i < BATCH; i++) {
		grant_entry_v1_t entry = entry_read(view, refs[i]);

		counts[entry_class(&entry)][attempt][(unsigned)-statuses[i] % STATUSES]++;
	}
	return 0;
}

static int probe_pass(struct view *view, uint32_t end, counts_t counts, unsigned *wrong)
{
	int ret = guest_pause(view, true);

	if (ret)
		return ret;
	for (uint32_t first = 0; first < end && !ret; first += BATCH)
		for (unsigned attempt = 0; attempt < ATTEMPTS && !ret; attempt++)
			ret = probe_batch(view, (enum attempt)attempt, first, counts, wrong);
	return guest_pause(view, false) ? -1 : ret;
}

/* For as long as the guest goes on between two passes. */
static void pace(void)
{
	nanosleep(&(struct timespec){.tv_nsec = PACE * 1000000L}, NULL);
}

/* Again and again until read-only entries were met, which there are while requests are on their way. */
static int probe(struct view *view, unsigned passes)
{
	static counts_t counts;
	unsigned wrong = 0, pass = 0;

	for (; pass < passes && !counts[READ_ONLY][COPY_FROM][0]; pass++) {
		if (pass)
			pace();
		if (probe_pass(view, view->entries + (pass ? 0 : BEYOND), counts, &wrong))
			return 1;
	}
	counts_print(counts);
	printf("%u passes over %" PRIu32 " references, wrong: %u\n", pass, view->entries, wrong);
	return wrong > 0;
}

/* ---- watch --------------------------------------------------------------------------------------------------------
 */

struct watch {
	unsigned samples, most, now, wrong;
	unsigned counts[SAMPLES];
	uint8_t *reached; /* in this sample */
	uint8_t *always, *ever;
};

static int sample_batch(struct view *view, struct watch *watch, uint32_t first)
{
	int16_t statuses[BATCH];
	uint32_t refs[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		refs[i] = first + i;
	/* Read-only ones are reached by this too; none can be written that cannot be read. */
	if (batch_try(view, COPY_FROM, refs, BATCH, statuses, &watch->wrong))
		return -1;
	for (unsigned i = 0; i < BATCH; i++) {
		watch->reached[refs[i]] = statuses[i] == GNTST_okay;
		watch->now += watch->reached[refs[i]];
	}
	return 0;
}

static int sample(struct view *view, struct watch *watch)
{
	int ret = guest_pause(view, true);

	if (ret)
		return ret;
	watch->now = 0;
	for (uint32_t first = 0; first < view->entries && !ret; first += BATCH)
		ret = sample_batch(view, watch, first);
	if (guest_pause(view, false) || ret)
		return -1;
	for (uint32_t ref = 0; ref < view->entries; ref++) {
		watch->always[ref] = (uint8_t)(watch->reached[ref] && (!watch->samples || watch->always[ref]));
		watch->ever[ref] |= watch->reached[ref];
	}
	if (watch->samples < SAMPLES)
		watch->counts[watch->samples] = watch->now;
	watch->samples++;
	if (watch->now > watch->most)
		watch->most = watch->now;
	return 0;
}

/* References that we could reach once and that the guest has ended. */
static int ended_try(struct view *view, struct watch *watch, unsigned *ended)
{
	static unsigned counts[CLASSES][ATTEMPTS][STATUSES];
	int16_t status;

	for (uint32_t ref = 0; ref < view->entries; ref++) {
		if (!watch->ever[ref] || watch->reached[ref])
			continue;
		(*ended)++;
		for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
			if (batch_try(view, (enum attempt)attempt, &ref, 1, &status, &watch->wrong))
				return -1;
			counts[NOT_GRANTED][attempt][(unsigned)-status % STATUSES]++;
			watch->wrong += status == GNTST_okay;
		}
	}
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++)
		for (unsigned i = 0; i < STATUSES; i++)
			if (counts[NOT_GRANTED][attempt][i])
				printf("ended, %s: %s %u\n", attempt_names[attempt], status_names[i],
				       counts[NOT_GRANTED][attempt][i]);
	return 0;
}

static unsigned sum(const uint8_t *flags, uint32_t count)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < count; i++)
		n += flags[i];
	return n;
}

/* SAMPLES of them, or fewer if we are told to end; then until we are. Nothing is done meanwhile: the guest needs the
 * CPU. */
static int watch_samples(struct view *view, struct watch *watch, const sigset_t *term)
{
	const struct timespec between = {.tv_nsec = PACE * 1000000L};

	while (watch->samples < SAMPLES) {
		if (sample(view, watch))
			return -1;
		if (sigtimedwait(term, NULL, &between) == SIGTERM)
			return 0;
	}
	printf("enough samples\n");
	fflush(stdout);
	return sigwaitinfo(term, NULL) == SIGTERM ? 0 : -1;
}

static unsigned busy(const struct watch *watch, unsigned constant)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SAMPLES && i < watch->samples; i++)
		n += watch->counts[i] > constant;
	return n;
}

static int watch_run(struct view *view)
{
	struct watch watch = {.reached = calloc(view->entries, 1),
			      .always = calloc(view->entries, 1),
			      .ever = calloc(view->entries, 1)};
	unsigned ended = 0, frames, constant;
	sigset_t term;

	if (!watch.reached || !watch.always || !watch.ever)
		return 1;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	if (watch_samples(view, &watch, &term) || sample(view, &watch) || ended_try(view, &watch, &ended) ||
	    table_frames(view, &frames))
		return 1;
	if (frames * FRAME_ENTRIES != view->entries) {
		fprintf(stderr, "grants: the table has grown meanwhile, and what is new was not looked at\n");
		return 1;
	}
	constant = sum(watch.always, view->entries);
	printf("samples %u constant %u most %u ever %u now %u ended %u busy %u\n", watch.samples, constant, watch.most,
	       sum(watch.ever, view->entries), watch.now, ended, busy(&watch, constant));
	return watch.wrong > 0;
}

int main(int argc, char **argv)
{
	struct view view;

	if (argc != 3 || view_open(&view, (uint16_t)atoi(argv[1])))
		return 2;
	if (!strcmp(argv[2], "list"))
		return list(&view);
	if (!strcmp(argv[2], "probe"))
		return probe(&view, PASSES);
	if (!strcmp(argv[2], "idle"))
		return probe(&view, 1);
	if (!strcmp(argv[2], "watch"))
		return watch_run(&view);
	return 2;
}
