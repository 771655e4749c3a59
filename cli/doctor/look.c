/* SPDX-License-Identifier: MIT */
/*
 * Files below the doctor's root. All are read as text of a bounded length, and a file that cannot be read is one that
 * is not there: what this means decides the check.
 */
#include "cli/doctor/doctor.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path below root; false if it is too long. */
__attribute__((format(printf, 3, 0))) static bool path_make(const struct gc_doctor *doctor, char path[PATH_MAX],
							    const char *format, va_list list)
{
	size_t used = strlen(doctor->root);
	int more;

	if (used >= PATH_MAX)
		return false;
	memcpy(path, doctor->root, used);
	more = vsnprintf(path + used, PATH_MAX - used, format, list);
	return more >= 0 && (size_t)more < PATH_MAX - used;
}

/* A file that may not be looked at counts as missing; as root that does not happen. */
bool gc_look_exists(const struct gc_doctor *doctor, const char *format, ...)
{
	char path[PATH_MAX];
	va_list list;
	bool made;

	va_start(list, format);
	made = path_make(doctor, path, format, list);
	va_end(list);
	return made && access(path, F_OK) == 0;
}

/* One line is enough for all files that are asked for; most of them are sysfs attributes. */
bool gc_look_text(const struct gc_doctor *doctor, char *text, size_t size, const char *format, ...)
{
	char path[PATH_MAX];
	FILE *file = NULL;
	va_list list;
	bool got;

	va_start(list, format);
	if (path_make(doctor, path, format, list))
		file = fopen(path, "re");
	va_end(list);
	if (!file)
		return false;
	got = fgets(text, (int)size, file);
	fclose(file);
	if (!got)
		text[0] = '\0'; /* an empty file is there, too */
	text[strcspn(text, "\n")] = '\0';
	return true;
}

/* ---- the kernel's configuration ---- */

__attribute__((format(printf, 2, 3))) static FILE *below_open(const struct gc_doctor *doctor, const char *format, ...)
{
	char path[PATH_MAX];
	FILE *file = NULL;
	va_list list;

	va_start(list, format);
	if (path_make(doctor, path, format, list))
		file = fopen(path, "re");
	va_end(list);
	return file;
}

/* /proc/config.gz, by gzip; root's name must need no quoting. */
static FILE *config_unpack(const struct gc_doctor *doctor)
{
	char command[PATH_MAX + 32];

	if (strchr(doctor->root, '\'') || !gc_look_exists(doctor, "/proc/config.gz"))
		return NULL;
	snprintf(command, sizeof(command), "gzip -dc '%s/proc/config.gz' 2>/dev/null", doctor->root);
	return popen(command, "re");
}

/* The name must be followed by '=', so that IO_URING is not taken for a longer name. */
static bool line_is(const char *line, const char *option, char *how)
{
	size_t length = strlen(option);

	if (strncmp(line, "CONFIG_", 7) || strncmp(line + 7, option, length) || line[7 + length] != '=')
		return false;
	*how = line[8 + length];
	return true;
}

/* 'n' when no line sets it; 0 when there is no line at all. */
static char config_search(FILE *file, const char *option)
{
	char *line = NULL, how = 0, found;
	size_t size = 0;

	while (getline(&line, &size, file) > 0) {
		how = 'n';
		if (line_is(line, option, &found)) {
			how = found;
			break;
		}
	}
	free(line);
	return how;
}

/*
 * In the order in which distributions keep it: /boot, /lib/modules, /proc/config.gz. The last one needs gzip, and is of
 * the running kernel only.
 */
char gc_look_option(const struct gc_doctor *doctor, const char *path, const char *option)
{
	FILE *file = path ? below_open(doctor, "%s", path) : below_open(doctor, "/boot/config-%s", doctor->release);
	char how = 0;

	if (!file && !path)
		file = below_open(doctor, "/lib/modules/%s/config", doctor->release);
	if (file) {
		how = config_search(file, option);
		fclose(file);
	} else if (!path && (file = config_unpack(doctor))) {
		how = config_search(file, option);
		pclose(file);
	}
	return how;
}

/* ---- modules ---- */

/* Is `word`, up to its end or ".ko", the module's name? Dashes and underscores are the same. */
static bool module_is(const char *word, const char *name)
{
	while (*name && (*word == *name || (strchr("-_", *word) && *word && strchr("-_", *name)))) {
		word++;
		name++;
	}
	return !*name && strncmp(word, ".ko", 3) == 0;
}

/* By modules.dep, which lists all modules of the kernel, loaded or not, in whatever folder and compression. */
bool gc_look_module(const struct gc_doctor *doctor, const char *name)
{
	FILE *file = below_open(doctor, "/lib/modules/%s/modules.dep", doctor->release);
	bool found = false;
	char *line = NULL;
	size_t size = 0;

	while (file && !found && getline(&line, &size, file) > 0) {
		const char *slash;

		line[strcspn(line, ":")] = '\0';
		slash = strrchr(line, '/');
		found = module_is(slash ? slash + 1 : line, name);
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

/* The kernel writes names in /sys/module with underscores. */
bool gc_look_loaded(const struct gc_doctor *doctor, const char *name)
{
	char directory[64];

	snprintf(directory, sizeof(directory), "%s", name);
	for (char *c = directory; *c; c++)
		*c = *c == '-' ? '_' : *c;
	return gc_look_exists(doctor, "/sys/module/%s", directory);
}

/* ---- packages ---- */

/* By dpkg-query; root's name must need no quoting, and `prefix` is the caller's. */
bool gc_look_package(const struct gc_doctor *doctor, const char *prefix, char *name, size_t name_size, char *version,
		     size_t version_size)
{
	char command[PATH_MAX + 160], line[256], status[32], package[64], number[96];
	bool found = false;
	FILE *query;

	if (strchr(doctor->root, '\''))
		return false;
	snprintf(command, sizeof(command),
		 "dpkg-query --root='%s/' -W -f='${db:Status-Status} ${Package} ${Version}\\n' '%.64s*' 2>/dev/null",
		 doctor->root, prefix);
	query = popen(command, "re");
	while (query && !found && fgets(line, sizeof(line), query))
		found = sscanf(line, "%31s %63s %95s", status, package, number) == 3 &&
			strcmp(status, "installed") == 0;
	if (query)
		pclose(query);
	if (found) {
		snprintf(name, name_size, "%s", package);
		snprintf(version, version_size, "%s", number);
	}
	return found;
}

/* ---- patterns ---- */

/* Matches are passed on without the root, so that callers can use them as paths again. */
unsigned gc_look_each(struct gc_doctor *doctor, const char *pattern,
		      void (*found)(struct gc_doctor *doctor, const char *path))
{
	char path[PATH_MAX];
	unsigned count = 0;
	glob_t all;

	snprintf(path, sizeof(path), "%s%s", doctor->root, pattern);
	if (glob(path, 0, NULL, &all))
		return 0;
	for (; count < all.gl_pathc; count++)
		found(doctor, all.gl_pathv[count] + strlen(doctor->root));
	globfree(&all);
	return count;
}

/* The first match is enough: the patterns that are used match one file, or files that are equally good. */
bool gc_look_name(const struct gc_doctor *doctor, char *name, size_t size, const char *format, ...)
{
	char path[PATH_MAX];
	va_list list;
	glob_t all;
	bool made;

	va_start(list, format);
	made = path_make(doctor, path, format, list);
	va_end(list);
	if (!made || glob(path, 0, NULL, &all))
		return false;
	snprintf(name, size, "%s", strrchr(all.gl_pathv[0], '/') + 1);
	globfree(&all);
	return true;
}
