/* SPDX-License-Identifier: MIT */
#include "backend/base/number.h"
#include "backend/xenbus/keys.h"

#include <abi/virtio.h>
#include <abi/virtio_mmio.h>
#include <abi/xen.h>
#include <abi/xenbus.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPI_FIRST    32u /* GICv2/v3: shared peripheral interrupts */
#define SPI_LAST     1019u
#define ADDRESS_BITS 48

const char *const gd_class_names[GD_CLASSES] = {"virtio_disk", "virtio"};

const char *const gd_key_names[GD_KEYS] = {
	[GD_KEY_FRONTEND] = "frontend",
	[GD_KEY_FRONTEND_ID] = "frontend-id",
	[GD_KEY_ONLINE] = "online",
	[GD_KEY_STATE] = "state",
	[GD_KEY_SPECIFICATION] = "specification",
	[GD_KEY_TYPE] = "type",
	[GD_KEY_TRANSPORT] = GIO_XENBUS_KEY_TRANSPORT,
	[GD_KEY_GRANT_USAGE] = "grant_usage",
	[GD_KEY_BASE] = "base",
	[GD_KEY_IRQ] = "irq",
	[GD_KEY_MODE] = "mode",
	[GD_KEY_DEVICE_TYPE] = "device-type",
	[GD_KEY_DEV] = "dev",
	[GD_KEY_DISCARD] = "discard-enable",
	[GD_KEY_DIRECT_SAFE] = "direct-io-safe",
	[GD_KEY_PARAMS] = "params",
	[GD_KEY_FORMAT] = "grantio-format",
	[GD_KEY_IOREQ_SERVER] = "grantio-ioreq-server",
	[GD_KEY_IOREQ_OTHERS] = "grantio-ioreq-others",
	[GD_KEY_LEDGER] = "grantio-ledger",
	[GD_KEY_VERSION] = GIO_XENBUS_KEY_VERSION,
	[GD_KEY_MMIO_BASE] = GIO_XENBUS_KEY_MMIO_BASE,
};

void gd_keys_free(struct gd_keys *keys)
{
	for (unsigned i = 0; i < GD_KEYS; i++) {
		free(keys->value[i]);
		keys->value[i] = NULL;
	}
}

/* What the checks of one device have in common. */
struct check {
	const struct gd_keys *keys;
	const struct gd_device_id *id;
	const struct gd_keys_policy *policy;
	struct gd_keys_device *out;
	char *error;
};

void gd_keys_show(const char *value, char *shown, size_t size)
{
	size_t length = strnlen(value, size);
	bool cut = length >= size;

	length = cut ? size - sizeof("...") : length;
	for (size_t i = 0; i < length; i++)
		shown[i] = (char)(isprint((unsigned char)value[i]) ? value[i] : '?');
	strcpy(shown + length, cut ? "..." : "");
}

/* Fill `error` with "KEY 'VALUE': MESSAGE". */
__attribute__((format(printf, 4, 5))) static int refuse(char *error, enum gd_key key, const char *value,
							const char *format, ...)
{
	char shown[GD_KEYS_SHOWN], message[GD_KEYS_ERROR - 100];
	va_list args;

	gd_keys_show(value, shown, sizeof(shown));
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	snprintf(error, GD_KEYS_ERROR, "%s '%s': %s", gd_key_names[key], shown, message);
	return -EINVAL;
}

static int incomplete(char *error, enum gd_key key)
{
	snprintf(error, GD_KEYS_ERROR, "waiting for key '%s'", gd_key_names[key]);
	return -EAGAIN;
}

static int check_number(char *error, enum gd_key key, const char *value, bool hex, uint64_t max, uint64_t *out)
{
	return gd_number(value, hex, max, out) ? 0
					       : refuse(error, key, value, "must be a number, at most %" PRIu64, max);
}

static int check_flag(char *error, enum gd_key key, const char *value, bool *out)
{
	if (strcmp(value, "0") && strcmp(value, "1"))
		return refuse(error, key, value, "must be 0 or 1");
	*out = value[0] == '1';
	return 0;
}

static int check_word(char *error, enum gd_key key, const char *value, const char *word)
{
	return strcmp(value, word) ? refuse(error, key, value, "must be %s", word) : 0;
}

