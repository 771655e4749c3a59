/* SPDX-License-Identifier: MIT */
/*
 * Virtio block device: features, configuration space and requests as they lie in memory (virtio 1.2, 5.2). Fields are
 * little-endian. The device id is GIO_VIRTIO_ID_BLOCK (abi/virtio.h); the first request queue is queue 0.
 *
 * A request is one chain: struct gio_virtio_blk_outhdr (device-readable), the data (device-readable or device-writable,
 * or none), and one status byte (device-writable, the last byte of the chain). The split into descriptors is the
 * driver's choice (2.7.4): a device goes by bytes, not by descriptors.
 */
#ifndef GRANTIO_ABI_VIRTIO_BLK_H
#define GRANTIO_ABI_VIRTIO_BLK_H

#include <stddef.h>
#include <stdint.h>

#include <abi/virtio.h>

#define GIO_VIRTIO_BLK_SECTOR	512u /* unit of every sector number below, whatever the block size */
#define GIO_VIRTIO_BLK_ID_BYTES 20u  /* GET_ID's data; no terminating 0 if the identity fills it */

/* ---- features: 5.2.3 ------------------------------------------------------------------------------------------- */

#define GIO_VIRTIO_BLK_F_SIZE_MAX     GIO_VIRTIO_F(1)
#define GIO_VIRTIO_BLK_F_SEG_MAX      GIO_VIRTIO_F(2)
#define GIO_VIRTIO_BLK_F_GEOMETRY     GIO_VIRTIO_F(4)
#define GIO_VIRTIO_BLK_F_RO	      GIO_VIRTIO_F(5)
#define GIO_VIRTIO_BLK_F_BLK_SIZE     GIO_VIRTIO_F(6)
#define GIO_VIRTIO_BLK_F_FLUSH	      GIO_VIRTIO_F(9)
#define GIO_VIRTIO_BLK_F_TOPOLOGY     GIO_VIRTIO_F(10)
#define GIO_VIRTIO_BLK_F_CONFIG_WCE   GIO_VIRTIO_F(11)
#define GIO_VIRTIO_BLK_F_MQ	      GIO_VIRTIO_F(12)
#define GIO_VIRTIO_BLK_F_DISCARD      GIO_VIRTIO_F(13)
#define GIO_VIRTIO_BLK_F_WRITE_ZEROES GIO_VIRTIO_F(14)
#define GIO_VIRTIO_BLK_F_LIFETIME     GIO_VIRTIO_F(15)
#define GIO_VIRTIO_BLK_F_SECURE_ERASE GIO_VIRTIO_F(16)

/* ---- configuration space: 5.2.4. The device writes every field but `writeback`. ------------------------------- */

struct gio_virtio_blk_config {
	uint64_t capacity; /* sectors of 512 bytes */
	uint32_t size_max; /* SIZE_MAX: bytes of the largest segment */
	uint32_t seg_max;  /* SEG_MAX: most data segments of a request */
	struct {
		uint16_t cylinders;
		uint8_t heads;
		uint8_t sectors;
	} geometry;		    /* GEOMETRY */
	uint32_t blk_size;	    /* BLK_SIZE: bytes of a logical block */
	uint8_t physical_block_exp; /* TOPOLOGY: log2 of logical blocks per physical block */
	uint8_t alignment_offset;   /* TOPOLOGY: logical block of the first aligned one */
	uint16_t min_io_size;	    /* TOPOLOGY: logical blocks */
	uint32_t opt_io_size;	    /* TOPOLOGY: logical blocks */
	uint8_t writeback;	    /* CONFIG_WCE: 1: writeback, 0: writethrough; the driver may write it */
	uint8_t unused0;
	uint16_t num_queues;		   /* MQ */
	uint32_t max_discard_sectors;	   /* DISCARD: sectors of 512 bytes in one segment */
	uint32_t max_discard_seg;	   /* DISCARD: segments of a request */
	uint32_t discard_sector_alignment; /* DISCARD: sectors of 512 bytes */
	uint32_t max_write_zeroes_sectors; /* WRITE_ZEROES */
	uint32_t max_write_zeroes_seg;	   /* WRITE_ZEROES */
	uint8_t write_zeroes_may_unmap;	   /* WRITE_ZEROES: 1: the unmap flag may deallocate */
	uint8_t unused1[3];
	uint32_t max_secure_erase_sectors;	/* SECURE_ERASE */
	uint32_t max_secure_erase_seg;		/* SECURE_ERASE */
	uint32_t secure_erase_sector_alignment; /* SECURE_ERASE */
};

_Static_assert(offsetof(struct gio_virtio_blk_config, size_max) == 8, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, seg_max) == 12, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, geometry) == 16, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, blk_size) == 20, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, physical_block_exp) == 24, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, opt_io_size) == 28, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, writeback) == 32, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, num_queues) == 34, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, max_discard_sectors) == 36, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, max_write_zeroes_sectors) == 48, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, write_zeroes_may_unmap) == 56, "5.2.4");
_Static_assert(offsetof(struct gio_virtio_blk_config, max_secure_erase_sectors) == 60, "5.2.4");
_Static_assert(sizeof(struct gio_virtio_blk_config) == 72, "5.2.4");

/* ---- requests: 5.2.6 ------------------------------------------------------------------------------------------- */

enum gio_virtio_blk_type {
	GIO_VIRTIO_BLK_T_IN = 0,	    /* read */
	GIO_VIRTIO_BLK_T_OUT = 1,	    /* write */
	GIO_VIRTIO_BLK_T_FLUSH = 4,	    /* no data */
	GIO_VIRTIO_BLK_T_GET_ID = 8,	    /* data: GIO_VIRTIO_BLK_ID_BYTES, device-writable */
	GIO_VIRTIO_BLK_T_GET_LIFETIME = 10, /* LIFETIME */
	GIO_VIRTIO_BLK_T_DISCARD = 11,	    /* data: struct gio_virtio_blk_range, device-readable */
	GIO_VIRTIO_BLK_T_WRITE_ZEROES = 13, /* the same */
	GIO_VIRTIO_BLK_T_SECURE_ERASE = 14  /* the same */
};

struct gio_virtio_blk_outhdr {
	uint32_t type;	   /* driver: enum gio_virtio_blk_type */
	uint32_t reserved; /* driver: 0 */
	uint64_t sector;   /* driver: first sector of IN and OUT, else 0 */
};

_Static_assert(sizeof(struct gio_virtio_blk_outhdr) == 16, "5.2.6");
_Static_assert(offsetof(struct gio_virtio_blk_outhdr, sector) == 8, "5.2.6");

#define GIO_VIRTIO_BLK_RANGE_F_UNMAP 1u /* WRITE_ZEROES: the device may deallocate; other bits are 0 */

/* A segment of DISCARD, WRITE_ZEROES and SECURE_ERASE. */
struct gio_virtio_blk_range {
	uint64_t sector;      /* driver */
	uint32_t num_sectors; /* driver */
	uint32_t flags;	      /* driver: GIO_VIRTIO_BLK_RANGE_F_* */
};

_Static_assert(sizeof(struct gio_virtio_blk_range) == 16, "5.2.6");
_Static_assert(offsetof(struct gio_virtio_blk_range, num_sectors) == 8, "5.2.6");
_Static_assert(offsetof(struct gio_virtio_blk_range, flags) == 12, "5.2.6");

/* The status byte: device. */
#define GIO_VIRTIO_BLK_S_OK	0u
#define GIO_VIRTIO_BLK_S_IOERR	1u
#define GIO_VIRTIO_BLK_S_UNSUPP 2u

#endif
