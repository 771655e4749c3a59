/* SPDX-License-Identifier: MIT */
/*
 * What a domain that serves disks needs: dom0 or a driver domain. Where grantiod serves a disk, that proves more than
 * any file: such checks say "in use", and do not look further.
 */
#include "cli/grantiod.h"
#include "cli/doctor/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* grantiod's answer: devices that it knows, and serves; or -errno. */
struct daemon_state {
	int error;
	unsigned devices, served;
	bool file; /* one of those that are served is a file's, or a block device's */
};

/* An answer that is too long for the buffer still shows that grantiod answers. */
static void daemon_look(const struct gc_doctor *doctor, struct daemon_state *state)
{
	struct gc_grantiod daemon;
	char path[4096];

	*state = (struct daemon_state){0};
	snprintf(path, sizeof(path), "%s%s", doctor->root, doctor->control);
	gc_grantiod_look(&daemon, path);
	state->error = daemon.error == -EMSGSIZE ? 0 : daemon.error; /* there is more than is counted here */
	for (const char *at = daemon.text; at && !state->error && (at = strchr(at, '\n')); at++)
		state->devices++;
	for (const char *at = daemon.text; at && !state->error && (at = strstr(at, " phase=served")); at++) {
		char target[8];

		state->served++;
		state->file |= gc_grantiod_value(at, "target", target, sizeof(target)) && target[0] == '/';
	}
	gc_grantiod_free(&daemon);
}

/* Where a shell or the service would find it. */
static bool daemon_installed(const struct gc_doctor *doctor)
{
	const char *path = getenv("PATH");

	if (gc_look_exists(doctor, "/usr/sbin/grantiod") || gc_look_exists(doctor, "/usr/local/sbin/grantiod"))
		return true;
	while (path && *path) {
		int length = (int)strcspn(path, ":");

		if (path[0] == '/' && gc_look_exists(doctor, "%.*s/grantiod", length, path))
			return true;
		path += length + (path[length] == ':');
	}
	return false;
}

/* Not being allowed to ask is not the same as nobody answering: the first says nothing of grantiod. */
static void check_daemon(struct gc_doctor *doctor, const struct daemon_state *state)
{
	bool installed = daemon_installed(doctor);

	if (!state->error)
		gc_doctor_ok(doctor, "grantiod", "answers at %s: %u disks, %u served", doctor->control, state->devices,
			     state->served);
	else if (state->error == -EACCES || state->error == -EPERM)
		gc_doctor_unknown(doctor, "grantiod", "run this as root", "%s: %s", doctor->control,
				  strerror(-state->error));
	else
		gc_doctor_missing(doctor, "grantiod",
				  installed
					  ? "systemctl start grantiod (if it runs with another --control, say so here)"
					  : "apt install ./grantiod_*.deb, or make install; systemctl start grantiod",
				  "%s: %s", doctor->control, strerror(-state->error));
}

/* ---- /dev/xen ---- */

/* A device node with its ways to be had: the module that makes it, and the kernel option that it needs. */
struct node {
	const char *name, *module, *option, *use;
};
static const struct node nodes[] = {
	{"evtchn", "xen-evtchn", "XEN_DEV_EVTCHN", "event channels"},
	{"gntdev", "xen-gntdev", "XEN_GNTDEV", "grants"},
	{"privcmd", "xen-privcmd", "XEN_PRIVCMD", "device models"},
};

/* Three causes have three remedies: the module is not loaded, the kernel lacks it, or /dev is incomplete. */
static void check_node(struct gc_doctor *doctor, const struct node *node)
{
	char how = gc_look_option(doctor, NULL, node->option), remedy[160];

	if (gc_look_exists(doctor, "/dev/xen/%s", node->name)) {
		gc_doctor_ok(doctor, node->name, "/dev/xen/%s (%s)", node->name, node->use);
		return;
	}
	if (gc_look_loaded(doctor, node->module) || how == 'y')
		snprintf(remedy, sizeof(remedy),
			 "%s is in the kernel, its node is gone: mount -t devtmpfs devtmpfs /dev", node->module);
	else if (how == 'n')
		snprintf(remedy, sizeof(remedy), "a kernel with CONFIG_%s (Debian's have it)", node->option);
	else
		snprintf(remedy, sizeof(remedy), "modprobe %s", node->module);
	gc_doctor_missing(doctor, node->name, remedy, "no /dev/xen/%s (%s)", node->name, node->use);
}

