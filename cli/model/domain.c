/* SPDX-License-Identifier: MIT */
/*
 * grantio model create, destroy, allow: what xl create and xl destroy do, on the model. A domain is two things that
 * must exist together, its part of the machine's state and its nodes in xenstore; each failure takes both back.
 */
#include "cli/disk/disk.h"
#include "cli/domain.h"
#include "cli/model/machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MEMORY_MOST (1ull << 40)
#define VCPUS_MOST  32
#define NAME_MOST   64

/* ---- create ---- */

enum { DOMID, MEMORY, VCPUS, NAME, ARCH, CREATE_MACHINE };

static const struct gc_option create_options[] = {
	[DOMID] = {"domid", "N", "its id, 1 to 31; default: the next free one"},
	[MEMORY] = {"memory", "SIZE", "its RAM; default 64M"},
	[VCPUS] = {"vcpus", "N", "its vCPUs, 1 to 32; default 1"},
	[NAME] = {"name", "NAME", "its name; default domain-<id>"},
	[ARCH] = {"arch", "arm|x86",
		  "whether its disks get an address from the toolstack (arm, default) or from the backend"},
	[CREATE_MACHINE] = GC_OPTION_MACHINE,
	{0},
};

/* Letters that need no quoting in a shell, in xenstore or in a path. */
static bool name_check(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+";

	if (*name && strlen(name) <= NAME_MOST && !name[strspn(name, allowed)])
		return true;
	gc_usage("name '%s': not 1 to %d letters, digits and -_.+", name, NAME_MOST);
	return false;
}

/* 0 as number of the domain means the next free one; the model chooses it, as Xen does. */
static bool create_parse(int argc, char **argv, struct gc_args *args, struct gm_domain_config *config)
{
	uint64_t domid = 0, vcpus = 1;

	config->ram_bytes = 64ull << 20;
	if (!gc_args_parse(args, create_options, argc, argv, 0, 0))
		return false;
	if (args->option[DOMID] && !gc_number("domid", args->option[DOMID], 1, GM_MAX_DOMAINS - 1, &domid))
		return false;
	if (args->option[MEMORY] && !gc_size("memory", args->option[MEMORY], 1 << 20, MEMORY_MOST, &config->ram_bytes))
		return false;
	if (config->ram_bytes % 4096) {
		gc_usage("memory '%s': not a multiple of 4096 bytes", args->option[MEMORY]);
		return false;
	}
	if (args->option[VCPUS] && !gc_number("vcpus", args->option[VCPUS], 1, VCPUS_MOST, &vcpus))
		return false;
	if (args->option[ARCH] && strcmp(args->option[ARCH], "arm") != 0 && strcmp(args->option[ARCH], "x86") != 0) {
		gc_usage("arch '%s': neither arm nor x86", args->option[ARCH]);
		return false;
	}
	config->domid = (uint16_t)domid;
	config->vcpus = (unsigned)vcpus;
	return !args->option[NAME] || name_check(args->option[NAME]);
}

/* The domain exists before its nodes, since the store wants to know whose they are. On failure it goes again. */
static int create(struct gm_machine *machine, struct xs_handle *xs, const struct gm_domain_config *config,
		  const struct gc_args *args)
{
	const char *name = args->option[NAME], *arch = args->option[ARCH];
	char default_name[24];
	struct gc_domain domain = {.vcpus = config->vcpus,
				   .memory_kib = config->ram_bytes / 1024,
				   .name = name,
				   .x86 = arch && strcmp(arch, "x86") == 0};
	uint16_t domid;
	int err;

	err = gm_domain_create(machine, config, &domid);
	if (err == -EEXIST)
		return gc_fail("domid %u: there is such a domain", config->domid);
	if (err)
		return gc_fail("domain: %s", strerror(-err));
	domain.domid = domid;
	if (!name) {
		snprintf(default_name, sizeof(default_name), "domain-%u", domid);
		domain.name = default_name;
	}
	err = gc_domain_write(xs, &domain);
	if (err)
		gm_domain_destroy(machine, domid);
	if (err == -EEXIST)
		return gc_fail("name '%s': another domain has this name", domain.name);
	if (err)
		return gc_fail("domain %u: xenstore: %s", domid, strerror(-err));
	printf("%u\n", domid);
	return GC_OK;
}

static int create_run(int argc, char **argv)
{
	struct gm_domain_config config = {0};
	struct gm_machine *machine;
	struct xs_handle *xs;
	struct gc_args args;
	int rc;

	if (!create_parse(argc, argv, &args, &config))
		return GC_USAGE;
	if (!gc_machine_open_store(&machine, &xs, args.option[CREATE_MACHINE]))
		return GC_FAILED;
	rc = create(machine, xs, &config, &args);
	xs_close(xs);
	gm_machine_close(machine);
	return rc;
}

const struct gc_command gc_model_create_command = {
	.name = "create",
	.summary = "Create a domain, as xl create does, and print its id",
	.options = create_options,
	.run = create_run,
};

/* ---- destroy ---- */

