/* SPDX-License-Identifier: MIT */
/* The bench: its histogram, its command line, its load over a fake driver, and its reading of counters. */
#include "cli/bench/bench.h"
#include "cli/bench/primitives.h"
#include "tests/unit/client/fake_blk.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* ---- histogram ---------------------------------------------------------------------------------------------- */

static struct gc_hist hist;

static void test_histogram_empty_and_single(void **state)
{
	(void)state;
	memset(&hist, 0, sizeof(hist));
	assert_int_equal(gc_hist_quantile(&hist, 5000), 0);
	gc_hist_add(&hist, 123456789);
	assert_int_equal(gc_hist_quantile(&hist, 0), 123456789);
	assert_int_equal(gc_hist_quantile(&hist, 5000), 123456789);
	assert_int_equal(gc_hist_quantile(&hist, 10000), 123456789);
}

static void test_histogram_quantiles(void **state)
{
	(void)state;
	memset(&hist, 0, sizeof(hist));
	for (uint64_t v = 1; v <= 100000; v++)
		gc_hist_add(&hist, v * 1000);
	for (unsigned q = 100; q <= 9900; q += 100) {
		double exact = q / 10000.0 * 1e8, got = (double)gc_hist_quantile(&hist, q);

		assert_true(got > exact * (1 - 1.0 / 64) && got < exact * (1 + 1.0 / 64));
	}
	assert_int_equal(hist.least, 1000);
	assert_int_equal(hist.most, 100000000);
	assert_int_equal(gc_hist_quantile(&hist, 10000), 100000000);
}

/* Every value falls into a bucket whose middle is near it, at each power of two and beside it. */
static void test_histogram_edges(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		for (int delta = -1; delta <= 1; delta++) {
			uint64_t v = (1ull << bit) + (uint64_t)(int64_t)delta, got;

			memset(&hist, 0, sizeof(hist));
			gc_hist_add(&hist, 0);
			gc_hist_add(&hist, v);
			gc_hist_add(&hist, UINT64_MAX);
			got = gc_hist_quantile(&hist, 5000);
			if (v < 1ull << GC_HIST_TOP)
				assert_true(got >= v - v / 64 && got <= v + v / 64);
			else
				assert_true(got >= (1ull << GC_HIST_TOP) - (1ull << (GC_HIST_TOP - GC_HIST_BITS)));
		}
	}
}

/* ---- command line ------------------------------------------------------------------------------------------- */

static struct gc_bench_config config;

static int parse(const char *const *words)
{
	char *argv[24] = {(char *)(uintptr_t) "bench", (char *)(uintptr_t) "--machine=m",
			  (char *)(uintptr_t) "--domid=1"};
	int argc = 3;

	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	return gc_bench_args(&config, argc, argv);
}

