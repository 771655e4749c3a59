/* SPDX-License-Identifier: MIT */
/*
 * Messages to stderr, one line each, with journald's priority prefix ("<3>d1/xvda: ..."). Messages that a guest can
 * cause go through gd_log_guest(), which limits them per device, and says how many it dropped.
 *
 * A line is one write of at most 1 KiB: a longer one is cut and ends in "...". Control bytes and bytes that are not
 * UTF-8 are written as \n, \t, \xNN, so that a name from outside can neither begin a line nor steer a terminal.
 *
 * Logging never waits for the reader of stderr. What a full pipe or socket (the journal's) or a stopped terminal does
 * not take is lost; as soon as there is room again, a line says how many lines were lost. The flags of stderr itself
 * are not changed, as other processes may share it. Only a write to a regular file may take its time.
 *
 * Threads: any. errno is the same afterwards as before.
 */
#ifndef GD_LOG_H
#define GD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gd_level { GD_ERR = 3, GD_WARN = 4, GD_NOTICE = 5, GD_INFO = 6, GD_DEBUG = 7 };

/* Whose messages these are: a device's. It lives as long as the device. NULL stands for the whole daemon. */
struct gd_log {
	char name[32];	    /* "d1/xvda" */
	uint64_t window_ns; /* start of the current rate window; this and the next two are gd_log_guest()'s atomics */
	uint32_t sent;
	uint32_t dropped;
};

/* Name the messages of a device: "d<domid>/<device>". */
void gd_log_init(struct gd_log *log, unsigned domid, const char *device);
/* Write messages up to this level only. The default is GD_INFO. */
void gd_log_level(enum gd_level most);

/* Write one line, without a limit. `log` may be NULL. */
__attribute__((format(printf, 3, 4))) void gd_log(struct gd_log *log, enum gd_level level, const char *format, ...);
/* The same for a message that the guest can cause: at most 10 lines in 10 seconds per device. */
__attribute__((format(printf, 3, 4))) void gd_log_guest(struct gd_log *log, enum gd_level level, const char *format,
							...);

/*
 * Escape `text` as the log does, into `out` (`size` bytes with the NUL; cut at a whole character): for one-line texts
 * that do not go to the log. Escaping twice changes nothing. Returns the length written.
 */
size_t gd_log_escape(char *out, size_t size, const char *text);
/* The text of a positive or negative errno; never NULL. */
const char *gd_log_errno(int error);

#endif
