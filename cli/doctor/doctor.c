/* SPDX-License-Identifier: MIT */
/*
 * The command: which machine this is, which checks it gets, and the report. Each check adds its finding by itself, so
 * that a new one is a function and a line.
 */
#include "cli/doctor/doctor.h"

#include "cli/grantiod.h"
#include "cli/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { ROLE, CONTROL, ROOT, JSON };

static const struct gc_option doctor_options[] = {
	[ROLE] = {"role", "ROLE", "host, driver or guest; default: what this machine is"},
	[CONTROL] = GC_OPTION_CONTROL,
	[ROOT] = {"root", "DIR", "look at the files below DIR, for tests"},
	[JSON] = {"json", NULL, "as JSON"},
	{0},
};

static const char *const role_names[] = {
	[GC_NO_XEN] = "none", [GC_HOST] = "host", [GC_DRIVER] = "driver", [GC_GUEST] = "guest"};
static const char *const finding_names[] = {[GC_PRESENT] = "ok", [GC_MISSING] = "missing", [GC_UNKNOWN] = "unknown"};

/* ---- where are we? ---- */

/* /sys/hypervisor exists on other hypervisors too: its type is what counts. */
static bool on_xen(const struct gc_doctor *doctor)
{
	char text[16];

	return gc_look_text(doctor, text, sizeof(text), "/sys/hypervisor/type") && strcmp(text, "xen") == 0;
}

/* A driver domain is a guest that has a backend. */
static enum gc_role role_find(const struct gc_doctor *doctor)
{
	char text[64] = "";

	if (!on_xen(doctor))
		return GC_NO_XEN;
	if (gc_look_text(doctor, text, sizeof(text), "/proc/xen/capabilities") && strstr(text, "control_d"))
		return GC_HOST;
	if (gc_look_text(doctor, text, sizeof(text), "/sys/hypervisor/start_flags/initdomain") && text[0] == '1')
		return GC_HOST;
	if (gc_look_exists(doctor, "/run/xenstored/socket"))
		return GC_HOST;
	if (gc_look_exists(doctor, "%s", doctor->control) || gc_look_exists(doctor, "/usr/sbin/grantiod"))
		return GC_DRIVER;
	return GC_GUEST;
}

static unsigned version_part(const struct gc_doctor *doctor, const char *part)
{
	char text[16] = "0";

	gc_look_text(doctor, text, sizeof(text), "/sys/hypervisor/version/%s", part);
	return (unsigned)strtoul(text, NULL, 10);
}

/* Done for every role, as all later checks depend on architecture and version. */
static void machine_find(struct gc_doctor *doctor)
{
	char arch[16] = "";
	struct utsname uts;

	uname(&uts);
	if (!gc_look_text(doctor, arch, sizeof(arch), "/proc/sys/kernel/arch"))
		snprintf(arch, sizeof(arch), "%.15s", uts.machine); /* kernels before 6.1 have no such file */
	doctor->arm = strncmp(arch, "aarch64", 7) == 0 || strncmp(arch, "arm", 3) == 0;
	if (!gc_look_text(doctor, doctor->release, sizeof(doctor->release), "/proc/sys/kernel/osrelease"))
		snprintf(doctor->release, sizeof(doctor->release), "%s", uts.release);
	doctor->major = version_part(doctor, "major");
	doctor->minor = version_part(doctor, "minor");
	gc_look_text(doctor, doctor->extra, sizeof(doctor->extra), "/sys/hypervisor/version/extra");
	if (on_xen(doctor))
		gc_doctor_ok(doctor, "xen", "Xen %u.%u%s, kernel %s, %s", doctor->major, doctor->minor, doctor->extra,
			     doctor->release, role_names[doctor->role]);
	else
		gc_doctor_missing(doctor, "xen",
				  doctor->arm
					  ? "boot Xen with this kernel as dom0; without it: grantio model start"
					  : "apt install xen-system-amd64, and reboot; without it: grantio model start",
				  "this machine does not run on Xen");
}

/* ---- the report ---- */

/* The remedy stands on the same line, so that `grep missing` shows what to do. */
static void report_text(const struct gc_doctor *doctor)
{
	for (unsigned i = 0; i < doctor->count; i++) {
		const struct gc_check *check = &doctor->checks[i];

		printf("%-8s %s: %s%s%s\n", finding_names[check->finding], check->name, check->found,
		       check->remedy[0] ? " -> " : "", check->remedy);
	}
}

static void report_member(const char *before, const char *name, const char *value)
{
	printf("%s\"%s\": ", before, name);
	gc_json_string(stdout, value);
}

/* One object for each check, also for those that are well: a program can tell 'ok' from 'not looked at'. */
static void report_json(const struct gc_doctor *doctor)
{
	report_member("{", "role", role_names[doctor->role]);
	printf(", \"checks\": [");
	for (unsigned i = 0; i < doctor->count; i++) {
		const struct gc_check *check = &doctor->checks[i];

		report_member(i ? ",\n  {" : "\n  {", "name", check->name);
		report_member(", ", "status", finding_names[check->finding]);
		report_member(", ", "found", check->found);
		report_member(", ", "remedy", check->remedy);
		printf("}");
	}
	printf("\n]}\n");
}

/* Unknown is no failure: it often only means that the command is not run as root. */
static bool all_well(const struct gc_doctor *doctor)
{
	for (unsigned i = 0; i < doctor->count; i++) {
		if (doctor->checks[i].finding == GC_MISSING)
			return false;
	}
	return true;
}

/* ---- the command ---- */

static bool role_given(const char *name, enum gc_role *role)
{
	for (enum gc_role i = GC_HOST; i <= GC_GUEST; i++) {
		if (strcmp(role_names[i], name) == 0) {
			*role = i;
			return true;
		}
	}
	return false;
}

/* Without Xen every other check would only say once more that there is no Xen. */
static void checks_run(struct gc_doctor *doctor)
{
	if (!on_xen(doctor))
		return;
	if (doctor->role == GC_HOST || doctor->role == GC_DRIVER)
		gc_doctor_host(doctor);
	if (doctor->role == GC_GUEST)
		gc_doctor_guest(doctor);
}

/* The record is static, as it is too large for the stack. */
static int doctor_run(int argc, char **argv)
{
	static struct gc_doctor doctor;
	struct gc_args args;

	if (!gc_args_parse(&args, doctor_options, argc, argv, 0, 0))
		return GC_USAGE;
	doctor = (struct gc_doctor){.root = args.option[ROOT] ? args.option[ROOT] : "",
				    .control = gc_grantiod_path(args.option[CONTROL], NULL)};
	doctor.role = role_find(&doctor);
	if (args.option[ROLE] && !role_given(args.option[ROLE], &doctor.role))
		return gc_usage("role '%s': must be host, driver or guest", args.option[ROLE]);
	machine_find(&doctor);
	checks_run(&doctor);
	if (args.option[JSON])
		report_json(&doctor);
	else
		report_text(&doctor);
	if (fflush(stdout))
		return gc_fail("output: %s", strerror(errno));
	return all_well(&doctor) ? GC_OK : GC_FAILED;
}

const struct gc_command gc_doctor_command = {
	.name = "doctor",
	.summary = "Say what this machine lacks for virtio disks by grants, and what to do about it",
	.options = doctor_options,
	.details = "Each line has a status (ok, missing or unknown), the name of the check, what it found, and after "
		   "-> what to\n"
		   "do about it. On a machine without Xen there is only the first check.\n"
		   "The exit status is 1 if something is missing.\n",
	.run = doctor_run,
};
