/* SPDX-License-Identifier: MIT */
/*
 * A device of xl's `virtio` list that gives random numbers, by the whole grantiod: its guest writes rings and registers
 * by hand, as no driver of ours knows this device, and asks for what it may not have. Where xl gives the device no
 * address, the guest is told what type of device it is.
 */
#include "tests/hostile/guest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define BASE 0x2000000u
#define IRQ  33u

static const uint16_t guests[] = {1, 0};

/* As xl writes it, with one more key (NULL: none), or another value of one. */
static void rng_write(struct th_host *host, const char *key, const char *value)
{
	const struct th_key keys[] = {
		{"frontend", "/local/domain/1/device/virtio/0"},
		{"frontend-id", "1"},
		{"online", "1"},
		{"irq", "33"},
		{"base", "0x2000000"},
		{"type", "virtio,device4"},
		{"transport", "mmio"},
		{"grant_usage", "1"},
		{key, value},
		{"state", "1"},
	};
	char path[128];

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!keys[i].key)
			continue;
		snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/0/%s", keys[i].key);
		assert_true(xs_write(host->xs, XBT_NULL, path, keys[i].value, (unsigned)strlen(keys[i].value)));
	}
}

static void driver_start(struct hg *hg)
{
	assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_DEVICE_ID), GIO_VIRTIO_ID_RNG);
	hg_start(hg, 0, 1);
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_NUM_MAX), 0); /* it has one queue */
}

/* Offer one buffer, without a kick. */
static void offer(struct hg *hg, unsigned head, uint64_t addr, uint32_t length, uint16_t flags)
{
	hg_desc_set(hg, 0, head, addr, length, flags, 0);
	hg_push(hg, 0, (uint16_t)head);
}

/* The used length of the last chain. */
static uint32_t used_length(struct hg *hg)
{
	return hg_used(hg, 0)->ring[(uint16_t)(hg->queue[0].seen - 1) % hg->queue[0].size].len;
}

static uint32_t ask(struct hg *hg, uint64_t addr, uint32_t length, uint16_t flags)
{
	offer(hg, 0, addr, length, flags);
	hg_kick(hg, 0);
	hg_used_wait(hg, 0, 1);
	return used_length(hg);
}

/* Random bytes came, and they are others than before. */
static void draw(struct hg *hg)
{
	uint8_t before[256];

	memcpy(before, hg->ram + HG_DATA, sizeof(before));
	assert_int_equal(ask(hg, hg_dma(HG_DATA), sizeof(before), HG_WRITE), sizeof(before));
	assert_memory_not_equal(before, hg->ram + HG_DATA, 128);
	assert_memory_not_equal(before + 128, hg->ram + HG_DATA + 128, 128);
}

static void begin(struct hg *hg, struct th_host *host, const char *rate)
{
	const char *arguments[] = {"--state-dir", th_state_dir(host), rate, NULL};

	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	rng_write(host, NULL, NULL);
	th_log_wait(host, "<6>d1/virtio0: serving random (at 0x2000000, irq 33)", 1);
	hg_enter(hg, host, 1, BASE, IRQ);
	driver_start(hg);
}

static void end(struct hg *hg, struct th_host *host)
{
	hg_reset(hg);
	gm_guest_close(hg->guest);
	th_domain_destroy(host, 1);
	th_grantiod_end(host, guests);
}

static void served(void **state)
{
	struct th_host *host = *state;
	struct hg hg = {0};

	begin(&hg, host, NULL);
	for (unsigned i = 0; i < 600; i++) /* round the ring twice */
		draw(&hg);
	end(&hg, host);
}

