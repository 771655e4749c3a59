/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/xenbus/keys.h"

/* As xl writes them for a disk of domain 1, backend in domain 0 (recorded on Arm, Xen 4.20). */
static const struct gd_device_id disk_id = {GD_VIRTIO_DISK, 1, 51712};
static const char *const disk_keys[GD_KEYS] = {
	[GD_KEY_FRONTEND] = "/local/domain/1/device/virtio_disk/51712",
	[GD_KEY_FRONTEND_ID] = "1",
	[GD_KEY_ONLINE] = "1",
	[GD_KEY_STATE] = "1",
	[GD_KEY_SPECIFICATION] = "virtio",
	[GD_KEY_TYPE] = "standalone",
	[GD_KEY_TRANSPORT] = "mmio",
	[GD_KEY_GRANT_USAGE] = "1",
	[GD_KEY_BASE] = "33554432",
	[GD_KEY_IRQ] = "33",
	[GD_KEY_MODE] = "w",
	[GD_KEY_DEVICE_TYPE] = "disk",
	[GD_KEY_DEV] = "xvda",
	[GD_KEY_DISCARD] = "1",
	[GD_KEY_PARAMS] = "/run/disk/a.raw",
};
static const struct gd_device_id generic_id = {GD_VIRTIO, 1, 0};
static const char *const generic_keys[GD_KEYS] = {
	[GD_KEY_FRONTEND] = "/local/domain/1/device/virtio/0",
	[GD_KEY_FRONTEND_ID] = "1",
	[GD_KEY_ONLINE] = "1",
	[GD_KEY_STATE] = "1",
	[GD_KEY_TYPE] = "virtio,device2",
	[GD_KEY_TRANSPORT] = "mmio",
	[GD_KEY_GRANT_USAGE] = "1",
	[GD_KEY_BASE] = "0x2000000",
	[GD_KEY_IRQ] = "33",
};

/* Nothing is written through them. */
static struct gd_keys as_keys(const char *const values[GD_KEYS])
{
	struct gd_keys keys;

	memcpy(&keys, values, sizeof(keys));
	return keys;
}

static const struct gd_keys_policy in_dom0 = {.backend = 0}, driver_domain = {.backend = 5};
static const struct gd_keys_policy from_settings = {.config_target = "/from/settings"}, foreign = {.foreign = true};

static int check(const struct gd_keys *keys, const struct gd_device_id *id, struct gd_keys_device *out, char *error)
{
	error[0] = '\0';
	return gd_keys_device(keys, id, &in_dom0, out, error);
}

static void accepts_what_xl_writes(void **state)
{
	struct gd_keys keys = as_keys(disk_keys);
	struct gd_keys_device device;
	struct gd_keys_life life;
	char error[GD_KEYS_ERROR];

	(void)state;
	assert_int_equal(check(&keys, &disk_id, &device, error), 0);
	assert_int_equal(device.base, 0x2000000);
	assert_int_equal(device.irq, 33);
	assert_string_equal(device.target, "/run/disk/a.raw");
	assert_false(device.readonly);
	assert_true(device.discard);
	assert_true(device.direct);
	assert_int_equal(gd_keys_life(&keys, &life, error), 0);
	assert_int_equal(life.state, 1);
	assert_true(life.online);
}

static void accepts_a_generic_device(void **state)
{
	struct gd_keys keys = as_keys(generic_keys);
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR] = "";

	(void)state;
	assert_int_equal(gd_keys_device(&keys, &generic_id, &from_settings, &device, error), 0);
	assert_int_equal(device.base, 0x2000000);
	assert_string_equal(device.target, "/from/settings");
	assert_int_equal(check(&keys, &generic_id, &device, error), -EINVAL);
	assert_string_equal(error, "no image: neither key 'params' nor `disk = 1/0 IMAGE` (or by the guest's name or "
				   "UUID) in the settings");
	keys.value[GD_KEY_PARAMS] = (char *)"/from/xenstore";
	assert_int_equal(gd_keys_device(&keys, &generic_id, &from_settings, &device, error), 0);
	assert_string_equal(device.target, "/from/xenstore");
}

