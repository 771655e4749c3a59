/* SPDX-License-Identifier: MIT */
/* Rings and grants that lie: defects of other backends (each test is named after one), shown not to be ours. */
#include "tests/hostile/guest.h"

#include <pthread.h>
#include <string.h>

static const char *const with_indirect[] = {"--indirect", NULL};

/* The device asks for a reset, in one line of the log, and nothing else happens. */
static void broken_expect(struct hg_scene *scene, const char *line, unsigned count)
{
	hg_broken_wait(&scene->hg);
	th_log_wait(scene->host, line, count);
	assert_int_equal(th_log_count(scene->host, "needs a reset"), count);
	hg_scene_check(scene); /* that device alone */
}

static const char untrusted[] = "<4>d1/xvda: queue 0: the ring cannot be trusted";

static void head_not_checked(void **state)
{
	static const uint16_t heads[] = {HG_ENTRIES, HG_ENTRIES + 1, 1024, 0x7fff, 0x8000, 0xffff};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		hg_start(hg, 0, 1);
		hg_push(hg, 0, heads[i]);
		hg_kick(hg, 0);
		broken_expect(&scene, untrusted, i + 1);
		assert_int_equal(hg_used(hg, 0)->idx, 0);
	}
	hg_scene_end(&scene);
}

/* An available index that is more than the ring's size ahead, a head that the device has already. */
static void index_not_checked(void **state)
{
	static const uint16_t ahead[] = {HG_ENTRIES + 1, 0x8000, 0xffff};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	for (unsigned i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
		hg_start(hg, 0, 1);
		__atomic_store_n(&hg_avail(hg, 0)->idx, ahead[i], __ATOMIC_RELEASE);
		hg_kick(hg, 0);
		broken_expect(&scene, untrusted, i + 1);
	}
	hg_start(hg, 0, 1);
	hg_avail(hg, 0)->ring[0] = hg_avail(hg, 0)->ring[1] =
		hg_request(hg, 0, 0, GIO_VIRTIO_BLK_T_IN, 0, hg_dma(HG_DATA), 512);
	__atomic_store_n(&hg_avail(hg, 0)->idx, 2, __ATOMIC_RELEASE);
	hg_kick(hg, 0);
	broken_expect(&scene, untrusted, 4);
	hg_scene_end(&scene);
}

/* Loops of one, of two, of the whole table; a link that leaves it. */
static void chain_without_bound(void **state)
{
	static const unsigned loops[] = {1, 2, HG_ENTRIES};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	for (unsigned i = 0; i < 3; i++) {
		hg_start(hg, 0, 1);
		for (unsigned k = 0; k < loops[i]; k++)
			hg_desc_set(hg, 0, k, hg_dma(HG_DATA), 512, HG_NEXT, (uint16_t)((k + 1) % loops[i]));
		hg_push(hg, 0, 0);
		hg_kick(hg, 0);
		broken_expect(&scene, untrusted, i + 1);
	}
	hg_start(hg, 0, 1);
	hg_desc_set(hg, 0, 0, hg_dma(HG_DATA), 16, HG_NEXT, HG_ENTRIES);
	hg_push(hg, 0, 0);
	hg_kick(hg, 0);
	broken_expect(&scene, untrusted, 4);
	hg_scene_end(&scene);
}

