/* SPDX-License-Identifier: MIT */
/* What the tests of pools stand on: a fake system, its grants, and a pool. pr_close() is the leak oracle. */
#ifndef TESTS_POOL_RIG_H
#define TESTS_POOL_RIG_H

#include "tests/unit/guest/fake_os.h"

#include <abi/dma_addr.h>
#include <grantio/pool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BACKEND 7
#define ARENA	1200u
#define SMALL	((struct gio_pool_config){.read_pages = 128, .write_pages = 128, .small_read = 256, .small_write = 64})

struct pool_rig {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_pool *pool;
};

/* A system without a pool, and its end: everything must be given back. */
void pr_system_open(struct pool_rig *f, uint32_t version);
void pr_system_close(struct pool_rig *f);
/* A pool in it; `config` needs only sizes. */
int pr_pool_open(struct pool_rig *f, struct gio_pool_config config);
/* Both; none of the pool's space may be in use at the end. */
void pr_open(struct pool_rig *f, struct gio_pool_config config);
void pr_close(struct pool_rig *f);

struct gio_pool_stats pr_stats(const struct pool_rig *f);
struct gio_grants_stats pr_grants(const struct pool_rig *f);

/* Space that must be had, and must be taken back. */
gio_dma_t pr_get(const struct pool_rig *f, size_t len, enum gio_dma_dir dir);
void pr_put(const struct pool_rig *f, gio_dma_t addr, size_t len);

/* The backend reads and writes by the grants: 0, or it is refused. */
int pr_read(const struct pool_rig *f, gio_dma_t addr, void *buf, size_t len);
int pr_write(const struct pool_rig *f, gio_dma_t addr, const void *buf, size_t len);

/* Bytes that tell where they belong. */
void pr_pattern(uint8_t *p, size_t len, uint8_t seed);
bool pr_is_zero(const uint8_t *p, size_t len);

#endif