/* grantiod is killed between two requests, and while one waits for the rate: the driver notices a pause only. */
static void restarted(void **state)
{
	struct th_host *host = *state;
	const char *const arguments[] = {"--state-dir", th_state_dir(host), NULL};
	struct hg hg = {0};

	begin(&hg, host, "--rng-rate=1024");
	assert_int_equal(ask(&hg, hg_dma(HG_DATA), 4096, HG_WRITE), 4096);
	offer(&hg, 1, hg_dma(HG_DATA), 4096, HG_WRITE); /* it has to wait */
	hg_kick(&hg, 0);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	th_grantiod_start(host, arguments);
	th_log_wait(host, "going on where a former grantiod ended", 1);
	hg_used_wait(&hg, 0, 1);
	assert_int_equal(used_length(&hg), 4096);
	for (unsigned round = 2; round < 5; round++) {
		draw(&hg);
		assert_int_equal(WEXITSTATUS(th_grantiod_stop(host, round % 2 ? SIGTERM : SIGKILL)), 0);
		th_grantiod_start(host, arguments);
		th_log_wait(host, "going on where a former grantiod ended", round);
		draw(&hg);
	}
	assert_int_equal(hg_read(&hg, GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_NEEDS_RESET, 0);
	end(&hg, host);
}

static void bad_requests(void **state)
{
	struct th_host *host = *state;
	struct hg hg = {0};

	begin(&hg, host, NULL);
	assert_int_equal(ask(&hg, hg_dma(HG_DATA), 64, 0), 0);
	assert_int_equal(ask(&hg, hg_dma(HG_DATA), 0, HG_WRITE), 0);
	assert_int_equal(ask(&hg, hg_dma(HG_HOLE), 64, HG_WRITE), 0);
	assert_int_equal(ask(&hg, HG_DATA, 64, HG_WRITE), 0); /* an address without a grant */
	assert_int_equal(ask(&hg, hg_dma(HG_DATA), 1 << 20, HG_WRITE), 4096);
	draw(&hg);
	hg_desc_set(&hg, 0, 0, hg_dma(HG_DATA), 64, HG_NEXT | HG_WRITE, 1);
	hg_desc_set(&hg, 0, 1, hg_dma(HG_DATA), 64, HG_NEXT | HG_WRITE, 0); /* a loop */
	hg_push(&hg, 0, 0);
	hg_kick(&hg, 0);
	hg_broken_wait(&hg);
	driver_start(&hg);
	draw(&hg);
	offer(&hg, 2, hg_dma(HG_DATA), 64, HG_WRITE | HG_TABLE); /* was never offered */
	hg_kick(&hg, 0);
	hg_broken_wait(&hg);
	driver_start(&hg);
	draw(&hg);
	end(&hg, host);
}

/* An image for a device that has none was meant for another device. */
static void refused(void **state)
{
	static const struct {
		const char *key, *value, *said;
	} cases[] = {
		{"params", "/srv/a.raw", "<3>d1/virtio0: params '/srv/a.raw': only disks have such a key"},
		{"mode", "r", "<3>d1/virtio0: mode 'r': only disks have such a key"},
		{"grantio-format", "raw", "<3>d1/virtio0: grantio-format 'raw': only disks have such a key"},
	};
	struct th_host *host = *state;
	char path[128];

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rng_write(host, cases[i].key, cases[i].value);
		th_log_wait(host, cases[i].said, 1);
		snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/1/0/%s", cases[i].key);
		assert_true(xs_rm(host->xs, XBT_NULL, path));
		th_log_wait(host, "<6>d1/virtio0: serving random", i + 1);
		assert_true(xs_rm(host->xs, XBT_NULL, "/local/domain/0/backend/virtio/1/0"));
		th_log_wait(host, "<6>d1/virtio0: stopped", i + 1);
	}
	th_domain_destroy(host, 1);
	th_grantiod_end(host, guests);
}

#define FRONT "/local/domain/1/device/virtio/0"

