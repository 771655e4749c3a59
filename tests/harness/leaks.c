/* SPDX-License-Identifier: MIT */
/* The leak oracle: what is outstanding must be as it was. */
#include "tests/harness/private.h"

#include <poll.h>
#include <stdio.h>

#define STEP_MS 2

static struct th_outstanding outstanding(struct th_machine *m, uint16_t domid)
{
	struct gm_stats stats;

	if (gm_domain_state(m->model, domid) == GM_DOMAIN_NONE || gm_domain_stats(m->model, domid, &stats))
		return (struct th_outstanding){0};
	return (struct th_outstanding){stats.grants_active, stats.mappings_held, stats.ports, stats.ioreq_servers};
}

void th_leaks_mark(struct th_machine *m)
{
	for (uint16_t domid = 0; domid < GM_MAX_DOMAINS; domid++)
		m->mark[domid] = outstanding(m, domid);
	for (unsigned i = 0; i < m->grantiods; i++)
		m->grantiod[i].descriptors = th_descriptors(m->grantiod[i].pid);
}

bool th_leaks_now(struct th_machine *m, char *text, size_t size)
{
	for (uint16_t domid = 0; domid < GM_MAX_DOMAINS; domid++) {
		const struct th_outstanding *was = &m->mark[domid];
		struct th_outstanding is = outstanding(m, domid);

		if (is.grants_active == was->grants_active && is.mappings_held == was->mappings_held &&
		    is.ports == was->ports && is.ioreq_servers == was->ioreq_servers)
			continue;
		snprintf(text, size,
			 "domain %u: grants %u (was %u), mappings %u (%u), ports %u (%u), ioreq servers %u (%u)", domid,
			 is.grants_active, was->grants_active, is.mappings_held, was->mappings_held, is.ports,
			 was->ports, is.ioreq_servers, was->ioreq_servers);
		return true;
	}
	for (unsigned i = 0; i < m->grantiods; i++) {
		unsigned descriptors = th_descriptors(m->grantiod[i].pid);

		if (descriptors != m->grantiod[i].descriptors) {
			snprintf(text, size, "grantiod %u: %u descriptors (was %u)", i, descriptors,
				 m->grantiod[i].descriptors);
			return true;
		}
	}
	return false;
}

void th_leaks_check(struct th_machine *m)
{
	int64_t deadline = th_now_ms() + TH_LIMIT_MS;
	char text[256];

	while (th_leaks_now(m, text, sizeof(text))) {
		if (th_now_ms() > deadline)
			fail_msg("left behind: %s", text);
		poll(NULL, 0, STEP_MS); /* nothing tells when a count changes */
	}
}
