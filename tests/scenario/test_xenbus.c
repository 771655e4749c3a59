/* SPDX-License-Identifier: MIT */
/*
 * The frontend's side of docs/xenbus.md, against grantiod: a disk without an address of the toolstack's, whose
 * interrupt is an event channel of the guest's; then the same with each key wrong, missing, or changing all the time.
 */
#include "tests/host/frontend.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint16_t guests[] = {1, 0};

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* The toolstack removes it: 5, the frontend's 6, and the backend's. */
static void removal(struct th_front *front)
{
	struct th_host *host = front->host;

	th_disk_key(host, 1, 0, "online", "0");
	th_disk_key(host, 1, 0, "state", "5");
	th_front_key(front, "state", "6");
	th_disk_wait(host, 1, 0, 6);
	th_disk_remove(host, 1, 0);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
}

static void handshake(void **state)
{
	struct th_host *host = *state;
	struct th_front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	th_front_open(&front, host);
	th_front_connect(&front);
	th_front_use(&front, 1);
	th_front_use(&front, 2);
	removal(&front);
	assert_int_equal(th_log_count(host, "<4>"), 0);
	th_front_close(&front);
	th_grantiod_end(host, guests);
}

/* The module goes and comes: 1, with its old keys; then with another port. */
static void module_comes_and_goes(void **state)
{
	struct th_host *host = *state;
	struct th_front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	th_front_open(&front, host);
	for (unsigned i = 0; i < 5; i++) {
		th_front_connect(&front);
		th_front_use(&front, i);
		th_front_key(&front, "state", i % 2 ? "6" : "1");
		if (!(i % 2))
			th_disk_wait(host, 1, 0, 2);
		th_front_key(&front, "state", "1");
		front.port = th_front_port(&front, 0);
	}
	th_front_connect(&front);
	/* Another port in state 4: it is ready again at once. */
	front.port = th_front_port(&front, 0);
	th_front_port_write(&front, front.port);
	th_front_key(&front, "state", "4");
	th_front_event(&front, front.port);
	th_front_use(&front, 9);
	removal(&front);
	th_front_close(&front);
	th_grantiod_end(host, guests);
}

/* Each key wrong: one line, the backend stays as it is, and takes the right one after. */
static void wrong_answers(void **state)
{
	static const struct {
		const char *key, *value, *line;
	} cases[] = {
		{"grantio-version", "2", "the guest's transport '': must be virtio-msg"},
		{"grantio-version", NULL, "the guest's grantio-version '': must be 1 or 2"},
		{"grantio-version", "", "the guest's grantio-version '': must be 1 or 2"},
		{"dma", "foreign", "the guest's dma 'foreign': must be grant"},
		{"dma", NULL, "the guest's dma '': must be grant"},
		{"event-channel", NULL, "the guest's event-channel '': must be a port"},
		{"event-channel", "0", "the guest's event-channel '0': must be a port"},
		{"event-channel", "-1", "the guest's event-channel '-1': must be a port"},
		{"event-channel", "131072", "the guest's event-channel '131072': must be a port"},
		{"event-channel", "4294967297", "the guest's event-channel '4294967297': must be a port"},
		{"event-channel", "131071", "the guest's event-channel '131071': cannot bind it"}, /* none of its */
		{"event-channel", "1\n<3>d0/xvda: forged", "the guest's event-channel '1?<3>d0/xvda: forged'"},
		{"state", "9", "the guest's state '9': must be 1 to 8"},
		{"state", "three", "the guest's state 'three': must be 1 to 8"},
		{"state", "", "the guest's state '': must be 1 to 8"},
	};
	struct th_host *host = *state;
	struct th_front front;
	char *now;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		th_grantiod_start(host, NULL); /* anew: what a guest can make it say is limited */
		th_domain_create(host, 1);
		th_front_disk(host, th_image(host, "a.raw", TH_MIB));
		th_front_open(&front, host);
		th_front_offer(&front);
		th_front_key(&front, "grantio-version", "1");
		th_front_key(&front, "dma", "grant");
		th_front_port_write(&front, front.port);
		th_front_key(&front, cases[i].key, cases[i].value);
		if (strcmp(cases[i].key, "state"))
			th_front_key(&front, "state", "3");
		th_log_wait(host, cases[i].line, 1);
		now = th_disk_read(host, 1, 0, "state");
		assert_string_equal(now, "2");
		free(now);
		th_front_key(&front, "state", "1");
		th_front_connect(&front);
		th_front_use(&front, i);
		th_front_close(&front);
		th_domain_destroy(host, 1);
		th_log_wait(host, "<6>d1/xvda: stopped", i + 1);
		th_grantiod_end(host, guests);
	}
}

