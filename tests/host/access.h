/* SPDX-License-Identifier: MIT */
/* A vCPU that reads a device's register and waits for the answer, while the test does something else. */
#ifndef TH_ACCESS_H
#define TH_ACCESS_H

#include "tests/host/host.h"

#include <pthread.h>

#include "model/guest.h"

struct th_access {
	struct gm_guest *guest;
	uint64_t addr, value;
	pthread_t vcpu;
	int err;
	bool done; /* atomic */
};

/* Begin to read the four bytes at `addr`. */
void th_access_begin(struct th_access *access, struct gm_guest *guest, uint64_t addr);
/* Has it been answered? */
bool th_access_done(const struct th_access *access);
/* Wait for the answer, for at most TH_SECONDS: the value that was read. */
uint64_t th_access_end(struct th_access *access);

#endif
