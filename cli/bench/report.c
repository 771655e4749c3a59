/* SPDX-License-Identifier: MIT */
/*
 * What a run has cost, for people and for programs. Counts are per request, since absolute numbers depend on the length
 * of the run and on the machine.
 */
#include "cli/bench/bench.h"

#include <inttypes.h>

/* In the largest unit below the size, with a decimal only where it is no whole number of these. */
const char *gc_report_size(uint64_t bytes, char text[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1024 && unit < sizeof(units) / sizeof(*units) - 1) {
		value /= 1024;
		unit++;
	}
	snprintf(text, 32, value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return text;
}

/* From the start to the last completion: what was submitted and never completed does not stretch it. */
static double seconds(const struct gc_bench_report *report)
{
	return (double)report->load.elapsed_ns / 1e9;
}

static double rate(const struct gc_bench_report *report, uint64_t count)
{
	return report->load.elapsed_ns ? (double)count / seconds(report) : 0;
}

/* A run without requests has no costs, and not infinite ones. */
static double per_request(const struct gc_bench_report *report, uint64_t count)
{
	return report->load.requests ? (double)count / (double)report->load.requests : 0;
}

/* Nothing divided by nothing is shown as 0. */
static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

static double quantile_us(const struct gc_bench_report *report, unsigned permille_10)
{
	return (double)gc_hist_quantile(&report->latency, permille_10) / 1e3;
}

/* Hypercalls of the backend that are none of the kinds that have a column. */
static uint64_t other_calls(const struct gm_stats *stats)
{
	uint64_t named =
		stats->grant_copies + stats->grant_maps + stats->grant_unmaps + stats->event_sends + stats->dm_ops;

	return stats->hypercalls > named ? stats->hypercalls - named : 0;
}

/* ---- for people --------------------------------------------------------------------------------------------- */

/* What the load was stands above its results, so that a saved report can be understood by itself. */
static void text_head(FILE *out, const struct gc_bench_report *report)
{
	const struct gc_bench_config *config = report->config;
	char size[32];

	fprintf(out, "disk         %s: %s, blocks of %u, %u queue%s of %u\n", report->device,
		gc_report_size(report->disk_bytes, size), report->block_size, report->queues,
		report->queues == 1 ? "" : "s", report->queue_size);
	fprintf(out, "load         %s", config->rw);
	if (config->read_percent % 100)
		fprintf(out, " (%u %% reads)", config->read_percent);
	fprintf(out, ", %s, depth %u, seed %" PRIu64 ", %.2f s%s\n", gc_report_size(config->bs, size), config->depth,
		config->seed, seconds(report), report->interrupted ? ", interrupted" : "");
}

/* Median and tail, since an average hides the requests that somebody waits for. */
static void text_speed(FILE *out, const struct gc_bench_report *report)
{
	const struct gc_load_result *load = &report->load;

	fprintf(out, "throughput   %.0f IOPS, %.1f MiB/s, %" PRIu64 " requests\n", rate(report, load->requests),
		rate(report, load->bytes) / (1 << 20), load->requests);
	fprintf(out, "latency us   min %.1f   median %.1f   p99 %.1f   p99.9 %.1f   max %.1f\n",
		(double)(load->requests ? report->latency.least : 0) / 1e3, quantile_us(report, 5000),
		quantile_us(report, 9900), quantile_us(report, 9990), (double)report->latency.most / 1e3);
	if (report->config->verify)
		fprintf(out, "verified     %" PRIu64 " blocks\n", load->verified);
}

/* System calls are shown only if grantiod was asked for them: 0 would be a claim. */
static void text_cost(FILE *out, const struct gc_bench_report *report)
{
	const struct gc_cost *cost = &report->cost;
	const struct gm_stats *be = &cost->backend;

	fprintf(out, "per request\n");
	fprintf(out, "  guest      %.3f kicks, %.3f interrupts, %.3f ioreqs\n", per_request(report, cost->driver.kicks),
		per_request(report, cost->driver.interrupts), per_request(report, cost->guest.ioreqs));
	fprintf(out, "  hypercalls %.3f: copy %.3f, map and unmap %.3f, event %.3f, device model %.3f, other %.3f\n",
		per_request(report, be->hypercalls), per_request(report, be->grant_copies),
		per_request(report, be->grant_maps + be->grant_unmaps), per_request(report, be->event_sends),
		per_request(report, be->dm_ops), per_request(report, other_calls(be)));
	fprintf(out, "  copied     %.0f bytes in %.2f operations, %.3f calls\n", per_request(report, be->bytes_copied),
		per_request(report, be->grant_copy_ops), per_request(report, be->grant_copy_calls));
	if (cost->daemon)
		fprintf(out, "  grantiod   %.3f system calls; batches of %.1f requests, %.2f copy calls per batch\n",
			per_request(report, cost->syscalls), ratio(cost->daemon_requests, cost->batches),
			ratio(cost->copy_calls, cost->batches));
}

void gc_report_text(FILE *out, const struct gc_bench_report *report)
{
	text_head(out, report);
	text_speed(out, report);
	text_cost(out, report);
}

/* ---- for programs ------------------------------------------------------------------------------------------- */

/* Only names of our own are printed as strings: devices ("d1/xvda") come from argv or are numbers. */
static void json_string(FILE *out, const char *key, const char *value)
{
	fprintf(out, "\"%s\":\"", key);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\' || (unsigned char)*value < ' ')
			fprintf(out, "\\u%04x", (unsigned char)*value);
		else
			fputc(*value, out);
	}
	fputs("\",", out);
}

