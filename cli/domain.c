/* SPDX-License-Identifier: MIT */
/*
 * Domains of the model in xenstore. xl writes these nodes on Xen; programs that were made for Xen look for them, and so
 * do grantiod and the guests.
 */
#include "cli/domain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int uuid_make(char uuid[37])
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return -errno;
	b[6] = (b[6] & 0x0f) | 0x40; /* RFC 4122: version 4, random */
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(uuid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
		 b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return 0;
}

/* A node of the guest's own, which others cannot see. */
static void node_own(struct gc_tx *tx, const char *dir, const char *key, unsigned domid)
{
	char path[GC_PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	gc_tx_dir(tx, path, domid, domid);
}

/* Some tools find a domain's UUID only by /vm, and by the path in its home directory. */
static void vm_write(struct gc_tx *tx, const struct gc_domain *domain)
{
	char vm[GC_PATH_MAX];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(vm, sizeof(vm), "/vm/%s", domain->uuid);
	gc_tx_dir(tx, vm, 0, domain->domid);
	gc_tx_key(tx, vm, "name", "%s", domain->name);
	gc_tx_key(tx, vm, "uuid", "%s", domain->uuid);
	gc_tx_key(tx, vm, "start_time", "%lld.%02ld", (long long)now.tv_sec, now.tv_nsec / 10000000);
}

/* xl's features for shutdown and the like. Nobody acts on them here, but guests read and write them. */
static void control_write(struct gc_tx *tx, const char *home, unsigned domid)
{
	static const char *const own[] = {"control/shutdown", "control/feature-poweroff", "control/feature-reboot",
					  "control/feature-suspend", "control/sysrq"};

	gc_tx_key(tx, home, "control", "%s", "");
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		node_own(tx, home, own[i], domid);
	gc_tx_key(tx, home, "control/platform-feature-multiprocessor-suspend", "1");
	gc_tx_key(tx, home, "control/platform-feature-xs_reset_watches", "1");
}

/* xl refuses a second domain of the same name, since most of its commands take a name. */
static void name_check(struct gc_tx *tx, const char *name)
{
	char path[GC_PATH_MAX], *other;
	unsigned count;
	char **ids = gc_tx_list(tx, "/local/domain", &count);

	for (unsigned i = 0; i < count; i++) {
		if ((size_t)snprintf(path, sizeof(path), "/local/domain/%s/name", ids[i]) >= sizeof(path))
			continue; /* no domain: its name is not a number */
		other = gc_tx_read(tx, path);
		if (other && strcmp(other, name) == 0)
			gc_tx_fail(tx, -EEXIST);
		free(other);
	}
	free(ids);
}

/* In the order of xl, but for what the model has not: rings of store and console. */
static void domain_write(struct gc_tx *tx, void *arg)
{
	static const char *const own[] = {"data", "drivers", "feature", "attr", "error"};
	const struct gc_domain *domain = arg;
	char home[GC_PATH_MAX], libxl[GC_PATH_MAX], key[64];

	name_check(tx, domain->name);
	snprintf(home, sizeof(home), "/local/domain/%u", domain->domid);
	gc_tx_dir(tx, home, 0, domain->domid);
	gc_tx_key(tx, home, "vm", "/vm/%s", domain->uuid);
	gc_tx_key(tx, home, "name", "%s", domain->name);
	for (unsigned i = 0; i < domain->vcpus; i++) {
		snprintf(key, sizeof(key), "cpu/%u/availability", i);
		gc_tx_key(tx, home, key, "online");
	}
	gc_tx_key(tx, home, "memory/static-max", "%" PRIu64, domain->memory_kib);
	gc_tx_key(tx, home, "memory/target", "%" PRIu64, domain->memory_kib);
	gc_tx_key(tx, home, "memory/videoram", "0");
	gc_tx_key(tx, home, "device/suspend", "%s", "");
	node_own(tx, home, "device/suspend/event-channel", domain->domid);
	control_write(tx, home, domain->domid);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		node_own(tx, home, own[i], domain->domid);
	gc_tx_key(tx, home, "domid", "%u", domain->domid);
	vm_write(tx, domain);
	snprintf(libxl, sizeof(libxl), "/libxl/%u", domain->domid);
	gc_tx_dir(tx, libxl, 0, 0);
	gc_tx_key(tx, libxl, "type", "pvh");
	gc_tx_key(tx, libxl, "dm-version", "qemu_xen");
	gc_tx_key(tx, libxl, GC_DOMAIN_ARCH, "%s", domain->x86 ? "x86" : "arm");
}

/* The path of /vm is read from the domain's own home, which guests cannot write; only a path below /vm is removed. */
static void domain_remove(struct gc_tx *tx, void *arg)
{
	const unsigned *domid = arg;
	char path[GC_PATH_MAX], *vm;

	snprintf(path, sizeof(path), "/local/domain/%u/vm", *domid);
	vm = gc_tx_read(tx, path);
	if (vm && strncmp(vm, "/vm/", 4) == 0)
		gc_tx_rm(tx, vm);
	free(vm);
	snprintf(path, sizeof(path), "/local/domain/%u", *domid);
	gc_tx_rm(tx, path);
	snprintf(path, sizeof(path), "/libxl/%u", *domid);
	gc_tx_rm(tx, path);
}

/* The nodes are written before the domain is introduced, so that whoever watches @introduceDomain finds them. */
int gc_domain_write(struct xs_handle *xs, struct gc_domain *domain)
{
	int err;

	err = uuid_make(domain->uuid);
	if (!err)
		err = gc_store_transact(xs, domain_write, domain);
	if (!err && !xs_introduce_domain(xs, domain->domid, 0, 1)) {
		err = -errno;
		gc_store_transact(xs, domain_remove, &domain->domid);
	}
	return err;
}

/* Released first, so that backends see the domain end before its directories go. */
int gc_domain_remove(struct xs_handle *xs, unsigned domid)
{
	if (!xs_release_domain(xs, domid) && errno != ENOENT)
		return -errno;
	return gc_store_transact(xs, domain_remove, &domid);
}
