/* SPDX-License-Identifier: MIT */
/*
 * Each call to Xen fails once while a disk is attached: the disk is refused with one line and nothing is left of it,
 * its guest's other disk goes on, and the next try serves it.
 */
#include "tests/host/host.h"

#include <signal.h>
#include <stdio.h>

static const uint16_t guests[] = {1, 0};

/* Attach disk `index` with the n-th call failing: false when it went well without that. */
static bool attach_with_fault(struct rig *rig, unsigned index, const char *image, enum gm_fault kind, uint32_t n)
{
	unsigned refused;
	char error[24];
	bool served;

	snprintf(error, sizeof(error), "<3>d1/xvd%c: ", 'a' + (int)index);
	refused = rig_log_count(rig, error);
	assert_int_equal(gm_fault_set(rig->machine, 0, kind, n), 0);
	rig_disk_write(rig, 1, index, image, NULL);
	served = rig_disk_verdict(rig, 1, index);
	if (!gm_fault_struck(rig->machine, 0, kind)) {
		assert_int_equal(gm_fault_set(rig->machine, 0, kind, 0), 0);
		assert_true(served);
		return false;
	}
	assert_false(served);
	rig_log_wait(rig, error, refused + 1);
	assert_int_equal(rig_log_count(rig, error), refused + 1);
	return true;
}

static void try_again(struct rig *rig, unsigned index, const char *image)
{
	struct gp_disk *disk;

	kill(rig->daemon, SIGHUP);
	rig_disk_wait(rig, 1, index, 2);
	disk = rig_guest_open(rig, 1, index);
	rig_guest_check(disk, image, 0, 65536, index);
	rig_guest_close(disk);
}

/* How often each kind is called for a guest's first disk: a lower bound, so that the loop cannot pass by doing nothing.
 */
static const struct {
	enum gm_fault kind;
	unsigned least;
} first[] = {{GM_FAULT_DM_OP, 4}, {GM_FAULT_MAP_RESOURCE, 1}, {GM_FAULT_BIND, 2}};

static void first_disk(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	for (unsigned k = 0; k < sizeof(first) / sizeof(first[0]); k++) {
		unsigned n;

		for (n = 1; attach_with_fault(rig, 0, image, first[k].kind, n); n++) {
			assert_true(n < 20);
			try_again(rig, 0, image);
			rig_disk_detach(rig, 1, 0);
			rig_quiet(rig, guests);
		}
		assert_true(n > first[k].least);
		rig_disk_detach(rig, 1, 0);
		rig_quiet(rig, guests);
	}
	rig_daemon_end(rig, guests);
}

/* The second takes part in the first one's ioreq server: one more range. */
static void second_disk(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB), *other = rig_image(rig, "b.raw", 4 * RIG_MIB);
	struct gp_disk *disk;
	unsigned n;

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	for (n = 1; attach_with_fault(rig, 1, other, GM_FAULT_DM_OP, n); n++) {
		assert_true(n < 20);
		disk = rig_guest_open(rig, 1, 0);
		rig_guest_check(disk, image, 0, 65536, n);
		rig_guest_close(disk);
		try_again(rig, 1, other);
		rig_disk_detach(rig, 1, 1);
	}
	assert_true(n > 1);
	rig_disk_detach(rig, 1, 1);
	rig_disk_detach(rig, 1, 0);
	rig_quiet(rig, guests);
	rig_daemon_end(rig, guests);
}

/* An answer that a vCPU is not told of is told again: the guest's accesses all come back. */
static void answers_are_notified_again(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	for (uint32_t n = 1; n <= 40; n += 3) {
		struct gp_disk *disk;

		assert_int_equal(gm_fault_set(rig->machine, 0, GM_FAULT_NOTIFY, n), 0);
		disk = rig_guest_open(rig, 1, 0);
		rig_guest_check(disk, image, 0, 65536, n);
		rig_guest_close(disk);
		assert_true(gm_fault_struck(rig->machine, 0, GM_FAULT_NOTIFY));
	}
	rig_daemon_end(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(first_disk, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(second_disk, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(answers_are_notified_again, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