int gd_keys_life(const struct gd_keys *keys, struct gd_keys_life *out, char error[GD_KEYS_ERROR])
{
	const char *state = keys->value[GD_KEY_STATE], *online = keys->value[GD_KEY_ONLINE];
	uint64_t number = 0;
	int err;

	if (!state)
		return incomplete(error, GD_KEY_STATE);
	if (!online)
		return incomplete(error, GD_KEY_ONLINE);
	err = check_number(error, GD_KEY_STATE, state, false, GD_STATE_MAX, &number);
	if (!err && !number)
		err = refuse(error, GD_KEY_STATE, state, "must be 1 to %u", GD_STATE_MAX);
	if (!err)
		err = check_flag(error, GD_KEY_ONLINE, online, &out->online);
	if (!err)
		out->state = (unsigned)number;
	return err;
}

static int check_frontend(const struct check *check, const char *value)
{
	char expected[96];

	snprintf(expected, sizeof(expected), "/local/domain/%u/device/%s/%" PRIu32, check->id->domid,
		 gd_class_names[check->id->class], check->id->devid);
	return check_word(check->error, GD_KEY_FRONTEND, value, expected);
}

static int check_frontend_id(const struct check *check, const char *value)
{
	uint64_t number = 0;
	int err = check_number(check->error, GD_KEY_FRONTEND_ID, value, false, GIO_DOMID_MAX, &number);

	if (!err && number != check->id->domid)
		err = refuse(check->error, GD_KEY_FRONTEND_ID, value, "the directory is for domain %u",
			     check->id->domid);
	return err;
}

static int check_specification(const struct check *check, const char *value)
{
	return value ? check_word(check->error, GD_KEY_SPECIFICATION, value, "virtio") : 0;
}

/* Virtio devices of other types have other backends, on the same paths. That is no error. */
static int check_type(const struct check *check, const char *value)
{
	if (check->id->class != GD_VIRTIO || !strcmp(value, "virtio,device2"))
		return 0;
	if (!strcmp(value, "virtio,device4")) {
		check->out->type = GIO_VIRTIO_ID_RNG;
		return 0;
	}
	refuse(check->error, GD_KEY_TYPE, value,
	       "neither a disk (virtio,device2) nor random numbers (virtio,device4), left to its own backend");
	return -ENODEV;
}

static int check_transport(const struct check *check, const char *value)
{
	return check_word(check->error, GD_KEY_TRANSPORT, value, "mmio");
}

/*
 * Whether the guest grants is decided here, for as long as the device is served. If the key is absent, it is what libxl
 * then does for the guest. Without grants we have to map any page that the guest names, which only the administrator
 * can allow. Where xl gives no address (x86) the key means nothing to the guest: xl of Xen 4.19 and later writes 0 for
 * every disk that domain 0 serves, unless told otherwise. There the guest itself must say that it grants before it is
 * served (xenbus/front.h).
 */
static int check_grant_usage(const struct check *check, const char *value)
{
	bool grants = false;
	int err = value ? check_flag(check->error, GD_KEY_GRANT_USAGE, value, &grants) : 0;

	if (err)
		return err;
	if (!check->out->base)
		return 0;
	if (grants || (!value && check->policy->backend != 0))
		return 0;
	if (!check->policy->foreign)
		return refuse(check->error, GD_KEY_GRANT_USAGE, value ? value : "",
			      "%swrite grant_usage=1 into xl's disk line, or "
			      "allow all of its memory to be mapped by --allow-foreign",
			      value ? "the guest grants nothing; "
				    : "absent, so a guest of domain 0's uses no grants; ");
	check->out->foreign = true;
	return 0;
}

/* A decimal number under virtio_disk, 0x... under virtio. On x86 xl writes 0, and for irq as well. */
static int check_base(const struct check *check, const char *value)
{
	uint64_t base = 0;
	int err = check_number(check->error, GD_KEY_BASE, value, true,
			       (UINT64_C(1) << ADDRESS_BITS) - GIO_VIRTIO_MMIO_BYTES, &base);

	if (err)
		return err;
	if (base % GIO_VIRTIO_MMIO_BYTES)
		return refuse(check->error, GD_KEY_BASE, value, "must be a multiple of 0x%x", GIO_VIRTIO_MMIO_BYTES);
	check->out->base = base;
	return 0;
}