/* Measured: a guest merges requests, so a chain may be longer than any plan. It is refused by itself. */
static void chain_longer_than_planned(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	for (unsigned entries = 4; entries <= HG_ENTRIES; entries += 63) {
		hg_start(hg, 0, 1);
		hg_header(hg, 0, GIO_VIRTIO_BLK_T_IN, 0);
		*hg_status(hg, 0) = HG_UNTOLD;
		hg_desc_set(hg, 0, 0, hg_dma(HG_HEADERS), 16, HG_NEXT, 1);
		for (unsigned i = 1; i < entries - 1; i++)
			hg_desc_set(hg, 0, i, hg_dma(HG_DATA), 512, HG_NEXT | HG_WRITE, (uint16_t)(i + 1));
		hg_desc_set(hg, 0, entries - 1, hg_dma(HG_STATUS), 1, HG_WRITE, 0);
		hg_push(hg, 0, 0);
		hg_kick(hg, 0);
		hg_used_wait(hg, 0, 1);
		assert_int_equal(*hg_status(hg, 0), entries <= 128 ? GIO_VIRTIO_BLK_S_OK : GIO_VIRTIO_BLK_S_IOERR);
		assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 512), GIO_VIRTIO_BLK_S_OK);
	}
	/* One segment of nearly 4 GiB, and as many as there may be. */
	for (unsigned segments = 1; segments <= 32; segments += 31) {
		hg_header(hg, 0, GIO_VIRTIO_BLK_T_IN, 0);
		*hg_status(hg, 0) = HG_UNTOLD;
		hg_desc_set(hg, 0, 0, hg_dma(HG_HEADERS), 16, HG_NEXT, 1);
		for (unsigned i = 1; i <= segments; i++)
			hg_desc_set(hg, 0, i, hg_dma(HG_DATA), 0xfffff000, HG_NEXT | HG_WRITE, (uint16_t)(i + 1));
		hg_desc_set(hg, 0, segments + 1, hg_dma(HG_STATUS), 1, HG_WRITE, 0);
		hg_push(hg, 0, 0);
		hg_kick(hg, 0);
		hg_used_wait(hg, 0, 1);
		assert_int_equal(*hg_status(hg, 0), GIO_VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(th_log_count(scene.host, "needs a reset"), 0);
	hg_scene_end(&scene);
}

/* The guest writes the used ring, which is the device's. grantiod goes by indices of its own. */
static void used_idx_read_back_from_the_guest(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	for (unsigned i = 0; i < 300; i++) {
		/* Before the push: a thread that looks at the ring answers at once, and the answer must stay. */
		memset(hg_used(hg, 0), (int)(i * 37), gio_virtq_used_bytes(HG_ENTRIES));
		__atomic_store_n(&hg_used(hg, 0)->idx, (uint16_t)(i * 257 + 99), __ATOMIC_RELEASE);
		hg_push(hg, 0, hg_request(hg, 0, i % HG_SLOTS, GIO_VIRTIO_BLK_T_IN, i, hg_dma(HG_DATA), 512));
		hg_kick(hg, 0);
		hg_used_wait(hg, 0, 1); /* to i + 1, and nothing else */
		assert_int_equal(hg_used(hg, 0)->ring[i % HG_ENTRIES].id, 3 * (i % HG_SLOTS));
		assert_int_equal(hg_used(hg, 0)->ring[i % HG_ENTRIES].len, 513);
		assert_int_equal(*hg_status(hg, i % HG_SLOTS), GIO_VIRTIO_BLK_S_OK);
	}
	hg_scene_end(&scene);
}

/* ---- maps and copies -------------------------------------------------------------------------------------------- */

static const char unmapped[] = "<4>d1/xvda: queue 0: its rings cannot be mapped";

/* Probe, and expect that queue 0 cannot be had. */
static void ready_refused(struct hg_scene *scene, unsigned count)
{
	struct hg *hg = &scene->hg;

	hg_queue_ready(hg, 0);
	assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_READY), 0);
	hg_broken_wait(hg);
	th_log_wait(scene->host, unmapped, count);
	assert_int_equal(th_log_count(scene->host, "needs a reset"), count);
	hg_scene_check(scene);
	hg_reset(hg);
}

static void abort_on_a_failed_map(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	unsigned count = 0;

	hg_scene_begin(&scene, state, NULL);
	for (unsigned part = 0; part < 3; part++) {
		uint32_t ref = HG_FIRST + part;

		hg_queue_place(hg, 0, HG_ENTRIES);
		hg_revoke(hg, ref);
		hg_probe(hg, HG_FEATURES);
		ready_refused(&scene, ++count);
		hg->grants[ref].frame = ref; /* another domain's */
		hg->grants[ref].domid = 2;
		__atomic_store_n(&hg->grants[ref].flags, GIO_GTF_PERMIT_ACCESS, __ATOMIC_RELEASE);
		hg_probe(hg, HG_FEATURES);
		ready_refused(&scene, ++count);
		hg_grant(hg, ref, GIO_GTF_PERMIT_ACCESS);
		hg->grants[ref].frame = 0xfffffff0; /* no such page */
		hg_probe(hg, HG_FEATURES);
		ready_refused(&scene, ++count);
		hg_grant(hg, ref, GIO_GTF_PERMIT_ACCESS);
	}
	/* The used ring in a page that may only be read. */
	hg_grant(hg, HG_FIRST + 2, GIO_GTF_PERMIT_ACCESS | GIO_GTF_READONLY);
	hg_probe(hg, HG_FEATURES);
	ready_refused(&scene, ++count);
	hg_grant(hg, HG_FIRST + 2, GIO_GTF_PERMIT_ACCESS);
	hg_scene_end(&scene);
}

