/* SPDX-License-Identifier: MIT */
/*
 * The command line of `grantio bench`: words for loads as fio has them, so that the same test can be run by both.
 */
#include "cli/bench/bench.h"
#include "cli/domain.h"
#include "cli/store.h"

#include <abi/xen.h>

#include <stdlib.h>
#include <string.h>

enum {
	OPT_MACHINE,
	OPT_DOMID,
	OPT_DISK,
	OPT_RW,
	OPT_MIX,
	OPT_BS,
	OPT_DEPTH,
	OPT_TIME,
	OPT_REQUESTS,
	OPT_SIZE,
	OPT_QUEUES,
	OPT_QUEUE_SIZE,
	OPT_TRANSPORT,
	OPT_SEED,
	OPT_VERIFY,
	OPT_CONTROL,
	OPT_JSON,
	OPT_PRIMITIVES
};

const struct gc_option gc_bench_options[] = {
	[OPT_MACHINE] = {"machine", "DIR", "the machine (default: $GRANTIO_MACHINE, else /dev/shm/grantio-<uid>)"},
	[OPT_DOMID] = {"domid", "DOMAIN", "the guest whose disk is driven: its number, name or UUID (required)"},
	[OPT_DISK] = {"disk", "NAME", "its disk, for instance xvda (default: the first)"},
	[OPT_RW] = {"rw", "HOW", "read, write, randread, randwrite, rw or randrw (default: randread)"},
	[OPT_MIX] = {"mix", "PERCENT", "share of reads in rw and randrw (default: 70)"},
	[OPT_BS] = {"bs", "SIZE", "bytes of a request (default: 4K)"},
	[OPT_DEPTH] = {"depth", "N", "requests in flight (default: 32)"},
	[OPT_TIME] = {"time", "T", "how long: 5s, 500ms, 2m (default: 5s, unless --requests is given)"},
	[OPT_REQUESTS] = {"requests", "N", "how many requests"},
	[OPT_SIZE] = {"size", "SIZE", "use only this much of the disk"},
	[OPT_QUEUES] = {"queues", "N", "request queues to ask for (default: 1)"},
	[OPT_QUEUE_SIZE] = {"queue-size", "N", "descriptors of each, a power of two (default: the device's)"},
	[OPT_TRANSPORT] = {"transport", "HOW",
			   "mmio: by registers; msg: by messages and a pool of copies (default: mmio)"},
	[OPT_SEED] = {"seed", "N", "for offsets, mix and data: the same seed, the same load (default: 1)"},
	[OPT_VERIFY] = {"verify", NULL, "compare what is read with what this run wrote, and read all of it back"},
	[OPT_CONTROL] = {"control", "SOCKET", "grantiod's control socket; with it, system calls are shown"},
	[OPT_JSON] = {"json", NULL, "print one JSON object instead of a table"},
	[OPT_PRIMITIVES] = {"primitives", NULL, "drive no disk: say what a hypercall, an event, a copy ... cost here"},
	{0},
};

static const struct {
	const char *name;
	bool random;
	unsigned read_percent; /* 50: by --mix */
} patterns[] = {
	{"read", false, 100},	{"write", false, 0}, {"randread", true, 100},
	{"randwrite", true, 0}, {"rw", false, 50},   {"randrw", true, 50},
};

static const char *option_or(const struct gc_args *args, int option, const char *other)
{
	return args->option[option] ? args->option[option] : other;
}

/* --mix is refused where the pattern fixes the share of reads: it would be ignored without a word. */
static bool pattern_take(struct gc_bench_config *config, const struct gc_args *args)
{
	uint64_t mix;

	config->rw = option_or(args, OPT_RW, "randread");
	if (!gc_number("option --mix", option_or(args, OPT_MIX, "70"), 0, 100, &mix))
		return false;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		bool mixed = patterns[i].read_percent == 50;

		if (strcmp(patterns[i].name, config->rw) != 0)
			continue;
		config->random = patterns[i].random;
		config->read_percent = mixed ? (unsigned)mix : patterns[i].read_percent;
		if (args->option[OPT_MIX] && !mixed)
			return gc_usage("option --mix: only for --rw rw and randrw"), false;
		return true;
	}
	gc_usage("option --rw '%s': must be read, write, randread, randwrite, rw or randrw", config->rw);
	return false;
}

/* A whole number with s, ms or m; s if there is none. */
static bool duration_take(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {{"", 1000000000}, {"s", 1000000000}, {"ms", 1000000}, {"m", 60000000000}};
	size_t digits = strspn(text, "0123456789");
	uint64_t count = strtoull(text, NULL, 10);

	for (size_t i = 0; digits && digits < 10 && i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(text + digits, units[i].unit) != 0)
			continue;
		if (!count || count > 86400000000000 / units[i].ns)
			return gc_usage("option --time '%s': not between 1ms and a day", text), false;
		*ns = count * units[i].ns;
		return true;
	}
	gc_usage("option --time '%s': not a time (5s, 500ms, 2m)", text);
	return false;
}

