/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over files, without a fuzzer: each argument is a file, or a directory of files. One line at the
 * end; status 0 when every input went through (a target that finds an error aborts), 1 when one could not be read.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BYTES 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	static uint8_t data[MAX_BYTES];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file) {
		fprintf(stderr, "replay: cannot open %s\n", path);
		return -1;
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	return 1;
}

/* The number of inputs, or -1. */
static int replay_dir(const char *path, DIR *dir)
{
	struct dirent *d;
	int count = 0;

	while ((d = readdir(dir))) {
		char name[4096];
		int ret;

		if (d->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
		ret = replay_file(name);
		if (ret < 0)
			return ret;
		count += ret;
	}
	return count;
}

int main(int argc, char **argv)
{
	int inputs = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		int ret = dir ? replay_dir(argv[i], dir) : replay_file(argv[i]);

		if (dir)
			closedir(dir);
		if (ret < 0)
			return 1;
		inputs += ret;
	}
	printf("%d inputs\n", inputs);
	return inputs ? 0 : 1;
}
