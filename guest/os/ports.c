/* SPDX-License-Identifier: MIT */
#include "guest/os/ports.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOBODY	 0u  /* no port has this number: what is written to end a wait */
#define READ_MAX 32u /* ports that one read takes */

/* Deadlines are monotonic: a step of the wall clock must not end or prolong a wait. */
void gio_os_ports_init(struct ports *ports, struct gm_guest *guest)
{
	pthread_condattr_t attr;

	*ports = (struct ports){.guest = guest};
	pthread_mutex_init(&ports->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ports->noted, &attr);
	pthread_condattr_destroy(&attr);
}

void gio_os_ports_exit(struct ports *ports)
{
	gm_guest_events_close(ports->events);
	pthread_cond_destroy(&ports->noted);
	pthread_mutex_destroy(&ports->lock);
}

/* ---- ports ------------------------------------------------------------------------------------------------------- */

/* A guest that uses no port costs the machine no pipe. */
static int events_open(struct ports *ports)
{
	const char *dir = gm_machine_dir(gm_guest_machine(ports->guest));
	int err = 0;

	pthread_mutex_lock(&ports->lock);
	if (!ports->events)
		err = gm_guest_events_open(&ports->events, dir, gm_guest_domid(ports->guest));
	pthread_mutex_unlock(&ports->lock);
	return err;
}

int gio_os_ports_bind(struct ports *ports, uint16_t remote, uint32_t *port)
{
	int err = events_open(ports);
	int number = err ? err : gm_guest_port_open(ports->events, remote);

	if (number < 0)
		return number;
	*port = (uint32_t)number;
	return 0;
}

static uint32_t *word_of(struct ports *ports, uint32_t port)
{
	return &ports->pending[port % PORTS_MAX / 32];
}

/* With the lock held: true if the port was pending, which it is not any more. */
static bool pending_take(struct ports *ports, uint32_t port)
{
	uint32_t bit = 1u << port % 32, *word = word_of(ports, port);
	bool was = *word & bit;

	*word &= ~bit;
	return was;
}

int gio_os_ports_close(struct ports *ports, uint32_t port)
{
	int err = gm_guest_port_close(ports->events, port);

	if (err)
		return err;
	pthread_mutex_lock(&ports->lock);
	pending_take(ports, port); /* the number may be another's next */
	pthread_mutex_unlock(&ports->lock);
	return 0;
}

int gio_os_ports_send(struct ports *ports, uint32_t port)
{
	return gm_guest_port_send(ports->events, port);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int left_ms(int64_t deadline)
{
	int64_t left = deadline < 0 ? -1 : deadline - now_ms();

	return deadline >= 0 && left < 0 ? 0 : (int)left;
}

static int64_t deadline_of(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
}

/* A wait without limit needs no poll: the read waits. */
static ssize_t pipe_read(struct ports *ports, uint32_t *numbers, int timeout_ms)
{
	struct pollfd fd = {.fd = gm_guest_events_fd(ports->events), .events = POLLIN};

	if (timeout_ms >= 0 && poll(&fd, 1, timeout_ms) <= 0)
		return 0;
	return read(fd.fd, numbers, READ_MAX * sizeof(*numbers));
}

/*
 * With the lock held, which is free meanwhile. A port is unmasked before it is noted: what comes from then on is told
 * of by the pipe again.
 */
static void events_read(struct ports *ports, int timeout_ms)
{
	uint32_t numbers[READ_MAX];
	ssize_t n;

	ports->reading = true;
	pthread_mutex_unlock(&ports->lock);
	n = pipe_read(ports, numbers, timeout_ms);
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*numbers); i++)
		if (numbers[i] != NOBODY)
			gm_guest_port_unmask(ports->events, numbers[i]);
	pthread_mutex_lock(&ports->lock);
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*numbers); i++)
		*word_of(ports, numbers[i]) |= 1u << numbers[i] % 32;
	pending_take(ports, NOBODY);
	ports->reading = false;
	pthread_cond_broadcast(&ports->noted);
}

/* With the lock held: until something may have been noted. */
static void step(struct ports *ports, int64_t deadline)
{
	struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};

	if (!ports->reading)
		events_read(ports, left_ms(deadline));
	else if (deadline < 0)
		pthread_cond_wait(&ports->noted, &ports->lock);
	else
		pthread_cond_timedwait(&ports->noted, &ports->lock, &until);
}

bool gio_os_ports_wait(struct ports *ports, uint32_t port, int timeout_ms)
{
	int64_t deadline = deadline_of(timeout_ms);
	bool got, looked = false;

	pthread_mutex_lock(&ports->lock);
	while (!(got = pending_take(ports, port)) && !(looked && left_ms(deadline) == 0)) {
		step(ports, deadline);
		looked = true;
	}
	pthread_mutex_unlock(&ports->lock);
	return got;
}

/* With the lock held. */
static bool any_pending(struct ports *ports, const uint32_t *wanted, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (*word_of(ports, wanted[i]) >> wanted[i] % 32 & 1)
			return true;
	return false;
}

bool gio_os_ports_look(struct ports *ports, const uint32_t *wanted, unsigned count, int timeout_ms)
{
	int64_t deadline = deadline_of(timeout_ms);
	bool got, looked = false;

	pthread_mutex_lock(&ports->lock);
	while (!(got = any_pending(ports, wanted, count)) && !(looked && left_ms(deadline) == 0)) {
		step(ports, deadline);
		looked = true;
	}
	pthread_mutex_unlock(&ports->lock);
	return got;
}

static unsigned pending_take_all(struct ports *ports, uint32_t *out, unsigned max)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < PORTS_MAX / 32; i++)
		while (ports->pending[i] && n < max) {
			unsigned bit = (unsigned)__builtin_ctz(ports->pending[i]);

			ports->pending[i] &= ports->pending[i] - 1;
			out[n++] = i * 32 + bit;
		}
	return n;
}

int gio_os_ports_wait_any(struct ports *ports, uint32_t *out, unsigned max, int timeout_ms)
{
	int64_t deadline = deadline_of(timeout_ms);
	bool looked = false;
	int n;

	pthread_mutex_lock(&ports->lock);
	while (!(n = (int)pending_take_all(ports, out, max)) && !ports->woken && !(looked && left_ms(deadline) == 0)) {
		step(ports, deadline);
		looked = true;
	}
	if (!n && ports->woken) {
		ports->woken = false;
		n = -EINTR;
	}
	pthread_mutex_unlock(&ports->lock);
	return n;
}

void gio_os_ports_wake(struct ports *ports)
{
	const uint32_t nobody = NOBODY;
	ssize_t n;

	pthread_mutex_lock(&ports->lock);
	ports->woken = true;
	n = write(gm_guest_events_fd(ports->events), &nobody, sizeof(nobody));
	(void)n; /* the pipe has room: each port is in it at most once */
	pthread_cond_broadcast(&ports->noted);
	pthread_mutex_unlock(&ports->lock);
}
