/* SPDX-License-Identifier: MIT */
/*
 * Microbenchmark of the guest library's two ways to hand a buffer to a device: grants of the buffer's own pages, and
 * copies through a pool. Nanoseconds of a map and an unmap, and of each page of a longer buffer, with a grant table of
 * version 1 in ordinary memory: what Xen does with the entries is not in it, nor the backend.
 *
 * Buffers are taken in turn from 256 KiB, so that they lie in the processor's caches as those of a busy disk do, and
 * are not the same one each time. Times are the processor's, not the wall clock's. Each figure is the best of 15
 * batches. Usage: dma_bench [--tsv]    (columns: way, direction, bytes, ns, ns of each page)
 */
#include <abi/grant_table.h>
#include <grantio/dma.h>
#include <grantio/pool.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUFFERS	  64u /* pages that the buffers lie in, or one buffer if that is longer */
#define BATCHES	  15u
#define WORK	  (1u << 16) /* pages of a batch, and at most so many pairs */
#define PAGES_MAX 256u	     /* of a buffer */
#define ENTRIES	  32768u
#define BACKEND	  1
#define FRAME_0	  0x40000u

/* ---- a system with nothing but memory -------------------------------------------------------------------------- */

struct gio_os {
	struct gio_grant_entry_v1 *table;
	char *arena; /* frame FRAME_0 and those behind it */
};

void *gio_os_alloc(struct gio_os *os, size_t bytes)
{
	(void)os;
	return calloc(1, bytes);
}

void gio_os_free(struct gio_os *os, void *p, size_t bytes)
{
	(void)os, (void)bytes;
	free(p);
}

void *gio_os_pages_alloc(struct gio_os *os, size_t npages)
{
	void *va = aligned_alloc(GIO_PAGE_SIZE, npages * GIO_PAGE_SIZE);

	(void)os;
	return va ? memset(va, 0, npages * GIO_PAGE_SIZE) : NULL;
}

void gio_os_pages_free(struct gio_os *os, void *va, size_t npages)
{
	(void)os, (void)npages;
	free(va);
}

gio_gfn_t gio_os_gfn(struct gio_os *os, const void *va)
{
	return FRAME_0 + (((uintptr_t)va - (uintptr_t)os->arena) >> GIO_PAGE_SHIFT & 0xffffff);
}

void gio_os_page_get(struct gio_os *os, gio_gfn_t gfn)
{
	(void)os, (void)gfn;
}

void gio_os_page_put(struct gio_os *os, gio_gfn_t gfn)
{
	(void)os, (void)gfn;
}

void gio_os_lock_init(struct gio_lock *lock)
{
	pthread_mutex_init((void *)lock, NULL);
}

void gio_os_lock_exit(struct gio_lock *lock)
{
	pthread_mutex_destroy((void *)lock);
}

void gio_os_lock(struct gio_lock *lock)
{
	pthread_mutex_lock((void *)lock);
}

void gio_os_unlock(struct gio_lock *lock)
{
	pthread_mutex_unlock((void *)lock);
}

int gio_os_grant_table(struct gio_os *os, uint32_t entries, struct gio_os_grant_table *out)
{
	*out = (struct gio_os_grant_table){.shared = os->table, .entries = ENTRIES, .max = ENTRIES, .version = 1};
	return entries > ENTRIES ? -GIO_ENOSPC : 0;
}

/* ---- the measurement -------------------------------------------------------------------------------------------- */

struct bench {
	struct gio_os os;
	struct gio_grants *grants;
	struct gio_dma dma;
	struct gio_pool *pool;
	enum gio_dma_dir dir;
	size_t bytes;
};

