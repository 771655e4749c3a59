/* SPDX-License-Identifier: MIT */
/* A driver that reaches the device under test by messages. It can be as wrong as a test wants it to be. */
#ifndef FAKE_MSG_H
#define FAKE_MSG_H

#include "backend/msg/msg.h"
#include "tests/unit/backend/fake.h"
#include "tests/unit/backend/fake_events.h"

struct fake_msg {
	struct gd_msg *msg;
	struct gd_msg_answer answer;
	struct gio_msg_page *driver, *device; /* in the guest's memory */
	uint32_t driver_at, device_at;	      /* their pages there */
	uint32_t prod, cons;
	uint16_t token;
	unsigned broken; /* times that the driver was said to have broken the rules; atomic */
};
extern struct fake_msg fake_msg;

/* In place of fake_setup() and fake_teardown(). */
int fake_msg_setup(void **state);
int fake_msg_teardown(void **state);

/* Open the device, and make an answer with so many event channels: pages and ports of its own, no pool. */
void fake_msg_open(const struct fake_setup *setup, unsigned channels);
/* Zeroed pages, new ports, and another connection. */
void fake_msg_answer(unsigned channels);
/* The same pages and ports in another connection, after fake_msg_end(). */
void fake_msg_answer_again(void);
/* Connect by the answer, and begin: gd_msg_connect()'s result. */
int fake_msg_connect(void);
/* Both, of a device with so many queues, which must succeed. */
void fake_msg_open_and_connect(unsigned queues, unsigned channels);
/* Go on by the ledger: gd_msg_connect()'s or gd_vdev_resume()'s result. */
int fake_msg_resume(void);
/* End the connection; and close all. */
void fake_msg_end(void);
void fake_msg_close(void);

/* Write a message into the driver page, and send an event. */
void fake_msg_send(const struct gio_msg *msg);
/* Take the next message of the device page: false if there is none; and wait for it. */
bool fake_msg_take(struct gio_msg *msg);
struct gio_msg fake_msg_wait(void);
/* Send a request, whose header is filled in, and wait for the next message, which must be its response. */
struct gio_msg fake_msg_ask(uint8_t id, struct gio_msg request);

/* The usual steps of a driver. */
uint32_t fake_msg_status(uint32_t status);
void fake_msg_features(uint64_t features);
struct gio_msg_queue fake_msg_queue(uint32_t index);
void fake_msg_queue_ready(unsigned index, uint32_t size);
/* From the reset to DRIVER_OK, with `queues` queues. */
void fake_msg_start(unsigned queues);
/* Read the configuration: the response. */
struct gio_msg fake_msg_config(uint32_t offset, uint32_t length);

#endif
