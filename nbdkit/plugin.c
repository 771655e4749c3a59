/* SPDX-License-Identifier: MIT */
/*
 * An nbdkit plugin that is a guest of the Xen model: its virtio-blk driver, over grants, serves an NBD export in
 * parallel. So every NBD client is a client of the whole path, from guest to disk image.
 *
 * A guest is one process, and nbdkit forks after get_ready: so the disk is opened in after_fork. What fails there
 * cannot be told to anybody: with --run, nbdkit's parent goes on listening, and its command waits for ever for the
 * child's first byte. Therefore get_ready opens the disk once for a trial, and closes it again.
 */
#include "client/disk.h"
#include "model/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* Buffers of 256 KiB in the guest's RAM: enough for nbdkit's default of 16 threads, and for pipelining. */
#define BUFFERS 32

#define WAIT_MS 10000

static struct {
	char *machine, *disk;
	unsigned domid, queues, queue_size, timeout;
	bool messages;
} settings = {.timeout = 30};

static struct gp_disk *guest_disk;

/* ---- configuration ------------------------------------------------------------------------------------------ */

/*
 * Bounds are the device's and the driver's: what is within them may still be more than a disk offers, which is no
 * error.
 */
static int number(const char *key, const char *value, unsigned least, unsigned most, unsigned *out)
{
	if (nbdkit_parse_unsigned(key, value, out) < 0)
		return -1;
	if (*out < least || *out > most) {
		nbdkit_error("%s=%s: not between %u and %u", key, value, least, most);
		return -1;
	}
	return 0;
}

/* 4 is the least that has room for a request: header, data and status. */
static int ring_size(const char *value)
{
	if (number("queue_size", value, 4, 32768, &settings.queue_size) < 0)
		return -1;
	if (settings.queue_size & (settings.queue_size - 1)) {
		nbdkit_error("queue_size=%s: not a power of two", value);
		return -1;
	}
	return 0;
}

/*
 * The words of `grantio bench`. Registers are the default, since nothing here begins anew by messages if the backend
 * does; and a word that is not known is refused, as everywhere.
 */
static int transport(const char *value)
{
	settings.messages = !strcmp(value, "msg");
	if (!settings.messages && strcmp(value, "mmio")) {
		nbdkit_error("transport=%s: must be mmio or msg", value);
		return -1;
	}
	return 0;
}

/* nbdkit's own words for a name here would say nothing of domains. */
static int guest_number(const char *value)
{
	if (!*value || value[strspn(value, "0123456789")]) {
		nbdkit_error("domid=%s: must be the number of a domain, as 'grantio model status' shows it", value);
		return -1;
	}
	return number("domid", value, 1, 0x7fef, &settings.domid);
}

/* A machine's directory is made absolute: nbdkit changes to / when it goes to the background. */
static int text(const char *key, const char *value, char **out)
{
	free(*out);
	*out = strcmp(key, "machine") ? strdup(value) : nbdkit_realpath(value);
	return *out ? 0 : -1; /* nbdkit_realpath has said why */
}

/* An unknown word is refused with the list of those that exist, since nbdkit passes on whatever it is given. */
static int guest_config(const char *key, const char *value)
{
	if (!strcmp(key, "machine"))
		return text(key, value, &settings.machine);
	if (!strcmp(key, "disk"))
		return text(key, value, &settings.disk);
	if (!strcmp(key, "domid"))
		return guest_number(value);
	if (!strcmp(key, "queues"))
		return number(key, value, 1, 16, &settings.queues);
	if (!strcmp(key, "queue_size"))
		return ring_size(value);
	if (!strcmp(key, "transport"))
		return transport(value);
	if (!strcmp(key, "timeout"))
		return number(key, value, 0, 86400, &settings.timeout);
	nbdkit_error(
		"unknown parameter '%s': machine, domid, disk, queues, queue_size, transport and timeout are known",
		key);
	return -1;
}

/* The machine may come from the environment, as it does for all other programs of a model. */
static int guest_config_complete(void)
{
	const char *machine = getenv("GRANTIO_MACHINE");

	if (!settings.machine && machine && text("machine", machine, &settings.machine) < 0)
		return -1;
	if (!settings.machine) {
		nbdkit_error("machine=DIRECTORY is missing (or set GRANTIO_MACHINE)");
		return -1;
	}
	if (!settings.domid) {
		nbdkit_error("domid=NUMBER is missing: the guest whose disk is to be served");
		return -1;
	}
	return 0;
}

/* ---- life --------------------------------------------------------------------------------------------------- */