static void die(const char *what)
{
	fprintf(stderr, "dma_bench: %s\n", what);
	exit(1);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void bench_open(struct bench *b)
{
	struct gio_pool_config config = {.os = &b->os, .backend = BACKEND};

	b->os.table = calloc(ENTRIES, sizeof(*b->os.table));
	b->os.arena = gio_os_pages_alloc(&b->os, PAGES_MAX);
	if (!b->os.table || !b->os.arena || gio_grants_open(&b->grants, &b->os, 8) ||
	    gio_dma_init(&b->dma, &b->os, b->grants, BACKEND, UINT64_MAX))
		die("no memory");
	config.grants = b->grants;
	if (gio_pool_open(&b->pool, &config))
		die("no memory for a pool");
}

static void bench_close(struct bench *b)
{
	gio_pool_close(b->pool);
	gio_grants_close(b->grants);
	free(b->os.arena);
	free(b->os.table);
}

static void direct(struct bench *b, char *buf)
{
	gio_dma_t addr;

	if (gio_dma_map(&b->dma, buf, b->bytes, b->dir, &addr) || gio_dma_unmap(&b->dma, addr, b->bytes))
		die("a buffer was not mapped");
}

static void pooled(struct bench *b, char *buf)
{
	gio_dma_t addr;

	if (gio_pool_map(b->pool, 0, buf, b->bytes, b->dir, &addr) ||
	    gio_pool_unmap(b->pool, buf, b->bytes, b->dir, addr))
		die("a buffer was not mapped");
}

/* Nanoseconds of a pair in one batch. */
static double batch(struct bench *b, void (*pair)(struct bench *b, char *buf))
{
	size_t pages = (b->bytes + GIO_PAGE_MASK) / GIO_PAGE_SIZE;
	uint32_t rounds = WORK / (uint32_t)pages, buffers = pages < BUFFERS ? BUFFERS / (uint32_t)pages : 1;
	double start = now_ns();

	for (uint32_t i = 0; i < rounds; i++)
		pair(b, b->os.arena + (size_t)(i % buffers) * pages * GIO_PAGE_SIZE);
	return (now_ns() - start) / rounds;
}

static double measure(struct bench *b, void (*pair)(struct bench *b, char *buf))
{
	double best = 0;

	for (unsigned i = 0; i < BATCHES; i++) {
		double ns = batch(b, pair);

		best = !i || ns < best ? ns : best;
	}
	return best;
}

static void print_line(bool tsv, const char *way, const struct bench *b, double ns)
{
	const char *dir = b->dir == GIO_DMA_TO_DEVICE ? "write" : "read";
	double pages = (double)((b->bytes + GIO_PAGE_MASK) / GIO_PAGE_SIZE);

	printf(tsv ? "%s\t%s\t%zu\t%.1f\t%.1f\n" : "%-8s %-6s %9zu %12.1f %12.1f\n", way, dir, b->bytes, ns,
	       ns / pages);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const size_t bytes[] = {512, 4096, 65536, 262144};
	bool tsv = argc == 2 && !strcmp(argv[1], "--tsv");
	struct bench b = {.bytes = 0};

	if (argc > 1 && !tsv) {
		fputs("usage: dma_bench [--tsv]\n", stderr);
		return 2;
	}
	bench_open(&b);
	printf(tsv ? "%s\t%s\t%s\t%s\t%s\n" : "%-8s %-6s %9s %12s %12s\n", "way", "dir", "bytes", "ns/pair", "ns/page");
	for (b.dir = GIO_DMA_TO_DEVICE; b.dir <= GIO_DMA_FROM_DEVICE; b.dir++)
		for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
			b.bytes = bytes[i];
			print_line(tsv, "direct", &b, measure(&b, direct));
			if (b.bytes <= gio_pool_mapping_max(b.pool))
				print_line(tsv, "pool", &b, measure(&b, pooled));
		}
	b.dir = GIO_DMA_TO_DEVICE;
	b.bytes = PAGES_MAX * GIO_PAGE_SIZE;
	print_line(tsv, "direct", &b, measure(&b, direct));
	bench_close(&b);
	return 0;
}
