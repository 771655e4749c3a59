/* SPDX-License-Identifier: MIT */
/* A hostile guest that grants nothing, and may: it reaches no further than its own memory, and disturbs nobody. */
#include "tests/hostile/guest.h"

#include <string.h>

#define OK    GIO_VIRTIO_BLK_S_OK
#define IOERR GIO_VIRTIO_BLK_S_IOERR

static const struct th_key no_grants[] = {{"grant_usage", "0"}, {NULL, NULL}};
static const char *const allowed[] = {"--allow-foreign", "1", NULL};
static const struct hg_options options = {.arguments = allowed, .keys = no_grants, .foreign = true};

/* Take away the grants that hg_open() made: that there are none changes nothing here. */
static void grants_end(struct hg *hg)
{
	for (uint32_t ref = HG_FIRST; ref < HG_GRANTS; ref++)
		hg_revoke(hg, ref);
}

static void pattern_put(struct hg *hg, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		hg->ram[HG_DATA + i] = (uint8_t)(i * 13 + i / 509);
}

static void frames_carry_data(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	uint8_t copy[65536];

	hg_scene_begin(&scene, state, &options);
	th_log_wait(scene.host, "d1/xvda: grant_usage '0': serving without grants", 1);
	grants_end(hg);
	hg_start(hg, 0, 1);
	pattern_put(hg, sizeof(copy));
	memcpy(copy, hg->ram + HG_DATA, sizeof(copy));
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_OUT, 0, sizeof(copy)), OK);
	memset(hg->ram + HG_DATA, 0, sizeof(copy));
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, sizeof(copy)), OK);
	assert_memory_equal(hg->ram + HG_DATA, copy, sizeof(copy));
	/* Memory that was never granted is memory. */
	hg_push(hg, 0, hg_request(hg, 0, 0, GIO_VIRTIO_BLK_T_IN, 0, HG_HOLE, HG_PAGE));
	hg_kick(hg, 0);
	hg_used_wait(hg, 0, 1);
	assert_int_equal(*hg_status(hg, 0), OK);
	assert_memory_equal(hg->ram + HG_HOLE, copy, HG_PAGE);
	hg_scene_end(&scene);
}

static void addresses_that_are_no_memory(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	uint64_t bad[] = {
		0, /* the end of its RAM: below */
		0,
		UINT64_C(1) << 40,
		(UINT64_C(1) << 44) - HG_PAGE,
		(UINT64_C(1) << 44) - 512,
		UINT64_C(1) << 44,
		(UINT64_C(1) << 44) + HG_DATA,
		UINT64_C(1) << 62,
		GIO_DMA_GRANT_BIT | HG_DATA, /* its own grant, and a good one */
		UINT64_MAX - HG_PAGE + 1,
		UINT64_MAX,
	};
	size_t bytes;

	hg_scene_begin(&scene, state, &options);
	gm_guest_ram(hg->guest, &bytes);
	bad[0] = bytes;
	bad[1] = bytes - 512; /* from the last frame into the first that is none */
	hg_start(hg, 0, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (uint32_t type = GIO_VIRTIO_BLK_T_IN; type <= GIO_VIRTIO_BLK_T_OUT; type++) {
			hg_push(hg, 0, hg_request(hg, 0, 0, type, 0, bad[i], HG_PAGE));
			hg_push(hg, 0,
				hg_request(hg, 0, 1, GIO_VIRTIO_BLK_T_IN, 8, HG_DATA, HG_PAGE)); /* a neighbour */
			hg_kick(hg, 0);
			hg_used_wait(hg, 0, 2);
			assert_int_equal(*hg_status(hg, 0), IOERR);
			assert_int_equal(*hg_status(hg, 1), OK);
		}
	hg_scene_end(&scene);
}

static void rings_that_are_no_memory(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	size_t bytes;

	hg_scene_begin(&scene, state, &options);
	gm_guest_ram(hg->guest, &bytes);
	for (unsigned part = 0; part < 3; part++) {
		hg_probe(hg, HG_FEATURES);
		hg_queue_place(hg, 0, HG_ENTRIES);
		hg_queue_ready(hg, 0);
		assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_READY), 1);
		hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_READY, 0);
		hg_write(hg,
			 (part == 0   ? GIO_VIRTIO_MMIO_QUEUE_DESC_LOW
			  : part == 1 ? GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW
				      : GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW),
			 (uint32_t)bytes);
		hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_READY, 1);
		hg_broken_wait(hg);
	}
	hg_scene_end(&scene);
}

/* The guest beside it uses grants, and the word that allows one guest allows no other. */
static void one_guest_is_allowed(void **state)
{
	struct hg_scene scene;

	hg_scene_begin(&scene, state, &options);
	th_disk_write(scene.host, 2, 1, th_image(scene.host, "second.raw", HG_IMAGE), no_grants);
	th_log_wait(scene.host, "<3>d2/xvdb: grant_usage '0': the guest grants nothing; write grant_usage=1 into", 1);
	th_disk_remove(scene.host, 2, 1);
	assert_int_equal(th_log_count(scene.host, "d2/xvda: grant_usage"), 0);
	hg_scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HG_TEST(frames_carry_data),
		HG_TEST(addresses_that_are_no_memory),
		HG_TEST(rings_that_are_no_memory),
		HG_TEST(one_guest_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