static int check_irq(const struct check *check, const char *value)
{
	uint64_t irq = 0;
	int err = check_number(check->error, GD_KEY_IRQ, value, false, SPI_LAST, &irq);

	if (!err && !check->out->base && irq)
		err = refuse(check->error, GD_KEY_IRQ, value, "must be 0 where base is 0");
	else if (!err && check->out->base && irq < SPI_FIRST)
		err = refuse(check->error, GD_KEY_IRQ, value, "must be %u to %u", SPI_FIRST, SPI_LAST);
	if (!err)
		check->out->irq = (unsigned)irq;
	return err;
}

static int check_mode(const struct check *check, const char *value)
{
	if (!value)
		return 0; /* generic virtio devices have no such key: they are writable */
	if (strcmp(value, "r") && strcmp(value, "w"))
		return refuse(check->error, GD_KEY_MODE, value, "must be r or w");
	check->out->readonly = value[0] == 'r';
	return 0;
}

static int check_device_type(const struct check *check, const char *value)
{
	if (value && strcmp(value, "disk") && strcmp(value, "cdrom"))
		return refuse(check->error, GD_KEY_DEVICE_TYPE, value, "must be disk or cdrom");
	if (value && value[0] == 'c')
		check->out->readonly = true;
	return 0;
}

static bool plain_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	return length && length <= 16 && !name[length];
}

static int check_dev(const struct check *check, const char *value)
{
	return value && !plain_name(value) ? refuse(check->error, GD_KEY_DEV, value, "must be a name as xvda") : 0;
}

static int check_discard(const struct check *check, const char *value)
{
	return value ? check_flag(check->error, GD_KEY_DISCARD, value, &check->out->discard) : 0;
}

/* O_DIRECT is always safe here, as I/O uses our own buffers: so only an explicit 0 turns it off. */
static int check_direct_safe(const struct check *check, const char *value)
{
	return value ? check_flag(check->error, GD_KEY_DIRECT_SAFE, value, &check->out->direct) : 0;
}

/* A device of another type has no image: what the toolstack or the settings say of one was meant for another device. */
static int check_imageless(const struct check *check)
{
	static const enum gd_key of_disks[] = {GD_KEY_MODE,	   GD_KEY_DEVICE_TYPE, GD_KEY_DISCARD,
					       GD_KEY_DIRECT_SAFE, GD_KEY_PARAMS,      GD_KEY_FORMAT};

	for (size_t i = 0; i < sizeof(of_disks) / sizeof(of_disks[0]); i++)
		if (check->keys->value[of_disks[i]])
			return refuse(check->error, of_disks[i], check->keys->value[of_disks[i]],
				      "only disks have such a key, and this device gives random numbers");
	if (check->policy->config_target)
		return refuse(check->error, GD_KEY_TYPE, check->keys->value[GD_KEY_TYPE],
			      "it has no image, and `disk = %u/%" PRIu32
			      " IMAGE` (or by the guest's name or UUID) in the settings names one",
			      check->id->domid, check->id->devid);
	check->out->target = "random";
	return 0;
}

static int check_params(const struct check *check, const char *value)
{
	const char *target = value ? value : check->policy->config_target;

	if (check->out->type != GIO_VIRTIO_ID_BLOCK)
		return check_imageless(check);
	if (!target) {
		snprintf(check->error, GD_KEYS_ERROR,
			 "no image: neither key 'params' nor `disk = %u/%" PRIu32
			 " IMAGE` (or by the guest's name or UUID) in the settings",
			 check->id->domid, check->id->devid);
		return -EINVAL;
	}
	if (target[0] != '/' && !strstr(target, "://"))
		return refuse(check->error, GD_KEY_PARAMS, target, "must be an absolute path or an nbd:// address");
	check->out->target = target;
	return 0;
}

static int check_format(const struct check *check, const char *value)
{
	check->out->raw = value != NULL;
	return value ? check_word(check->error, GD_KEY_FORMAT, value, "raw") : 0;
}

#define IN_DISK	  (1u << GD_VIRTIO_DISK)
#define IN_VIRTIO (1u << GD_VIRTIO)
#define IN_BOTH	  (IN_DISK | IN_VIRTIO)