/* What a request's addresses may be, when they are not the guest's to give. */
static void abort_on_a_failed_copy(void **state)
{
	static const uint64_t bad[] = {
		HG_DATA,				      /* a guest-physical address: no grant */
		GIO_DMA_GRANT_BIT | HG_HOLE,		      /* no such entry */
		GIO_DMA_GRANT_BIT | UINT64_C(0xffffffff000),  /* the last reference there can be */
		GIO_DMA_GRANT_BIT | UINT64_C(0x100000000000), /* a bit too many */
		UINT64_MAX,
		0,
	};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (unsigned part = 0; part < 3; part++)
			for (uint32_t type = GIO_VIRTIO_BLK_T_IN; type <= GIO_VIRTIO_BLK_T_OUT; type++) {
				uint16_t head = hg_request(hg, 0, 0, type, 0, hg_dma(HG_DATA), 8192);

				hg_desc(hg, 0, head + part)->addr = bad[i];
				hg_push(hg, 0, head);
				hg_kick(hg, 0);
				hg_used_wait(hg, 0, 1);
				assert_int_equal(*hg_status(hg, 0), part == 2 ? HG_UNTOLD : GIO_VIRTIO_BLK_S_IOERR);
			}
	/* Read-only pages are good for what the device reads, and for nothing else. */
	hg_grant(hg, HG_DATA / HG_PAGE, GIO_GTF_PERMIT_ACCESS | GIO_GTF_READONLY);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_OUT, 0, 4096), GIO_VIRTIO_BLK_S_OK);
	memset(hg->ram + HG_DATA, 0x5a, 4096);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 8, 4096), GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(hg->ram[HG_DATA], 0x5a);
	assert_int_equal(th_log_count(scene.host, "needs a reset"), 0);
	hg_grant(hg, HG_DATA / HG_PAGE, GIO_GTF_PERMIT_ACCESS);
	hg_scene_end(&scene);
}

/* Rings and data that begin in the middle of a page take one page more than their length says. */
static void page_count_without_the_offset(void **state)
{
	const struct hg_queue across = {
		.size = 64, .desc = 40 * HG_PAGE + 3584, .avail = 44 * HG_PAGE + 4000, .used = 48 * HG_PAGE + 3900};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	unsigned count = 0;

	hg_scene_begin(&scene, state, NULL);
	hg->queue[0] = across;
	hg_probe(hg, HG_FEATURES);
	hg_queue_ready(hg, 0);
	hg_driver_ok(hg);
	for (unsigned i = 0; i < 130; i++) { /* round each ring, in all of its entries */
		uint16_t head = hg_request(hg, 0, i % 21, GIO_VIRTIO_BLK_T_IN, i, hg_dma(HG_DATA + 3584), 4096 + 512);

		hg_push(hg, 0, head);
		hg_kick(hg, 0);
		hg_used_wait(hg, 0, 1);
		assert_int_equal(hg_used(hg, 0)->ring[i % 64].id, head);
		assert_int_equal(*hg_status(hg, i % 21), GIO_VIRTIO_BLK_S_OK);
	}
	hg_reset(hg);
	for (uint32_t ref = 41; ref <= 49; ref += 4) { /* the second page of each */
		hg->queue[0] = across;
		hg_revoke(hg, ref);
		hg_probe(hg, HG_FEATURES);
		ready_refused(&scene, ++count);
		hg_grant(hg, ref, GIO_GTF_PERMIT_ACCESS);
	}
	hg_scene_end(&scene);
}

/* ---- values that change between two reads ----------------------------------------------------------------------- */

struct flipper {
	uint32_t *field, values[4];
	bool stop;
};

static void *flip(void *opaque)
{
	struct flipper *f = opaque;

	for (unsigned i = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); i++)
		__atomic_store_n(f->field, f->values[i % 4], __ATOMIC_RELAXED);
	return NULL;
}

/*
 * Many requests from slot 0, which `f` changes meanwhile: each ends with success or an error, the bytes around stay.
 * Who reads a value while it changes may get some bytes of one and some of another: so no mix of a flipper's values may
 * be a length that reaches further than the largest of them.
 */
static void requests_under_flips(struct hg *hg, struct flipper *f, uint16_t head, unsigned rounds)
{
	unsigned good = 0, bad = 0;
	pthread_t thread;

	memset(hg->ram + HG_DATA + 16 * HG_PAGE, 0x5a, HG_PAGE);
	assert_int_equal(pthread_create(&thread, NULL, flip, f), 0);
	for (unsigned i = 0; i < rounds; i++) {
		*hg_status(hg, 0) = HG_UNTOLD;
		hg_push(hg, 0, head);
		hg_kick(hg, 0);
		hg_used_wait(hg, 0, 1);
		good += *hg_status(hg, 0) == GIO_VIRTIO_BLK_S_OK;
		bad += *hg_status(hg, 0) != GIO_VIRTIO_BLK_S_OK;
	}
	__atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	print_message("%u requests succeeded, %u failed\n", good, bad);
	for (unsigned i = 0; i < HG_PAGE; i++)
		if (hg->ram[HG_DATA + 16 * HG_PAGE + i] != 0x5a)
			fail_msg("byte %u behind the data is 0x%x", i, hg->ram[HG_DATA + 16 * HG_PAGE + i]);
}

