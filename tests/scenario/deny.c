/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into grantiod, so that a test can deny it something. While the file $DENY_THREADS is there, the process
 * gets no more threads than the file says, as under a full pids.max. While $DENY_NAMES is there, xenstore does not
 * answer what a domain is called.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>

typedef int create_function(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *opaque);
typedef void *read_function(struct xs_handle *xs, xs_transaction_t transaction, const char *path, unsigned *length);

/* How many threads the process may have had. */
static unsigned threads_limit(void)
{
	const char *path = getenv("DENY_THREADS");
	FILE *file = path ? fopen(path, "re") : NULL;
	unsigned limit = 0;

	if (!file)
		return -1u;
	if (fscanf(file, "%u", &limit) != 1)
		limit = 0;
	fclose(file);
	return limit;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *opaque)
{
	static unsigned had;
	create_function *next;

	*(void **)&next =
		dlsym(RTLD_NEXT, "pthread_create"); /* as in dlsym(3): ISO C does not convert one to the other */
	if (__atomic_load_n(&had, __ATOMIC_RELAXED) >= threads_limit())
		return EAGAIN;
	__atomic_fetch_add(&had, 1, __ATOMIC_RELAXED);
	return next(thread, attr, run, opaque);
}

void *xs_read(struct xs_handle *xs, xs_transaction_t transaction, const char *path, unsigned *length)
{
	const char *denied = getenv("DENY_NAMES"), *last = strrchr(path, '/');
	read_function *next;

	*(void **)&next = dlsym(RTLD_NEXT, "xs_read");
	if (denied && last && !strcmp(last, "/name") && !access(denied, F_OK)) {
		errno = EIO;
		return NULL;
	}
	return next(xs, transaction, path, length);
}
