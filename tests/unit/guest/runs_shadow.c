/* SPDX-License-Identifier: MIT */
#include "tests/unit/guest/runs_shadow.h"

#include "tests/unit/guest/fake_os.h"

#include <string.h>

void shadow_open(struct shadow *s)
{
	memset(s, 0, sizeof(*s));
	s->os = fake_os_new(NULL);
	if (gio_runs_init(&s->runs, s->os, SHADOW_LIMIT))
		__builtin_trap(); /* no fault is set */
}

const char *shadow_close(struct shadow *s)
{
	gio_runs_exit(&s->runs);
	return fake_os_delete(s->os) ? "the allocator leaked or made a mistake (see above)" : NULL;
}

static bool in_range(uint32_t first, uint32_t count)
{
	return count && count <= SHADOW_LIMIT && first <= SHADOW_LIMIT - count;
}

static bool all(const struct shadow *s, uint32_t first, uint32_t count, enum shadow_state state)
{
	for (uint32_t i = first; i < first + count; i++)
		if (s->state[i] != state)
			return false;
	return true;
}

const char *shadow_add(struct shadow *s, uint32_t first, uint32_t count)
{
	bool valid = in_range(first, count) && all(s, first, count, SHADOW_ABSENT);
	int ret = gio_runs_reserve(&s->runs, first, count);

	if (ret != (in_range(first, count) ? 0 : -GIO_ERANGE))
		return "reserve: wrong answer";
	if (gio_runs_add(&s->runs, first, count) != (valid ? 0 : -GIO_EINVAL))
		return "add: wrong answer";
	if (!valid)
		return NULL;
	memset(s->state + first, SHADOW_FREE, count);
	s->total += count;
	return NULL;
}

/* The length of the free run that starts at `i`, 0 if none starts there. */
static uint32_t free_run(const struct shadow *s, uint32_t i)
{
	uint32_t n = 0;

	if (i && s->state[i - 1] == SHADOW_FREE)
		return 0;
	while (i + n < SHADOW_LIMIT && s->state[i + n] == SHADOW_FREE)
		n++;
	return n;
}

/* The length from which on a free run must be found: run.h, "Fit". */
static uint32_t surely_found(uint32_t count)
{
	uint32_t step = 1;

	while (count / step >= 64)
		step *= 2;
	return (count + step - 1) / step * step;
}

static bool must_fit(const struct shadow *s, uint32_t count)
{
	for (uint32_t i = 0; i < SHADOW_LIMIT; i++)
		if (free_run(s, i) >= surely_found(count))
			return true;
	return false;
}

const char *shadow_alloc(struct shadow *s, uint32_t count, uint32_t *got)
{
	int ret = gio_runs_alloc(&s->runs, count, got);

	if (ret) {
		*got = SHADOW_LIMIT;
		if (ret != (count ? -GIO_ENOSPC : -GIO_EINVAL))
			return "alloc: wrong error";
		return count && must_fit(s, count) ? "alloc: refused although a run fits" : NULL;
	}
	if (!in_range(*got, count) || !all(s, *got, count, SHADOW_FREE))
		return "alloc: gave what is not free";
	memset(s->state + *got, SHADOW_USED, count);
	s->len[*got] = count;
	s->used += count;
	for (uint32_t i = *got; i < *got + count; i++) /* an owner's words must not matter to the allocator */
		*gio_runs_slot(&s->runs, i) = (struct gio_run_slot){
			.tag = gio_runs_slot(&s->runs, i)->tag, .link = 0x5a5a5a5a, .value = UINT64_MAX / 3};
	return NULL;
}

static void now_free(struct shadow *s, uint32_t first, uint32_t count)
{
	memset(s->state + first, SHADOW_FREE, count);
	s->len[first] = 0;
	s->used -= count;
}

