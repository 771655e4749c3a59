/* SPDX-License-Identifier: MIT */
/*
 * The messages of virtio-msg: what a driver and its device say to each other where there are no registers.
 *
 * Source: the draft transport-msg.tex of wmamills/virtio-msg-spec, commit 009bce0854be. The draft is a proposal whose
 * layouts have changed under one revision number, so that peers compare GIO_MSG_DRAFT byte by byte. A new string is
 * needed as soon as a byte or a rule of this file changes. docs/xenbus.md has the rules.
 *
 * The driver sends requests, and each request that the device accepts has one response; events go one way. All fields
 * are little-endian, at their natural alignment, and lie as the structures below say (asserted).
 *
 * Each side copies a message out of shared memory once, checks the copy by the functions at the end of this file, and
 * uses nothing else. These functions say whether a message is well-formed, which is all that its bytes can tell. What
 * its values mean is for the receiver to judge.
 */
#ifndef GRANTIO_ABI_VIRTIO_MSG_H
#define GRANTIO_ABI_VIRTIO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GIO_MSG_DRAFT "vmsg-009bce0854be"

#define GIO_MSG_MAX 264u /* bytes of a message, its header included: the bus's maximum */

/* ---- header ------------------------------------------------------------------------------------------------------ */

#define GIO_MSG_TYPE_RESPONSE 1u /* bits of `type`; a receiver ignores the others */
#define GIO_MSG_TYPE_BUS      2u

struct gio_msg_header {
	uint8_t type;	 /* GIO_MSG_TYPE_* */
	uint8_t id;	 /* GIO_MSG_* */
	uint16_t device; /* 0: each device has a bus of its own */
	uint16_t token;	 /* chosen by the driver, never 0; the device returns it in the response; 0 in events */
	uint16_t bytes;	 /* of the message, this header included */
};

/* Numbers of messages. */
enum gio_msg_id {
	GIO_MSG_GET_DEVICE_INFO = 0x02,
	GIO_MSG_GET_DEVICE_FEATURES = 0x03,
	GIO_MSG_SET_DRIVER_FEATURES = 0x04,
	GIO_MSG_GET_CONFIG = 0x05,
	GIO_MSG_SET_CONFIG = 0x06,
	GIO_MSG_GET_DEVICE_STATUS = 0x07,
	GIO_MSG_SET_DEVICE_STATUS = 0x08,
	GIO_MSG_GET_VQUEUE = 0x09,
	GIO_MSG_SET_VQUEUE = 0x0a,
	GIO_MSG_RESET_VQUEUE = 0x0b,
	GIO_MSG_GET_SHM = 0x0c,
	GIO_MSG_EVENT_CONFIG = 0x40,
	GIO_MSG_EVENT_AVAIL = 0x41, /* this and the next are made of event channels, and never lie in a page */
	GIO_MSG_EVENT_USED = 0x42
};

/* ---- bodies: what follows the header ----------------------------------------------------------------------------- */

#define GIO_MSG_BODY	     (GIO_MSG_MAX - sizeof(struct gio_msg_header)) /* 256 bytes */
#define GIO_MSG_CONFIG_MAX   244u					   /* bytes of configuration in one message */
#define GIO_MSG_FEATURES_MAX 62u					   /* feature blocks in one message */

/* Response of GET_DEVICE_INFO. */
struct gio_msg_info {
	uint32_t device_id; /* virtio device type */
	uint32_t vendor_id;
	uint8_t uuid[16];	 /* zeroes: none */
	uint32_t feature_blocks; /* of 32 bits */
	uint32_t config_bytes;	 /* of the configuration space */
	uint32_t queues;	 /* maximum of virtqueues */
	uint32_t admin_first, admin_queues;
};

/* GET_DEVICE_FEATURES and its response, SET_DRIVER_FEATURES. Block b has the feature bits 32 b to 32 b + 31. */
struct gio_msg_features {
	uint32_t first, blocks;
	uint32_t bits[GIO_MSG_FEATURES_MAX]; /* `blocks` of them; none in the request GET_DEVICE_FEATURES */
};

/* The request GET_CONFIG. */
struct gio_msg_config_get {
	uint32_t offset, length;
};

/* The response of GET_CONFIG; SET_CONFIG and its response. The data follow only if they are `length` bytes. */
struct gio_msg_config {
	uint32_t generation;
	uint32_t offset, length;
	uint8_t data[GIO_MSG_CONFIG_MAX];
};

/* The response of GET_DEVICE_STATUS; SET_DEVICE_STATUS and its response. */
struct gio_msg_status {
	uint32_t status; /* GIO_VIRTIO_STATUS_* */
};

