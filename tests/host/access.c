/* SPDX-License-Identifier: MIT */
#include "tests/host/access.h"

static void *vcpu_run(void *opaque)
{
	struct th_access *access = opaque;

	access->err = gm_guest_mmio(access->guest, access->addr, 4, false, &access->value, TH_SECONDS * 1000);
	__atomic_store_n(&access->done, true, __ATOMIC_RELEASE);
	return NULL;
}

void th_access_begin(struct th_access *access, struct gm_guest *guest, uint64_t addr)
{
	*access = (struct th_access){.guest = guest, .addr = addr};
	assert_int_equal(pthread_create(&access->vcpu, NULL, vcpu_run, access), 0);
}

bool th_access_done(const struct th_access *access)
{
	return __atomic_load_n(&access->done, __ATOMIC_ACQUIRE);
}

uint64_t th_access_end(struct th_access *access)
{
	pthread_join(access->vcpu, NULL);
	assert_int_equal(access->err, 0);
	return access->value;
}
