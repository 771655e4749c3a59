/* SPDX-License-Identifier: MIT */
/*
 * What a guest needs, and how its disks are. A disk that works without grants is reported as missing something: it is
 * what somebody who runs this command wants to know first.
 */
#include "cli/doctor/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEATURE_ACCESS_PLATFORM 33 /* virtio 1.2, 6 */
#define STATUS_DRIVER_OK	4  /* virtio 1.2, 2.1 */

/* On x86 only: all guests on Arm are of one type. */
static void check_type(struct gc_doctor *doctor)
{
	char text[16];

	if (doctor->arm || !gc_look_text(doctor, text, sizeof(text), "/sys/hypervisor/guest_type"))
		return;
	/* Xen emulates no registers for PV guests. */
	gc_doctor_ok(doctor, "guest-type", "%s%s", text, strcmp(text, "PV") ? "" : ": disks by messages only");
}

/* The module that makes devices use grants; where the kernel does it by itself, on Arm, it needs none. */
static void check_grants(struct gc_doctor *doctor)
{
	char how = gc_look_option(doctor, NULL, "XEN_VIRTIO"), remedy[192];

	if (gc_look_loaded(doctor, "grantio")) {
		gc_doctor_ok(doctor, "grants", "grantio.ko is loaded");
	} else if (doctor->arm && how == 'y') {
		gc_doctor_ok(doctor, "grants", "CONFIG_XEN_VIRTIO=y");
	} else if (gc_look_module(doctor, "grantio")) {
		gc_doctor_missing(doctor, "grants", "modprobe grantio", "grantio.ko is not loaded");
	} else if (doctor->arm && !how) {
		gc_doctor_unknown(doctor, "grants", "zgrep XEN_VIRTIO /proc/config.gz", "no configuration of kernel %s",
				  doctor->release);
	} else {
		snprintf(remedy, sizeof(remedy),
			 "apt install linux-headers-%.80s ./grantio-dkms_*.deb; modprobe grantio%s", doctor->release,
			 doctor->arm ? "; or a kernel with CONFIG_XEN_VIRTIO=y" : "");
		gc_doctor_missing(doctor, "grants", remedy, "no grantio.ko%s",
				  doctor->arm ? ", no CONFIG_XEN_VIRTIO" : "");
	}
}

/* A driver of the kernel's: on its bus once it is loaded, or built in. */
static void check_driver(struct gc_doctor *doctor, const char *name, const char *driver, const char *option)
{
	char how = gc_look_option(doctor, NULL, option), remedy[64];

	snprintf(remedy, sizeof(remedy), "modprobe %s", name);
	if (gc_look_exists(doctor, "/sys/bus/%s", driver))
		gc_doctor_ok(doctor, name, "the driver is there");
	else if (how == 'n')
		gc_doctor_missing(doctor, name, "a kernel with the option (Debian's have it)", "CONFIG_%s is not set",
				  option);
	else
		gc_doctor_missing(doctor, name, remedy, "the driver is not loaded");
}

/* ---- devices ---- */

/* A disk that the toolstack gave us, on the bus of grantio.ko; elsewhere the device tree has it. */
static void disk_found(struct gc_doctor *doctor, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char state[24] = "?", backend[16] = "?", block[32] = "-";

	if (!gc_look_loaded(doctor, "grantio"))
		return; /* that has been said */
	gc_look_text(doctor, state, sizeof(state), "%s/state", path);
	gc_look_text(doctor, backend, sizeof(backend), "%s/grantio/backend", path);
	gc_look_name(doctor, block, sizeof(block), "%s/*/virtio*/block/*", path);
	if (!gc_look_exists(doctor, "%s/driver", path))
		gc_doctor_missing(doctor, "disk", "dmesg | grep grantio", "%.40s: grantio.ko has not taken it", name);
	else if (strcmp(state, "Connected"))
		gc_doctor_missing(
			doctor, "disk",
			"in its backend's domain: grantio doctor, and what grantiod says; dmesg | grep grantio",
			"%.40s: %s", name, state);
	else
		gc_doctor_ok(doctor, "disk", "%.40s: connected to domain %s, %s", name, backend, block);
}

/* Whatever the transport: a virtio disk whose addresses are its own business is one by grants, or exposes all memory.
 */
static void virtio_found(struct gc_doctor *doctor, const char *path)
{
	char features[80] = "", status[16] = "0", device[16] = "", block[32] = "no disk yet";
	const char *name = strrchr(path, '/') + 1;

	gc_look_text(doctor, device, sizeof(device), "%s/device", path);
	if (strtoul(device, NULL, 16) != 2)
		return;
	gc_look_text(doctor, features, sizeof(features), "%s/features", path);
	gc_look_text(doctor, status, sizeof(status), "%s/status", path);
	gc_look_name(doctor, block, sizeof(block), "%s/block/*", path);
	if (!(strtoul(status, NULL, 16) & STATUS_DRIVER_OK))
		gc_doctor_missing(doctor, "virtio-disk", "modprobe virtio_blk; dmesg | grep -e virtio -e grant",
				  "%.32s: no driver uses it (status %s)", name, status);
	else if (strlen(features) <= FEATURE_ACCESS_PLATFORM || features[FEATURE_ACCESS_PLATFORM] != '1')
		gc_doctor_missing(doctor, "virtio-disk",
				  "grant_usage=1 in its line of the xl configuration, and grantiod as its backend",
				  "%.32s (%s): without grants, its backend reaches all memory", name, block);
	else
		gc_doctor_ok(doctor, "virtio-disk", "%.32s (%s): restricted to what is granted", name, block);
}

/* On x86 disks are found in two places, on xenbus and as virtio devices: either can be missing by itself. */
void gc_doctor_guest(struct gc_doctor *doctor)
{
	unsigned disks;

	check_type(doctor);
	check_grants(doctor);
	check_driver(doctor, "virtio_mmio", "platform/drivers/virtio-mmio", "VIRTIO_MMIO");
	check_driver(doctor, "virtio_blk", "virtio/drivers/virtio_blk", "VIRTIO_BLK");
	gc_doctor_store(doctor);
	disks = doctor->arm ? 0 : gc_look_each(doctor, "/sys/bus/xen/devices/virtio_disk-*", disk_found);
	disks += gc_look_each(doctor, "/sys/bus/virtio/devices/virtio*", virtio_found);
	if (!disks)
		gc_doctor_unknown(doctor, "disk",
				  "in dom0, in its xl configuration: disk = [ '..., specification=virtio, ...' ]",
				  "this guest has no virtio disk");
}
