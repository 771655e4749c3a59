/* SPDX-License-Identifier: MIT */
#include "backend/disk/nbd_frame.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_BITS 16

int gd_nbd_frame_open(struct gd_nbd_frame *frame, unsigned depth)
{
	memset(frame, 0, sizeof(*frame));
	frame->depth = depth;
	frame->asked = calloc(depth, sizeof(*frame->asked));
	frame->requests = calloc(depth, sizeof(*frame->requests));
	frame->slots = calloc(depth, sizeof(*frame->slots));
	return frame->asked && frame->requests && frame->slots ? 0 : -ENOMEM;
}

void gd_nbd_frame_close(struct gd_nbd_frame *frame)
{
	free(frame->asked);
	free(frame->requests);
	free(frame->slots);
	memset(frame, 0, sizeof(*frame));
}

void gd_nbd_frame_reset(struct gd_nbd_frame *frame, uint64_t base)
{
	for (unsigned i = 0; i < frame->depth; i++)
		frame->asked[i].due = GD_NBD_IDLE;
	frame->base = base;
	frame->count = 0;
	frame->big = 0;
	frame->first = frame->waiting = 0;
	frame->first_sent = 0;
	frame->have = frame->left = 0;
	frame->fault[0] = 0;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static bool is_big(const struct gd_nbd_asked *asked)
{
	return asked->type == GD_NBD_READ && asked->length >= GD_NBD_BIG;
}

void gd_nbd_frame_ask(struct gd_nbd_frame *frame, unsigned slot, const struct gd_nbd_ask *ask)
{
	/* There is room: a slot has one request at most, and there are as many places as slots. */
	unsigned place = (frame->first + frame->waiting++) % frame->depth;
	uint64_t cookie = frame->base + (frame->count++ << SLOT_BITS | slot);
	struct gd_nbd_asked *asked = &frame->asked[slot];

	*asked = (struct gd_nbd_asked){cookie, ask->data, ask->length, (uint16_t)ask->type, GD_NBD_UNSENT};
	frame->big += is_big(asked);
	frame->slots[place] = (uint16_t)slot;
	frame->requests[place] = (struct gd_nbd_request){
		.magic = htobe32(GD_NBD_REQUEST_MAGIC),
		.flags = htobe16(ask->flags),
		.type = htobe16((uint16_t)ask->type),
		.cookie = htobe64(cookie),
		.offset = htobe64(ask->offset),
		.length = htobe32(ask->length),
	};
}

/* Add a piece, but for *skip bytes of it that were sent; what lies behind the piece before it makes that one longer. */
static void piece_add(struct iovec *pieces, unsigned *count, void *from, size_t length, size_t *skip)
{
	size_t less = *skip < length ? *skip : length;
	struct iovec *last = *count ? &pieces[*count - 1] : NULL;
	char *begin = (char *)from + less;

	*skip -= less;
	if (less == length)
		return;
	if (last && (char *)last->iov_base + last->iov_len == begin)
		last->iov_len += length - less;
	else
		pieces[(*count)++] = (struct iovec){begin, length - less};
}

unsigned gd_nbd_frame_unsent(const struct gd_nbd_frame *frame, struct iovec *pieces, unsigned most)
{
	size_t skip = frame->first_sent;
	unsigned count = 0;

	for (unsigned i = 0; i < frame->waiting && count + 2 <= most; i++) {
		unsigned place = (frame->first + i) % frame->depth;
		const struct gd_nbd_asked *asked = &frame->asked[frame->slots[place]];

		piece_add(pieces, &count, &frame->requests[place], sizeof(frame->requests[place]), &skip);
		if (asked->type == GD_NBD_WRITE)
			piece_add(pieces, &count, asked->data, asked->length, &skip);
	}
	return count;
}

void gd_nbd_frame_sent(struct gd_nbd_frame *frame, size_t bytes)
{
	frame->first_sent += bytes;
	while (frame->waiting) {
		struct gd_nbd_asked *asked = &frame->asked[frame->slots[frame->first]];
		size_t size = sizeof(frame->requests[0]) + (asked->type == GD_NBD_WRITE ? asked->length : 0);

		if (frame->first_sent < size)
			return;
		frame->first_sent -= size;
		asked->due = GD_NBD_SENT;
		frame->first = (frame->first + 1) % frame->depth;
		frame->waiting--;
	}
}

bool gd_nbd_frame_untouched(const struct gd_nbd_frame *frame, unsigned slot)
{
	return frame->asked[slot].due == GD_NBD_UNSENT && !(frame->first_sent && frame->slots[frame->first] == slot);
}

bool gd_nbd_frame_between(const struct gd_nbd_frame *frame)
{
	return !frame->first_sent;
}

bool gd_nbd_frame_idle(const struct gd_nbd_frame *frame)
{
	for (unsigned i = 0; i < frame->depth; i++)
		if (frame->asked[i].due != GD_NBD_IDLE)
			return false;
	return !frame->have && !frame->fault[0];
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* The errno for an error of the server's ("Error values"). */
static int error_of(uint32_t error)
{
	switch (error) {
	case GD_NBD_EPERM:
		return EPERM;
	case GD_NBD_EIO:
		return EIO;
	case GD_NBD_ENOMEM:
		return ENOMEM;
	case GD_NBD_ENOSPC:
		return ENOSPC;
	case GD_NBD_EOVERFLOW:
		return EOVERFLOW;
	case GD_NBD_ENOTSUP:
		return ENOTSUP;
	case GD_NBD_ESHUTDOWN:
		return ESHUTDOWN;
	default:
		return EINVAL;
	}
}

static int answered(struct gd_nbd_frame *frame, unsigned slot, int error, struct gd_nbd_answer *answer)
{
	struct gd_nbd_asked *asked = &frame->asked[slot];

	frame->big -= is_big(asked);
	asked->due = GD_NBD_IDLE;
	*answer = (struct gd_nbd_answer){slot, error};
	return 1;
}

static int magic_refuse(struct gd_nbd_frame *frame, uint32_t magic)
{
	if (magic == GD_NBD_STRUCTURED_MAGIC)
		snprintf(frame->fault, sizeof(frame->fault),
			 "the server sent a structured reply, which was not agreed on");
	else
		snprintf(frame->fault, sizeof(frame->fault), "the server sent 0x%08x where a reply begins", magic);
	return -EPROTO;
}

static int cookie_refuse(struct gd_nbd_frame *frame, uint64_t cookie, const char *what)
{
	snprintf(frame->fault, sizeof(frame->fault), "the server answered %s (cookie 0x%016llx)", what,
		 (unsigned long long)cookie);
	return -EPROTO;
}

/* A header is complete. */
static int reply_take(struct gd_nbd_frame *frame, struct gd_nbd_answer *answer)
{
	uint32_t magic = be32toh(frame->reply.magic), error = be32toh(frame->reply.error);
	uint64_t cookie = be64toh(frame->reply.cookie);
	unsigned slot = (cookie - frame->base) & ((1u << SLOT_BITS) - 1);
	const struct gd_nbd_asked *asked = &frame->asked[slot < frame->depth ? slot : 0];

	if (magic != GD_NBD_REPLY_MAGIC)
		return magic_refuse(frame, magic);
	if (slot >= frame->depth || asked->due == GD_NBD_IDLE || asked->cookie != cookie)
		return cookie_refuse(frame, cookie, "a request that is not in flight");
	if (asked->due == GD_NBD_UNSENT)
		return cookie_refuse(frame, cookie, "a request before all of it was sent");
	frame->have = 0;
	if (error)
		return answered(frame, slot, error_of(error), answer);
	if (asked->type != GD_NBD_READ || !asked->length)
		return answered(frame, slot, 0, answer);
	frame->slot = slot;
	frame->left = asked->length;
	return 0;
}

char *gd_nbd_frame_room(const struct gd_nbd_frame *frame, size_t *n)
{
	const struct gd_nbd_asked *asked = &frame->asked[frame->slot];

	*n = frame->left;
	return frame->left ? asked->data + (asked->length - frame->left) : NULL;
}

int gd_nbd_frame_filled(struct gd_nbd_frame *frame, size_t bytes, struct gd_nbd_answer *answer)
{
	frame->left -= (uint32_t)bytes;
	return frame->left ? 0 : answered(frame, frame->slot, 0, answer);
}

/* Take some of the bytes; as gd_nbd_frame_take(), but 0 also where there are more. */
static int some_take(struct gd_nbd_frame *frame, const char **bytes, size_t *n, struct gd_nbd_answer *answer)
{
	size_t room, part;
	char *to = gd_nbd_frame_room(frame, &room);
	bool data = to;

	if (!data) {
		to = (char *)&frame->reply + frame->have;
		room = sizeof(frame->reply) - frame->have;
	}
	part = *n < room ? *n : room;
	memcpy(to, *bytes, part);
	*bytes += part;
	*n -= part;
	if (data)
		return gd_nbd_frame_filled(frame, part, answer);
	frame->have += (unsigned)part;
	return part == room ? reply_take(frame, answer) : 0;
}

int gd_nbd_frame_take(struct gd_nbd_frame *frame, const char **bytes, size_t *n, struct gd_nbd_answer *answer)
{
	int result = frame->fault[0] ? -EPROTO : 0;

	while (*n && !result)
		result = some_take(frame, bytes, n, answer);
	return result;
}
