/* SPDX-License-Identifier: MIT */
#include "backend/disk/image.h"
#include "backend/disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* QEMU's locks (its block/file-posix.c): byte 100 + permission: "I use it"; 200 + permission: "nobody else may". */
enum { QEMU_USES = 100, QEMU_SHARES_NOT = 200, QEMU_READ = 0, QEMU_WRITE = 1, QEMU_RESIZE = 3 };

static const char *kind_refused(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFBLK:
		return NULL;
	case S_IFDIR:
		return "is a directory";
	case S_IFCHR:
		return "is a character device";
	case S_IFIFO:
		return "is a FIFO";
	case S_IFSOCK:
		return "is a socket";
	default:
		return "is neither a file nor a block device";
	}
}

static bool path_under(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	while (length && directory[length - 1] == '/')
		length--;
	return !strncmp(path, directory, length) && path[length] == '/';
}

static bool path_allowed(const char *path, const char *const *allow)
{
	for (; *allow; allow++) {
		char *directory = realpath(*allow, NULL);
		bool under = directory && path_under(path, directory);

		free(directory);
		if (under)
			return true;
	}
	return false;
}

/* Resolve the name to a file that no open() has touched yet; returns an O_PATH descriptor. */
static int image_locate(struct gd_image *image, const struct gd_disk_opening *opening)
{
	const struct gd_disk_config *config = opening->config;
	const char *refused;
	char link[32];
	struct stat st;
	ssize_t n;
	int fd, result;

	fd = open(config->target, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return gd_disk_refuse(opening, -errno, "cannot open: %s", gd_log_errno(errno));
	if (fstat(fd, &st)) {
		result = gd_disk_refuse(opening, -errno, "cannot look at it: %s", gd_log_errno(errno));
		goto close_fd;
	}
	refused = kind_refused(st.st_mode);
	if (refused) {
		result = gd_disk_refuse(opening, S_ISDIR(st.st_mode) ? -EISDIR : -ENOTBLK, "%s", refused);
		goto close_fd;
	}
	image->block = S_ISBLK(st.st_mode);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, image->path, sizeof(image->path) - 1);
	if (n < 0) {
		result = gd_disk_refuse(opening, -errno, "cannot find out its path: %s: %s", link, gd_log_errno(errno));
		goto close_fd;
	}
	image->path[n] = 0;
	if (config->allow && !path_allowed(image->path, config->allow)) {
		bool same = !strcmp(image->path, config->target);

		result = gd_disk_refuse(opening, -EPERM, "%s%sis in no directory that images may lie in (image-dir)",
					same ? "" : image->path, same ? "" : " ");
		goto close_fd;
	}
	return fd;

close_fd:
	close(fd);
	return result;
}

/* Open the file that image_locate() found, without O_DIRECT where its file system has no such thing. */
static int image_reopen(struct gd_image *image, const struct gd_disk_opening *opening, int located)
{
	const struct gd_disk_config *config = opening->config;
	int flags = O_CLOEXEC | (config->readonly ? O_RDONLY : O_RDWR);
	int error, ro = 0;
	char link[32];

	if (image->block && !config->readonly)
		flags |= O_EXCL; /* without O_CREAT, on a block device: nobody has it mounted or claimed (open(2)) */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", located);
	image->direct = config->direct;
	image->fd = open(link, flags | (config->direct ? O_DIRECT : 0));
	if (image->fd < 0 && errno == EINVAL && config->direct) {
		image->direct = false;
		image->fd = open(link, flags);
	}
	if (image->fd < 0) {
		error = errno;
		if (error == EBUSY && image->block)
			return gd_disk_refuse(opening, -error, "is in use: mounted, or held by another program");
		return gd_disk_refuse(opening, -error, "cannot open for %s: %s",
				      config->readonly ? "reading" : "writing", gd_log_errno(error));
	}
	if (image->block && !config->readonly && (ioctl(image->fd, BLKROGET, &ro) || ro)) {
		close(image->fd);
		return gd_disk_refuse(opening, -EROFS, "cannot open for writing: the device is read-only");
	}
	return 0;
}

static int lock_range(int fd, int command, struct flock *lock, short type, off_t start, off_t length)
{
	*lock = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
	return fcntl(fd, command, lock) ? -errno : 0;
}