/* One key of a good device at a time, and the line that it must give. */
static const struct {
	enum gd_key key;
	const char *value, *error;
} wrong[] = {
	{GD_KEY_FRONTEND, "/local/domain/2/device/virtio_disk/51712",
	 "frontend '/local/domain/2/device/virtio_disk/51712': must be /local/domain/1/device/virtio_disk/51712"},
	{GD_KEY_FRONTEND, "", "frontend '': must be /local/domain/1/device/virtio_disk/51712"},
	{GD_KEY_FRONTEND_ID, "2", "frontend-id '2': the directory is for domain 1"},
	{GD_KEY_FRONTEND_ID, "one", "frontend-id 'one': must be a number, at most 32751"},
	{GD_KEY_FRONTEND_ID, "65537", "frontend-id '65537': must be a number, at most 32751"},
	{GD_KEY_SPECIFICATION, "xen", "specification 'xen': must be virtio"},
	{GD_KEY_TRANSPORT, "pci", "transport 'pci': must be mmio"},
	{GD_KEY_GRANT_USAGE, "0",
	 "grant_usage '0': the guest grants nothing; write grant_usage=1 into xl's disk line, or "
	 "allow all of its memory to be mapped by --allow-foreign"},
	{GD_KEY_GRANT_USAGE, "yes", "grant_usage 'yes': must be 0 or 1"},
	{GD_KEY_GRANT_USAGE, NULL,
	 "grant_usage '': absent, so a guest of domain 0's uses no grants; write grant_usage=1 into xl's disk line, or "
	 "allow all of its memory to be mapped by --allow-foreign"},
	{GD_KEY_BASE, "0", "irq '33': must be 0 where base is 0"},
	{GD_KEY_BASE, "33554433", "base '33554433': must be a multiple of 0x200"},
	{GD_KEY_BASE, "0x", "base '0x': must be a number, at most 281474976710144"},
	{GD_KEY_BASE, "-512", "base '-512': must be a number, at most 281474976710144"},
	{GD_KEY_BASE, "18446744073709551616", "base '18446744073709551616': must be a number, at most 281474976710144"},
	{GD_KEY_IRQ, "0", "irq '0': must be 32 to 1019"},
	{GD_KEY_IRQ, "31", "irq '31': must be 32 to 1019"},
	{GD_KEY_IRQ, "1020", "irq '1020': must be a number, at most 1019"},
	{GD_KEY_IRQ, "0x21", "irq '0x21': must be a number, at most 1019"},
	{GD_KEY_IRQ, "33 ", "irq '33 ': must be a number, at most 1019"},
	{GD_KEY_MODE, "rw", "mode 'rw': must be r or w"},
	{GD_KEY_DEVICE_TYPE, "floppy", "device-type 'floppy': must be disk or cdrom"},
	{GD_KEY_DEV, "../xvda", "dev '../xvda': must be a name as xvda"},
	{GD_KEY_DEV, "", "dev '': must be a name as xvda"},
	{GD_KEY_DISCARD, "2", "discard-enable '2': must be 0 or 1"},
	{GD_KEY_DIRECT_SAFE, "", "direct-io-safe '': must be 0 or 1"},
	{GD_KEY_FORMAT, "qcow2", "grantio-format 'qcow2': must be raw"},
	{GD_KEY_PARAMS, "", "params '': must be an absolute path or an nbd:// address"},
	{GD_KEY_PARAMS, "a\n<0>b", "params 'a?<0>b': must be an absolute path or an nbd:// address"},
	{GD_KEY_PARAMS, "0123456789012345678901234567890123456789012345678901234567890123456789",
	 "params '0123456789012345678901234567890123456789012345678901234567890123...': "
	 "must be an absolute path or an nbd:// address"},
};

static void names_the_wrong_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct gd_keys keys = as_keys(disk_keys);
		struct gd_keys_device device;
		char error[GD_KEYS_ERROR];

		keys.value[wrong[i].key] = (char *)wrong[i].value;
		assert_int_equal(check(&keys, &disk_id, &device, error), -EINVAL);
		assert_string_equal(error, wrong[i].error);
	}
}

