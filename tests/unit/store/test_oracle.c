/* SPDX-License-Identifier: MIT */
/*
 * The store held against Debian's own xenstored: random requests, many of them wrong, go to both, and both must answer
 * the same and send the same watch events. Both begin with the same tree; clients are domain 0, twice, and domains 1
 * and 2. Skipped where that daemon is not installed.
 *
 * GRANTIO_ORACLE_SEED and GRANTIO_ORACLE_STEPS choose other sequences. What one needs of a difference is printed: the
 * seed, the step, the request and both answers.
 */
#include "tests/unit/store/fixture.h"
#include "tests/unit/store/oracle.h"
#include "tests/unit/store/oracle_request.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#define CLIENTS	 4u
#define EVENTS	 65536u
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

enum side { OURS, THEIRS, SIDES };

struct client {
	unsigned domid;
	struct oracle_link *link[SIDES];
	uint32_t tx[ORACLE_TXS][SIDES]; /* transactions that were begun; 0: none */
	bool stale[ORACLE_TXS];		/* something has changed outside since */
};

struct answer {
	uint32_t type;
	size_t length;
	char payload[XENSTORE_PAYLOAD_MAX + 1];
};

static struct client clients[CLIENTS] = {{.domid = 0}, {.domid = 0}, {.domid = 1}, {.domid = 2}};
static uint64_t seed;
static unsigned long step;
static struct {
	size_t length;
	char text[EVENTS];
} events[CLIENTS][SIDES];

/* ---- both sides --------------------------------------------------------------------------------------------- */

static uint32_t tx_id(const struct client *client, const struct oracle_request *r, enum side side)
{
	if (r->tx > ORACLE_TXS)
		return 0xdead0000;
	return r->tx < ORACLE_TXS ? client->tx[r->tx][side] : 0;
}

static void event_note(unsigned client, enum side side, const char *payload, size_t length)
{
	size_t *used = &events[client][side].length;

	assert_true(*used + length + 1 <= EVENTS);
	memcpy(events[client][side].text + *used, payload, length);
	*used += length;
	events[client][side].text[(*used)++] = '\n';
}

static void answer_get(unsigned client, enum side side, struct answer *answer)
{
	struct oracle_link *link = clients[client].link[side];

	while ((answer->type = oracle_recv(link, answer->payload, &answer->length)) == XS_WATCH_EVENT)
		event_note(client, side, answer->payload, answer->length);
}

/* Answers come behind the events that were there before: one of each client brings them all. */
static void events_get(enum side side)
{
	struct answer answer;

	for (unsigned i = 0; i < CLIENTS; i++)
		oracle_send(clients[i].link[side], XS_GET_DOMAIN_PATH, 0, "0", 2);
	for (unsigned i = 0; i < CLIENTS; i++) {
		answer_get(i, side, &answer);
		assert_int_equal(answer.type, XS_GET_DOMAIN_PATH);
	}
}

/* Generations differ, as they may: only that there is one is compared. */
static void answer_normalise(struct answer *answer)
{
	size_t digits = strspn(answer->payload, "0123456789");

	if (answer->type != XS_DIRECTORY_PART || !digits || answer->payload[digits])
		return;
	answer->length -= digits;
	memmove(answer->payload, answer->payload + digits, answer->length + 1);
}

/* Remember a transaction under both its ids; an ended one sometimes stays, to be used once more. */
static void transactions_note(struct client *client, const struct oracle_request *r, const struct answer *answers)
{
	if (r->type == XS_TRANSACTION_START && answers[OURS].type == r->type && answers[THEIRS].type == r->type) {
		unsigned slot = oracle_any(ORACLE_TXS);

		for (enum side side = OURS; side < SIDES; side++)
			client->tx[slot][side] = (uint32_t)strtoul(answers[side].payload, NULL, 10);
		client->stale[slot] = false;
	}
	if (r->type == XS_TRANSACTION_END && r->tx < ORACLE_TXS && oracle_any(4))
		client->tx[r->tx][OURS] = client->tx[r->tx][THEIRS] = 0;
	if (r->type == XS_RESET_WATCHES)
		memset(client->tx, 0, sizeof(client->tx));
}

