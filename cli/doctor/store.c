/* SPDX-License-Identifier: MIT */
/* Does xenstore answer? Its device can keep a reader waiting for ever: a child asks, and the parent waits 5 s. */
#include "cli/doctor/doctor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

#define WAIT_MS 5000

/* The child writes the number of our own domain, or '!' and the error. */
static void child_ask(int out)
{
	struct xs_handle *xs = xs_open(0);
	char *domid = xs ? xs_read(xs, XBT_NULL, "domid", NULL) : NULL;
	char text[64];

	snprintf(text, sizeof(text), "%s%s", domid ? "" : "!", domid ? domid : strerror(errno));
	if (write(out, text, strlen(text)) < 0)
		_exit(1); /* the parent is gone */
	_exit(0);
}

/* Fills `text`; "" when there was no answer in time. */
static void store_ask(char *text, size_t size)
{
	struct pollfd wait = {.events = POLLIN};
	ssize_t got = 0;
	int ends[2];
	pid_t child;

	text[0] = '\0';
	fflush(stdout);
	if (pipe(ends))
		return;
	child = fork();
	if (!child)
		child_ask(ends[1]);
	wait.fd = ends[0];
	if (child > 0 && poll(&wait, 1, WAIT_MS) == 1)
		got = read(ends[0], text, size - 1);
	text[got > 0 ? got : 0] = '\0';
	close(ends[0]);
	close(ends[1]);
	if (child <= 0)
		return;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static const char *store_remedy(const struct gc_doctor *doctor)
{
	return doctor->role == GC_HOST ? "systemctl start xen (Debian's name for it; others: xenstored)"
				       : "mount -t xenfs xenfs /proc/xen; a kernel with CONFIG_XEN (and CONFIG_XENFS)";
}

/* With another root no xenstore is asked: that would be this machine's, and not the one that is looked at. */
void gc_doctor_store(struct gc_doctor *doctor)
{
	bool socket = gc_look_exists(doctor, "/run/xenstored/socket"),
	     device = gc_look_exists(doctor, "/dev/xen/xenbus") || gc_look_exists(doctor, "/proc/xen/xenbus");
	char text[64];

	if (!socket && (!device || doctor->role == GC_HOST)) {
		/* In dom0 the device is there, and waits, before anybody serves it. */
		gc_doctor_missing(doctor, "xenstore", store_remedy(doctor), "no %s",
				  doctor->role == GC_HOST ? "/run/xenstored/socket" : "/dev/xen/xenbus");
		return;
	}
	if (*doctor->root) {
		gc_doctor_ok(doctor, "xenstore", "%s", socket ? "/run/xenstored/socket" : "/dev/xen/xenbus");
		return;
	}
	store_ask(text, sizeof(text));
	if (text[0] && text[0] != '!')
		gc_doctor_ok(doctor, "xenstore", "answers, this is domain %.16s", text);
	else if (geteuid() != 0)
		gc_doctor_unknown(doctor, "xenstore", "run this as root", "not for this user: %s", text + !!text[0]);
	else
		gc_doctor_missing(doctor, "xenstore", store_remedy(doctor), "does not answer%s%s", text[0] ? ": " : "",
				  text + !!text[0]);
}
