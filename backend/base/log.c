/* SPDX-License-Identifier: MIT */
#include "backend/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/clock.h"

#define LINE_MAX_BYTES 1024
#define WINDOW_NS      10000000000ull
#define WINDOW_LINES   10

static enum gd_level most_written = GD_INFO; /* atomic */

void gd_log_init(struct gd_log *log, unsigned domid, const char *device)
{
	char text[sizeof(log->name)];

	memset(log, 0, sizeof(*log));
	snprintf(text, sizeof(text), "d%u/%s", domid, device);
	gd_log_escape(log->name, sizeof(log->name), text);
}

void gd_log_level(enum gd_level most)
{
	__atomic_store_n(&most_written, most, __ATOMIC_RELAXED);
}

const char *gd_log_errno(int error)
{
	const char *text = strerrordesc_np(error < 0 ? -error : error);

	return text ? text : "unknown error";
}

/* Length of the well-formed UTF-8 sequence at `s` (RFC 3629, table of section 4); 0: there is none, or a C1 control. */
static size_t utf8_length(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	switch (s[0]) {
	case 0xc2: /* U+0080 to U+009f are control characters */
	case 0xe0:
		low = 0xa0;
		break;
	case 0xed:
		high = 0x9f;
		break;
	case 0xf0:
		low = 0x90;
		break;
	case 0xf4:
		high = 0x8f;
		break;
	}
	if (s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < length; i++)
		if (s[i] < 0x80 || s[i] > 0xbf) /* the NUL at the end of the text fails here, too */
			return 0;
	return length;
}

/* Write a character of `s` into `out` (5 bytes), escaped if it must be. *used: how many bytes of `s` it was. */
static size_t char_escape(char *out, const unsigned char *s, size_t *used)
{
	size_t length = utf8_length(s);

	*used = length ? length : 1;
	if (s[0] == '\n' || s[0] == '\t')
		return (size_t)sprintf(out, "\\%c", s[0] == '\n' ? 'n' : 't');
	if (!length || s[0] < 0x20 || s[0] == 0x7f)
		return (size_t)sprintf(out, "\\x%02x", s[0]);
	memcpy(out, s, length);
	return length;
}

size_t gd_log_escape(char *out, size_t size, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t filled = 0, used;
	char one[8];

	if (!size)
		return 0;
	for (; *s; s += used) {
		size_t length = char_escape(one, s, &used);

		if (filled + length >= size)
			break;
		memcpy(out + filled, one, length);
		filled += length;
	}
	out[filled] = 0;
	return filled;
}

/* ---- writing, without waiting ----------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock; /* of the rest; held while a line is written */
	struct stat is;	      /* the file that stderr was when it was looked at last */
	int own;	      /* our own open file description of it, which does not block; -1: there is none */
	unsigned lost;	      /* lines that were lost since the last one that was written */
} output = {.lock = PTHREAD_MUTEX_INITIALIZER, .own = -1};

/*
 * Look whether stderr is another file than it was. O_NONBLOCK belongs to the open file description, which other
 * processes may share: so pipes and terminals are opened once more. A socket cannot be opened so, and need not be: a
 * single send() can ask not to wait.
 */
static bool output_look(void)
{
	struct stat now;

	if (fstat(STDERR_FILENO, &now))
		return false;
	if (now.st_dev == output.is.st_dev && now.st_ino == output.is.st_ino)
		return true;
	if (output.own >= 0)
		close(output.own);
	output.is = now;
	output.own = -1;
	if (S_ISFIFO(now.st_mode) || S_ISCHR(now.st_mode))
		output.own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return true;
}

static ssize_t output_write(const char *line, size_t length)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (S_ISSOCK(output.is.st_mode))
		return send(STDERR_FILENO, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (output.own >= 0)
		return write(output.own, line, length);
	/* It could not be opened again. A pipe that polls as writable has room for a page, unless others are first. */
	if (!S_ISREG(output.is.st_mode) && poll(&fd, 1, 0) != 1) {
		errno = EAGAIN;
		return -1;
	}
	return write(STDERR_FILENO, line, length);
}

static bool line_write(const char *line, size_t length)
{
	while (length) {
		ssize_t n = output_write(line, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		line += n;
		length -= (size_t)n;
	}
	return true;
}

/* Say how many lines were lost, before the first line that is not. */
static void lost_write(void)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "<%d>%u lines were lost: stderr was full\n", GD_WARN, output.lost);

	if (line_write(line, (size_t)length))
		output.lost = 0;
}

static void line_put(const char *line, size_t length)
{
	pthread_mutex_lock(&output.lock);
	if (output_look()) {
		if (output.lost)
			lost_write();
		if (output.lost || !line_write(line, length))
			output.lost++;
	}
	pthread_mutex_unlock(&output.lock);
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 3, 0))) static void line_format(struct gd_log *log, enum gd_level level,
							      const char *format, va_list args)
{
	char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
	int saved = errno, head;
	size_t length;
	int wanted;

	wanted = vsnprintf(text, sizeof(text), format, args);
	head = log && log->name[0] ? snprintf(line, sizeof(line), "<%d>%s: ", level, log->name)
				   : snprintf(line, sizeof(line), "<%d>", level);
	length = (size_t)head;
	/* Leaves room for "..." and the newline: the escaped text may be longer than the text. */
	length += gd_log_escape(line + length, sizeof(line) - length - 4, wanted < 0 ? format : text);
	if (wanted >= (int)sizeof(text) || length >= sizeof(line) - 9)
		length += (size_t)sprintf(line + length, "...");
	line[length++] = '\n';
	line_put(line, length);
	errno = saved;
}

static bool level_written(enum gd_level level)
{
	return level <= __atomic_load_n(&most_written, __ATOMIC_RELAXED);
}

void gd_log(struct gd_log *log, enum gd_level level, const char *format, ...)
{
	va_list args;

	if (!level_written(level))
		return;
	va_start(args, format);
	line_format(log, level, format, args);
	va_end(args);
}

/* May this line be written? Opens a new window when the old one is over, and says how many lines that one dropped. */
static bool rate_allows(struct gd_log *log, enum gd_level level)
{
	uint64_t now = gd_clock_ns(), start = __atomic_load_n(&log->window_ns, __ATOMIC_RELAXED);
	uint32_t dropped;

	if ((!start || now - start >= WINDOW_NS) && /* one thread opens it; the others count in it */
	    __atomic_compare_exchange_n(&log->window_ns, &start, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_store_n(&log->sent, 0, __ATOMIC_RELAXED);
		dropped = __atomic_exchange_n(&log->dropped, 0, __ATOMIC_RELAXED);
		if (dropped)
			gd_log(log, level, "%u more lines like the last ones were not written", dropped);
	}
	if (__atomic_fetch_add(&log->sent, 1, __ATOMIC_RELAXED) < WINDOW_LINES)
		return true;
	__atomic_fetch_add(&log->dropped, 1, __ATOMIC_RELAXED);
	return false;
}

void gd_log_guest(struct gd_log *log, enum gd_level level, const char *format, ...)
{
	va_list args;

	if (!level_written(level) || (log && !rate_allows(log, level)))
		return;
	va_start(args, format);
	line_format(log, level, format, args);
	va_end(args);
}
