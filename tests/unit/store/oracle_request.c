/* SPDX-License-Identifier: MIT */
#include "tests/unit/store/oracle_request.h"

#include "model/store/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static uint64_t random_state;

/* ---- chance ------------------------------------------------------------------------------------------------- */

void oracle_chance_start(uint64_t seed)
{
	random_state = seed * 0x9e3779b97f4a7c15 + 1;
}

uint32_t oracle_any(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16) % below;
}

static bool one_in(uint32_t n)
{
	return oracle_any(n) == 0;
}

static void add(struct oracle_request *r, const void *data, size_t length)
{
	if (length > sizeof(r->data) - r->length)
		length = sizeof(r->data) - r->length;
	memcpy(r->data + r->length, data, length);
	r->length += length;
}

static void add_string(struct oracle_request *r, const char *string)
{
	add(r, string, strlen(string) + 1);
}

static void path_bad(char *path, size_t size, bool guest)
{
	static const char *const bad[] = {
		"",
		"/",
		"//",
		"/a//b",
		"/a/",
		"a/",
		".",
		"..",
		"/a/../b",
		"@introduceDomain",
		"@releaseDomain",
		"@x",
		"@",

		"/@a",
		"a b",
		"/a\xff",
		"/a\n",
		"/a*",
		"/local",
		"/local/domain",
		"/tool",
		"/nil",
		"-_@",
		"/A0",
		"/local/domain/0",
		"/local/domain/1",
		"/local/domain/2",
		"/shared",
	};
	static const unsigned lengths[] = {255,	 256,  257,  1023, 1024, 2030, 2047,
					   2048, 2049, 2999, 3070, 3071, 3072, 3073};
	uint32_t i = oracle_any(COUNT(bad) + 4);
	unsigned length;

	if (i < COUNT(bad)) {
		snprintf(path, size, "%s", bad[i]);
		return;
	}
	length = lengths[oracle_any(guest ? COUNT(lengths) : 8)]; /* since Xen 4.18 longer ones are domain 0's right */
	memset(path, 'x', length);
	if (one_in(2))
		path[0] = '/';
	path[length] = '\0';
}

static void path_any(char *path, size_t size, bool guest)
{
	static const char *const tops[] = {"", "/", "/local/domain/1/", "/local/domain/2/", "/shared/", "/shared/1/"};
	static const char *const names[] = {"a", "b", "c"};
	unsigned depth = 1 + oracle_any(3);
	size_t used;

	if (one_in(10)) {
		path_bad(path, size, guest);
		return;
	}
	used = (size_t)snprintf(path, size, "%s", tops[oracle_any(COUNT(tops))]);
	for (unsigned i = 0; i < depth; i++)
		used += (size_t)snprintf(path + used, size - used, "%s%s", i ? "/" : "",
					 names[oracle_any(COUNT(names))]);
}

static void add_path(struct oracle_request *r)
{
	char path[XENSTORE_PAYLOAD_MAX];

	path_any(path, sizeof(path), r->guest);
	add_string(r, path);
}

static void add_value(struct oracle_request *r)
{
	static const unsigned large[] = {1000, 1800, 2048,
					 2049, 3900, 4090}; /* what counts for 2048 depends on the release */
	char value[XENSTORE_PAYLOAD_MAX];
	unsigned length = oracle_any(12);

	if (one_in(30))
		length = large[oracle_any(COUNT(large))];
	for (unsigned i = 0; i < length; i++)
		value[i] = (char)oracle_any(256);
	add(r, value, length);
}

static void add_perms(struct oracle_request *r)
{
	static const char *const bad[] = {"x1", "n", "", "r-1", "r 1", "r1x", "r99999", "b0x1", "N1", "r+1"};
	unsigned count = one_in(20) ? oracle_any(GM_STORE_PERMS_MAX + 1) : 1 + oracle_any(3);
	char text[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "%c%u", "nrwb"[oracle_any(4)], oracle_any(3));
		add_string(r, one_in(30) ? bad[oracle_any(COUNT(bad))] : text);
	}
}

static void add_token(struct oracle_request *r)
{
	static const char *const tokens[] = {"one", "two", "three", ""};

	add_string(r, tokens[oracle_any(COUNT(tokens))]);
}