/* Is there such a machine, and such a guest? This is asked first, since the disk's error would not say it so plainly.
 */
static int domain_check(void)
{
	struct gm_machine *machine;
	enum gm_domain_state state;
	int err = gm_machine_open(&machine, settings.machine);

	if (err) {
		nbdkit_error("machine=%s: %s (see 'grantio model start')", settings.machine, strerror(-err));
		return -1;
	}
	state = gm_domain_state(machine, (uint16_t)settings.domid);
	gm_machine_close(machine);
	if (state != GM_DOMAIN_RUNNING) {
		nbdkit_error("domid=%u: no such domain runs on machine %s", settings.domid, settings.machine);
		return -1;
	}
	return 0;
}

/* The reason is one line that names domain and disk; nbdkit adds nothing to it. */
static int disk_open(void)
{
	const struct gp_disk_config config = {
		.machine = settings.machine,
		.domid = (uint16_t)settings.domid,
		.name = settings.disk,
		.queues = settings.queues,
		.queue_size = settings.queue_size,
		.messages = settings.messages,
		.buffers = BUFFERS,
		.wait_ms = WAIT_MS,
		.timeout_ms = settings.timeout * 1000,
	};
	char error[256];

	if (gp_disk_open(&guest_disk, &config, error, sizeof(error))) {
		nbdkit_error("%s", error);
		return -1;
	}
	return 0;
}

static void disk_close(void)
{
	struct gp_disk_leaks leaks;

	if (gp_disk_close(guest_disk, &leaks))
		nbdkit_error("domain %u: not given back: %u grants (%u held by the backend), %zu pages", settings.domid,
			     leaks.grants, leaks.held, leaks.pages);
	guest_disk = NULL;
}

/* The trial, while there is a terminal to tell. No thread of it is left when nbdkit forks. */
static int guest_get_ready(void)
{
	if (domain_check() < 0 || disk_open() < 0)
		return -1;
	disk_close();
	return 0;
}

static int guest_after_fork(void)
{
	return disk_open();
}

/* Every connection is closed by now. */
static void guest_cleanup(void)
{
	disk_close();
}

/* Called even if get_ready was not: nothing but the settings exists for certain. */
static void guest_unload(void)
{
	free(settings.machine);
	free(settings.disk);
}

/* For scripts that ask what a plugin can do before they use it. */
static void guest_dump_plugin(void)
{
	printf("grantio_transport=mmio msg\n");
	printf("grantio_buffer_bytes=%u\n", GP_CHUNK_BYTES);
	printf("grantio_buffers=%u\n", BUFFERS);
}

/* ---- a connection: nothing of its own ----------------------------------------------------------------------- */

static void *guest_open(int readonly)
{
	(void)readonly; /* nbdkit itself refuses writes on a connection that is read-only */
	return NBDKIT_HANDLE_NOT_NEEDED;
}

/* Read anew each time, since a disk may grow while it is served. */
static struct gio_blk_info info_now(void)
{
	struct gio_blk_info info;

	gp_disk_info(guest_disk, &info);
	return info;
}

/* Asked at each connection, so that a client that connects after the disk has grown sees its new size. */
static int64_t guest_get_size(void *handle)
{
	uint64_t size = gp_disk_size(guest_disk);

	(void)handle;
	if (size > INT64_MAX) {
		nbdkit_error("domain %u: the disk says it has %llu bytes: more than NBD can say", settings.domid,
			     (unsigned long long)size);
		return -1;
	}
	return (int64_t)size;
}

/* Clients that respect it need no read-modify-write; others are told by result() what went wrong. */
static int guest_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	const struct gp_limits *limits = gp_disk_limits(guest_disk);

	(void)handle;
	*minimum = limits->block;
	*preferred = limits->block > 4096 ? limits->block : 4096;
	*maximum = 0xffffffff; /* no limit but the protocol's: transfers are cut here */
	return 0;
}

/* A disk that the toolstack has attached read-only refuses writes itself; clients should know before. */
static int guest_can_write(void *handle)
{
	(void)handle;
	return !info_now().readonly;
}

/* Also on a device without a volatile cache: there it costs nothing, and clients that flush are content. */
static int guest_can_flush(void *handle)
{
	(void)handle;
	return 1;
}

/* A write-through device has written when it answers; otherwise nbdkit flushes after the write. */
static int guest_can_fua(void *handle)
{
	struct gio_blk_info info = info_now();

	(void)handle;
	return info.flush && info.writeback ? NBDKIT_FUA_EMULATE : NBDKIT_FUA_NATIVE;
}