/* It is for real Xen and the model; here it is not run. */
int gc_primitives_run(const struct gc_primitives_config *primitives)
{
	(void)primitives;
	return GC_FAILED;
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void test_arguments_of_primitives(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--primitives", "--json"), GC_OK);
	assert_true(config.primitives && config.json);
	assert_int_equal(PARSE("--primitives", "--disk=xvdb"), GC_OK);
	assert_int_equal(config.domid, 1);
	/* What would have no effect is refused. */
	assert_int_equal(PARSE("--primitives", "--depth=1"), GC_USAGE);
	assert_int_equal(PARSE("--primitives", "--verify"), GC_USAGE);
	assert_int_equal(PARSE("--json"), GC_OK);
	assert_false(config.primitives);
}

static void test_arguments_by_default(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--disk=xvdb"), GC_OK);
	assert_string_equal(config.machine, "m");
	assert_string_equal(config.disk, "xvdb");
	assert_int_equal(config.domid, 1);
	assert_string_equal(config.rw, "randread");
	assert_true(config.random);
	assert_int_equal(config.read_percent, 100);
	assert_int_equal(config.bs, 4096);
	assert_int_equal(config.depth, 32);
	assert_int_equal(config.queues, 1);
	assert_false(config.messages);
	assert_int_equal(config.time_ns, 5000000000);
	assert_int_equal(config.requests, 0);
}

static void test_arguments_given(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--rw", "randrw", "--mix", "25", "--bs", "64K", "--depth=1", "--requests", "1000",
			       "--seed=7", "--verify", "--json", "--queue-size=64", "--size=1G"),
			 GC_OK);
	assert_int_equal(config.read_percent, 25);
	assert_int_equal(config.bs, 65536);
	assert_int_equal(config.requests, 1000);
	assert_int_equal(config.time_ns, 0);
	assert_int_equal(config.seed, 7);
	assert_int_equal(config.size, 1u << 30);
	assert_true(config.verify && config.json);
	assert_int_equal(PARSE("--time=250ms", "--rw=write"), GC_OK);
	assert_int_equal(config.time_ns, 250000000);
	assert_int_equal(config.read_percent, 0);
	assert_false(config.random);
	assert_int_equal(PARSE("--time=2m", "--requests=5"), GC_OK);
	assert_int_equal(config.time_ns, 120000000000);
	assert_int_equal(PARSE("--transport=msg"), GC_OK);
	assert_true(config.messages);
	assert_int_equal(PARSE("--transport=mmio"), GC_OK);
	assert_false(config.messages);
	assert_int_equal(PARSE("--time=7"), GC_OK);
	assert_int_equal(config.time_ns, 7000000000);
}