static void waits_for_missing_keys(void **state)
{
	static const enum gd_key required[] = {GD_KEY_FRONTEND, GD_KEY_FRONTEND_ID, GD_KEY_TRANSPORT, GD_KEY_BASE,
					       GD_KEY_IRQ,	GD_KEY_MODE,	    GD_KEY_PARAMS};
	char error[GD_KEYS_ERROR], expected[64];
	struct gd_keys_device device;
	struct gd_keys_life life;
	struct gd_keys keys;

	(void)state;
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		keys = as_keys(disk_keys);
		keys.value[required[i]] = NULL;
		snprintf(expected, sizeof(expected), "waiting for key '%s'", gd_key_names[required[i]]);
		assert_int_equal(check(&keys, &disk_id, &device, error), -EAGAIN);
		assert_string_equal(error, expected);
	}
	keys = as_keys(disk_keys);
	keys.value[GD_KEY_STATE] = NULL;
	assert_int_equal(gd_keys_life(&keys, &life, error), -EAGAIN);
	assert_string_equal(error, "waiting for key 'state'");
	keys = as_keys(disk_keys);
	keys.value[GD_KEY_ONLINE] = NULL;
	assert_int_equal(gd_keys_life(&keys, &life, error), -EAGAIN);
	keys = as_keys(generic_keys);
	keys.value[GD_KEY_TYPE] = NULL;
	assert_int_equal(check(&keys, &generic_id, &device, error), -EAGAIN);
	assert_string_equal(error, "waiting for key 'type'");
}

static void leaves_other_types_alone(void **state)
{
	static const char *const types[] = {"virtio,device", "virtio,device22", "virtio,device20", ""};
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR];

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct gd_keys keys = as_keys(generic_keys);

		keys.value[GD_KEY_TYPE] = (char *)types[i];
		assert_int_equal(check(&keys, &generic_id, &device, error), -ENODEV);
	}
}

/* Random numbers come from no image: whatever names one, or says how to open it, was meant for another device. */
static void random_numbers_have_no_image(void **state)
{
	static const enum gd_key of_disks[] = {GD_KEY_PARAMS,  GD_KEY_MODE,	   GD_KEY_DEVICE_TYPE,
					       GD_KEY_DISCARD, GD_KEY_DIRECT_SAFE, GD_KEY_FORMAT};
	struct gd_keys keys = as_keys(generic_keys);
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR];

	(void)state;
	keys.value[GD_KEY_TYPE] = (char *)"virtio,device4";
	assert_int_equal(check(&keys, &generic_id, &device, error), 0);
	assert_int_equal(device.type, 4);
	assert_string_equal(device.target, "random");
	assert_int_equal(device.base, 0x2000000);
	for (size_t i = 0; i < sizeof(of_disks) / sizeof(of_disks[0]); i++) {
		struct gd_keys with = keys;

		with.value[of_disks[i]] = (char *)disk_keys[of_disks[i]] ? (char *)disk_keys[of_disks[i]] : (char *)"1";
		if (of_disks[i] == GD_KEY_FORMAT)
			with.value[of_disks[i]] = (char *)"raw";
		assert_int_equal(check(&with, &generic_id, &device, error), -EINVAL);
		assert_non_null(strstr(error, gd_key_names[of_disks[i]]));
		assert_non_null(strstr(error, "only disks have such a key"));
	}
	assert_int_equal(gd_keys_device(&keys, &generic_id, &from_settings, &device, error), -EINVAL);
	assert_string_equal(error, "type 'virtio,device4': it has no image, and `disk = 1/0 IMAGE` (or by the guest's "
				   "name or UUID) in the settings names one");
	keys.value[GD_KEY_GRANT_USAGE] = (char *)"0";
	assert_int_equal(check(&keys, &generic_id, &device, error), -EINVAL);
	keys = as_keys(disk_keys); /* `type` means something else here */
	keys.value[GD_KEY_TYPE] = (char *)"virtio,device4";
	assert_int_equal(check(&keys, &disk_id, &device, error), 0);
	assert_int_equal(device.type, 2);
}

static void takes_the_state_strictly(void **state)
{
	static const char *const states[] = {"", "0", "9", "-1", "1x", "0x1", "99999999999999999999"};
	struct gd_keys keys = as_keys(disk_keys);
	struct gd_keys_life life;
	char error[GD_KEYS_ERROR];

	(void)state;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		keys.value[GD_KEY_STATE] = (char *)states[i];
		assert_int_equal(gd_keys_life(&keys, &life, error), -EINVAL);
	}
	assert_string_equal(error, "state '99999999999999999999': must be a number, at most 8");
	keys.value[GD_KEY_STATE] = (char *)"5";
	keys.value[GD_KEY_ONLINE] = (char *)"0";
	assert_int_equal(gd_keys_life(&keys, &life, error), 0);
	assert_int_equal(life.state, GD_STATE_CLOSING);
	assert_false(life.online);
	keys.value[GD_KEY_ONLINE] = (char *)"no";
	assert_int_equal(gd_keys_life(&keys, &life, error), -EINVAL);
	assert_string_equal(error, "online 'no': must be 0 or 1");
}

