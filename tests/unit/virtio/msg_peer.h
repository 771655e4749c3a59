/* SPDX-License-Identifier: MIT */
/*
 * The device's side of the two pages for tests of msg_driver.h, written from docs/xenbus.md and sharing no code with
 * the driver's side. It runs when the driver side waits, and time passes only then, so that nothing here depends on a
 * clock. A test can have each response changed, left out, or come with other messages.
 */
#ifndef TESTS_MSG_PEER_H
#define TESTS_MSG_PEER_H

#include "guest/virtio/msg_driver.h"

#define PEER_CONFIG 600u /* bytes: three messages */

struct msg_peer {
	struct gio_msg_page driver, device;
	struct gio_msg_driver md;

	/* What it is. */
	struct gio_msg_info info;
	uint64_t features, chosen;
	uint32_t status, generation;
	uint8_t config[PEER_CONFIG];
	struct gio_msg_queue queue;
	unsigned resets_late; /* so often a reset is not over yet */

	/* Its counters, and what it has seen. */
	uint32_t taken, sent;
	uint64_t clock;
	unsigned asked, notifies, waits, slows;
	unsigned status_asked; /* GET_DEVICE_STATUS */
	uint64_t asked_at;     /* the clock at the last request */
	struct gio_msg last;   /* the last request */

	/*
	 * Called for each request with the response that it is about to get; false: there is none. It may write other
	 * messages first.
	 */
	bool (*hook)(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response);
	unsigned hooked; /* for the hook's own use */
	/* Called when the driver side waits and the device has nothing to say. */
	void (*idle)(struct msg_peer *peer);
};

void msg_peer_init(struct msg_peer *peer);
/* Write a message into the device page. */
void msg_peer_write(struct msg_peer *peer, const struct gio_msg *msg);
/* An EVENT_CONFIG without data. */
struct gio_msg msg_peer_event(uint32_t status, uint32_t generation);

#endif