/* By the device's limits: 0 means that it offers no discard. */
static int guest_can_trim(void *handle)
{
	(void)handle;
	return gp_disk_limits(guest_disk)->discard != 0;
}

static int guest_can_zero(void *handle)
{
	(void)handle;
	return gp_disk_limits(guest_disk)->zero != 0;
}

/* The device does not say whether zeroing is faster than writing. */
static int guest_can_fast_zero(void *handle)
{
	(void)handle;
	return 0;
}

/* All connections share one device with one cache: what one has flushed, all see. */
static int guest_can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

/* NBD knows a few errors only, and nbdkit makes EINVAL of the others: the client is not to blame for a backend's
 * silence. */
static int nbd_error(int err)
{
	switch (err) {
	case -EINVAL:
	case -ENOSPC:
	case -ENOMEM:
	case -EROFS:
	case -EOPNOTSUPP:
		return -err;
	default:
		return EIO;
	}
}

/* The client gets a number only; the line in nbdkit's log says which request it was. */
static int result(int err, const char *what, uint64_t offset, uint64_t count)
{
	const uint32_t block = gp_disk_limits(guest_disk)->block;

	if (!err)
		return 0;
	if (err == -EINVAL)
		nbdkit_error(
			"%s of %llu bytes at %llu: not whole blocks of %u bytes on the disk (--filter=blocksize helps)",
			what, (unsigned long long)count, (unsigned long long)offset, block);
	else
		nbdkit_error("%s of %llu bytes at %llu: %s", what, (unsigned long long)count,
			     (unsigned long long)offset, strerror(-err));
	nbdkit_set_error(nbd_error(err));
	return -1;
}

/* Any length and alignment to blocks: client/ cuts the transfer and copies through guest memory. */
static int guest_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle;
	(void)flags;
	return result(gp_disk_read(guest_disk, buf, offset, count), "read", offset, count);
}

static int guest_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle;
	(void)flags; /* FUA comes only where can_fua says that every write is */
	return result(gp_disk_write(guest_disk, buf, offset, count), "write", offset, count);
}

static int guest_flush(void *handle, uint32_t flags)
{
	(void)handle;
	(void)flags;
	return result(gp_disk_flush(guest_disk), "flush", 0, 0);
}

static int guest_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle;
	(void)flags;
	return result(gp_disk_discard(guest_disk, offset, count), "trim", offset, count);
}

/* MAY_TRIM becomes the request's unmap flag: the device may then deallocate instead of writing zeroes. */
static int guest_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle;
	return result(gp_disk_zero(guest_disk, offset, count, flags & NBDKIT_FLAG_MAY_TRIM), "zero", offset, count);
}

static struct nbdkit_plugin plugin = {
	.name = "grantio",
	.version = GRANTIO_VERSION,
	.longname = "grantio guest disk",
	.description = "Serve a virtio disk of a guest of the grantio model, through its driver and its grants.",
	.magic_config_key = "machine",
	.config = guest_config,
	.config_complete = guest_config_complete,
	.config_help = "machine=DIRECTORY  the machine (default: $GRANTIO_MACHINE)\n"
		       "domid=NUMBER       the guest to be (required)\n"
		       "disk=NAME          its disk, for instance xvda (default: the first)\n"
		       "queues=NUMBER      request queues to ask for (default: 1)\n"
		       "queue_size=NUMBER  descriptors of each, a power of two (default: the device's)\n"
		       "transport=HOW      mmio: by registers; msg: by messages and a pool of copies (default: mmio)\n"
		       "timeout=SECONDS    longest wait for the backend's answer, 0: for ever (default: 30)",
	.dump_plugin = guest_dump_plugin,
	.unload = guest_unload,
	.get_ready = guest_get_ready,
	.after_fork = guest_after_fork,
	.cleanup = guest_cleanup,
	.open = guest_open,
	.get_size = guest_get_size,
	.block_size = guest_block_size,
	.can_write = guest_can_write,
	.can_flush = guest_can_flush,
	.can_fua = guest_can_fua,
	.can_trim = guest_can_trim,
	.can_zero = guest_can_zero,
	.can_fast_zero = guest_can_fast_zero,
	.can_multi_conn = guest_can_multi_conn,
	.pread = guest_pread,
	.pwrite = guest_pwrite,
	.flush = guest_flush,
	.trim = guest_trim,
	.zero = guest_zero,
};

NBDKIT_REGISTER_PLUGIN(plugin)
