/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into grantiod: while the file $NO_THREADS is there, this process gets no more threads than it says, as
 * under a full pids.max.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef int create_function(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *opaque);

/* How many it may have had. */
static unsigned limit_read(void)
{
	const char *path = getenv("NO_THREADS");
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
	if (__atomic_load_n(&had, __ATOMIC_RELAXED) >= limit_read())
		return EAGAIN;
	__atomic_fetch_add(&had, 1, __ATOMIC_RELAXED);
	return next(thread, attr, run, opaque);
}
