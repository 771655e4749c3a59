/* SPDX-License-Identifier: MIT */
/*
 * A machine for a test: domain 0 (the libxen* ABI in this process is its), one guest of 1 MiB and two vCPUs, and the
 * ways to write grants. The libxen* functions are the model's own objects, linked in place of Xen's libraries.
 */
#ifndef TEST_MODEL_COMMON_H
#define TEST_MODEL_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xen/grant_table.h>
#include <xen/hvm/ioreq.h>
#include <xen/memory.h>

#include "model/guest.h"
#include "model/machine.h"

#define PAGE	   4096u
#define GUEST_RAM  (1u << 20)
#define LIMIT_MS   60000 /* for what must happen: never waited for in full unless it is broken */
#define VCPUS	   2u
#define FIRST_REF  8u
#define ANY_FRAMES 4u

struct world {
	char dir[64];
	struct gm_machine *m;
	uint16_t domid;
	struct gm_guest *guest;
	uint8_t *ram;
	struct gm_grant_table table;
};

/* cmocka set-up and tear-down; tear-down fails if anything is left over (the leak oracle). */
int world_open(void **state);
int world_close(void **state);
struct world *world_of(void **state);

/* Be domain `domid` for libxen* handles that are opened from here on (none may be open). */
void become(uint16_t domid);

void guest_version(struct world *w, uint32_t version);
/* Write entry `ref`: flags last, as the guest must. */
void grant(struct world *w, uint32_t ref, uint16_t to, uint64_t frame, uint16_t flags);
void grant_sub_page(struct world *w, uint32_t ref, uint16_t to, uint64_t frame, uint16_t off, uint16_t len);
/* End a grant as a guest does, by compare-and-exchange: false while it is in use. */
bool grant_end(struct world *w, uint32_t ref);
/* GTF_reading and GTF_writing of an entry, wherever its version keeps them. */
uint16_t in_use(struct world *w, uint32_t ref);

struct gm_stats stats_of(struct world *w, uint16_t domid);
int open_fds(void);
/* Wait until *word is `value` (both shared with another process or thread), within the limit. */
bool await(const uint32_t *word, uint32_t value);
/* A page shared with forked children. */
void *shared_page(void);

#endif