/* With neither --time nor --requests the load runs for five seconds, so that it always ends. */
static bool limits_take(struct gc_bench_config *config, const struct gc_args *args)
{
	const char *time = option_or(args, OPT_TIME, args->option[OPT_REQUESTS] ? NULL : "5s");
	const char *requests = args->option[OPT_REQUESTS], *size = args->option[OPT_SIZE];

	if (time && !duration_take(time, &config->time_ns))
		return false;
	if (requests && !gc_number("option --requests", requests, 1, 1ull << 48, &config->requests))
		return false;
	return !size || gc_size("option --size", size, 512, 1ull << 60, &config->size);
}

static bool transport_take(struct gc_bench_config *config, const char *text)
{
	config->messages = !strcmp(text, "msg");
	if (!config->messages && strcmp(text, "mmio"))
		return gc_usage("option --transport '%s': must be mmio or msg", text), false;
	return true;
}

/* Bounds are those of the guest's driver and of a request's buffer; what the disk takes is checked once it is open. */
static bool shape_take(struct gc_bench_config *config, const struct gc_args *args)
{
	uint64_t bs, depth, queues, ring;

	if (!gc_size("option --bs", option_or(args, OPT_BS, "4K"), 512, GP_CHUNK_BYTES, &bs) ||
	    !gc_number("option --depth", option_or(args, OPT_DEPTH, "32"), 1, 1024, &depth) ||
	    !gc_number("option --queues", option_or(args, OPT_QUEUES, "1"), 1, 16, &queues) ||
	    !gc_number("option --queue-size", option_or(args, OPT_QUEUE_SIZE, "0"), 0, 32768, &ring) ||
	    !gc_number("option --seed", option_or(args, OPT_SEED, "1"), 0, UINT64_MAX, &config->seed))
		return false;
	if (bs % 512)
		return gc_usage("option --bs '%s': not a multiple of 512", args->option[OPT_BS]), false;
	if (ring & (ring - 1) || ring == 2 || ring == 1)
		return gc_usage("option --queue-size '%s': not a power of two of at least 4",
				args->option[OPT_QUEUE_SIZE]),
		       false;
	config->bs = (uint32_t)bs;
	config->depth = (unsigned)depth;
	config->queues = (unsigned)queues;
	config->queue_size = (unsigned)ring;
	return true;
}

/* A number is taken as it is, without asking xenstore: the machine says later whether there is such a guest. */
static int guest_take(struct gc_bench_config *config, const char *text)
{
	struct xs_handle *xs;
	unsigned domid = 0;
	uint64_t number;
	int rc;

	if (!text[strspn(text, "0123456789")]) {
		if (!gc_number("option --domid", text, 1, GIO_DOMID_MAX, &number))
			return GC_USAGE;
		config->domid = (uint16_t)number;
		return GC_OK;
	}
	xs = gc_store_open(config->machine);
	if (!xs)
		return GC_FAILED;
	rc = gc_domain_find(xs, "option --domid", text, 1, &domid);
	xs_close(xs);
	config->domid = (uint16_t)domid;
	return rc;
}

static int place_take(struct gc_bench_config *config, const struct gc_args *args)
{
	config->machine = gc_store_machine(args->option[OPT_MACHINE]);
	config->disk = args->option[OPT_DISK];
	config->control = args->option[OPT_CONTROL];
	if (!args->option[OPT_DOMID] && config->primitives)
		return GC_OK; /* only an ioreq needs a guest */
	if (!args->option[OPT_DOMID])
		return gc_usage("option --domid: is missing: the guest whose disk is to be driven");
	return guest_take(config, args->option[OPT_DOMID]);
}

/* Options of a load are refused where there is none: they would be ignored without a word. */
static int primitives_check(const struct gc_args *args)
{
	for (int i = 0; gc_bench_options[i].name; i++) {
		bool used = i == OPT_MACHINE || i == OPT_DOMID || i == OPT_DISK || i == OPT_JSON || i == OPT_PRIMITIVES;

		if (args->option[i] && !used)
			return gc_usage("option --%s: is for a load, and with --primitives there is none",
					gc_bench_options[i].name);
	}
	return GC_OK;
}

/* The disk is not opened here: an unknown word is refused before a guest is started. */
int gc_bench_args(struct gc_bench_config *config, int argc, char **argv)
{
	struct gc_args args;
	int rc;

	memset(config, 0, sizeof(*config));
	if (!gc_args_parse(&args, gc_bench_options, argc, argv, 0, 0))
		return GC_USAGE;
	config->primitives = args.option[OPT_PRIMITIVES] != NULL;
	config->json = args.option[OPT_JSON] != NULL;
	rc = config->primitives ? primitives_check(&args) : GC_OK;
	if (!rc)
		rc = place_take(config, &args);
	if (rc || config->primitives)
		return rc;
	if (!transport_take(config, option_or(&args, OPT_TRANSPORT, "mmio")) || !pattern_take(config, &args) ||
	    !shape_take(config, &args) || !limits_take(config, &args))
		return GC_USAGE;
	config->verify = args.option[OPT_VERIFY] != NULL;
	if (config->verify && config->read_percent == 100)
		return gc_usage("option --verify: compares what this run wrote, and --rw %s writes nothing",
				config->rw);
	return GC_OK;
}
