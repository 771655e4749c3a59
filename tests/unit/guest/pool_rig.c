/* SPDX-License-Identifier: MIT */
#include "tests/unit/guest/pool_rig.h"

void pr_system_open(struct pool_rig *f, uint32_t version)
{
	const struct fake_os_config config = {.pages = ARENA, .version = version, .max_frames = 16};

	f->os = fake_os_new(&config);
	assert_int_equal(gio_grants_open(&f->grants, f->os, 8), 0);
	f->pool = NULL;
}

int pr_pool_open(struct pool_rig *f, struct gio_pool_config config)
{
	config.os = f->os;
	config.grants = f->grants;
	config.backend = BACKEND;
	return gio_pool_open(&f->pool, &config);
}

void pr_open(struct pool_rig *f, struct gio_pool_config config)
{
	pr_system_open(f, 1);
	assert_int_equal(pr_pool_open(f, config), 0);
}

struct gio_pool_stats pr_stats(const struct pool_rig *f)
{
	struct gio_pool_stats s;

	gio_pool_stats(f->pool, &s);
	return s;
}

struct gio_grants_stats pr_grants(const struct pool_rig *f)
{
	struct gio_grants_stats s;

	gio_grants_stats(f->grants, &s);
	return s;
}

/* The leak oracle, after every test. */
void pr_system_close(struct pool_rig *f)
{
	assert_int_equal(pr_grants(f).used, 0);
	assert_int_equal(gio_grants_close(f->grants), 0);
	assert_int_equal(fake_os_delete(f->os), 0);
}

void pr_close(struct pool_rig *f)
{
	assert_int_equal(pr_stats(f).used, 0);
	assert_int_equal(pr_stats(f).small[0], 0);
	assert_int_equal(pr_stats(f).small[1], 0);
	assert_int_equal(gio_pool_close(f->pool), 0);
	pr_system_close(f);
}

gio_dma_t pr_get(const struct pool_rig *f, size_t len, enum gio_dma_dir dir)
{
	gio_dma_t addr = 0;

	assert_int_equal(gio_pool_get(f->pool, 0, len, dir, 0, &addr), 0);
	return addr;
}

void pr_put(const struct pool_rig *f, gio_dma_t addr, size_t len)
{
	assert_int_equal(gio_pool_put(f->pool, addr, len), 0);
}

int pr_read(const struct pool_rig *f, gio_dma_t addr, void *buf, size_t len)
{
	return fake_peer_copy(f->os, BACKEND, addr, buf, len, false);
}

int pr_write(const struct pool_rig *f, gio_dma_t addr, const void *buf, size_t len)
{
	return fake_peer_copy(f->os, BACKEND, addr, (void *)buf, len, true);
}

void pr_pattern(uint8_t *p, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed + i * 7 + i / 251);
}

bool pr_is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}