/* The requests GET_VQUEUE, RESET_VQUEUE. */
struct gio_msg_queue_index {
	uint32_t index;
};

#define GIO_MSG_QUEUE_ENABLED 1u /* in `flags` */

/* The response of GET_VQUEUE. */
struct gio_msg_queue {
	uint32_t index;
	uint32_t max_size, size; /* entries; `size` 0: not configured */
	uint32_t flags;
	uint64_t desc, driver, device; /* addresses of its parts */
};

/* `flags` of SET_VQUEUE: what becomes of the queue's state, and which fields are not touched. */
#define GIO_MSG_QUEUE_STATE	  3u /* these bits are one of the next three */
#define GIO_MSG_QUEUE_DISABLE	  0u
#define GIO_MSG_QUEUE_ENABLE	  1u
#define GIO_MSG_QUEUE_KEEP_STATE  2u
#define GIO_MSG_QUEUE_KEEP_SIZE	  4u
#define GIO_MSG_QUEUE_KEEP_DESC	  8u
#define GIO_MSG_QUEUE_KEEP_DRIVER 16u
#define GIO_MSG_QUEUE_KEEP_DEVICE 32u
#define GIO_MSG_QUEUE_FLAGS	  63u /* all that have a meaning */

/* The request SET_VQUEUE. Its response is empty whatever became of it: the driver reads the queue back. */
struct gio_msg_queue_set {
	uint32_t index, flags;
	uint32_t size, reserved;
	uint64_t desc, driver, device;
};

/* GET_SHM and its response. */
struct gio_msg_shm {
	uint32_t id, reserved;
	uint64_t length, address; /* not in the request; `length` 0: there is no such region */
};

/* EVENT_CONFIG: the status or the configuration has changed. The data may be left out whatever `length` says. */
struct gio_msg_event {
	uint32_t status, generation;
	uint32_t offset, length; /* of the change; both 0: no range is said, or only the status has changed */
	uint8_t data[GIO_MSG_BODY - 16];
};

/* EVENT_AVAIL: for completeness; a port carries it here. */
struct gio_msg_avail {
	uint32_t index, next;
};