static void key_write(struct th_host *host, const char *dir, const char *key, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	assert_true(xs_write(host->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

/* As xl writes it on x86, for a backend in domain `backend`. */
static void unplaced_write(struct th_host *host, const char *backend)
{
	static const struct th_key keys[] = {
		{"frontend", FRONT},  {"frontend-id", "1"},	  {"online", "1"},	 {"irq", "0"},	 {"base", "0"},
		{"grant_usage", "0"}, {"type", "virtio,device4"}, {"transport", "mmio"}, {"state", "1"},
	};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		key_write(host, backend, keys[i].key, keys[i].value);
}

/*
 * xl says the type in the backend's directory only, which the guest must not believe. grantiod in domain 0 copies it
 * with its offer; it leaves alone what stands there, and makes no directory for a guest that has removed its own.
 */
static void tells_the_type(void **state)
{
	static const struct {
		const char *before, *after; /* the guest's `type`; NULL: there is none */
		bool directory;
	} cases[] = {{NULL, "virtio,device4", true}, {"virtio,device2", "virtio,device2", true}, {NULL, NULL, false}};
	static const char back[] = "/local/domain/0/backend/virtio/1/0";
	struct th_host *host = *state;
	char *type;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].directory)
			key_write(host, FRONT, "state", "1");
		if (cases[i].before)
			key_write(host, FRONT, "type", cases[i].before);
		unplaced_write(host, back);
		th_store_wait(host, "/local/domain/0/backend/virtio/1/0/state", "2");
		type = th_store_read(host, FRONT "/type");
		assert_true(cases[i].after ? type && !strcmp(type, cases[i].after) : !type);
		free(type);
		xs_rm(host->xs, XBT_NULL, FRONT); /* the guest may, and then it is told nothing */
		assert_true(xs_rm(host->xs, XBT_NULL, back));
		th_log_wait(host, "<6>d1/virtio0: stopped", i + 1);
	}
	assert_int_equal(th_log_count(host, "<4>"), 0);
	th_domain_destroy(host, 1);
	th_grantiod_end(host, guests);
}

/* A backend in another domain cannot write there, and must not try: its device is served all the same. */
static void tells_nothing_from_another_domain(void **state)
{
	static const uint16_t both[] = {1, 2, 0};
	static const char back[] = "/local/domain/2/backend/virtio/1/0";
	struct xs_permissions permissions[] = {{.id = 2, .perms = XS_PERM_NONE}, {.id = 1, .perms = XS_PERM_READ}};
	struct th_host *host = *state;
	char store[96], usual[96];

	th_domain_create(host, 1);
	th_domain_create(host, 2);
	assert_int_equal(gm_domain_set_target(host->machine, 2, 1), 0);
	key_write(host, "/local/domain/2", "domid", "2");
	assert_true(xs_mkdir(host->xs, XBT_NULL, "/local/domain/2/backend"));
	assert_true(xs_set_permissions(host->xs, XBT_NULL, "/local/domain/2/backend", permissions, 2));
	snprintf(usual, sizeof(usual), "%s/store", host->dir);
	snprintf(store, sizeof(store), "%s/store.2", host->dir);
	setenv("GRANTIO_DOMID", "2", 1);
	setenv("XENSTORED_PATH", store, 1);
	th_grantiod_start(host, NULL);
	unsetenv("GRANTIO_DOMID");
	setenv("XENSTORED_PATH", usual, 1);
	key_write(host, FRONT, "state", "1");
	unplaced_write(host, back);
	th_store_wait(host, "/local/domain/2/backend/virtio/1/0/state", "2");
	assert_null(th_store_read(host, FRONT "/type"));
	assert_int_equal(th_log_count(host, "<4>"), 0);
	assert_true(xs_rm(host->xs, XBT_NULL, back));
	th_log_wait(host, "<6>d1/virtio0: stopped", 1);
	th_domain_destroy(host, 1);
	th_grantiod_end(host, both);
	th_domain_destroy(host, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {HG_TEST(served),	    HG_TEST(restarted),
					   HG_TEST(bad_requests),   HG_TEST(refused),
					   HG_TEST(tells_the_type), HG_TEST(tells_nothing_from_another_domain)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