static void show(const char *what, const char *data, size_t length)
{
	fprintf(stderr, "  %-8s %zu bytes: ", what, length);
	for (size_t i = 0; i < length && i < 200; i++) {
		unsigned char c = (unsigned char)data[i];

		fprintf(stderr, c >= ' ' && c < 127 && c != '\\' ? "%c" : "\\%03o", c);
	}
	fprintf(stderr, "\n");
}

static void malformed_refused(unsigned client, const struct oracle_request *r)
{
	struct answer answer;

	oracle_send(clients[client].link[OURS], r->type, tx_id(&clients[client], r, OURS), r->data, r->length);
	answer_get(client, OURS, &answer);
	if (answer.type != XS_ERROR)
		show("obeyed", r->data, r->length);
	assert_int_equal(answer.type, XS_ERROR);
}

static void changes_note(const struct client *by, const struct oracle_request *r, const struct answer *answers)
{
	bool change = r->type == XS_WRITE || r->type == XS_MKDIR || r->type == XS_RM || r->type == XS_SET_PERMS;
	bool outside = r->tx >= ORACLE_TXS || !by->tx[r->tx][OURS];

	if (answers[OURS].type != r->type || !(change ? outside : r->type == XS_TRANSACTION_END))
		return;
	for (unsigned i = 0; i < CLIENTS; i++)
		for (unsigned tx = 0; tx < ORACLE_TXS; tx++)
			clients[i].stale[tx] = clients[i].tx[tx][OURS] != 0;
}

static bool answers_same(const struct oracle_request *r, const struct answer *answers)
{
	if (answers[OURS].type != answers[THEIRS].type)
		return false;
	if (r->type == XS_TRANSACTION_START && answers[OURS].type == r->type)
		return true; /* ids are each one's own */
	if (r->type == XS_UNWATCH && answers[OURS].type == XS_ERROR)
		return true; /* of what cannot be watched at all: ENOENT up to Xen 4.17, EINVAL later */
	return answers[OURS].length == answers[THEIRS].length &&
	       memcmp(answers[OURS].payload, answers[THEIRS].payload, answers[OURS].length) == 0;
}

/* ---- telling ------------------------------------------------------------------------------------------------ */