/* For a reader: lock "I read it" and "nobody else may write or resize", and look that nobody does so now. */
static int lock_shared(int fd)
{
	static const short held[] = {QEMU_USES + QEMU_READ, QEMU_SHARES_NOT + QEMU_WRITE,
				     QEMU_SHARES_NOT + QEMU_RESIZE};
	static const short others[] = {QEMU_USES + QEMU_WRITE, QEMU_USES + QEMU_RESIZE};
	struct flock lock;
	int result;
	size_t i;

	for (i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
		result = lock_range(fd, F_OFD_SETLK, &lock, F_RDLCK, held[i], 1);
		if (result)
			return result;
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		result = lock_range(fd, F_OFD_GETLK, &lock, F_WRLCK, others[i], 1);
		if (result)
			return result;
		if (lock.l_type != F_UNLCK)
			return -EAGAIN;
	}
	return 0;
}

static int image_lock(struct gd_image *image, const struct gd_disk_opening *opening)
{
	bool readonly = opening->config->readonly;
	struct flock lock;
	int result = readonly ? lock_shared(image->fd) : lock_range(image->fd, F_OFD_SETLK, &lock, F_WRLCK, 0, 0);

	image->locked = !result || (image->block && !readonly); /* the latter is held by O_EXCL */
	if (result == -EAGAIN || result == -EACCES)
		return gd_disk_refuse(opening, -EBUSY, "is in use: another disk or program %s it",
				      readonly ? "writes to" : "has opened");
	if (result)
		gd_log(opening->log, GD_WARN, "%s: cannot be locked (%s): nothing keeps others from writing to it",
		       opening->config->target, gd_log_errno(result));
	return 0;
}

/* Clear or set O_DIRECT. */
static int direct_set(int fd, bool direct)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT))
		return -errno;
	return 0;
}

/* The format that the image looks like; NULL: raw data, or it cannot be read, which an I/O will report. */
static const struct gd_format *format_read(const struct gd_image *image)
{
	uint8_t head[GD_FORMAT_BYTES], tail[GD_FORMAT_BYTES];
	size_t size = GD_FORMAT_BYTES;
	uint64_t bytes;

	if (gd_image_measure(image, &bytes) || !bytes)
		return NULL;
	if (bytes < size)
		size = bytes;
	if (pread(image->fd, head, size, 0) != (ssize_t)size ||
	    pread(image->fd, tail, size, (off_t)(bytes - size)) != (ssize_t)size)
		return NULL;
	return gd_format_find(head, tail, size);
}

/* Refuse an image of another format. It is read through the page cache, where any offset and any memory will do. */
static int image_judge(const struct gd_image *image, const struct gd_disk_opening *opening)
{
	const struct gd_format *format;
	int result = image->direct ? direct_set(image->fd, false) : 0;

	if (result)
		return gd_disk_refuse(opening, result, "cannot turn O_DIRECT off: %s", gd_log_errno(result));
	format = format_read(image);
	result = image->direct ? direct_set(image->fd, true) : 0;
	if (result)
		return gd_disk_refuse(opening, result, "cannot turn O_DIRECT on: %s", gd_log_errno(result));
	if (format && !opening->config->raw)
		return gd_disk_refuse(opening, -EMEDIUMTYPE,
				      "is a %s image, and only raw data is served: let qemu-nbd -f %s serve it, and "
				      "name nbd+unix:///?socket=PATH instead (if it is raw data: see raw-image)",
				      format->name, format->qemu);
	if (format)
		gd_log(opening->log, GD_WARN, "%s: looks like a %s image: served as raw data all the same",
		       opening->config->target, format->name);
	return 0;
}

int gd_image_undirect(const struct gd_image *image)
{
	return direct_set(image->fd, false);
}

/*
 * Does a direct read in units of 512 bytes work? A read changes nothing. It must be of a place that has data: the
 * kernel reads a hole in any unit. With an image that has no data at all, file.c finds out when the guest does I/O.
 */
static bool direct_probe(int fd)
{
	_Alignas(1024) char area[1024];
	off_t data = lseek(fd, 0, SEEK_DATA);
	ssize_t n;

	if (data < 0)
		return true;
	n = pread(fd, area + 512, 512,
		  (data | 512) & ~(off_t)511); /* both memory and offset are multiples of 512, and not of 1024 */
	return n >= 0 || errno != EINVAL;
}

/*
 * Can O_DIRECT be used on this file? A disk that is a file has blocks of 512 bytes, wherever the file lies, as its
 * partition table counts in them. So where the system needs larger units, the file is served through the page cache.
 * Linux before 6.1, and some file systems, do not say what they need.
 */