static void add_number(struct oracle_request *r)
{
	static const char *const numbers[] = {"0", "0", "0", "1", "2", "7", "4000", "-1", "", "x", "1x", " 1"};

	add_string(r, numbers[oracle_any(COUNT(numbers))]);
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

static void request_fill(struct oracle_request *r, const char *parts)
{
	for (; *parts; parts++) {
		if (*parts == 'p')
			add_path(r);
		else if (*parts == 'v')
			add_value(r);
		else if (*parts == 'r')
			add_perms(r);
		else if (*parts == 't')
			add_token(r);
		else if (*parts == 'n')
			add_number(r);
		else if (*parts == 'e')
			add_string(r, one_in(20) ? "X" : one_in(3) ? "F" : "T");
		else
			add_string(r, "");
	}
}

/* Wrong in its form: cut, longer, or a byte changed. */
static void request_spoil(struct oracle_request *r)
{
	uint32_t how = oracle_any(5);
	char byte = (char)oracle_any(256);

	if (how == 0 && r->length)
		r->length -= 1 + oracle_any(r->length < 3 ? 1 : 3);
	else if (how == 1)
		add(r, &byte, 1);
	else if (how == 2)
		request_fill(r, one_in(2) ? "p" : "0");
	else if (how == 3)
		r->length = 0;
	else if (r->length)
		r->data[oracle_any((uint32_t)r->length)] = byte;
}

/*
 * Xenstored's transactions see what others changed since their start, where they have not looked before; ours, as
 * oxenstored's, see the tree as it was at the start. So one that others have passed is only ended: both know then
 * whether it has met a change.
 */
static void request_end(struct oracle_request *r, unsigned tx)
{
	*r = (struct oracle_request){.type = XS_TRANSACTION_END, .tx = tx};
	add_string(r, one_in(4) ? "F" : "T");
}

void oracle_request_make(struct oracle_request *r, unsigned domid, const bool *stale)
{
	static const struct {
		uint32_t type;
		unsigned weight;
		const char
			*parts; /* p path, v value, r permissions, t token, n number, e end of a transaction, 0 empty */
	} kinds[] = {
		{XS_READ, 10, "p"},
		{XS_WRITE, 16, "pv"},
		{XS_MKDIR, 8, "p"},
		{XS_RM, 8, "p"},
		{XS_DIRECTORY, 8, "p"},
		{XS_DIRECTORY_PART, 4, "pn"},
		{XS_GET_PERMS, 5, "p"},
		{XS_SET_PERMS, 8, "pr"},
		{XS_WATCH, 6, "pt"},
		{XS_UNWATCH, 5, "pt"},
		{XS_TRANSACTION_START, 5, "0"},
		{XS_TRANSACTION_END, 8, "e"},
		{XS_GET_DOMAIN_PATH, 1, "n"},
		{XS_RESET_WATCHES, 1, "0"},
	};
	/* For guests only: domain 0 would be obeyed. */
	static const uint32_t refused[] = {XS_CONTROL,
					   XS_INTRODUCE,
					   XS_RELEASE,
					   XS_IS_DOMAIN_INTRODUCED,
					   XS_RESUME,
					   XS_SET_TARGET,
					   XS_WATCH_EVENT,
					   XS_ERROR,
					   8,
					   24,
					   25,
					   100,
					   UINT32_MAX};
	uint32_t at = oracle_any(93);
	size_t i = 0;

	*r = (struct oracle_request){.guest = domid != 0, .tx = one_in(2) ? ORACLE_TXS : oracle_any(ORACLE_TXS)};
	if (one_in(60))
		r->tx = ORACLE_TXS + 1;
	while (at >= kinds[i].weight)
		at -= kinds[i++].weight;
	r->type = kinds[i].type;
	request_fill(r, kinds[i].parts);
	if (domid && one_in(40)) {
		r->type = refused[oracle_any(COUNT(refused))];
		request_fill(r, "n");
	}
	if (one_in(12))
		request_spoil(r);
	if (r->tx < ORACLE_TXS && stale[r->tx])
		request_end(r, r->tx);
}

/* ---- wrong ones ---- */

/* Exactly the strings that such a request has, with a NUL behind each; the last one may be anything if `rest`. */
static bool strings_right(const struct oracle_request *r, unsigned count, bool rest)
{
	size_t at = 0;

	for (unsigned i = 0; i < count; i++) {
		const char *end = memchr(r->data + at, 0, r->length - at);

		if (!end)
			return false;
		at = (size_t)(end - r->data) + 1;
	}
	return rest || at == r->length;
}

static bool number_right(const char *text)
{
	return *text && strlen(text) < 6 && !text[strspn(text, "0123456789")];
}

static bool special_unknown(const char *path)
{
	return path[0] == '@' && strcmp(path, "@releaseDomain") != 0 && strcmp(path, "@introduceDomain") != 0;
}

static bool perms_right(const struct oracle_request *r)
{
	const char *at = r->data + strlen(r->data) + 1, *end = r->data + r->length;

	if (at == end || end[-1])
		return false;
	for (; at < end; at += strlen(at) + 1)
		if (!strchr("nrwb", *at) || !number_right(at + 1) || atoi(at + 1) > UINT16_MAX)
			return false;
	return true;
}

bool oracle_request_malformed(const struct oracle_request *r)
{
	switch (r->type) {
	case XS_READ:
	case XS_MKDIR:
	case XS_RM:
	case XS_DIRECTORY:
		return !strings_right(r, 1, false);
	case XS_GET_PERMS:
		return !strings_right(r, 1, false);
	case XS_WATCH:
	case XS_UNWATCH:
		return !strings_right(r, 2, false);
	case XS_SET_PERMS:
		return strings_right(r, 2, true) && (!perms_right(r) || special_unknown(r->data));
	case XS_DIRECTORY_PART:
		return !strings_right(r, 2, false) || !number_right(r->data + strlen(r->data) + 1);
	case XS_GET_DOMAIN_PATH:
		return !strings_right(r, 1, false) || !number_right(r->data);
	default:
		return false;
	}
}
