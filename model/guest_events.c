/* SPDX-License-Identifier: MIT */
#include "model/event.h"
#include "model/guest.h"

#include <errno.h>
#include <unistd.h>

struct gm_guest_events {
	struct gm_machine *m;
	uint32_t token;
	int fd;
};

int gm_guest_events_open(struct gm_guest_events **events, const char *dir, uint16_t domid)
{
	struct gm_guest_events *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	err = gm_machine_open_as(&e->m, dir, domid);
	if (err)
		goto err_free;
	err = gm_handle_open(e->m, true, &e->token, &e->fd);
	if (err)
		goto err_machine;
	*events = e;
	return 0;

err_machine:
	gm_machine_close(e->m);
err_free:
	free(e);
	return err;
}

void gm_guest_events_close(struct gm_guest_events *events)
{
	if (!events)
		return;
	gm_handle_close(events->m, events->token);
	close(events->fd);
	gm_machine_close(events->m);
	free(events);
}

int gm_guest_events_fd(const struct gm_guest_events *events)
{
	return events->fd;
}

int gm_guest_port_open(struct gm_guest_events *events, uint16_t remote)
{
	return gm_event_alloc_unbound(events->m, events->m->domid, remote, events->token);
}

int gm_guest_port_close(struct gm_guest_events *events, uint32_t port)
{
	return gm_handle_unbind(events->m, events->token, port);
}

int gm_guest_port_send(struct gm_guest_events *events, uint32_t port)
{
	return gm_event_send(events->m, events->m->domid, port);
}

void gm_guest_port_unmask(struct gm_guest_events *events, uint32_t port)
{
	gm_event_unmask(events->m, events->m->domid, port);
}