/* In the order in which they are checked. The keys that say whose device it is come first. */
static const struct {
	enum gd_key key;
	unsigned required; /* IN_*: in these classes the key must be there; in others the check gets NULL if it is
			      absent */
	int (*check)(const struct check *check, const char *value);
} checks[] = {
	{GD_KEY_FRONTEND, IN_BOTH, check_frontend},
	{GD_KEY_FRONTEND_ID, IN_BOTH, check_frontend_id},
	{GD_KEY_TYPE, IN_VIRTIO, check_type},
	{GD_KEY_SPECIFICATION, 0, check_specification},
	{GD_KEY_TRANSPORT, IN_BOTH, check_transport},
	{GD_KEY_BASE, IN_BOTH, check_base},
	{GD_KEY_IRQ, IN_BOTH, check_irq},
	{GD_KEY_MODE, IN_DISK, check_mode},
	{GD_KEY_DEVICE_TYPE, 0, check_device_type},
	{GD_KEY_DEV, 0, check_dev},
	{GD_KEY_DISCARD, 0, check_discard},
	{GD_KEY_DIRECT_SAFE, 0, check_direct_safe},
	{GD_KEY_PARAMS, IN_DISK, check_params},
	{GD_KEY_FORMAT, 0, check_format},
	{GD_KEY_GRANT_USAGE, 0, check_grant_usage},
};

int gd_keys_device(const struct gd_keys *keys, const struct gd_device_id *id, const struct gd_keys_policy *policy,
		   struct gd_keys_device *out, char error[GD_KEYS_ERROR])
{
	struct check check = {keys, id, policy, out, error};
	int err = 0;

	*out = (struct gd_keys_device){.type = GIO_VIRTIO_ID_BLOCK, .discard = true, .direct = true};
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && !err; i++) {
		const char *value = keys->value[checks[i].key];

		if (!value && checks[i].required & 1u << id->class)
			err = incomplete(error, checks[i].key);
		else
			err = checks[i].check(&check, value);
	}
	return err;
}

static uint64_t note_number(const struct gd_keys *keys, enum gd_key key, uint64_t max)
{
	uint64_t number = 0;

	return keys->value[key] && gd_number(keys->value[key], false, max, &number) ? number : 0;
}

void gd_keys_note(const struct gd_keys *keys, struct gd_keys_note *out)
{
	const char *server = keys->value[GD_KEY_IOREQ_SERVER], *others = keys->value[GD_KEY_IOREQ_OTHERS];
	uint64_t number = 0;

	*out = (struct gd_keys_note){.ledger = note_number(keys, GD_KEY_LEDGER, UINT64_MAX),
				     .base = note_number(keys, GD_KEY_MMIO_BASE, UINT32_MAX)};
	out->messages = note_number(keys, GD_KEY_VERSION, UINT32_MAX) == GIO_XENBUS_VERSION_MSG;
	out->server = server && gd_number(server, false, UINT16_MAX, &number);
	out->server_id = (uint16_t)number;
	out->others = others && gd_number(others, false, UINT32_MAX, &out->others_id);
}

void gd_keys_name(const struct gd_keys *keys, const struct gd_device_id *id, char *name, size_t size)
{
	const char *dev = keys->value[GD_KEY_DEV];

	if (dev && plain_name(dev))
		snprintf(name, size, "%s", dev);
	else
		snprintf(name, size, "%s%" PRIu32, id->class == GD_VIRTIO ? "virtio" : "", id->devid);
}

/* Take one "/number" off the front of `*tail`. */
static bool path_number(const char **tail, uint64_t max, uint64_t *out)
{
	char text[24];
	size_t length = strcspn(*tail + 1, "/");

	if (length >= sizeof(text))
		return false;
	memcpy(text, *tail + 1, length);
	text[length] = '\0';
	*tail += 1 + length;
	return gd_number(text, false, max, out);
}

int gd_keys_path(const char *tail, uint16_t *domid, uint32_t *devid)
{
	uint64_t number = 0;

	if (!*tail)
		return 0;
	if (*tail != '/' || !path_number(&tail, GIO_DOMID_MAX, &number))
		return -EINVAL;
	*domid = (uint16_t)number;
	if (!*tail)
		return 1;
	if (!path_number(&tail, GIO_DEVID_MAX, &number))
		return -EINVAL;
	*devid = (uint32_t)number;
	return 2;
}