/* The seed is part of it: with the same words on the command line it gives the same requests again. */
static void json_load(FILE *out, const struct gc_bench_report *report)
{
	const struct gc_bench_config *config = report->config;
	const struct gc_load_result *load = &report->load;

	json_string(out, "device", report->device);
	json_string(out, "rw", config->rw);
	fprintf(out, "\"read_percent\":%u,\"bs\":%u,\"depth\":%u,\"queues\":%u,\"queue_size\":%u,\"seed\":%" PRIu64 ",",
		config->read_percent, config->bs, config->depth, report->queues, report->queue_size, config->seed);
	fprintf(out, "\"disk_bytes\":%" PRIu64 ",\"interrupted\":%s,\"seconds\":%.6f,\"requests\":%" PRIu64 ",",
		report->disk_bytes, report->interrupted ? "true" : "false", seconds(report), load->requests);
	fprintf(out, "\"reads\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"verified\":%" PRIu64 ",",
		load->reads, load->writes, load->bytes, load->verified);
	fprintf(out, "\"iops\":%.1f,\"mib_per_second\":%.2f,", rate(report, load->requests),
		rate(report, load->bytes) / (1 << 20));
}

/* Microseconds with a fraction: scripts compare them, and must not round twice. */
static void json_latency(FILE *out, const struct gc_bench_report *report)
{
	fprintf(out,
		"\"latency_us\":{\"min\":%.3f,\"mean\":%.3f,\"median\":%.3f,\"p99\":%.3f,\"p99.9\":%.3f,\"max\":%.3f},",
		(double)(report->latency.count ? report->latency.least : 0) / 1e3,
		ratio(report->latency.sum, report->latency.count) / 1e3, quantile_us(report, 5000),
		quantile_us(report, 9900), quantile_us(report, 9990), (double)report->latency.most / 1e3);
}

/* The same counts as in the text, with more decimals: scripts compare runs by them. */
static void json_cost(FILE *out, const struct gc_bench_report *report)
{
	const struct gc_cost *cost = &report->cost;
	const struct {
		const char *key;
		uint64_t count;
	} counts[] = {
		{"kicks", cost->driver.kicks},
		{"interrupts", cost->driver.interrupts},
		{"ioreqs", cost->guest.ioreqs},
		{"hypercalls", cost->backend.hypercalls},
		{"grant_copies", cost->backend.grant_copies},
		{"grant_copy_calls", cost->backend.grant_copy_calls},
		{"grant_copy_ops", cost->backend.grant_copy_ops},
		{"grant_maps", cost->backend.grant_maps},
		{"grant_unmaps", cost->backend.grant_unmaps},
		{"bytes_copied", cost->backend.bytes_copied},
		{"event_sends", cost->backend.event_sends},
		{"dm_ops", cost->backend.dm_ops},
	};

	fputs("\"per_request\":{", out);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		fprintf(out, "%s\"%s\":%.4f", i ? "," : "", counts[i].key, per_request(report, counts[i].count));
	if (cost->daemon)
		fprintf(out, ",\"syscalls\":%.4f", per_request(report, cost->syscalls));
	fputc('}', out);
	if (cost->daemon)
		fprintf(out, ",\"requests_per_batch\":%.3f,\"copy_calls_per_batch\":%.3f",
			ratio(cost->daemon_requests, cost->batches), ratio(cost->copy_calls, cost->batches));
}

/* One object on one line, so that several runs can be appended to a file. */
void gc_report_json(FILE *out, const struct gc_bench_report *report)
{
	fputc('{', out);
	json_load(out, report);
	json_latency(out, report);
	json_cost(out, report);
	fputs("}\n", out);
}
