/* SPDX-License-Identifier: MIT */
/*
 * What the model's libxen* handles have in common: the machine of this process, made by the first handle that is
 * opened and left by the last that is closed, and libxentoolcore's list of active handles.
 *
 * Fork: a child shares nothing. Its inherited handles can only be closed; that frees their memory and no more.
 */
#ifndef GM_CTX_H
#define GM_CTX_H

#include "model/state.h"

#include <errno.h>

/* libxentoolcore's internal header is not installed; this is its ABI (libxentoolcore.so.1, VERS_1.0). */
struct Xentoolcore__Active_Handle;
typedef int gm_restrict_callback(struct Xentoolcore__Active_Handle *handle, domid_t domid);
struct Xentoolcore__Active_Handle {
	gm_restrict_callback *restrict_callback;
	struct Xentoolcore__Active_Handle *next, **prev;
};
void xentoolcore__register_active_handle(struct Xentoolcore__Active_Handle *handle);
void xentoolcore__deregister_active_handle(struct Xentoolcore__Active_Handle *handle);

/* The first member of each handle. */
struct gm_ctx {
	struct Xentoolcore__Active_Handle active;
	struct gm_machine *m;
	uint32_t generation; /* forks that this process stems from */
};

/* An object of `bytes` that begins with a struct gm_ctx, registered; NULL with errno. `what` is for the error line. */
void *gm_ctx_open(const char *what, size_t bytes, gm_restrict_callback *restrict_callback);
/* True when the handle is this process's own; else only gm_ctx_close() may be called. */
bool gm_ctx_own(const struct gm_ctx *ctx);
/* Frees the handle too. */
void gm_ctx_close(struct gm_ctx *ctx);

/* -1 with errno from a negative error, else the value. */
static inline int gm_ret(int value)
{
	if (value >= 0)
		return value;
	errno = -value;
	return -1;
}

#endif
