/* SPDX-License-Identifier: MIT */
/*
 * Messages to stderr, one line each, with journald's priority prefix ("<3>d1/xvda: ..."). Any thread.
 * What a guest can provoke goes through gd_log_guest(), which is limited per device and says how many it swallowed.
 *
 * A line is one write of at most 1 KiB: longer ones are cut and end in "...". Control bytes and bytes that are not
 * UTF-8 come out as \n, \t, \xNN, so a name from outside can neither begin a line nor steer a terminal. errno is left
 * alone.
 *
 * Nobody waits for whoever reads stderr: what a full pipe or socket (the journal's), or a terminal that stands still,
 * does not take is lost, and a line says how many were, as soon as there is room again. The flags of stderr itself are
 * left alone, as it may be others' too. Only a regular file is written as its file system pleases.
 */
#ifndef GD_LOG_H
#define GD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gd_level { GD_ERR = 3, GD_WARN = 4, GD_NOTICE = 5, GD_INFO = 6, GD_DEBUG = 7 };

/* Who speaks: a device, or the whole daemon (NULL). Lives as long as the device. */
struct gd_log {
	char name[32];	    /* "d1/xvda" */
	uint64_t window_ns; /* start of the current rate window; all three: atomics of gd_log_guest() */
	uint32_t sent;
	uint32_t dropped;
};

void gd_log_init(struct gd_log *log, unsigned domid, const char *device);
void gd_log_level(enum gd_level most); /* what is more than that is not written; default GD_INFO */

__attribute__((format(printf, 3, 4))) void gd_log(struct gd_log *log, enum gd_level level, const char *format, ...);
/* For what the guest caused: at most 10 lines in 10 seconds for each device. */
__attribute__((format(printf, 3, 4))) void gd_log_guest(struct gd_log *log, enum gd_level level, const char *format,
							...);

/*
 * Escape `text` into `out` (`size` bytes with the NUL; cut at a whole character): for one-line texts that go elsewhere
 * than to the log. Escaping twice changes nothing. Returns the length written.
 */
size_t gd_log_escape(char *out, size_t size, const char *text);
/* The text of a positive or negative errno; never NULL. Any thread. */
const char *gd_log_errno(int error);

#endif