static void honours_the_flags(void **state)
{
	struct gd_keys keys = as_keys(disk_keys);
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR];

	(void)state;
	keys.value[GD_KEY_MODE] = (char *)"r";
	keys.value[GD_KEY_DISCARD] = (char *)"0";
	keys.value[GD_KEY_DIRECT_SAFE] = (char *)"0";
	assert_int_equal(check(&keys, &disk_id, &device, error), 0);
	assert_true(device.readonly);
	assert_false(device.discard);
	assert_false(device.direct);
	assert_false(device.raw);
	keys.value[GD_KEY_FORMAT] = (char *)"raw";
	assert_int_equal(check(&keys, &disk_id, &device, error), 0);
	assert_true(device.raw);
	keys = as_keys(disk_keys);
	keys.value[GD_KEY_DEVICE_TYPE] = (char *)"cdrom";
	assert_int_equal(check(&keys, &disk_id, &device, error), 0);
	assert_true(device.readonly);
}

/* Hints, whatever else stands in the directory. */
static void reads_the_notes_of_a_former_one(void **state)
{
	struct gd_keys keys = {{NULL}};
	struct gd_keys_note note;

	(void)state;
	gd_keys_note(&keys, &note);
	assert_false(note.server);
	assert_int_equal(note.ledger, 0);
	assert_int_equal(note.base, 0);
	keys.value[GD_KEY_IOREQ_SERVER] = (char *)"0";
	keys.value[GD_KEY_LEDGER] = (char *)"18446744073709551615";
	keys.value[GD_KEY_MMIO_BASE] = (char *)"4271923200";
	gd_keys_note(&keys, &note);
	assert_true(note.server);
	assert_int_equal(note.server_id, 0);
	assert_true(note.ledger == UINT64_MAX);
	assert_int_equal(note.base, 4271923200u);
	keys.value[GD_KEY_IOREQ_SERVER] = (char *)"65536";
	keys.value[GD_KEY_LEDGER] = (char *)"18446744073709551616";
	keys.value[GD_KEY_MMIO_BASE] = (char *)"a place";
	gd_keys_note(&keys, &note);
	assert_false(note.server);
	assert_int_equal(note.ledger, 0);
	assert_int_equal(note.base, 0);
}

/* Outside of domain 0 libxl has guests use grants unless told otherwise. */
static void grants_are_implied_in_a_driver_domain(void **state)
{
	struct gd_keys keys = as_keys(disk_keys);
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR];

	(void)state;
	keys.value[GD_KEY_GRANT_USAGE] = NULL;
	assert_int_equal(gd_keys_device(&keys, &disk_id, &driver_domain, &device, error), 0);
	keys.value[GD_KEY_GRANT_USAGE] = (char *)"0";
	assert_int_equal(gd_keys_device(&keys, &disk_id, &driver_domain, &device, error), -EINVAL);
}

/* The administrator's word is needed, and is no order: a guest that grants goes on granting. */
static void grants_nothing_only_where_allowed(void **state)
{
	static const struct gd_keys_policy driver_domain_foreign = {.backend = 5, .foreign = true};
	static const struct {
		const char *value;
		const struct gd_keys_policy *policy;
		bool foreign;
	} cases[] = {
		{"0", &foreign, true},
		{"1", &foreign, false},
		{NULL, &foreign, true}, /* in domain 0 that is what libxl then does */
		{NULL, &driver_domain_foreign, false},
		{"0", &driver_domain_foreign, true},
	};
	struct gd_keys keys = as_keys(disk_keys);
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		keys.value[GD_KEY_GRANT_USAGE] = (char *)cases[i].value;
		assert_int_equal(gd_keys_device(&keys, &disk_id, cases[i].policy, &device, error), 0);
		assert_int_equal(device.foreign, cases[i].foreign);
	}
	keys.value[GD_KEY_GRANT_USAGE] = (char *)"2";
	assert_int_equal(gd_keys_device(&keys, &disk_id, &foreign, &device, error), -EINVAL);
}