/* ---- Xen ---- */

/* On Arm xl decides by its version whether a disk of dom0's is one by grants. On x86 the guest's module insists. */
static void check_version(struct gc_doctor *doctor)
{
	unsigned least = doctor->arm ? 19 : 17;

	if (!doctor->major)
		gc_doctor_unknown(doctor, "xl-grants", "xl info | grep xen_version", "Xen does not say its version");
	else if (doctor->major > 4 || doctor->minor >= least)
		gc_doctor_ok(doctor, "xl-grants", "xl of Xen %u.%u makes virtio disks by grants%s", doctor->major,
			     doctor->minor, doctor->arm ? " (grant_usage=1)" : "");
	else if (doctor->arm && doctor->minor >= 17)
		gc_doctor_missing(doctor, "xl-grants",
				  "Xen 4.19 or later; or serve the disks from a driver domain (4.17: without the key)",
				  "xl of Xen %u.%u has no grant_usage for disks of dom0", doctor->major, doctor->minor);
	else
		gc_doctor_missing(doctor, "xl-grants", "Xen 4.17 or later, Debian 12's", "xl of Xen %u.%u is too old",
				  doctor->major, doctor->minor);
}

/* By its usual places, without running it: xl wants to be root, and talks to Xen. */
static void check_xl(struct gc_doctor *doctor)
{
	static const char *const places[] = {"/usr/sbin/xl", "/usr/bin/xl", "/usr/local/sbin/xl", "/bin/xl"};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (gc_look_exists(doctor, "%s", places[i])) {
			gc_doctor_ok(doctor, "xl", "%s", places[i]);
			return;
		}
	}
	gc_doctor_missing(doctor, "xl", "apt install xen-utils-common", "no xl");
}

/*
 * How an option was set when Xen was built, if the distribution installs that configuration (Debian has
 * /boot/xen-4.17-amd64.config). 0: this cannot be told.
 */
static char xen_option(const struct gc_doctor *doctor, const char *option)
{
	char name[160], path[192];

	if (!gc_look_name(doctor, name, sizeof(name), "/boot/xen-%u.%u*.config", doctor->major, doctor->minor))
		return 0;
	snprintf(path, sizeof(path), "/boot/%s", name);
	return gc_look_option(doctor, path, option);
}

/*
 * Only some distributions install the configuration that Xen was built with. Without it this cannot be told from dom0.
 */
static void check_ioreq_arm(struct gc_doctor *doctor)
{
	char how = xen_option(doctor, "IOREQ_SERVER");

	if (how == 'y')
		gc_doctor_ok(doctor, "ioreq", "Xen was built with CONFIG_IOREQ_SERVER");
	else if (how == 'n')
		gc_doctor_missing(doctor, "ioreq",
				  "build Xen with CONFIG_EXPERT, CONFIG_UNSUPPORTED and CONFIG_IOREQ_SERVER",
				  "Xen was built without CONFIG_IOREQ_SERVER");
	else
		gc_doctor_unknown(doctor, "ioreq", "give a guest a disk: grantiod says when Xen has no ioreq servers",
				  "nobody says whether Xen has CONFIG_IOREQ_SERVER (on Arm it must be asked for)");
}

/* A disk that is served proves it. All else is a conclusion from what Xen says of itself. */
static void check_ioreq(struct gc_doctor *doctor, const struct daemon_state *state)
{
	char text[256] = "";

	if (state->served) {
		gc_doctor_ok(doctor, "ioreq", "in use");
	} else if (doctor->role == GC_DRIVER) {
		gc_doctor_unknown(doctor, "ioreq",
				  "give a guest a disk: grantiod says when Xen refuses; a FLASK policy can allow it",
				  "Xen's default policy (SILO) lets no driver domain be a device model");
	} else if (doctor->arm) {
		check_ioreq_arm(doctor);
	} else if (!gc_look_text(doctor, text, sizeof(text), "/sys/hypervisor/properties/capabilities") || !text[0]) {
		gc_doctor_unknown(doctor, "ioreq", "xl info | grep xen_caps: hvm must be there",
				  "Xen does not say what it can");
	} else if (strstr(text, "hvm")) {
		gc_doctor_ok(doctor, "ioreq", "Xen runs HVM and PVH guests, which is what they are part of");
	} else {
		gc_doctor_missing(doctor, "ioreq", "switch on VT-x or AMD-V in the firmware",
				  "Xen runs no HVM or PVH guests: %.120s", text);
	}
}