const char *shadow_free(struct shadow *s, uint32_t first, uint32_t count)
{
	bool valid = first < SHADOW_LIMIT && count && s->len[first] == count;

	if (gio_runs_free(&s->runs, first, count) != (valid ? 0 : -GIO_EINVAL))
		return valid ? "free: refused" : "free: took what is no allocated run";
	if (valid)
		now_free(s, first, count);
	return NULL;
}

const char *shadow_free_parts(struct shadow *s, uint32_t first, uint32_t at)
{
	uint32_t len = s->len[first];

	if (gio_runs_retire(&s->runs, first, len))
		return "retire: refused";
	if (!gio_runs_retire(&s->runs, first, len) || !gio_runs_free(&s->runs, first, len))
		return "a retired run was retired or freed again";
	at %= len;
	if (!at) {
		gio_runs_restore(&s->runs, first, len);
		return shadow_free(s, first, len);
	}
	gio_runs_release(&s->runs, first + at, len - at);
	gio_runs_release(&s->runs, first, at);
	now_free(s, first, len);
	return NULL;
}

uint32_t shadow_find_used(const struct shadow *s, uint32_t from)
{
	for (uint32_t i = 0; i < SHADOW_LIMIT; i++)
		if (s->len[(from + i) % SHADOW_LIMIT])
			return (from + i) % SHADOW_LIMIT;
	return SHADOW_LIMIT;
}

/* The allocated runs are the same, in order, and not one more. */
static const char *check_used(const struct shadow *s)
{
	uint32_t pos = 0, first, count, next = 0;

	while (gio_runs_next(&s->runs, &pos, &first, &count)) {
		while (next < first)
			if (s->len[next++])
				return "an allocated run is missing";
		if (s->len[first] != count)
			return "an allocated run that is none";
		next = first + 1;
	}
	while (next < SHADOW_LIMIT)
		if (s->len[next++])
			return "the last allocated run is missing";
	return NULL;
}

const char *shadow_check(const struct shadow *s)
{
	if (s->runs.used != s->used || s->runs.total != s->total)
		return "counts differ";
	for (uint32_t i = 0; i < SHADOW_LIMIT; i++) {
		uint32_t n = free_run(s, i);

		if (n && gio_runs_tail(&s->runs, i + n) != n)
			return "a free run is not in one piece";
		if (s->state[i] != SHADOW_FREE && gio_runs_tail(&s->runs, i + 1))
			return "a free run ends where none does";
		if (s->state[i] == SHADOW_USED && !gio_runs_plausible(&s->runs, i))
			return "an allocated index is called implausible";
		if (s->state[i] == SHADOW_ABSENT && gio_runs_plausible(&s->runs, i))
			return "an absent index is called plausible";
	}
	return check_used(s);
}

/* One step: what to do, and two arguments. */
static const char *step(struct shadow *s, const uint8_t *b)
{
	uint32_t x = (uint32_t)(b[1] | b[2] << 8) % SHADOW_LIMIT, y = b[3], used, got;

	switch (b[0] % 8) {
	case 0: /* add, mostly in pieces that will touch */
		return shadow_add(s, x & ~63u, (y % 8 + 1) * 64);
	case 1:
		return shadow_alloc(s, x % 600, &got);
	case 2:
	case 3:
		return shadow_alloc(s, y % 20, &got);
	case 4:
		return shadow_free(s, x, y);
	default:
		used = shadow_find_used(s, x);
		if (used == SHADOW_LIMIT)
			return NULL;
		return b[0] % 8 == 5 ? shadow_free_parts(s, used, y) : shadow_free(s, used, s->len[used]);
	}
}

const char *shadow_play(const uint8_t *bytes, size_t n, unsigned every)
{
	struct shadow s;
	const char *error = NULL, *last;

	shadow_open(&s);
	for (size_t i = 0; i < n / 4 && !error; i++) {
		error = step(&s, bytes + 4 * i);
		if (!error && (i % every == 0 || i + 1 == n / 4))
			error = shadow_check(&s);
	}
	last = shadow_close(&s);
	return error ? error : last;
}