static void test_arguments_refused(void **state)
{
	static const char *const wrong[] = {"--rw=sideways",	  "--mix=101",
					    "--mix=50",		  "--bs=1000",
					    "--bs=100",		  "--bs=1M",
					    "--depth=0",	  "--depth=1025",
					    "--queues=0",	  "--queue-size=48",
					    "--queue-size=2",	  "--time=0",
					    "--time=5h",	  "--time=",
					    "--time=ms",	  "--time=99999999m",
					    "--time=12345678901", "--requests=0",
					    "--size=x",		  "--verify",
					    "--nonsense",	  "word",
					    "--domid=2",	  "--transport=",
					    "--transport=ms",	  "--transport=msgs"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(PARSE(wrong[i]), GC_USAGE);
}

/* ---- load --------------------------------------------------------------------------------------------------- */

static struct gp_disk *disk;
static struct gc_load *load;
static struct gc_load_result result;
static char error[256];

static int setup(void **state)
{
	(void)state;
	fake_reset();
	load = NULL;
	config = (struct gc_bench_config){.machine = "m",
					  .domid = 1,
					  .rw = "randrw",
					  .random = true,
					  .read_percent = 50,
					  .bs = 4096,
					  .depth = 8,
					  .requests = 2000,
					  .seed = 1};
	return 0;
}

static int load_open(void)
{
	const struct gp_disk_config disk_config = {
		.machine = "m", .domid = 1, .wait_ms = 1000, .reaped = gc_load_reaped, .opaque = &load};

	assert_int_equal(gp_disk_open(&disk, &disk_config, error, sizeof(error)), 0);
	return gc_load_open(&load, disk, &config, error, sizeof(error));
}

static void load_wait(void)
{
	struct pollfd wait = {.fd = gc_load_fd(load), .events = POLLIN};

	assert_int_equal(poll(&wait, 1, 60000), 1);
	gc_load_result(load, &result, &hist);
	assert_int_equal(result.in_flight, 0);
}

/* The leak oracle. */
static void load_close(void)
{
	gp_disk_stop(disk);
	gc_load_close(load);
	assert_int_equal(gp_disk_close(disk, NULL), 0);
	assert_int_equal(fake.pages, 0);
}

static void test_load_counts_requests(void **state)
{
	(void)state;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	load_wait();
	assert_int_equal(result.requests, 2000);
	assert_int_equal(result.reads + result.writes, 2000);
	assert_true(result.reads > 800 && result.reads < 1200);
	assert_int_equal(result.bytes, 2000 * 4096);
	assert_int_equal(result.error, 0);
	assert_int_equal(hist.count, 2000);
	assert_int_equal(fake.requests, 2000);
	assert_int_equal(fake.most_in_flight, 8);
	load_close();
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* It does not end early. elapsed_ns may be less than the time asked for: it ends with the last completion. */
static void test_load_by_time(void **state)
{
	uint64_t start, took;

	(void)state;
	config.requests = 0;
	config.time_ns = 50000000;
	assert_int_equal(load_open(), 0);
	start = clock_ns();
	gc_load_start(load);
	load_wait();
	took = clock_ns() - start;
	assert_true(took >= 50000000);
	assert_true(result.requests > 0);
	assert_true(result.elapsed_ns > 0 && result.elapsed_ns <= took);
	load_close();
}

/* A time that is over before the first request leaves can be no reason for none. */
static void test_load_by_no_time(void **state)
{
	(void)state;
	config.requests = 0;
	config.time_ns = 1;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	load_wait();
	assert_true(result.requests > 0);
	load_close();
}

/* The device may raise an interrupt as soon as it is there. */
static void test_interrupt_before_the_start(void **state)
{
	(void)state;
	config.requests = 0;
	config.time_ns = 20000000;
	assert_int_equal(load_open(), 0);
	gc_load_reaped(&load);
	assert_int_equal(fake.requests, 0);
	gc_load_start(load);
	load_wait();
	assert_true(result.requests > 0);
	load_close();
}

static void test_load_stops_when_told(void **state)
{
	(void)state;
	config.requests = 0;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	gc_load_stop(load);
	load_wait();
	load_close();
}

static void test_load_deeper_than_the_ring(void **state)
{
	(void)state;
	fake.ring = 3;
	fake.full_first = true;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	load_wait();
	assert_int_equal(result.requests, 2000);
	assert_int_equal(fake.most_in_flight, 3);
	load_close();
}

/* In order and without a gap, also where the ring had no room for a block at first. */
static void test_sequential_load_leaves_no_gap(void **state)
{
	(void)state;
	fake.ring = 3;
	fake.full_first = true;
	config.random = false;
	config.read_percent = 0;
	config.size = 16 * 4096;
	config.requests = 16;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	load_wait();
	for (unsigned i = 0; i < 16; i++)
		assert_int_not_equal(fake.disk[i * 4096] | fake.disk[i * 4096 + 1] | fake.disk[i * 4096 + 2], 0);
	assert_int_equal(fake.disk[16 * 4096], 0);
	load_close();
}

static void test_verify_reads_everything_back(void **state)
{
	(void)state;
	config.verify = true;
	config.size = 64 * 4096;
	fake.ring = 5;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	load_wait();
	assert_int_equal(result.error, 0);
	assert_true(result.verified > 0);
	result.verified = 0;
	assert_int_equal(gc_load_readback(load), 0);
	load_wait();
	assert_int_equal(result.error, 0);
	assert_true(result.verified >= 64);
	assert_int_equal(result.requests, 2000);
	load_close();
}

static void test_verify_finds_wrong_contents(void **state)
{
	(void)state;
	config.verify = true;
	config.read_percent = 0;
	config.random = false;
	config.size = 64 * 4096;
	config.requests = 64;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	load_wait();
	fake.disk[40 * 4096 + 4095] ^= 1;
	assert_int_equal(gc_load_readback(load), 0);
	load_wait();
	assert_int_equal(result.error, -EILSEQ);
	assert_int_equal(result.error_offset, 40 * 4096);
	load_close();
}

static void test_first_failure_ends_the_load(void **state)
{
	(void)state;
	fake.bad_sector = 8;
	config.size = 64 * 4096;
	config.read_percent = 100;
	assert_int_equal(load_open(), 0);
	gc_load_start(load);
	load_wait();
	assert_int_equal(result.error, -EIO);
	assert_int_equal(result.error_offset, 4096);
	assert_false(result.error_write);
	assert_true(result.requests < 2000);
	load_close();
}

static void test_what_does_not_fit_the_disk(void **state)
{
	(void)state;
	config.size = FAKE_DISK_BYTES + 4096;
	assert_int_equal(load_open(), -EINVAL);
	assert_string_equal(error, "option --size: 4.0 MiB is more than the disk's 4 MiB");
	load_close();
	config.size = 4096 * 4;
	config.verify = true;
	assert_int_equal(load_open(), -EINVAL);
	assert_string_equal(error, "4 blocks of 4096 bytes are too few for --depth 8");
	load_close();
	config.size = 0;
	config.verify = false;
	fake.info.block_size = 8192;
	assert_int_equal(load_open(), -EINVAL);
	assert_string_equal(error, "option --bs 4096: the disk takes multiples of 8192 up to 256 KiB");
	load_close();
	fake.info.block_size = 512;
	fake.info.readonly = true;
	assert_int_equal(load_open(), -EINVAL);
	assert_string_equal(error, "option --rw randrw: the disk is read-only");
	load_close();
	fake.info.readonly = false;
	fake.page_limit = 7;
	assert_int_equal(load_open(), -ENOMEM);
	assert_string_equal(error, "no memory for 8 requests of 4096 bytes in the guest");
	load_close();
}

/* ---- counters and report ------------------------------------------------------------------------------------ */

static void test_words_of_a_line(void **state)
{
	const char line[] = "d1/xvda requests=5 xrequests=6 copy_calls=x batches=7\n";
	uint64_t value = 0;

	(void)state;
	assert_true(gc_cost_word(line, "requests", &value));
	assert_int_equal(value, 5);
	assert_true(gc_cost_word(line, "xrequests", &value));
	assert_int_equal(value, 6);
	assert_true(gc_cost_word(line, "batches", &value));
	assert_int_equal(value, 7);
	assert_false(gc_cost_word(line, "copy_calls", &value));
	assert_false(gc_cost_word(line, "quests", &value));
	assert_false(gc_cost_word(line, "syscalls", &value));
}

static void test_report_of_nothing_divides_by_nothing(void **state)
{
	const struct gc_bench_report report = {.config = &config, .device = "d1/\"x"};
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	gc_report_text(out, &report);
	gc_report_json(out, &report);
	fclose(out);
	assert_null(strstr(text, "nan"));
	assert_null(strstr(text, "inf"));
	assert_non_null(strstr(text, "\"device\":\"d1/\\u0022x\""));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histogram_empty_and_single),
		cmocka_unit_test(test_histogram_quantiles),
		cmocka_unit_test(test_histogram_edges),
		cmocka_unit_test(test_arguments_by_default),
		cmocka_unit_test(test_arguments_of_primitives),
		cmocka_unit_test(test_arguments_given),
		cmocka_unit_test(test_arguments_refused),
		cmocka_unit_test_setup(test_load_counts_requests, setup),
		cmocka_unit_test_setup(test_load_by_time, setup),
		cmocka_unit_test_setup(test_load_by_no_time, setup),
		cmocka_unit_test_setup(test_load_stops_when_told, setup),
		cmocka_unit_test_setup(test_interrupt_before_the_start, setup),
		cmocka_unit_test_setup(test_load_deeper_than_the_ring, setup),
		cmocka_unit_test_setup(test_sequential_load_leaves_no_gap, setup),
		cmocka_unit_test_setup(test_verify_reads_everything_back, setup),
		cmocka_unit_test_setup(test_verify_finds_wrong_contents, setup),
		cmocka_unit_test_setup(test_first_failure_ends_the_load, setup),
		cmocka_unit_test_setup(test_what_does_not_fit_the_disk, setup),
		cmocka_unit_test(test_words_of_a_line),
		cmocka_unit_test(test_report_of_nothing_divides_by_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
