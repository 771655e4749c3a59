/* SPDX-License-Identifier: MIT */
#include "tests/unit/model/common.h"

#include <dirent.h>
#include <ftw.h>
#include <sched.h>
#include <time.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int fds_before;

int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

void become(uint16_t domid)
{
	char s[8];

	snprintf(s, sizeof(s), "%u", domid);
	setenv("GRANTIO_DOMID", s, 1);
}

struct world *world_of(void **state)
{
	return *state;
}

int world_open(void **state)
{
	struct gm_domain_config config = {
		.domid = 1, .ram_bytes = GUEST_RAM, .vcpus = VCPUS, .grant_frames = ANY_FRAMES};
	struct world *w = calloc(1, sizeof(*w));
	size_t bytes;

	fds_before = open_fds();
	strcpy(w->dir, "/tmp/gm-test-XXXXXX");
	if (!mkdtemp(w->dir) || gm_machine_create(w->dir) || gm_machine_open(&w->m, w->dir) ||
	    gm_domain_create(w->m, &config, &w->domid) || gm_guest_open(&w->guest, w->dir, w->domid) ||
	    gm_guest_grant_table(w->guest, 512, &w->table))
		return -1;
	w->ram = gm_guest_ram(w->guest, &bytes);
	if (bytes != GUEST_RAM)
		return -1;
	setenv("GRANTIO_MACHINE", w->dir, 1);
	become(0);
	*state = w;
	return 0;
}

int world_close(void **state)
{
	struct world *w = *state;
	struct gm_stats s;
	int left = 0;

	if (!gm_domain_stats(w->m, w->domid, &s))
		left += (int)(s.grants_active + s.mappings_held + s.ports + s.ioreq_servers);
	if (!gm_domain_stats(w->m, 0, &s))
		left += (int)(s.grants_active + s.mappings_held + s.ports + s.ioreq_servers);
	gm_guest_close(w->guest);
	gm_machine_close(w->m);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	if (left)
		fprintf(stderr, "left over: %d grants, mappings, ports or servers\n", left);
	if (open_fds() != fds_before)
		fprintf(stderr, "left over: %d file descriptors\n", open_fds() - fds_before);
	return left || open_fds() != fds_before ? -1 : 0;
}

void guest_version(struct world *w, uint32_t version)
{
	assert_int_equal(gm_guest_grant_version(w->guest, version), 0);
	assert_int_equal(gm_guest_grant_table(w->guest, 512, &w->table), 0);
	assert_int_equal(w->table.version, version);
}

static uint16_t *flags_of(struct world *w, uint32_t ref)
{
	return w->table.version == 2 ? &((union grant_entry_v2 *)w->table.shared)[ref].hdr.flags
				     : &((struct grant_entry_v1 *)w->table.shared)[ref].flags;
}

void grant(struct world *w, uint32_t ref, uint16_t to, uint64_t frame, uint16_t flags)
{
	if (w->table.version == 2) {
		union grant_entry_v2 *e = (union grant_entry_v2 *)w->table.shared + ref;

		e->full_page.hdr.domid = to;
		e->full_page.frame = frame;
	} else {
		struct grant_entry_v1 *e = (struct grant_entry_v1 *)w->table.shared + ref;

		e->domid = to;
		e->frame = (uint32_t)frame;
	}
	__atomic_store_n(flags_of(w, ref), flags, __ATOMIC_RELEASE);
}

void grant_sub_page(struct world *w, uint32_t ref, uint16_t to, uint64_t frame, uint16_t off, uint16_t len)
{
	union grant_entry_v2 *e = (union grant_entry_v2 *)w->table.shared + ref;

	e->sub_page.hdr.domid = to;
	e->sub_page.page_off = off;
	e->sub_page.length = len;
	e->sub_page.frame = frame;
	__atomic_store_n(flags_of(w, ref), GTF_permit_access | GTF_sub_page, __ATOMIC_RELEASE);
}

uint16_t in_use(struct world *w, uint32_t ref)
{
	const uint16_t *p = w->table.version == 2 ? &w->table.status[ref] : flags_of(w, ref);

	return __atomic_load_n(p, __ATOMIC_ACQUIRE) & (GTF_reading | GTF_writing);
}

bool grant_end(struct world *w, uint32_t ref)
{
	uint16_t flags = __atomic_load_n(flags_of(w, ref), __ATOMIC_ACQUIRE);

	if (w->table.version == 2) {
		__atomic_store_n(flags_of(w, ref), 0, __ATOMIC_SEQ_CST);
		return !in_use(w, ref);
	}
	return !(flags & (GTF_reading | GTF_writing)) &&
	       __atomic_compare_exchange_n(flags_of(w, ref), &flags, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

struct gm_stats stats_of(struct world *w, uint16_t domid)
{
	struct gm_stats s;

	assert_int_equal(gm_domain_stats(w->m, domid, &s), 0);
	return s;
}

bool await(const uint32_t *word, uint32_t value)
{
	struct timespec ts;
	int64_t end;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	end = ts.tv_sec * 1000 + LIMIT_MS;
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		if (ts.tv_sec * 1000 > end)
			return false;
		sched_yield();
	}
	return true;
}

void *shared_page(void)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}
