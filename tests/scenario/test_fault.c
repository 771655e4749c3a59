/* SPDX-License-Identifier: MIT */
/*
 * Each call to Xen fails once while a disk is attached: the disk is refused with one line and nothing is left of it,
 * its guest's other disk goes on, and the next try serves it. A limit of the system's fails what it is for, too.
 */
#include "tests/host/host.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const uint16_t guests[] = {1, 0};

/*
 * Attach disk `index` with the n-th call failing: false when it went well without that. `matters`: the disk cannot be
 * served without that call.
 */
static bool attach_with_fault(struct th_host *host, unsigned index, const char *image, enum gm_fault kind, uint32_t n,
			      bool matters)
{
	unsigned refused;
	char error[24];
	bool served;

	snprintf(error, sizeof(error), "<3>d1/xvd%c: ", 'a' + (int)index);
	refused = th_log_count(host, error);
	assert_int_equal(gm_fault_set(host->machine, 0, kind, n), 0);
	th_disk_write(host, 1, index, image, NULL);
	served = th_disk_verdict(host, 1, index);
	if (!gm_fault_struck(host->machine, 0, kind)) {
		assert_int_equal(gm_fault_set(host->machine, 0, kind, 0), 0);
		assert_true(served);
		return false;
	}
	assert_int_equal(served, !matters);
	if (matters)
		th_log_wait(host, error, refused + 1);
	assert_int_equal(th_log_count(host, error), refused + matters);
	return true;
}

static void try_again(struct th_host *host, unsigned index, const char *image)
{
	struct gp_disk *disk;

	kill(host->grantiod, SIGHUP);
	th_disk_wait(host, 1, index, 2);
	disk = th_guest_open(host, 1, index);
	th_guest_check(disk, image, 0, 65536, index);
	th_guest_close(disk);
}

/*
 * How often each kind is called for a guest's first disk: a lower bound, so that the loop cannot pass by doing nothing.
 * The first calls only ask which ioreq servers the guest has besides, for a process that follows a crash.
 */
static const struct {
	enum gm_fault kind;
	unsigned asks, least;
} first[] = {{GM_FAULT_DM_OP, 16, 4}, {GM_FAULT_MAP_RESOURCE, 0, 1}, {GM_FAULT_BIND, 0, 2}};

static void first_disk(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	for (unsigned k = 0; k < sizeof(first) / sizeof(first[0]); k++) {
		unsigned n, asks = first[k].asks;

		for (n = 1; attach_with_fault(host, 0, image, first[k].kind, n, n > asks); n++) {
			assert_true(n < asks + 20);
			try_again(host, 0, image);
			th_disk_detach(host, 1, 0);
			th_quiet(host, guests);
		}
		assert_true(n > asks + first[k].least);
		th_disk_detach(host, 1, 0);
		th_quiet(host, guests);
	}
	th_grantiod_end(host, guests);
}

/* The second takes part in the first one's ioreq server: one more range. */
static void second_disk(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB), *other = th_image(host, "b.raw", 4 * TH_MIB);
	struct gp_disk *disk;
	unsigned n;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	for (n = 1; attach_with_fault(host, 1, other, GM_FAULT_DM_OP, n, true); n++) {
		assert_true(n < 20);
		disk = th_guest_open(host, 1, 0);
		th_guest_check(disk, image, 0, 65536, n);
		th_guest_close(disk);
		try_again(host, 1, other);
		th_disk_detach(host, 1, 1);
	}
	assert_true(n > 1);
	th_disk_detach(host, 1, 1);
	th_disk_detach(host, 1, 0);
	th_quiet(host, guests);
	th_grantiod_end(host, guests);
}

/* An answer that a vCPU is not told of is told again: the guest's accesses all come back. */
static void answers_are_notified_again(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	for (uint32_t n = 1; n <= 40; n += 3) {
		struct gp_disk *disk;

		assert_int_equal(gm_fault_set(host->machine, 0, GM_FAULT_NOTIFY, n), 0);
		disk = th_guest_open(host, 1, 0);
		th_guest_check(disk, image, 0, 65536, n);
		th_guest_close(disk);
		assert_true(gm_fault_struck(host->machine, 0, GM_FAULT_NOTIFY));
	}
	th_grantiod_end(host, guests);
}

/* A write beyond the longest file that grantiod may write fails alone. A ledger that may not be made is no obstacle. */
static void files_have_a_limit(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB), *other = th_image(host, "b.raw", 4 * TH_MIB);
	const struct rlimit some = {TH_MIB, RLIM_INFINITY}, none = {4096, RLIM_INFINITY};
	char block[4096];
	struct gp_disk *disk;

	memset(block, 7, sizeof(block));
	th_grantiod_start(host, (const char *const[]){"--state-dir", th_state_dir(host), NULL});
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	assert_int_equal(prlimit(host->grantiod, RLIMIT_FSIZE, &some, NULL), 0);
	disk = th_guest_open(host, 1, 0);
	assert_int_equal(gp_disk_write(disk, block, 2 * TH_MIB, sizeof(block)), -EIO);
	th_guest_check(disk, image, 0, 65536, 1);
	th_guest_close(disk);
	assert_int_equal(prlimit(host->grantiod, RLIMIT_FSIZE, &none, NULL), 0);
	th_disk_attach(host, 1, 1, other);
	th_log_wait(host, "no other grantiod will be able to go on", 1);
	th_disk_detach(host, 1, 1);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(first_disk, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(second_disk, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(answers_are_notified_again, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(files_have_a_limit, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
