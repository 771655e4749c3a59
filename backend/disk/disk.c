/* SPDX-License-Identifier: MIT */
#include "backend/disk/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int engine_open(struct gd_disk **disk, const struct gd_disk_opening *opening)
{
	const char *target = opening->config->target, *colon = strstr(target, "://");

	if (target[0] == '/')
		return gd_file_open(disk, opening);
	if (!strncmp(target, "nbd://", 6) || !strncmp(target, "nbd+unix://", 11))
		return gd_nbd_open(disk, opening);
	if (colon)
		return gd_disk_refuse(opening, -EPROTONOSUPPORT,
				      "\"%.*s\" is not served: it is a path, nbd:// or nbd+unix://",
				      (int)(colon - target), target);
	return gd_disk_refuse(opening, -EINVAL, "is neither an absolute path nor nbd:// nor nbd+unix://");
}

int gd_disk_open(struct gd_disk **out, const struct gd_disk_config *config, struct gd_log *log, char *error,
		 size_t size)
{
	struct gd_disk_opening opening = {.config = config, .log = log, .error = error, .size = size};
	struct gd_disk *disk;
	char *target;
	int result;

	if (size)
		error[0] = 0;
	target = strdup(config->target);
	if (!target)
		return gd_disk_refuse(&opening, -ENOMEM, "%s", gd_log_errno(ENOMEM));
	result = engine_open(&disk, &opening);
	if (result) {
		free(target);
		return result;
	}
	disk->target = target;
	disk->log = log;
	disk->size = disk->info.size;
	disk->discard = config->discard;
	disk->info.readonly |= config->readonly;
	if (!config->discard || disk->info.readonly)
		disk->info.max_discard = 0;
	if (disk->info.readonly)
		disk->info.max_write_zeroes = 0;
	*out = disk;
	return 0;
}

void gd_disk_close(struct gd_disk *disk)
{
	char *target;

	if (!disk)
		return;
	target = disk->target;
	disk->engine->close(disk);
	free(target);
}

void gd_disk_info(const struct gd_disk *disk, struct gd_disk_info *info)
{
	*info = disk->info;
	info->size = gd_disk_size(disk);
}

bool gd_disk_refresh(struct gd_disk *disk)
{
	uint64_t size = disk->engine->measure(disk);

	return __atomic_exchange_n(&disk->size, size, __ATOMIC_RELAXED) != size;
}

void gd_disk_remember(struct gd_disk *disk, uint32_t *unflushed)
{
	if (disk->engine->remember)
		disk->engine->remember(disk, unflushed);
}

bool gd_disk_unflushed(const struct gd_disk *disk)
{
	return disk->engine->unflushed && disk->engine->unflushed(disk);
}