static void tell(unsigned client, const struct oracle_request *r, const struct answer *answers, const char *what)
{
	fprintf(stderr, "seed %llu, step %lu: client %u (domain %u), request type %u, transaction %u: %s\n",
		(unsigned long long)seed, step, client, clients[client].domid, r->type, r->tx, what);
	show("request", r->data, r->length);
	for (enum side side = OURS; side < SIDES; side++) {
		fprintf(stderr, "  %s: type %u", side == OURS ? "ours" : "theirs", answers[side].type);
		show("", answers[side].payload, answers[side].length);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		for (enum side side = OURS; side < SIDES; side++)
			if (events[i][OURS].length || events[i][THEIRS].length)
				show(side == OURS ? "ours" : "theirs", events[i][side].text, events[i][side].length);
}

static bool events_same(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (events[i][OURS].length != events[i][THEIRS].length ||
		    memcmp(events[i][OURS].text, events[i][THEIRS].text, events[i][OURS].length) != 0)
			return false;
	return true;
}

/* One request to both. */
static bool step_run(unsigned client, const struct oracle_request *r)
{
	static struct answer answers[SIDES];
	bool same;

	memset(events, 0, sizeof(events));
	for (enum side side = OURS; side < SIDES; side++) {
		oracle_send(clients[client].link[side], r->type, tx_id(&clients[client], r, side), r->data, r->length);
		answer_get(client, side, &answers[side]);
		events_get(side);
		answer_normalise(&answers[side]);
	}
	changes_note(&clients[client], r, answers);
	transactions_note(&clients[client], r, answers);
	same = answers_same(r, answers) && events_same();
	if (!same)
		tell(client, r, answers, answers_same(r, answers) ? "other events" : "another answer");
	return same;
}

/* ---- the test ----------------------------------------------------------------------------------------------- */

static void both(uint32_t type, const char *data, size_t length)
{
	struct oracle_request r = {.type = type, .tx = ORACLE_TXS};

	memcpy(r.data, data, length);
	r.length = length;
	assert_true(step_run(0, &r));
}

#define BOTH(type, data) both(type, data, sizeof(data) - 1)

/* Ours has what xen-init-dom0 makes, too; then there is something for guests to own, and to share. */
static void trees_fill(void)
{
	static const char theirs[] = "/local/domain/0/domid\0000/local/domain/0/name\0Domain-0/vm\0/libxl\0";
	struct answer answer;
	const size_t lengths[] = {22 + 1, 21 + 8, 4, 7};
	const char *at = theirs;

	for (size_t i = 0; i < COUNT(lengths); at += lengths[i++]) {
		oracle_send(clients[0].link[THEIRS], XS_WRITE, 0, at, lengths[i]);
		answer_get(0, THEIRS, &answer);
		assert_int_equal(answer.type, XS_WRITE);
	}
	BOTH(XS_MKDIR, "/local/domain/1\0");
	BOTH(XS_SET_PERMS, "/local/domain/1\0n1\0");
	BOTH(XS_MKDIR, "/local/domain/2\0");
	BOTH(XS_SET_PERMS, "/local/domain/2\0n2\0r1\0");
	BOTH(XS_MKDIR, "/shared\0");
	BOTH(XS_SET_PERMS, "/shared\0b0\0");
	BOTH(XS_MKDIR, "/shared/1\0");
	BOTH(XS_SET_PERMS, "/shared/1\0r1\0b2\0");
}

static unsigned long number_of_env(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

/* `more` is the distance from the seed that was asked for. */
static void random_requests(unsigned more)
{
	unsigned long steps = number_of_env("GRANTIO_ORACLE_STEPS", 3000);
	struct oracle_request r;

	seed = number_of_env("GRANTIO_ORACLE_SEED", 1) + more;
	oracle_chance_start(seed);
	trees_fill();
	for (step = 1; step <= steps; step++) {
		unsigned client = oracle_any(CLIENTS);

		oracle_request_make(&r, clients[client].domid, clients[client].stale);
		if (r.data[0] == '@' && (r.type == XS_GET_PERMS || (r.type == XS_SET_PERMS && clients[client].domid)))
			continue; /* special nodes' permissions: docs/model-vs-xen.md says how they differ */
		if (oracle_request_malformed(&r))
			malformed_refused(client, &r);
		else if (!step_run(client, &r))
			fail_msg("seed %llu: a difference in step %lu", (unsigned long long)seed, step);
	}
	printf("seed %llu: %lu requests\n", (unsigned long long)seed, steps);
}

static void test_first_sequence(void **state)
{
	(void)state;
	random_requests(0);
}

static void test_second_sequence(void **state)
{
	(void)state;
	random_requests(1);
}

static void test_third_sequence(void **state)
{
	(void)state;
	random_requests(2);
}

static int links_open(void **state)
{
	if (store_setup(state))
		return -1;
	for (unsigned i = 0; i < CLIENTS; i++) {
		memset(clients[i].tx, 0, sizeof(clients[i].tx));
		memset(clients[i].stale, 0, sizeof(clients[i].stale));
	}
	oracle_start(getenv("GRANTIO_XENSTORED"), getenv("XENSTORED_SHIM"));
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i].link[OURS] = oracle_link_ours(clients[i].domid);
		clients[i].link[THEIRS] = oracle_link_theirs(clients[i].domid);
	}
	return 0;
}

static int links_close(void **state)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		for (enum side side = OURS; side < SIDES; side++)
			oracle_link_close(clients[i].link[side]);
	oracle_stop();
	return store_teardown(state);
}

static bool binary_at(const char *directory)
{
	char pattern[512];
	glob_t g;
	bool found;

	snprintf(pattern, sizeof(pattern), "%s/usr/lib/xen-*/bin/xenstored", directory);
	found = glob(pattern, 0, NULL, &g) == 0;
	if (found)
		setenv("GRANTIO_XENSTORED", g.gl_pathv[0], 1);
	globfree(&g);
	return found;
}

/* GRANTIO_XENSTORED, or where Debian's package or scripts/xenstored.sh puts it. */
static bool binary_find(void)
{
	const char *fetched = getenv("XENSTORED_FETCHED");

	return getenv("GRANTIO_XENSTORED") || binary_at("") || (fetched && binary_at(fetched));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_sequence, links_open, links_close),
		cmocka_unit_test_setup_teardown(test_second_sequence, links_open, links_close),
		cmocka_unit_test_setup_teardown(test_third_sequence, links_open, links_close),
	};

	if (!binary_find()) {
		fprintf(stderr, "skipped: no xenstored: `scripts/xenstored.sh build/xenstored` fetches Debian's\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