static void descriptor_length_read_twice(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	struct flipper f = {.values = {512, 0xffffffff, 0xfe00, 0}};
	uint16_t head;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	head = hg_request(hg, 0, 0, GIO_VIRTIO_BLK_T_IN, 0, hg_dma(HG_DATA), 512);
	f.field = &hg_desc(hg, 0, 1)->len;
	requests_under_flips(hg, &f, head, 1000);
	assert_int_equal(th_log_count(scene.host, "needs a reset"), 0);
	hg_scene_end(&scene);
}

static void indirect_length_read_three_times(void **state)
{
	const struct hg_options options = {.arguments = with_indirect};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	struct flipper f = {.values = {48, 16, 0xfffffff0, 47}};

	hg_scene_begin(&scene, state, &options);
	hg_start(hg, GIO_VIRTIO_F_INDIRECT_DESC, 1);
	hg_request(hg, 0, 0, GIO_VIRTIO_BLK_T_IN, 0, hg_dma(HG_DATA), 512);
	memcpy(hg->ram + HG_TABLES, hg_desc(hg, 0, 0), 48);
	hg_desc_set(hg, 0, 0, hg_dma(HG_TABLES), 48, HG_TABLE, 0);
	f.field = &hg_desc(hg, 0, 0)->len;
	requests_under_flips(hg, &f, 0, 1000);
	f = (struct flipper){.field = (uint32_t *)(void *)(hg->ram + HG_TABLES + 16 + 8),
			     .values = {512, 0xffffffff, 0xfe00, 0}};
	hg_desc(hg, 0, 0)->len = 48;
	requests_under_flips(hg, &f, 0, 1000); /* the same within the table */
	assert_int_equal(th_log_count(scene.host, "needs a reset"), 0);
	hg_scene_end(&scene);
}

/* Without the feature, with NEXT beside it, a table in a table, one that loops. */
static void indirect_tables_that_lie(void **state)
{
	const struct hg_options options = {.arguments = with_indirect};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	struct gio_virtq_desc *table;

	hg_scene_begin(&scene, state, &options);
	for (unsigned i = 0; i < 2; i++) {
		hg_start(hg, i ? GIO_VIRTIO_F_INDIRECT_DESC : 0, 1);
		hg_desc_set(hg, 0, 0, hg_dma(HG_TABLES), 48, i ? HG_TABLE | HG_NEXT : HG_TABLE, 1);
		hg_push(hg, 0, 0);
		hg_kick(hg, 0);
		broken_expect(&scene, untrusted, i + 1);
	}
	table = (struct gio_virtq_desc *)(void *)(hg->ram + HG_TABLES);
	hg_start(hg, GIO_VIRTIO_F_INDIRECT_DESC, 1);
	for (unsigned i = 0; i < 3; i++) {
		table[0] = (struct gio_virtq_desc){hg_dma(HG_HEADERS), 16, HG_NEXT, i == 1 ? 0 : 1};
		table[1] = (struct gio_virtq_desc){hg_dma(HG_STATUS), 1, i ? HG_WRITE | HG_NEXT : HG_TABLE,
						   i == 2 ? 77 : 0};
		hg_desc_set(hg, 0, 0, hg_dma(HG_TABLES), 32, HG_TABLE, 0);
		hg_push(hg, 0, 0);
		hg_kick(hg, 0);
		hg_used_wait(hg, 0, 1);
	}
	th_log_wait(scene.host, "request 0 refused", 3);
	assert_int_equal(th_log_count(scene.host, "needs a reset"), 2);
	hg_scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HG_TEST(head_not_checked),
		HG_TEST(index_not_checked),
		HG_TEST(chain_without_bound),
		HG_TEST(chain_longer_than_planned),
		HG_TEST(used_idx_read_back_from_the_guest),
		HG_TEST(abort_on_a_failed_map),
		HG_TEST(abort_on_a_failed_copy),
		HG_TEST(page_count_without_the_offset),
		HG_TEST(descriptor_length_read_twice),
		HG_TEST(indirect_length_read_three_times),
		HG_TEST(indirect_tables_that_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
