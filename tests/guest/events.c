/* SPDX-License-Identifier: MIT */
/* Event channels: what is kept, what is merged, what is refused. */
#include "guest.h"

#define NOBODY	 77u
#define NO_PORT	 900u /* within what a guest may have, never opened here */
#define QUIET_MS 300u

static int port_new(const char *name, gio_domid_t remote)
{
	int port = gio_xen_port_open(remote);

	gio_xen_print("%s: %d", name, port > 0 ? 0 : port);
	return port;
}

static void bound(gio_domid_t backend)
{
	int ret = port_new("a port", backend);
	uint32_t port = (uint32_t)ret;

	if (ret < 0)
		return;
	gio_xen_print(", send to nobody %d", gio_xen_port_send(port));
	gio_xen_print(", wait %d", gio_xen_port_wait(port, QUIET_MS));
	gio_xen_print(", bind %d", peer_ask("bind", port, 0, 0, NULL));
	gio_xen_print(", the peer has an event: %d", peer_ask("event", 1000, 0, 0, NULL));
	gio_xen_print(", another: %d", peer_ask("event", QUIET_MS, 0, 0, NULL));
	gio_xen_print(", and we: %d\n", gio_xen_port_take(port));
	gio_xen_print("bind again %d", peer_ask("bind2", port, 0, 0, NULL));
	gio_xen_print(", peer sends %d", peer_ask("send", 0, 0, 0, NULL));
	gio_xen_print(", wait %d", gio_xen_port_wait(port, WAIT_MS));
	gio_xen_print(", again %d", gio_xen_port_wait(port, WAIT_MS));
	gio_xen_print(", take %d", gio_xen_port_take(port));
	gio_xen_print(" %d\n", gio_xen_port_take(port));
	gio_xen_print("twice %d", peer_ask("send", 0, 0, 0, NULL));
	gio_xen_print(" %d", peer_ask("send", 0, 0, 0, NULL));
	gio_xen_print(", wait %d", gio_xen_port_wait(port, WAIT_MS));
	gio_xen_print(", take %d", gio_xen_port_take(port));
	gio_xen_print(" %d\n", gio_xen_port_take(port));
	gio_xen_print("we send %d", gio_xen_port_send(port));
	gio_xen_print(", events %d", peer_ask("event", 1000, 0, 0, NULL));
	gio_xen_print(" %d\n", peer_ask("event", QUIET_MS, 0, 0, NULL));
	gio_xen_print("peer unbinds %d", peer_ask("unbind", 0, 0, 0, NULL));
	gio_xen_print(", send %d", gio_xen_port_send(port));
	gio_xen_print(", pending %d", gio_xen_port_take(port));
	gio_xen_print(", it binds once more %d", peer_ask("bind", port, 0, 0, NULL));
	gio_xen_print(", we close %d", gio_xen_port_close(port));
	gio_xen_print(", peer sends %d", peer_ask("send", 0, 0, 0, NULL));
	gio_xen_print(", unbinds %d\n", peer_ask("unbind", 0, 0, 0, NULL));
	gio_xen_print("closed: send %d", gio_xen_port_send(port));
	gio_xen_print(", close %d", gio_xen_port_close(port));
	gio_xen_print(", bind %d\n", peer_ask("bind", port, 0, 0, NULL));
}

/* One wait for two ports: whichever has an event ends it. */
static void several(gio_domid_t backend)
{
	int first = port_new("several: one port", backend), second;
	uint32_t ports[2] = {(uint32_t)first};

	gio_xen_print(", ");
	second = port_new("another", backend);
	ports[1] = (uint32_t)second;
	if (first < 0 || second < 0)
		return;
	for (unsigned i = 0; i < 2; i++) {
		gio_xen_print(", bind %d", peer_ask("bind", ports[i], 0, 0, NULL));
		gio_xen_print(", wait %d", gio_xen_ports_wait(ports, 2, QUIET_MS));
		gio_xen_print(", peer sends %d", peer_ask("send", 0, 0, 0, NULL));
		gio_xen_print(", wait %d", gio_xen_ports_wait(ports, 2, WAIT_MS));
		gio_xen_print(", take %d", gio_xen_port_take(ports[0]));
		gio_xen_print(" %d", gio_xen_port_take(ports[1]));
		gio_xen_print(", unbind %d", peer_ask("unbind", 0, 0, 0, NULL));
	}
	gio_xen_print(", close %d", gio_xen_port_close(ports[0]));
	gio_xen_print(" %d\n", gio_xen_port_close(ports[1]));
}

static void none(const char *name, uint32_t port)
{
	gio_xen_print("%s: send %d", name, gio_xen_port_send(port));
	gio_xen_print(", close %d\n", gio_xen_port_close(port));
}

void events_run(struct world *world)
{
	int port;

	gio_xen_print("- events\n");
	bound(world->rw.domid);
	several(world->rw.domid);
	port = port_new("another's port", NOBODY);
	if (port > 0) {
		gio_xen_print(", bind %d", peer_ask("bind", (unsigned)port, 0, 0, NULL));
		gio_xen_print(", send %d", gio_xen_port_send((uint32_t)port));
		gio_xen_print(", close %d", gio_xen_port_close((uint32_t)port));
	}
	gio_xen_print("\n");
	none("port 0", 0);
	none("none", NO_PORT);
	none("beyond all", 1u << 20);
	gio_xen_print("bind it: %d\n", peer_ask("bind", 1u << 20, 0, 0, NULL));
}