/* ---- the kernel ---- */

/*
 * 1 leaves it to CAP_SYS_ADMIN, which the service does not have, and to the members of a group, of which it is none
 * unless somebody says so.
 */
static void check_io_uring_group(struct gc_doctor *doctor)
{
	char group[16] = "-1", remedy[192];

	gc_look_text(doctor, group, sizeof(group), "/proc/sys/kernel/io_uring_group");
	if (group[0] == '-') {
		gc_doctor_missing(doctor, "io_uring",
				  "sysctl kernel.io_uring_disabled=0; or kernel.io_uring_group=GROUP, and "
				  "SupplementaryGroups=GROUP in a drop-in (systemctl edit grantiod)",
				  "kernel.io_uring_disabled=1: grantiod.service may not use it");
		return;
	}
	snprintf(remedy, sizeof(remedy),
		 "systemctl show -p SupplementaryGroups grantiod: must be %.15s (systemctl edit grantiod)", group);
	gc_doctor_unknown(doctor, "io_uring", remedy, "kernel.io_uring_disabled=1: grantiod must be in group %.15s",
			  group);
}

/* A disk on a file that is served proves it, whatever the settings say by now. */
static void check_io_uring(struct gc_doctor *doctor, const struct daemon_state *state)
{
	char text[16] = "0", how = gc_look_option(doctor, NULL, "IO_URING");

	gc_look_text(doctor, text, sizeof(text), "/proc/sys/kernel/io_uring_disabled");
	if (state->file)
		gc_doctor_ok(doctor, "io_uring", "in use");
	else if (how == 'n')
		gc_doctor_missing(doctor, "io_uring", "a kernel with CONFIG_IO_URING (Debian's have it)",
				  "the kernel has none");
	else if (text[0] == '2')
		gc_doctor_missing(doctor, "io_uring", "sysctl kernel.io_uring_disabled=0",
				  "kernel.io_uring_disabled=2");
	else if (text[0] == '1')
		check_io_uring_group(doctor);
	else if (how)
		gc_doctor_ok(doctor, "io_uring", "CONFIG_IO_URING=%c", how);
	else
		gc_doctor_unknown(doctor, "io_uring", "zgrep IO_URING /proc/config.gz; start grantiod",
				  "no configuration of kernel %s", doctor->release);
}

/* From 6.12 on a domain that is not dom0 may use privcmd only for the one domain that it was made for. */
static void check_privcmd(struct gc_doctor *doctor)
{
	char text[8];

	if (doctor->role == GC_DRIVER &&
	    gc_look_text(doctor, text, sizeof(text), "/sys/module/xen_privcmd/parameters/unrestricted") &&
	    text[0] != 'Y' && text[0] != '1')
		gc_doctor_missing(doctor, "privcmd-access",
				  "boot this domain with xen_privcmd.unrestricted=1 on the kernel's command line",
				  "xen_privcmd.unrestricted=%s", text);
}

/* In the order in which they depend on each other: what is missing first explains what comes below it. */
void gc_doctor_host(struct gc_doctor *doctor)
{
	struct daemon_state state;

	daemon_look(doctor, &state);
	if (doctor->role == GC_HOST)
		check_version(doctor);
	gc_doctor_xen(doctor);
	check_ioreq(doctor, &state);
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		check_node(doctor, &nodes[i]);
	check_privcmd(doctor);
	check_io_uring(doctor, &state);
	gc_doctor_store(doctor);
	if (doctor->role == GC_HOST)
		check_xl(doctor);
	check_daemon(doctor, &state);
}
