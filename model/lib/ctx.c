/* SPDX-License-Identifier: MIT */
#include "model/lib/ctx.h"
#include "model/attach.h"
#include "model/event.h"

#include <string.h>

/*
 * One machine per process, whatever number of handles: they are counted, and the last one leaves the machine. libxen*
 * has no argument by which a caller could name a machine, so the environment does.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct gm_machine *machine;
static uint32_t users;
static uint32_t generation;

/* The lock is held over the fork, so that the child finds the variables whole. */
static void fork_prepare(void)
{
	pthread_mutex_lock(&lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&lock);
}

/*
 * The child's handles are of an earlier generation from now on. What the parent holds in the machine stays the
 * parent's: the child unmaps it and releases nothing.
 */
static void fork_child(void)
{
	pthread_mutex_init(&lock, NULL);
	generation++;
	users = 0;
	if (machine)
		gm_machine_forget(machine);
	machine = NULL;
}

static void fork_watch(void)
{
	pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* Without GRANTIO_DOMID a program runs in domain 0, as backends usually do. */
static int domid_of_env(uint16_t *domid)
{
	const char *s = getenv("GRANTIO_DOMID");
	char *end;
	unsigned long n;

	*domid = 0;
	if (!s || !*s)
		return 0;
	n = strtoul(s, &end, 10);
	if (*end || n >= GM_MAX_DOMAINS) {
		fprintf(stderr, "grantio model: GRANTIO_DOMID is \"%s\": not a domain id below %u\n", s,
			GM_MAX_DOMAINS);
		return -EINVAL;
	}
	*domid = (uint16_t)n;
	return 0;
}

/* With the lock held. Messages go to stderr, because the library's callers print no more than errno. */
static int machine_get(const char *what)
{
	const char *dir = getenv("GRANTIO_MACHINE");
	uint16_t domid;
	int err;

	if (machine) {
		users++;
		return 0;
	}
	if (!dir || !*dir) {
		fprintf(stderr,
			"grantio model: %s_open: GRANTIO_MACHINE is not set: it names the machine's directory\n", what);
		return -ENOENT;
	}
	err = domid_of_env(&domid);
	if (err)
		return err;
	err = gm_machine_open_as(&machine, dir, domid);
	if (err)
		fprintf(stderr, "grantio model: %s_open: machine %s as domain %u: %s\n", what, dir, domid,
			strerror(-err));
	else
		users = 1;
	return err;
}

void *gm_ctx_open(const char *what, size_t bytes, gm_restrict_callback *restrict_callback)
{
	struct gm_ctx *ctx = calloc(1, bytes);
	int err;

	if (!ctx)
		return NULL;
	pthread_once(&once, fork_watch);
	pthread_mutex_lock(&lock);
	err = machine_get(what);
	ctx->m = machine;
	ctx->generation = generation;
	pthread_mutex_unlock(&lock);
	if (err) {
		free(ctx);
		errno = -err;
		return NULL;
	}
	ctx->active.restrict_callback = restrict_callback;
	xentoolcore__register_active_handle(&ctx->active);
	return ctx;
}

bool gm_ctx_own(const struct gm_ctx *ctx)
{
	return __atomic_load_n(&generation, __ATOMIC_RELAXED) == ctx->generation;
}

/* A process that closes a handle often does so because a domain has gone: what it kept of such domains goes with it. */
void gm_ctx_close(struct gm_ctx *ctx)
{
	xentoolcore__deregister_active_handle(&ctx->active);
	if (gm_ctx_own(ctx)) {
		gm_attach_sweep(ctx->m);
		gm_pipe_sweep(ctx->m);
		pthread_mutex_lock(&lock);
		if (!--users) {
			gm_machine_close(machine);
			machine = NULL;
		}
		pthread_mutex_unlock(&lock);
	}
	free(ctx);
}
