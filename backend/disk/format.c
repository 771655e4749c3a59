/* SPDX-License-Identifier: MIT */
#include "backend/disk/format.h"

#include <string.h>

/* Where each format has its magic bytes. VHD has them in a footer, of which a dynamic VHD has a copy at its beginning.
 */
static const struct magic {
	struct gd_format format;
	enum { HEAD, TAIL } end;
	unsigned offset;
	const char *bytes;
	unsigned size;
} magics[] = {
	{{"qcow", "qcow"}, HEAD, 0, "QFI\xfb\0\0\0\1", 8},
	{{"qcow2", "qcow2"}, HEAD, 0, "QFI\xfb", 4},
	{{"QED", "qed"}, HEAD, 0, "QED\0", 4},
	{{"VMDK", "vmdk"}, HEAD, 0, "KDMV", 4},
	{{"VMDK", "vmdk"}, HEAD, 0, "COWD", 4},
	{{"VMDK", "vmdk"}, HEAD, 0, "# Disk DescriptorFile", 21},
	{{"VHDX", "vhdx"}, HEAD, 0, "vhdxfile", 8},
	{{"VHD", "vpc"}, HEAD, 0, "conectix", 8},
	{{"VHD", "vpc"}, TAIL, 0, "conectix", 8},
	{{"VDI", "vdi"}, HEAD, 0x40, "\x7f\x10\xda\xbe", 4},
	{{"Parallels", "parallels"}, HEAD, 0, "WithoutFreeSpace", 16},
	{{"Parallels", "parallels"}, HEAD, 0, "WithouFreSpacExt", 16},
};

const struct gd_format *gd_format_find(const uint8_t *head, const uint8_t *tail, size_t size)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		const struct magic *magic = &magics[i];
		const uint8_t *at = magic->end == HEAD ? head : tail;

		if (magic->offset + magic->size <= size && !memcmp(at + magic->offset, magic->bytes, magic->size))
			return &magic->format;
	}
	return NULL;
}