/* A message with room for the largest one. */
struct gio_msg {
	struct gio_msg_header header;
	union {
		uint8_t bytes[GIO_MSG_BODY];
		struct gio_msg_info info;
		struct gio_msg_features features;
		struct gio_msg_config_get config_get;
		struct gio_msg_config config;
		struct gio_msg_status status;
		struct gio_msg_queue_index queue_index;
		struct gio_msg_queue queue;
		struct gio_msg_queue_set queue_set;
		struct gio_msg_shm shm;
		struct gio_msg_event event;
		struct gio_msg_avail avail;
	};
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the fields are used as they lie in memory");
_Static_assert(sizeof(struct gio_msg_header) == 8 && sizeof(struct gio_msg) == GIO_MSG_MAX, "sizes of the draft");
_Static_assert(sizeof(struct gio_msg_info) == 44 && offsetof(struct gio_msg_info, feature_blocks) == 24, "52 in all");
_Static_assert(offsetof(struct gio_msg_features, bits) == 8, "16 in all, then the blocks");
_Static_assert(offsetof(struct gio_msg_config, data) == 12, "20 in all, then the data");
_Static_assert(sizeof(struct gio_msg_queue) == 40 && offsetof(struct gio_msg_queue, desc) == 16, "48 in all");
_Static_assert(sizeof(struct gio_msg_queue_set) == 40 && offsetof(struct gio_msg_queue_set, desc) == 16, "48 in all");
_Static_assert(sizeof(struct gio_msg_shm) == 24 && offsetof(struct gio_msg_shm, length) == 8, "32 in all");
_Static_assert(offsetof(struct gio_msg_event, data) == 16, "24 in all, then the data");

/* ---- sizes: within one draft nothing grows, so that a longer message is as wrong as a shorter one -----------------
 */

/* The bytes of a request with `count` elements: blocks of SET_DRIVER_FEATURES, data of SET_CONFIG. 0: no such message.
 */
static inline uint64_t gio_msg_request_bytes(unsigned id, uint32_t count)
{
	switch (id) {
	case GIO_MSG_GET_DEVICE_INFO:
	case GIO_MSG_GET_DEVICE_STATUS:
		return 8;
	case GIO_MSG_SET_DEVICE_STATUS:
	case GIO_MSG_GET_VQUEUE:
	case GIO_MSG_RESET_VQUEUE:
	case GIO_MSG_GET_SHM:
		return 12;
	case GIO_MSG_GET_DEVICE_FEATURES:
	case GIO_MSG_GET_CONFIG:
		return 16;
	case GIO_MSG_SET_DRIVER_FEATURES:
		return 16 + 4 * (uint64_t)count;
	case GIO_MSG_SET_CONFIG:
		return 20 + (uint64_t)count;
	case GIO_MSG_SET_VQUEUE:
		return 48;
	default:
		return 0;
	}
}

/* The bytes of a response with `count` elements: blocks, data of either message of the configuration. */
static inline uint64_t gio_msg_response_bytes(unsigned id, uint32_t count)
{
	switch (id) {
	case GIO_MSG_GET_DEVICE_INFO:
		return 52;
	case GIO_MSG_GET_DEVICE_FEATURES:
		return 16 + 4 * (uint64_t)count;
	case GIO_MSG_GET_CONFIG:
	case GIO_MSG_SET_CONFIG:
		return 20 + (uint64_t)count;
	case GIO_MSG_SET_DRIVER_FEATURES:
	case GIO_MSG_SET_VQUEUE:
	case GIO_MSG_RESET_VQUEUE:
		return 8;
	case GIO_MSG_GET_DEVICE_STATUS:
	case GIO_MSG_SET_DEVICE_STATUS:
		return 12;
	case GIO_MSG_GET_VQUEUE:
		return 48;
	case GIO_MSG_GET_SHM:
		return 32;
	default:
		return 0;
	}
}

/* ---- whether a message is well-formed ---------------------------------------------------------------------------- */

/* Whether the parts of the header that all messages share are right: the device, and a size that a message can have. */
static inline bool gio_msg_header_valid(const struct gio_msg *msg)
{
	return msg->header.device == 0 && msg->header.bytes >= sizeof(msg->header) &&
	       msg->header.bytes <= GIO_MSG_MAX && !(msg->header.type & GIO_MSG_TYPE_BUS);
}

/*
 * The elements that a message with a count says that it has: blocks, or bytes of configuration. 0 for all others. The
 * value is the sender's and may be anything; read it only from a message whose header is valid.
 */
static inline uint32_t gio_msg_count(const struct gio_msg *msg)
{
	switch (msg->header.id) {
	case GIO_MSG_GET_DEVICE_FEATURES:
	case GIO_MSG_SET_DRIVER_FEATURES:
		return msg->features.blocks;
	case GIO_MSG_GET_CONFIG:
		return msg->header.type & GIO_MSG_TYPE_RESPONSE ? msg->config.length : msg->config_get.length;
	case GIO_MSG_SET_CONFIG:
		return msg->config.length;
	default:
		return 0;
	}
}

/*
 * Whether a device may answer this request: it is no response and no event, it has the size of its kind, and the
 * response fits in a message. All bytes of `msg` behind the message must be 0 or initialised otherwise.
 */
static inline bool gio_msg_request_valid(const struct gio_msg *msg)
{
	uint32_t count;

	if (!gio_msg_header_valid(msg) || msg->header.type & GIO_MSG_TYPE_RESPONSE)
		return false;
	count = gio_msg_count(msg);
	if (gio_msg_request_bytes(msg->header.id, count) != msg->header.bytes)
		return false;
	if (msg->header.id == GIO_MSG_GET_DEVICE_FEATURES || msg->header.id == GIO_MSG_SET_DRIVER_FEATURES)
		return count >= 1 && count <= GIO_MSG_FEATURES_MAX;
	return count <= GIO_MSG_CONFIG_MAX;
}

/*
 * Whether `msg` is the response to `request`: its token, its number and its size are right. What a response with data
 * repeats of the request (blocks, offset, length) is the driver's to judge.
 */
static inline bool gio_msg_response_valid(const struct gio_msg *msg, const struct gio_msg *request)
{
	return gio_msg_header_valid(msg) && msg->header.type & GIO_MSG_TYPE_RESPONSE &&
	       msg->header.id == request->header.id && msg->header.token == request->header.token &&
	       gio_msg_response_bytes(msg->header.id, gio_msg_count(msg)) == msg->header.bytes;
}

/* Whether `msg` is an EVENT_CONFIG: with all data of its range, or with none. */
static inline bool gio_msg_event_valid(const struct gio_msg *msg)
{
	return gio_msg_header_valid(msg) && !(msg->header.type & GIO_MSG_TYPE_RESPONSE) &&
	       msg->header.id == GIO_MSG_EVENT_CONFIG &&
	       (msg->header.bytes == 24 || (msg->header.bytes > 24 && msg->header.bytes - 24u == msg->event.length));
}

#endif
