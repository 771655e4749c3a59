/* SPDX-License-Identifier: MIT */
/*
 * Fault loop over grantiod's calls of Xen: call n of one kind fails, for n = 1, 2, ... until a disk's whole life (come,
 * I/O, go) passes without the fault. Each time the disk is refused with a reason, or its device asks for a reset, or a
 * request ends with an error; the other guest is undisturbed, grantiod goes on, and nothing is left.
 */
#include "tests/hostile/guest.h"

#include <poll.h>
#include <stdio.h>

#define STEPS_MOST 100 /* calls of one kind in a life: fewer */
#define QUIET_MS   200 /* without an interrupt: then the guest looks by itself */
#define STEP_MS	   2   /* between two looks at counts */

struct loop {
	struct th_host *host;
	struct gp_disk *honest;
	const char *image, *honest_image;
	struct gm_stats rest;
	unsigned descriptors, served, refused, rounds;
};

static void loop_begin(struct loop *loop, void **state)
{
	struct th_host *host = *state;

	*loop = (struct loop){.host = host,
			      .image = th_image(host, "a.raw", HG_IMAGE),
			      .honest_image = th_image(host, "b.raw", HG_IMAGE)};
	th_grantiod_start(host, NULL);
	th_domain_create(host, 2);
	th_disk_attach(host, 2, 0, loop->honest_image);
	loop->honest = th_guest_open(host, 2, 0);
	th_guest_check(loop->honest, loop->honest_image, 0, 65536, 0);
	th_disk_wait(host, 2, 0, 4);
	assert_int_equal(gm_domain_stats(host->machine, 0, &loop->rest), 0);
}

static void loop_end(struct loop *loop)
{
	static const uint16_t guests[] = {1, 2, 0};

	th_guest_close(loop->honest);
	th_disk_detach(loop->host, 2, 0);
	th_quiet(loop->host, guests);
	th_grantiod_end(loop->host, guests);
}

