/* SPDX-License-Identifier: MIT */
/* A backend linked to Xen's own libraries runs on the model when the model's library is preloaded. */
#include "tests/unit/model/common.h"

static pid_t backend_start(struct world *w, const char *preload, int *out)
{
	const char *asan = getenv("ASAN_OPTIONS");
	char options[256], ref[16];
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	snprintf(ref, sizeof(ref), "%u", FIRST_REF);
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		/* A sanitizer's runtime wants to come before what is preloaded; it need not, here. */
		snprintf(options, sizeof(options), "%s:verify_asan_link_order=0:detect_leaks=0", asan ? asan : "");
		setenv("ASAN_OPTIONS", options, 1);
		if (preload)
			setenv("LD_PRELOAD", preload, 1);
		setenv("GRANTIO_MACHINE", w->dir, 1);
		execl(getenv("MODEL_BACKEND"), "backend", "1", ref, (char *)NULL);
		_exit(126);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

static int exit_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static void test_foreign_backend(void **state)
{
	struct world *w = world_of(state);
	char line[8] = "";
	uint64_t v = 0;
	pid_t pid;
	int out;

	strcpy((char *)w->ram + 5 * PAGE, "guest");
	grant(w, FIRST_REF, 0, 5, GTF_permit_access);
	pid = backend_start(w, getenv("MODEL_LIBRARY"), &out);
	assert_int_equal(read(out, line, 6), 6);
	assert_string_equal(line, "ready\n");
	assert_string_equal((char *)w->ram + 5 * PAGE + 16, "backend");
	for (uint64_t addr = 0x02000000; addr < 0x02000100; addr += 4) {
		assert_int_equal(gm_guest_mmio(w->guest, addr, 4, false, &v, LIMIT_MS), 0);
		assert_int_equal(v, addr ^ 0x5555);
	}
	v = 0xdead;
	assert_int_equal(gm_guest_mmio(w->guest, 0x02000000, 4, true, &v, LIMIT_MS), 0);
	assert_int_equal(exit_of(pid), 0);
	close(out);
	/* It left without closing; the domain goes with what it had. */
	assert_int_equal(stats_of(w, w->domid).grants_active, 0);
	assert_int_equal(stats_of(w, w->domid).ioreqs, 0x100 / 4 + 1);
}

static void test_without_the_model_there_is_no_xen(void **state)
{
	struct world *w = world_of(state);
	int out;

	assert_int_equal(exit_of(backend_start(w, NULL, &out)), access("/dev/xen/gntdev", F_OK) ? 77 : 1);
	close(out);
}

/* The backend leaves without cleaning up; what is then left is the keeper's, and not this test's leak. */
static int close_with_keeper(void **state)
{
	struct world *w = world_of(state);
	struct gm_keeper *k;

	if (gm_keeper_open(&k, w->m))
		return -1;
	gm_keeper_close(k);
	gm_domain_destroy(w->m, w->domid);
	return world_close(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_foreign_backend, world_open, close_with_keeper),
		cmocka_unit_test_setup_teardown(test_without_the_model_there_is_no_xen, world_open, world_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