/* A guest of the machine, by its number, name or UUID. An exit code. */
static int guest_find(struct gm_machine *machine, struct xs_handle *xs, const char *what, const char *text,
		      uint16_t *domid)
{
	unsigned found;
	int rc = gc_domain_find(xs, what, text, 1, &found);

	if (rc)
		return rc;
	if (found >= GM_MAX_DOMAINS || gm_domain_state(machine, (uint16_t)found) == GM_DOMAIN_NONE)
		return gc_fail("%s %u: no such domain", what, found);
	*domid = (uint16_t)found;
	return GC_OK;
}

enum { FORCE, DESTROY_MACHINE };

static const struct gc_option destroy_options[] = {
	[FORCE] = {"force", NULL, "do not wait for the backends"},
	[DESTROY_MACHINE] = GC_OPTION_MACHINE,
	{0},
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* All disks are asked to close before any is waited for. */
static int disk_close_each(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	(void)arg;
	return gc_disk_close(xs, disk);
}

/* `arg`: when to stop waiting. One time for all disks, they close side by side. */
static int disk_wait_each(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	const int64_t *deadline = arg;
	int64_t left = *deadline - now_ms();
	unsigned state = 0;
	int err = gc_disk_wait_closed(xs, disk, left > 0 ? (int)left : 0, &state);

	if (err == -ETIMEDOUT)
		gc_warn("domain %u, vdev '%s': the backend in domain %u has not let go of it, its state is %s",
			disk->domid, disk->name, disk->backend, gc_disk_state_name(state));
	return err == -ETIMEDOUT ? 0 : err;
}

static int disk_remove_each(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	(void)arg;
	return gc_disk_remove(xs, disk);
}

/* A backend that does not answer holds the destruction up for GC_DISK_WAIT_MS in all, not for each disk. */
static int disks_end(struct xs_handle *xs, unsigned domid, bool wait)
{
	int64_t deadline = now_ms() + GC_DISK_WAIT_MS;
	int err;

	err = gc_disk_each(xs, (int)domid, disk_close_each, NULL);
	if (!err && wait)
		err = gc_disk_each(xs, (int)domid, disk_wait_each, &deadline);
	return err ? err : gc_disk_each(xs, (int)domid, disk_remove_each, NULL);
}

/* Whatever fails, the rest is done; the first error counts. */
static int destroy(struct gm_machine *machine, struct xs_handle *xs, uint16_t domid, bool wait)
{
	int first, err;

	first = disks_end(xs, domid, wait);
	err = gm_domain_destroy(machine, domid);
	first = first ? first : err;
	err = gc_domain_remove(xs, domid);
	return first ? first : err;
}

/* The domain is found by name before anything is touched. */
static int destroy_run(int argc, char **argv)
{
	struct gm_machine *machine;
	struct xs_handle *xs;
	struct gc_args args;
	uint16_t domid = 0;
	int rc, err;

	if (!gc_args_parse(&args, destroy_options, argc, argv, 1, 1))
		return GC_USAGE;
	if (!gc_machine_open_store(&machine, &xs, args.option[DESTROY_MACHINE]))
		return GC_FAILED;
	rc = guest_find(machine, xs, "domain", args.arg[0], &domid);
	if (!rc && (err = destroy(machine, xs, domid, !args.option[FORCE])))
		rc = gc_fail("domain %u: %s", domid, strerror(-err));
	xs_close(xs);
	gm_machine_close(machine);
	return rc;
}

const struct gc_command gc_model_destroy_command = {
	.name = "destroy",
	.summary = "Destroy a domain, as xl destroy does",
	.args = "DOMAIN",
	.options = destroy_options,
	.details =
		"The backends of its disks are asked to let go of them; the command waits for that for at most 10 s.\n",
	.run = destroy_run,
};

/* ---- allow ---- */

static const struct gc_option allow_options[] = {
	GC_OPTION_MACHINE,
	{0},
};

static int allow_run(int argc, char **argv)
{
	struct gm_machine *machine;
	uint16_t domid = 0, target = 0;
	struct xs_handle *xs;
	struct gc_args args;
	int rc, err;

	if (!gc_args_parse(&args, allow_options, argc, argv, 2, 2))
		return GC_USAGE;
	if (!gc_machine_open_store(&machine, &xs, args.option[0]))
		return GC_FAILED;
	rc = guest_find(machine, xs, "domain", args.arg[0], &domid);
	if (!rc)
		rc = guest_find(machine, xs, "target", args.arg[1], &target);
	if (!rc && domid == target)
		rc = gc_usage("target '%s': the domain itself", args.arg[1]);
	if (!rc && (err = gm_domain_set_target(machine, domid, target)))
		rc = gc_fail("domain %u: %s", domid, strerror(-err));
	xs_close(xs);
	gm_machine_close(machine);
	return rc;
}

const struct gc_command gc_model_allow_command = {
	.name = "allow",
	.summary = "Let a driver domain be device model of a guest",
	.args = "DOMAIN TARGET",
	.options = allow_options,
	.details = "This stands for a FLASK policy on Xen: DOMAIN may then have ioreq servers, interrupts and mappings "
		   "of TARGET.\n",
	.run = allow_run,
};