/* Wait until all that was made available is used. False: the device asks for a reset instead. */
static bool used_or_broken(struct hg *hg)
{
	for (unsigned i = 0; i < TH_SECONDS * 1000 / QUIET_MS; i++) {
		if (__atomic_load_n(&hg_used(hg, 0)->idx, __ATOMIC_ACQUIRE) == hg->queue[0].next)
			return true;
		if (hg_read(hg, GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_NEEDS_RESET)
			return false;
		gm_guest_irq_wait(hg->guest, hg->irq, QUIET_MS); /* -ETIMEDOUT: it was the interrupt that failed */
	}
	fail_msg("a request is not completed");
	return false;
}

/* The guest's life. Every access is answered; what the fault may cost is a request, or the device until its reset. */
static void guest_live(struct th_host *host, enum gm_fault kind)
{
	static const uint32_t types[] = {GIO_VIRTIO_BLK_T_OUT, GIO_VIRTIO_BLK_T_IN, GIO_VIRTIO_BLK_T_GET_ID};
	bool whole = false;
	struct hg hg;

	hg_open(&hg, host, 1);
	for (unsigned attempt = 0; attempt < 2 && !whole; attempt++) {
		hg_probe(&hg, HG_FEATURES);
		hg_queue_place(&hg, 0, HG_ENTRIES);
		hg_queue_ready(&hg, 0);
		hg_driver_ok(&hg);
		whole = !(hg_read(&hg, GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_NEEDS_RESET);
		for (unsigned i = 0; i < 6 && whole; i++) {
			hg_push(&hg, 0, hg_request(&hg, 0, i, types[i % 3], 8, hg_dma(HG_DATA), 16384));
			hg_kick(&hg, 0);
			whole = used_or_broken(&hg);
		}
	}
	assert_true(whole); /* one fault costs one reset at the most */
	hg.queue[0].seen = hg.queue[0].next;
	if (gm_fault_struck(host->machine, 0, kind)) /* then all is well again */
		assert_int_equal(hg_io(&hg, GIO_VIRTIO_BLK_T_IN, 0, HG_PAGE), GIO_VIRTIO_BLK_S_OK);
	gm_guest_close(hg.guest);
}

static bool at_rest(const struct loop *loop, char *text, size_t size)
{
	const struct gm_stats *rest = &loop->rest;
	unsigned fds = th_grantiod_descriptors(loop->host);
	struct gm_stats now;

	assert_int_equal(gm_domain_stats(loop->host->machine, 0, &now), 0);
	snprintf(text, size, "%u mappings (%u), %u ports (%u), %u descriptors (%u at most)", now.mappings_held,
		 rest->mappings_held, now.ports, rest->ports, fds, loop->descriptors);
	return now.mappings_held == rest->mappings_held && now.ports == rest->ports &&
	       fds <= loop->descriptors; /* less, where it did not get so far */
}

/* As before this life, within the limit: who is refused is told so before all is unwound. */
static void rest_expect(struct loop *loop)
{
	int64_t end = th_now_ms() + TH_SECONDS * 1000;
	char text[128];

	if (!loop->descriptors) /* the first life, without a fault: the model keeps a guest's files open behind it */
		loop->descriptors = th_grantiod_descriptors(loop->host);
	while (!at_rest(loop, text, sizeof(text))) {
		if (th_now_ms() > end)
			fail_msg("left behind: %s", text);
		poll(NULL, 0, STEP_MS);
	}
	th_guest_check(loop->honest, loop->honest_image, 0, 65536, ++loop->rounds);
}

/* A disk's life, with call `n` of the kind failing (0: none). False: there were fewer. */
static bool life(struct loop *loop, enum gm_fault kind, unsigned n)
{
	struct th_host *host = loop->host;
	bool struck;

	th_domain_create(host, 1);
	assert_int_equal(gm_fault_set(host->machine, 0, kind, n), 0);
	th_disk_write(host, 1, 0, loop->image, NULL);
	if (th_disk_verdict(host, 1, 0)) {
		guest_live(host, kind);
		loop->served++;
		th_disk_detach(host, 1, 0);
		th_log_wait(host, "<6>d1/xvda: stopped", loop->served);
	} else {
		loop->refused++;
		th_disk_remove(host, 1, 0);
	}
	struck = gm_fault_struck(host->machine, 0, kind);
	assert_int_equal(gm_fault_set(host->machine, 0, kind, 0), 0);
	rest_expect(loop);
	th_domain_destroy(host, 1);
	return struck;
}

static void fault_loop(void **state, enum gm_fault kind)
{
	struct loop loop;
	unsigned n = 1;

	loop_begin(&loop, state);
	assert_false(life(&loop, kind, 0));
	while (n < STEPS_MOST && life(&loop, kind, n))
		n++;
	print_message("%u calls can fail: %u lives of a disk, %u refused\n", n - 1, loop.served, loop.refused);
	assert_in_range(n, 2, STEPS_MOST - 1);
	loop_end(&loop);
}

static void map_fails(void **state)
{
	fault_loop(state, GM_FAULT_MAP);
}

static void copy_fails(void **state)
{
	fault_loop(state, GM_FAULT_COPY);
}

static void notify_fails(void **state)
{
	fault_loop(state, GM_FAULT_NOTIFY);
}

static void bind_fails(void **state)
{
	fault_loop(state, GM_FAULT_BIND);
}

static void device_model_call_fails(void **state)
{
	fault_loop(state, GM_FAULT_DM_OP);
}

static void map_resource_fails(void **state)
{
	fault_loop(state, GM_FAULT_MAP_RESOURCE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HG_TEST(map_fails),
		HG_TEST(copy_fails),
		HG_TEST(notify_fails),
		HG_TEST(bind_fails),
		HG_TEST(device_model_call_fails),
		HG_TEST(map_resource_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
