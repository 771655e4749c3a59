/* SPDX-License-Identifier: MIT */
/*
 * The commands' way to xenstore, and transactions. libxenstore finds its socket by XENSTORED_PATH: that is how a
 * machine of the model takes the place of Xen.
 */
#include "cli/store.h"

#include "cli/command.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRANSACTIONS_MOST 64

/* One machine for each user by default, so that users of one host do not meet. */
const char *gc_store_machine(const char *option)
{
	static char dir[64];
	const char *env = getenv("GRANTIO_MACHINE");

	if (option)
		return option;
	if (env && *env)
		return env;
	snprintf(dir, sizeof(dir), "/dev/shm/grantio-%u", (unsigned)getuid());
	return dir;
}

/* Any of the ways in which libxenstore reaches Xen's store. */
static bool on_xen(void)
{
	return access("/run/xenstored/socket", F_OK) == 0 || access("/var/run/xenstored/socket", F_OK) == 0 ||
	       access("/dev/xen/xenbus", F_OK) == 0 || access("/proc/xen/xenbus", F_OK) == 0;
}

/*
 * What is wrong when no xenstore answers. Whoever runs a first command on a machine without Xen has asked for neither a
 * machine nor a path, and learns what there is to start. `machine`: where one was looked for; NULL: it was another
 * store. `chosen`: the user named it.
 */
static void unanswered_say(const char *machine, bool chosen, int err)
{
	const char *path = getenv("XENSTORED_PATH");
	bool absent = err == ENOENT || err == ECONNREFUSED;

	if (machine && absent && chosen)
		gc_fail("machine %s: it does not run (see 'grantio model start')", machine);
	else if (machine && absent)
		gc_fail("there is no xenstore: this machine does not run Xen, and no model of Xen runs in %s "
			"('grantio model start' starts one)",
			machine);
	else
		gc_fail("xenstore %s: %s%s", path ? path : "of Xen", strerror(err),
			err == EACCES || err == EPERM ? " (run this as root)"
			: absent && !path	      ? " ('grantio doctor' says what is missing)"
						      : "");
}

struct xs_handle *gc_store_open(const char *machine)
{
	const char *env = getenv("GRANTIO_MACHINE"), *dir = NULL;
	bool chosen = machine || (env && *env);
	char path[128];
	struct xs_handle *xs;

	if (machine || (!getenv("XENSTORED_PATH") && (chosen || !on_xen()))) {
		dir = gc_store_machine(machine);
		snprintf(path, sizeof(path), "%s/store", dir);
		if (setenv("XENSTORED_PATH", path, 1)) {
			gc_fail("xenstore: %s", strerror(errno));
			return NULL;
		}
	}
	xs = xs_open(0);
	if (!xs)
		unanswered_say(dir, chosen, errno);
	return xs;
}

/* A path that does not fit is cut, and then names no node: callers make paths of bounded parts. */
char *gc_store_read(struct xs_handle *xs, const char *format, ...)
{
	char path[GC_PATH_MAX];
	va_list list;

	va_start(list, format);
	vsnprintf(path, sizeof(path), format, list);
	va_end(list);
	return xs_read(xs, XBT_NULL, path, NULL);
}

/* A value that begins with a digit and is no number counts as missing: nothing is made of its first digits. */
uint64_t gc_store_number(struct xs_handle *xs, uint64_t missing, const char *format, ...)
{
	char path[GC_PATH_MAX], *value, *end;
	uint64_t number = missing;
	va_list list;

	va_start(list, format);
	vsnprintf(path, sizeof(path), format, list);
	va_end(list);
	value = xs_read(xs, XBT_NULL, path, NULL);
	if (!value)
		return missing;
	if (*value >= '0' && *value <= '9') {
		errno = 0;
		number = strtoull(value, &end, 0);
		if (errno || *end)
			number = missing;
	}
	free(value);
	return number;
}

/* ---- transactions ---- */

/* The first error is the cause; those that follow from it are not kept. */
void gc_tx_fail(struct gc_tx *tx, int error)
{
	if (!tx->error)
		tx->error = error;
}

/* After a call of libxenstore. */
static void tx_check(struct gc_tx *tx, bool ok)
{
	if (!ok)
		gc_tx_fail(tx, errno ? -errno : -EIO);
}

__attribute__((format(printf, 3, 0))) static void tx_vwrite(struct gc_tx *tx, const char *path, const char *format,
							    va_list list)
{
	char value[XENSTORE_PAYLOAD_MAX / 2];
	int length = vsnprintf(value, sizeof(value), format, list);

	if ((size_t)length >= sizeof(value))
		gc_tx_fail(tx, -ENAMETOOLONG);
	if (!tx->error)
		tx_check(tx, xs_write(tx->xs, tx->id, path, value, (unsigned)length));
}

/*
 * Writes one value at a whole path. An error is kept in the transaction, so that callers write many values in a row and
 * look once.
 */
void gc_tx_write(struct gc_tx *tx, const char *path, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	tx_vwrite(tx, path, format, list);
	va_end(list);
}

/* The same below a directory, which is how nearly all keys are written. */
void gc_tx_key(struct gc_tx *tx, const char *dir, const char *key, const char *format, ...)
{
	char path[GC_PATH_MAX];
	va_list list;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	va_start(list, format);
	tx_vwrite(tx, path, format, list);
	va_end(list);
}

