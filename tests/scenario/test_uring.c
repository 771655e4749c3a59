/* SPDX-License-Identifier: MIT */
/* A system that refuses io_uring: the disk is refused with that reason, before a guest could find it. */
#include "tests/host/host.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const uint16_t guests[] = {1, 0};
static const char error_node[] = "/local/domain/0/error/backend/virtio_disk/1/51712/error";

/* For this thread and all that it starts: grantiod. */
static void uring_refuse(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static void test_uring_refused(void **state)
{
	struct rig *rig = *state;
	char *reason, *is;

	uring_refuse();
	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, rig_image(rig, "a.raw", RIG_MIB), NULL);
	assert_false(rig_disk_verdict(rig, 1, 0));
	reason = rig_read(rig, error_node);
	assert_non_null(reason);
	assert_non_null(strstr(reason, "io_uring is refused"));
	assert_int_equal(rig_log_count(rig, "io_uring is refused"), 1);
	is = rig_disk_read(rig, 1, 0, "state");
	assert_string_equal(is, "1");
	free(is);
	free(reason);
	rig_disk_remove(rig, 1, 0);
	rig_daemon_end(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_uring_refused, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
