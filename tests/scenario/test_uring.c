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
	struct th_host *host = *state;
	char *reason, *is;

	uring_refuse();
	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, th_image(host, "a.raw", TH_MIB), NULL);
	assert_false(th_disk_verdict(host, 1, 0));
	reason = th_store_read(host, error_node);
	assert_non_null(reason);
	assert_non_null(strstr(reason, "io_uring is refused"));
	th_log_wait(host, "io_uring is refused", 1); /* it is written by a thread of its own */
	assert_int_equal(th_log_count(host, "io_uring is refused"), 1);
	is = th_disk_read(host, 1, 0, "state");
	assert_string_equal(is, "1");
	free(is);
	free(reason);
	th_disk_remove(host, 1, 0);
	th_grantiod_end(host, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_uring_refused, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
