/* SPDX-License-Identifier: MIT */
/*
 * The error of a call that has just failed, as grantiod hands errors on: a negative errno.
 */
#ifndef GD_ERROR_H
#define GD_ERROR_H

#include <errno.h>

/*
 * -errno; or -`otherwise` where errno is 0, since Xen's libraries do not set it on every failure, and a failure must
 * never be returned as 0. Where a library may leave errno alone, the caller sets it to 0 before the call: otherwise the
 * error of some former call would be returned.
 */
static inline int gd_errno_or(int otherwise)
{
	return errno ? -errno : -otherwise;
}

#endif
