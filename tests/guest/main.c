/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <string.h>

/* ---- the peer --------------------------------------------------------------------------------------------------- */

static unsigned sequence;

/* A number at `*text`, which goes behind it and a space. */
static int number_take(const char **text)
{
	bool minus = **text == '-';
	int value = 0;

	for (*text += minus; **text >= '0' && **text <= '9'; ++*text)
		value = value * 10 + (**text - '0');
	*text += **text == ' ';
	return minus ? -value : value;
}

static char *number_put(char *at, unsigned value)
{
	char digits[10];
	unsigned n = 0;

	*at++ = ' ';
	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (n)
		*at++ = digits[--n];
	*at = '\0';
	return at;
}

int peer_ask(const char *what, unsigned a, unsigned b, unsigned c, int *data)
{
	char line[96], path[STORE_PATH_MAX], token[16];
	uint64_t end = gio_xen_now_ms() + WAIT_MS;
	const char *at = line;
	size_t n = strlen(what);
	int ret = gio_xen_store_watch("data/answer", "peer");

	memcpy(line, what, n);
	number_put(number_put(number_put(number_put(line + n, a), b), c), ++sequence);
	if (!ret)
		ret = gio_xen_store_write(STORE_NO_TRANSACTION, "data", "ask", line);
	while (!ret && gio_xen_now_ms() < end) {
		at = line;
		if (gio_xen_store_read("data", "answer", line, sizeof(line)) > 0 &&
		    (unsigned)number_take(&at) == sequence)
			break;
		(void)gio_xen_store_event(path, sizeof(path), token, sizeof(token), 1000);
		at = NULL;
	}
	gio_xen_store_unwatch("data/answer", "peer");
	if (ret || !at) {
		gio_xen_print("the peer does not answer '%s' (%d)\n", what, ret);
		return -1000;
	}
	ret = number_take(&at);
	if (data)
		*data = number_take(&at);
	return ret;
}

/* ---- the program ------------------------------------------------------------------------------------------------ */

/*
 * As a guest does that has started again, and knows nothing of who used the disk: its backend is connected still. What
 * the former one had lent is taken back after that, and nobody holds any of it.
 */
static int begin_anew(struct world *world, struct frontend *front, struct gio_grants *grants)
{
	struct frontend former = *front;
	struct gio_grants_stats stats;
	int ret;

	if (former.port)
		gio_xen_port_close(former.port);
	ret = gio_xen_frontend_open(front, DISK_RW, grants);
	gio_xen_messages_close(&former.messages);
	gio_grants_stats(world->grants, &stats);
	return ret ? ret : (int)stats.quarantined;
}

/* `grants`: by messages, if they are offered; NULL: by registers. */
static void disks_run(struct world *world, struct gio_grants *grants)
{
	gio_xen_print("- by %s: %d", grants ? "messages" : "registers",
		      gio_xen_frontend_open(&world->rw, DISK_RW, grants));
	gio_xen_print(" %d", gio_xen_frontend_open(&world->ro, DISK_RO, grants));
	gio_xen_print(", pools %d %d", !!world->rw.messages.pool, !!world->ro.messages.pool);
	gio_xen_print(", a new start %d", begin_anew(world, &world->rw, grants));
	gio_xen_frontend_close(&world->rw);
	gio_xen_print(", and after an end %d\n", gio_xen_frontend_open(&world->rw, DISK_RW, grants));
	if (!grants)
		registers_run(world);
	disk_run(world);
	disk_life_run(world);
}

static void disks_end(struct world *world)
{
	struct gio_grants_stats stats;

	gio_xen_frontend_close(&world->rw);
	gio_xen_frontend_close(&world->ro);
	gio_grants_stats(world->grants, &stats);
	gio_xen_print("- end: %u grants, %u in quarantine, %u misuses\n", stats.used, stats.quarantined, stats.misuses);
}

/* What it has written is looked at by registers: it must have come to the disk itself. */
static void example(struct world *world)
{
	uint8_t *page = gio_os_pages_alloc(gio_xen_os(), 1);
	struct disk disk;
	int ret;

	memset(page, 0x5a, GIO_PAGE_SIZE);
	ret = example_run(world->grants, DISK_RW, page);
	gio_xen_print("- example: %d", ret);
	memset(page, 0, GIO_PAGE_SIZE);
	gio_xen_print(", by registers %d", gio_xen_frontend_open(&world->rw, DISK_RW, NULL));
	ret = disk_open(&disk, world, &world->rw, false, true);
	gio_xen_print(" %d", ret);
	if (!ret) {
		gio_xen_print(" %d", disk_request(&disk, GIO_BLK_READ, 64, page, GIO_PAGE_SIZE));
		gio_xen_print(" %x %x\n", page[0], page[GIO_PAGE_SIZE - 1]);
		disk_close(&disk);
	}
	gio_xen_frontend_close(&world->rw);
	gio_os_pages_free(gio_xen_os(), page, 1);
}

static void scenarios_run(struct world *world)
{
	size_t pages = gio_xen_pages_used();
	int ret = gio_grants_open(&world->grants, gio_xen_os(), 8);

	gio_xen_print("- grants: %d\n", ret);
	store_run(world);
	disks_run(world, world->grants);
	disks_end(world);
	example(world);
	disks_run(world, NULL);
	grants_run(world);
	events_run(world);
	disks_end(world);
	gio_xen_print("- closed: %u held", gio_grants_close(world->grants));
	gio_xen_print(", %u pages\n", (unsigned)(gio_xen_pages_used() - pages));
}

void gio_xen_main(const char *command_line)
{
	struct world world = {0};

	if (!strcmp(command_line, "hello")) {
		char name[32] = "";
		int ret = gio_xen_store_read("name", NULL, name, sizeof(name));

		gio_xen_print("GUEST is %s: %d\n", name, ret > 0);
	} else {
		gio_xen_print("GUEST transcript\n");
		scenarios_run(&world);
		gio_xen_print("GUEST end of transcript\n");
	}
	gio_xen_print("GUEST ok\n");
}