/* Made anew, so that nothing of a former device's keys is left in it. */
void gc_tx_dir(struct gc_tx *tx, const char *path, unsigned owner, unsigned reader)
{
	struct xs_permissions perms[2] = {{.id = owner, .perms = XS_PERM_NONE}, {.id = reader, .perms = XS_PERM_READ}};

	gc_tx_rm(tx, path);
	if (!tx->error)
		tx_check(tx, xs_mkdir(tx->xs, tx->id, path));
	if (!tx->error)
		tx_check(tx, xs_set_permissions(tx->xs, tx->id, path, perms, owner == reader ? 1 : 2));
}

/* A directory that is not there has no children, which is no error for any caller. */
char **gc_tx_list(struct gc_tx *tx, const char *path, unsigned *count)
{
	char **names;

	*count = 0;
	if (tx->error)
		return NULL;
	names = xs_directory(tx->xs, tx->id, path, count);
	if (!names) {
		*count = 0;
		if (errno != ENOENT)
			tx_check(tx, false);
	}
	return names;
}

/* A node that is not there is no error: many keys are optional. */
char *gc_tx_read(struct gc_tx *tx, const char *path)
{
	char *value;

	if (tx->error)
		return NULL;
	value = xs_read(tx->xs, tx->id, path, NULL);
	if (!value && errno != ENOENT)
		tx_check(tx, false);
	return value;
}

/* Also for a node without a value. */
bool gc_tx_exists(struct gc_tx *tx, const char *path)
{
	char *value = gc_tx_read(tx, path);

	free(value);
	return value != NULL;
}

/* A directory that has a value is not empty, even if it has no children: some program has written that value. */
static bool dir_empty(struct gc_tx *tx, const char *path)
{
	unsigned count;
	char **names = gc_tx_list(tx, path, &count), *value = gc_tx_read(tx, path);
	bool empty = !tx->error && count == 0 && value && !*value;

	free(names);
	free(value);
	return empty;
}

void gc_tx_rm(struct gc_tx *tx, const char *path)
{
	if (!tx->error && !xs_rm(tx->xs, tx->id, path) && errno != ENOENT)
		tx_check(tx, false);
}

/* Goes up until a directory is not empty, at most to `keep`, which is a domain's own. */
void gc_tx_remove(struct gc_tx *tx, const char *path, const char *keep)
{
	char above[GC_PATH_MAX], *slash;

	snprintf(above, sizeof(above), "%s", path);
	do {
		gc_tx_rm(tx, above);
		slash = strrchr(above, '/');
		*slash = '\0';
	} while (strlen(above) > strlen(keep) && dir_empty(tx, above));
}

/*
 * EAGAIN means that somebody else has changed what was read: the work is done again on what is there now. The bound
 * keeps a store that always says so from holding us for ever.
 */
int gc_store_transact(struct xs_handle *xs, void (*work)(struct gc_tx *tx, void *arg), void *arg)
{
	for (int i = 0; i < TRANSACTIONS_MOST; i++) {
		struct gc_tx tx = {.xs = xs, .id = xs_transaction_start(xs)};

		if (tx.id == XBT_NULL)
			return -errno;
		work(&tx, arg);
		if (xs_transaction_end(xs, tx.id, tx.error != 0))
			return tx.error;
		if (tx.error)
			return tx.error;
		if (errno != EAGAIN)
			return -errno;
	}
	return -EAGAIN;
}

/* ---- waiting ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait for a watch event until the deadline, and take all that there are. */
static int events_wait(struct xs_handle *xs, int64_t deadline)
{
	struct pollfd wait = {.fd = xs_fileno(xs), .events = POLLIN};
	int64_t left = deadline - now_ms();
	char **event;

	int ready = left < 0 ? 0 : poll(&wait, 1, (int)left);

	if (ready <= 0)
		return ready ? -errno : -ETIMEDOUT;
	while ((event = xs_check_watch(xs)))
		free(event);
	return errno == EAGAIN ? 0 : -errno;
}

/* Outside of a transaction: the answer is of this moment. */
static bool node_exists(struct xs_handle *xs, const char *path)
{
	char *value = xs_read(xs, XBT_NULL, path, NULL);

	free(value);
	return value != NULL;
}

/*
 * The state is read after each event and once before: a change between the watch and the first look is not missed,
 * since setting a watch causes an event.
 */
int gc_store_state_wait(struct xs_handle *xs, const char *path, const char *error, bool (*done)(unsigned state),
			int timeout_ms, unsigned *state)
{
	int64_t deadline = now_ms() + timeout_ms;
	int err = 0;

	if (!xs_watch(xs, path, "state") || (error && !xs_watch(xs, error, "error")))
		return -errno; /* the watches end with the connection */
	for (;;) {
		*state = (unsigned)gc_store_number(xs, 0, "%s", path);
		if (done(*state))
			break;
		err = error && node_exists(xs, error) ? -ECANCELED : events_wait(xs, deadline);
		if (err)
			break;
	}
	xs_unwatch(xs, path, "state");
	if (error)
		xs_unwatch(xs, error, "error");
	return err;
}