/* As xl 4.17 writes them on x86: no address, no interrupt, not a word of grants. */
static void takes_devices_without_an_address(void **state)
{
	struct gd_keys keys = as_keys(disk_keys);
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR];

	(void)state;
	keys.value[GD_KEY_BASE] = (char *)"0";
	keys.value[GD_KEY_IRQ] = (char *)"0";
	keys.value[GD_KEY_GRANT_USAGE] = NULL;
	assert_int_equal(check(&keys, &disk_id, &device, error), 0);
	assert_int_equal(device.base, 0);
	assert_int_equal(device.irq, 0);
}

/* As xl 4.19 and later write it on x86: 0, for each disk of domain 0's that does not ask. */
static void grants_where_the_guest_says_so(void **state)
{
	static const char *const values[] = {"0", "1", NULL};
	struct gd_keys keys = as_keys(disk_keys);
	struct gd_keys_device device;
	char error[GD_KEYS_ERROR];

	(void)state;
	keys.value[GD_KEY_BASE] = (char *)"0";
	keys.value[GD_KEY_IRQ] = (char *)"0";
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		keys.value[GD_KEY_GRANT_USAGE] = (char *)values[i];
		assert_int_equal(check(&keys, &disk_id, &device, error), 0);
		assert_false(device.foreign);
		assert_int_equal(gd_keys_device(&keys, &disk_id, &driver_domain, &device, error), 0);
		assert_false(device.foreign);
		assert_int_equal(gd_keys_device(&keys, &disk_id, &foreign, &device, error), 0);
		assert_false(device.foreign);
	}
	keys.value[GD_KEY_GRANT_USAGE] = (char *)"2";
	assert_int_equal(check(&keys, &disk_id, &device, error), -EINVAL);
	assert_string_equal(error, "grant_usage '2': must be 0 or 1");
}

static void names_devices(void **state)
{
	struct gd_keys keys = as_keys(disk_keys);
	char name[32];

	(void)state;
	gd_keys_name(&keys, &disk_id, name, sizeof(name));
	assert_string_equal(name, "xvda");
	keys.value[GD_KEY_DEV] = (char *)"xv da";
	gd_keys_name(&keys, &disk_id, name, sizeof(name));
	assert_string_equal(name, "51712");
	keys = as_keys(generic_keys);
	gd_keys_name(&keys, &generic_id, name, sizeof(name));
	assert_string_equal(name, "virtio0");
}

static void parses_paths(void **state)
{
	static const struct {
		const char *tail;
		int depth;
		unsigned domid, devid;
	} paths[] = {
		{"", 0, 0, 0},
		{"/7", 1, 7, 0},
		{"/7/51712", 2, 7, 51712},
		{"/7/51712/state", 2, 7, 51712},
		{"/7/51712/a/b", 2, 7, 51712},
		{"/32751/536870911", 2, 32751, 536870911},
		{"/", -EINVAL, 0, 0},
		{"x", -EINVAL, 0, 0},
		{"/x", -EINVAL, 0, 0},
		{"/7/", -EINVAL, 0, 0},
		{"/7//state", -EINVAL, 0, 0},
		{"/7/xvda", -EINVAL, 0, 0},
		{"/32752", -EINVAL, 0, 0},
		{"/7/536870912", -EINVAL, 0, 0},
		{"/11111111111111111111111111111111111", -EINVAL, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		uint32_t devid = 0;
		uint16_t domid = 0;

		assert_int_equal(gd_keys_path(paths[i].tail, &domid, &devid), paths[i].depth);
		if (paths[i].depth > 0)
			assert_int_equal(domid, paths[i].domid);
		if (paths[i].depth > 1)
			assert_int_equal(devid, paths[i].devid);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_xl_writes),
		cmocka_unit_test(accepts_a_generic_device),
		cmocka_unit_test(names_the_wrong_key),
		cmocka_unit_test(waits_for_missing_keys),
		cmocka_unit_test(leaves_other_types_alone),
		cmocka_unit_test(random_numbers_have_no_image),
		cmocka_unit_test(takes_the_state_strictly),
		cmocka_unit_test(honours_the_flags),
		cmocka_unit_test(reads_the_notes_of_a_former_one),
		cmocka_unit_test(grants_are_implied_in_a_driver_domain),
		cmocka_unit_test(grants_nothing_only_where_allowed),
		cmocka_unit_test(takes_devices_without_an_address),
		cmocka_unit_test(grants_where_the_guest_says_so),
		cmocka_unit_test(names_devices),
		cmocka_unit_test(parses_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