/* A port that is another's: left for domain 2, the ioreq server's, one that is bound already. */
static void ports_of_others(void **state)
{
	struct th_host *host = *state;
	struct th_front front;
	unsigned ports[3];

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	th_disk_wait(host, 1, 0, 2); /* the ioreq server has its ports */
	th_front_open(&front, host);
	th_front_offer(&front);
	ports[0] = th_front_port(&front, 2);
	ports[1] = 1; /* a vCPU's, made before ours */
	ports[2] = 1022;
	th_front_key(&front, "grantio-version", "1");
	th_front_key(&front, "dma", "grant");
	for (unsigned i = 0; i < 3; i++) {
		th_front_port_write(&front, ports[i]);
		th_front_key(&front, "state", "3");
		th_log_wait(host, "cannot bind it", i + 1);
		th_front_key(&front, "state", "1");
	}
	th_front_connect(&front);
	th_front_use(&front, 7);
	th_front_close(&front);
	th_domain_destroy(host, 1);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	th_grantiod_end(host, guests);
}

/* A guest that writes its state all the time, and ports that come and go: another guest's disk goes on, nothing is
 * left. */
static void restless(void **state)
{
	static const char *const states[] = {"3", "4", "1", "6", "5", "9", "3"};
	struct th_host *host = *state;
	const char *good = th_image(host, "b.raw", 4 * TH_MIB);
	struct gp_disk *disk;
	struct th_front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_domain_create(host, 2);
	th_disk_attach(host, 2, 0, good);
	disk = th_guest_open(host, 2, 0);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	th_front_open(&front, host);
	th_front_offer(&front);
	th_front_key(&front, "grantio-version", "1");
	th_front_key(&front, "dma", "grant");
	for (unsigned i = 0; i < 700; i++) {
		th_front_port_write(&front, i % 3 ? front.port : i);
		th_front_key(&front, "state", states[i % (sizeof(states) / sizeof(states[0]))]);
		if (i % 100 == 0)
			th_guest_check(disk, good, 0, 65536, i);
	}
	th_front_key(&front, "state", "1");
	th_disk_wait(host, 1, 0, 2);
	front.port = th_front_port(&front, 0);
	th_front_connect(&front);
	th_front_use(&front, 3);
	th_guest_check(disk, good, 0, 65536, 1000);
	th_guest_close(disk);
	th_front_close(&front);
	th_domain_destroy(host, 1);
	th_disk_detach(host, 2, 0);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	th_grantiod_end(host, guests);
}

/* grantiod dies under a connected frontend: the next one publishes the same address, and the frontend begins at 1. */
static void grantiod_anew(void **state)
{
	struct th_host *host = *state;
	struct th_front front;
	uint64_t base;

	th_domain_create(host, 1);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	th_front_open(&front, host);
	for (unsigned i = 0; i < 4; i++) {
		th_grantiod_start(host, NULL);
		base = front.base;
		if (i)
			th_log_wait(host, "served before: a driver that uses it must reset it", i);
		th_front_key(&front, "state", "1");
		th_front_connect(&front);
		assert_true(!i || front.base == base);
		th_front_use(&front, i);
		if (i % 2)
			th_grantiod_end(host, guests);
		else
			assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
		front.port = th_front_port(&front, 0);
	}
	th_front_close(&front);
}

/* As Linux does when it begins anew, after a crash, and finds the device in use: 5, 6 and 1, each to be answered. */
static void kernel_begins_anew(void **state)
{
	struct th_host *host = *state;
	struct th_front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	th_front_open(&front, host);
	for (unsigned i = 0; i < 3; i++) {
		th_front_connect(&front);
		th_front_use(&front, i);
		th_front_key(&front, "state", "5");
		th_disk_wait(host, 1, 0, 5);
		th_front_key(&front, "state", "6");
		th_disk_wait(host, 1, 0, 6);
		th_front_key(&front, "state", "1");
		th_disk_wait(host, 1, 0, 2);
		front.port = th_front_port(&front, 0);
	}
	th_front_key(&front, "state", "6"); /* at once, as a frontend that refuses what it is offered */
	th_disk_wait(host, 1, 0, 6);
	th_front_key(&front, "state", "1");
	th_front_connect(&front);
	th_front_use(&front, 9);
	removal(&front);
	assert_int_equal(th_log_count(host, "d1/xvda: stopping"), 1);
	th_front_close(&front);
	th_grantiod_end(host, guests);
}

/* And grantiod begins anew in the middle of that. */
static void both_begin_anew(void **state)
{
	static const char *const steps[] = {"5", "6"};
	const char *dir = th_state_dir(*state);
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	struct th_front front;

	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	th_front_open(&front, host);
	for (unsigned i = 0; i < 2; i++) {
		th_front_connect(&front);
		for (unsigned k = 0; k < 2; k++) {
			th_front_key(&front, "state", steps[k]);
			th_disk_wait(host, 1, 0, 5 + k);
			if (k != i)
				continue;
			assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
			th_grantiod_start(host, arguments);
		}
		th_front_key(&front, "state", "1");
		th_disk_wait(host, 1, 0, 2);
		front.port = th_front_port(&front, 0);
	}
	th_front_connect(&front);
	th_front_use(&front, 9);
	removal(&front);
	th_front_close(&front);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(handshake, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(module_comes_and_goes, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(wrong_answers, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(ports_of_others, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(restless, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(grantiod_anew, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(kernel_begins_anew, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(both_begin_anew, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