static bool direct_file(struct gd_image *image)
{
	struct statx stx;

	image->told = !statx(image->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) && stx.stx_mask & STATX_DIOALIGN;
	if (!image->told) {
		image->align = 512;
		return direct_probe(image->fd);
	}
	image->align = stx.stx_dio_mem_align;
	return stx.stx_dio_mem_align && stx.stx_dio_offset_align <= 512;
}

static int image_describe_file(struct gd_image *image, const struct gd_disk_opening *opening, const struct stat *st)
{
	off_t end = (st->st_size + 4095) & ~(off_t)4095;
	int result;

	image->block_size = 512;
	image->physical_size = st->st_blksize >= 4096 ? 4096 : 512;
	image->discard_align = image->physical_size;
	image->direct = image->direct && direct_file(image);
	if (!image->direct) {
		image->align = 1;
		result = direct_set(image->fd, false);
		if (result)
			return gd_disk_refuse(opening, result, "cannot turn O_DIRECT off: %s", gd_log_errno(result));
		if (opening->config->direct)
			gd_log(opening->log, GD_NOTICE,
			       "%s: no O_DIRECT in units of 512 bytes here: served through the page cache",
			       opening->config->target);
	}
	/* A test that changes nothing: there is no data beyond the end. */
	image->punches =
		!opening->config->readonly &&
		(!fallocate(image->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end, 4096) || errno != EOPNOTSUPP);
	return 0;
}

/* A number from the device's queue directory in sysfs, which for a partition is that of its disk. 0: there is none. */
static uint64_t queue_limit(dev_t dev, const char *name)
{
	static const char *const places[] = {"", "../"};
	unsigned long long value = 0;
	char path[128], text[32];
	size_t i;

	for (i = 0; i < 2; i++) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(dev), minor(dev), places[i],
			 name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (n > 0) {
			text[n] = 0;
			value = strtoull(text, NULL, 10);
		}
		break;
	}
	return value;
}

static int image_describe_block(struct gd_image *image, const struct gd_disk_opening *opening, const struct stat *st)
{
	unsigned physical = 0;
	uint64_t granularity;
	struct statx stx;
	int logical = 0;

	if (ioctl(image->fd, BLKSSZGET, &logical) || ioctl(image->fd, BLKPBSZGET, &physical))
		return gd_disk_refuse(opening, -errno, "cannot ask for the block size: %s", gd_log_errno(errno));
	if (logical < 512 || logical > 65536 || logical & (logical - 1))
		return gd_disk_refuse(opening, -EINVAL, "block size %d is not a power of two from 512 to 65536",
				      logical);
	image->block_size = (uint32_t)logical;
	image->physical_size = physical > image->block_size ? physical : image->block_size;
	image->align =
		image->direct ? image->block_size : 1; /* every kernel accepts that; newer ones say what they need */
	if (image->direct && !statx(image->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_mem_align)
		image->align = stx.stx_dio_mem_align;
	image->punches = queue_limit(st->st_rdev, "discard_max_bytes") > 0;
	granularity = queue_limit(st->st_rdev, "discard_granularity");
	image->discard_align = granularity >= image->block_size && granularity < (1u << 31) ? (uint32_t)granularity
											    : image->block_size;
	return 0;
}

int gd_image_measure(const struct gd_image *image, uint64_t *bytes)
{
	struct stat st;

	if (image->block)
		return ioctl(image->fd, BLKGETSIZE64, bytes) ? -errno : 0;
	if (fstat(image->fd, &st))
		return -errno;
	*bytes = (uint64_t)st.st_size;
	return 0;
}

int gd_image_open(struct gd_image *image, const struct gd_disk_opening *opening)
{
	struct stat st;
	int located, result;

	memset(image, 0, sizeof(*image));
	located = image_locate(image, opening);
	if (located < 0)
		return located;
	result = image_reopen(image, opening, located);
	close(located);
	if (result)
		return result;
	result = image_lock(image, opening);
	if (!result)
		result = image_judge(image, opening);
	if (result)
		goto close_fd;
	if (fstat(image->fd, &st)) {
		result = gd_disk_refuse(opening, -errno, "cannot look at it: %s", gd_log_errno(errno));
		goto close_fd;
	}
	result = image->block ? image_describe_block(image, opening, &st) : image_describe_file(image, opening, &st);
	if (result)
		goto close_fd;
	return 0;

close_fd:
	close(image->fd);
	return result;
}

void gd_image_close(struct gd_image *image)
{
	close(image->fd);
}
