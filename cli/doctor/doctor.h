/* SPDX-License-Identifier: MIT */
/*
 * grantio doctor: what this machine lacks for virtio disks by grants, and how to get it.
 *
 * A check looks at files (of /sys, /proc, /dev, /boot, /lib/modules), at xenstore or at grantiod, and adds one finding:
 * it is there; it is missing, with the remedy; or it cannot be told from here, with the way to find out. Nothing is
 * changed. Which checks there are follows from the role: the control domain, a driver domain, a guest.
 *
 * All files are those below `root`, so that tests have machines of their own. What cannot be read is "unknown" or
 * "missing", never an error. What is read is text to show or to compare: no value of xenstore's or sysfs's is trusted.
 *
 * Threads: one. Waits: 5 s for xenstore, 5 s for grantiod.
 */
#ifndef GC_DOCTOR_H
#define GC_DOCTOR_H

#include "cli/command.h"

#include <stddef.h>

#define GC_CHECKS_MOST 48

enum gc_role { GC_NO_XEN, GC_HOST, GC_DRIVER, GC_GUEST };
enum gc_finding { GC_PRESENT, GC_MISSING, GC_UNKNOWN };

struct gc_check {
	enum gc_finding finding;
	const char *name; /* constant */
	char found[224], remedy[256];
};

struct gc_doctor {
	const char *root; /* "": this machine; else a directory */
	const char *control;
	enum gc_role role;
	bool arm;
	char release[96];      /* the kernel's */
	unsigned major, minor; /* Xen's */
	char extra[24];	       /* what its version has behind them: ".7" */
	struct gc_check checks[GC_CHECKS_MOST];
	unsigned count;
};

/* ---- look.c: files ---- */

__attribute__((format(printf, 2, 3))) bool gc_look_exists(const struct gc_doctor *doctor, const char *format, ...);
/* The first line of a file, without its end; cut to `size`. False: there is none. */
__attribute__((format(printf, 4, 5))) bool gc_look_text(const struct gc_doctor *doctor, char *text, size_t size,
							const char *format, ...);
/* How an option is set in the configuration `path` (NULL: the running kernel's): 'y', 'm', 'n'; 0: cannot be told. */
char gc_look_option(const struct gc_doctor *doctor, const char *path, const char *option);
/* Is the module among those of the running kernel, loaded or not? */
bool gc_look_module(const struct gc_doctor *doctor, const char *name);
/* Is it loaded, or built in so that /sys/module has a directory for it? */
bool gc_look_loaded(const struct gc_doctor *doctor, const char *name);
/*
 * The first package that dpkg says is installed, and whose name begins with `prefix`: its name and version. False:
 * none, or no dpkg.
 */
bool gc_look_package(const struct gc_doctor *doctor, const char *prefix, char *name, size_t name_size, char *version,
		     size_t version_size);
/* Call `found` with the path below root of each file that the pattern matches; how many. */
unsigned gc_look_each(struct gc_doctor *doctor, const char *pattern,
		      void (*found)(struct gc_doctor *doctor, const char *path));
/* The last part of the first path that the pattern matches. False: none. */
__attribute__((format(printf, 4, 5))) bool gc_look_name(const struct gc_doctor *doctor, char *name, size_t size,
							const char *format, ...);

/* ---- finding.c: findings ---- */

__attribute__((format(printf, 3, 4))) void gc_doctor_ok(struct gc_doctor *doctor, const char *name, const char *format,
							...);
__attribute__((format(printf, 4, 5))) void gc_doctor_missing(struct gc_doctor *doctor, const char *name,
							     const char *remedy, const char *format, ...);
/* `remedy`: how to find out. */
__attribute__((format(printf, 4, 5))) void gc_doctor_unknown(struct gc_doctor *doctor, const char *name,
							     const char *remedy, const char *format, ...);

/* ---- checks ---- */

void gc_doctor_store(struct gc_doctor *doctor); /* store.c: xenstore answers */
void gc_doctor_host(struct gc_doctor *doctor);	/* host.c: control and driver domains */
void gc_doctor_xen(struct gc_doctor *doctor);	/* xen.c: the hypervisor's fixes */
void gc_doctor_guest(struct gc_doctor *doctor); /* guest.c */

extern const struct gc_command gc_doctor_command;

#endif
