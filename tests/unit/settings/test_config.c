/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/config.h"

struct fixture {
	struct gd_config config;
	char error[GD_CONFIG_ERROR];
	char path[32]; /* of a settings file */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	if (!f)
		return -1;
	strcpy(f->path, "/tmp/gd-config-XXXXXX");
	fd = mkstemp(f->path);
	if (fd < 0)
		return -1;
	close(fd);
	gd_config_init(&f->config);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gd_config_exit(&f->config);
	unlink(f->path);
	free(f);
	return 0;
}

/* Up to three arguments; NULL ends them. */
static int parse(struct fixture *f, const char *one, const char *two, const char *three)
{
	char *argv[] = {(char *)"grantiod", (char *)one, (char *)two, (char *)three, NULL};
	int argc = 1 + !!one + !!two + !!three;

	f->error[0] = '\0';
	return gd_config_parse(&f->config, argc, argv, f->error);
}

static void file_write(struct fixture *f, const char *text)
{
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int parse_file(struct fixture *f, const char *text)
{
	file_write(f, text);
	return parse(f, "--config", f->path, NULL);
}

static const struct gd_aliases *guest(uint16_t domid)
{
	static struct gd_aliases guest;

	guest = (struct gd_aliases){.domid = domid};
	return &guest;
}

static void has_defaults(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, NULL, NULL, NULL), 0);
	assert_int_equal(f->config.queues, 4);
	assert_int_equal(f->config.queue_size, 256);
	assert_int_equal(f->config.look, 100);
	assert_false(f->config.indirect);
	assert_int_equal(f->config.nbd_timeout, 0);
	assert_int_equal(f->config.nbd_reconnect, 5);
	assert_int_equal(f->config.rng_rate, 1048576);
	assert_true(f->config.discard);
	assert_true(f->config.direct);
	assert_int_equal(f->config.level, GD_INFO);
	assert_null(f->config.control);
	assert_null(f->config.image_dirs[0]);
}

static void takes_options(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "--queues", "16", "--indirect"), 0);
	assert_int_equal(f->config.queues, 16);
	assert_true(f->config.indirect);
	assert_int_equal(parse(f, "--queue-size=1024", "--no-discard", "--no-direct"), 0);
	assert_int_equal(f->config.queue_size, 1024);
	assert_false(f->config.discard);
	assert_false(f->config.direct);
	assert_int_equal(parse(f, "--look=1000", NULL, NULL), 0);
	assert_int_equal(f->config.look, 1000);
	assert_int_equal(parse(f, "--look", "0", NULL), 0);
	assert_int_equal(f->config.look, 0);
	assert_int_equal(parse(f, "--image-dir=/tmp", "--image-dir", "/usr"), 0);
	assert_string_equal(f->config.image_dirs[0], "/tmp");
	assert_string_equal(f->config.image_dirs[1], "/usr");
	assert_null(f->config.image_dirs[2]);
	assert_int_equal(parse(f, "--nbd-timeout=86400", "--nbd-reconnect", "0"), 0);
	assert_int_equal(f->config.nbd_timeout, 86400);
	assert_int_equal(f->config.nbd_reconnect, 0);
	assert_int_equal(parse(f, "--log-level=debug", "--control", "/run/x"), 0);
	assert_int_equal(f->config.level, GD_DEBUG);
	assert_string_equal(f->config.control, "/run/x");
	assert_false(gd_config_foreign(&f->config, guest(0)));
	assert_int_equal(parse(f, "--allow-foreign=3", "--allow-foreign", "32751"), 0);
	assert_true(gd_config_foreign(&f->config, guest(3)));
	assert_true(gd_config_foreign(&f->config, guest(32751)));
	assert_false(gd_config_foreign(&f->config, guest(4)));
	assert_int_equal(parse(f, "--allow-foreign", "all", NULL), 0);
	assert_true(gd_config_foreign(&f->config, guest(4)));
	assert_int_equal(parse(f, "--raw-image=/a", "--raw-image", "/b"), 0);
	assert_true(gd_config_raw(&f->config, "/a") && gd_config_raw(&f->config, "/b"));
	assert_false(gd_config_raw(&f->config, "/c"));
	assert_int_equal(parse(f, "--raw-image=all", NULL, NULL), 0);
	assert_true(gd_config_raw(&f->config, "/c"));
	assert_int_equal(parse(f, "--help", "--version", NULL), 0);
	assert_true(f->config.help);
	assert_true(f->config.version);
}

static void names_what_is_wrong(void **state)
{
	static const struct {
		const char *one, *two, *error;
	} cases[] = {
		{"--queues", "99", "grantiod: --queues '99': must be 1 to 16"},
		{"--queues=0", NULL, "grantiod: --queues '0': must be 1 to 16"},
		{"--queues", "", "grantiod: --queues '': must be 1 to 16"},
		{"--queues", "4x", "grantiod: --queues '4x': must be 1 to 16"},
		{"--queues", "-1", "grantiod: --queues '-1': must be 1 to 16"},
		{"--queue-size", "100", "grantiod: --queue-size '100': must be a power of two, 2 to 1024"},
		{"--queue-size", "1", "grantiod: --queue-size '1': must be a power of two, 2 to 1024"},
		{"--queue-size", "2048", "grantiod: --queue-size '2048': must be a power of two, 2 to 1024"},
		{"--log-level", "loud", "grantiod: --log-level 'loud': must be err, warn, notice, info or debug"},
		{"--image-dir", "images", "grantiod: --image-dir 'images': must be an absolute path"},
		{"--image-dir", "/none/such", "grantiod: --image-dir '/none/such': there is no such directory"},
		{"--image-dir", "/dev/null", "grantiod: --image-dir '/dev/null': there is no such directory"},
		{"--state-dir", "/none/such", "grantiod: --state-dir '/none/such': there is no such directory"},
		{"--state-dir", "state", "grantiod: --state-dir 'state': must be an absolute path"},
		{"--queues=4", "--queues=8", "grantiod: --queues '8': is given twice"},
		{"--no-direct", "--no-direct", "grantiod: --no-direct 'yes': is given twice"},
		{"--allow-foreign", "", "grantiod: --allow-foreign '': names no guest"},
		{"--allow-foreign", "32752",
		 "grantiod: --allow-foreign '32752': is no domain id: that is at most 32751"},
		{"--nbd-allow", "unix:nbd",
		 "grantiod: --nbd-allow 'unix:nbd': must be unix:/DIR, tcp:HOST, tcp:HOST:PORT, all or none"},
		{"--nbd-allow", "unix:/dev/null", "grantiod: --nbd-allow 'unix:/dev/null': is no directory"},
		{"--raw-image", "a.raw", "grantiod: --raw-image 'a.raw': must be an absolute path, or all"},
		{"--control", "sock", "grantiod: --control 'sock': must be an absolute path"},
		{"--control", "/nowhere/sock", "grantiod: --control '/nowhere/sock': its directory is not there"},
		{"--control", "/dev/null", "grantiod: --control '/dev/null': is there already, and is no socket"},
		{"--queues", NULL, "grantiod: --queues: needs a value"},
		{"--indirect=yes", NULL, "grantiod: --indirect 'yes': takes no value"},
		{"--help=1", NULL, "grantiod: --help '1': takes no value"},
		{"--nonsense", NULL, "grantiod: '--nonsense': no such option (see --help)"},
		{"--queue", "4", "grantiod: '--queue': no such option (see --help)"},
		{"--disk", "1/0 /x", "grantiod: '--disk': no such option (see --help)"},
		{"image", NULL, "grantiod: 'image': no such argument (see --help)"},
		{"--", NULL, "grantiod: '--': no such option (see --help)"},
		{"--config", "/none/such", "grantiod: --config '/none/such': No such file or directory"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(parse(f, cases[i].one, cases[i].two, NULL) < 0);
		assert_string_equal(f->error, cases[i].error);
	}
}

/* Values of which nothing may be taken, for every key, and what is said of them. */
static const char must_tcp[] = "must be tcp:HOST, tcp:HOST:PORT, tcp:[ADDRESS] or tcp:[ADDRESS]:PORT",
		  must_list[] = "must be unix:/DIR, tcp:HOST, tcp:HOST:PORT, all or none",
		  must_form[] = "must be GUEST/DEVID IMAGE", must_flag[] = "must be yes or no",
		  must_path[] = "must be an absolute path", must_seconds[] = "must be 0 to 86400 seconds";
static const struct {
	const char *key, *error, *values[20];
} malformed[] = {
	{"nbd-allow",
	 must_tcp,
	 {"tcp:", "tcp:[::1", "tcp:::1]", "tcp:::1", "tcp:[]", "tcp:[::1]x", "tcp:[::1]:", "tcp:[[::1]]", "tcp:[h]",
	  "tcp::10809", "tcp:h:", "tcp:h:0", "tcp:h:65536", "tcp:h:010809", "tcp:h:+1", "tcp:h:1:2", "tcp:h h",
	  "tcp:me@h", "tcp:h/e"}},
	{"nbd-allow", must_list, {"", "ALL", "all none", "unix:", "unix:nbd", "tcp", "udp:h", "h:10809", "unix /run"}},
	{"disk", must_form, {"", "/x", "1/0", "1/ /x", "1/x /x", "1/-1 /x", "1/0x1 /x", "/0 /x", "1 /x"}},
	{"disk", "has no device number: that is at most 536870911", {"1/536870912 /x", "web/99999999999 /x"}},
	{"disk", "is no domain id: that is at most 32751", {"32752/0 /x", "99999999999999999999/0 /x"}},
	{"disk",
	 "its image must be an absolute path, or nbd://, or nbd+unix://",
	 {"1/0 x", "1/0 nbd:/h", "1/0 NBD://h", "1/0 http://h"}},
	{"allow-foreign", "names no guest", {""}},
	{"allow-foreign", "is no domain id: that is at most 32751", {"32752", "00000000000000000000032752"}},
	{"raw-image", "must be an absolute path, or all", {"", "x", "ALL", "./x", "nbd://h"}},
	{"image-dir", must_path, {"", "x", "./x"}},
	{"image-dir", "there is no such directory", {"/none/such", "/dev/null"}},
	{"state-dir", must_path, {"", "x", "../x"}},
	{"state-dir", "there is no such directory", {"/none/such", "/dev/null"}},
	{"control", must_path, {"", "x"}},
	{"control", "its directory is not there", {"/none/such", "/dev/null/x"}},
	{"control", "is there already, and is no socket", {"/", "/dev/null", "/tmp/"}},
	{"queues", "must be 1 to 16", {"", "0", "17", "-1", "+1", "1.5", "0x4", "4 4", "99999999999999999999"}},
	{"queue-size", "must be a power of two, 2 to 1024", {"", "0", "1", "3", "2048", "1k", "256x"}},
	{"look", "must be 0 to 1000 microseconds", {"", "-1", "1001", "50us", "0x5", "yes"}},
	{"indirect", must_flag, {"", "1", "true", "YES", "yesno", "on"}},
	{"no-discard", must_flag, {"", "0", "y"}},
	{"no-direct", must_flag, {"", "false", "No"}},
	{"nbd-timeout", must_seconds, {"", "-1", "86401", "1s", "1.0", "never"}},
	{"nbd-reconnect", must_seconds, {"", "-1", "86401", "5s", "0x5"}},
	{"rng-rate", "must be 1024 to 1073741824 bytes per second", {"", "0", "1023", "1073741825", "1M"}},
	{"log-level", "must be err, warn, notice, info or debug", {"", "ERR", "error", "7", "info,debug"}},
};

/* What is not well-formed would allow no server, or name no image, and nobody would be told before a disk is refused.
 */
static void refuses_what_is_not_well_formed(void **state)
{
	struct fixture *f = *state;
	char text[128], expected[256];

	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		for (const char *const *value = malformed[i].values; *value; value++) {
			gd_config_exit(&f->config);
			gd_config_init(&f->config);
			snprintf(text, sizeof(text), "%s = %s\n", malformed[i].key, *value);
			snprintf(expected, sizeof(expected), "%s:1: %s '%s': %s", f->path, malformed[i].key, *value,
				 malformed[i].error);
			assert_int_equal(parse_file(f, text), -EINVAL);
			assert_string_equal(f->error, expected);
		}
}

/* The other side of it: the forms that the manual page has, and URIs give. */
static void takes_what_is_well_formed(void **state)
{
	static const struct {
		const char *key, *values[12];
	} cases[] = {
		{"nbd-allow",
		 {"all", "none", "unix:/", "unix:/none/such", "tcp:h", "tcp:h.example:1", "tcp:127.0.0.1:65535",
		  "tcp:[::1]", "tcp:[fe80::1%eth0]:10809", "tcp:[::ffff:127.0.0.1]"}},
		{"disk",
		 {"1/0 /", "web/536870911 /x y", "a/b/7 nbd://h", "3/1 nbd://h:99/a%20b/c", "3/2 nbd://[::1]",
		  "3/3 nbd://[fe80::1%25eth0]:1/e", "3/4 nbd+unix:///?socket=/s", "3/5 nbd+unix:///e?socket=/a%20b",
		  "32751/0 nbd+unix://?socket=/s"}},
		{"allow-foreign", {"all", "0", "32751", "web", "1x", "16b01b6f-4240-4693-ad8d-12350dae39be"}},
		{"control", {"/run/x", "/x"}},
	};
	struct fixture *f = *state;
	char text[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (const char *const *value = cases[i].values; *value; value++) {
			gd_config_exit(&f->config);
			gd_config_init(&f->config);
			snprintf(text, sizeof(text), "%s = %s\n", cases[i].key, *value);
			assert_int_equal(parse_file(f, text), 0);
		}
}

static void reads_a_file(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_file(f, "# settings\n\n queues=2\nqueue-size  =  64  \nindirect = yes\nno-direct = yes\n"
				       "no-discard = no\nimage-dir = /tmp\nlog-level = err\n"
				       "control = /run/c\ndisk = 3/0 /x y\ndisk = 3/1 nbd://h/e"),
			 0);
	assert_int_equal(f->config.queues, 2);
	assert_int_equal(f->config.queue_size, 64);
	assert_true(f->config.indirect);
	assert_false(f->config.direct);
	assert_true(f->config.discard);
	assert_string_equal(f->config.image_dirs[0], "/tmp");
	assert_int_equal(f->config.level, GD_ERR);
	assert_string_equal(f->config.control, "/run/c");
	assert_string_equal(gd_config_disk(&f->config, guest(3), 0), "/x y");
	assert_string_equal(gd_config_disk(&f->config, guest(3), 1), "nbd://h/e");
	assert_null(gd_config_disk(&f->config, guest(3), 2));
	assert_null(gd_config_disk(&f->config, guest(4), 0));
}

static void the_command_line_wins(void **state)
{
	struct fixture *f = *state;
	char option[64];

	file_write(f, "queues = 2\nqueue-size = 64\n");
	snprintf(option, sizeof(option), "--config=%s", f->path);
	assert_int_equal(parse(f, "--queues=8", option, NULL), 0);
	assert_int_equal(f->config.queues, 8);
	assert_int_equal(f->config.queue_size, 64);
}

static void names_the_line_of_a_file(void **state)
{
	static const struct {
		const char *text, *error; /* behind "FILE:" */
	} cases[] = {
		{"indirect = no\nqueues = 17\n", "2: queues '17': must be 1 to 16"},
		{"queues\n", "1: 'queues': must be key = value"},
		{"= 3\n", "1:  '3': unknown setting"},
		{"config = /x\n", "1: config '/x': unknown setting"},
		{"\n\nqueue = 3", "3: queue '3': unknown setting"},
		{"indirect = 1\n", "1: indirect '1': must be yes or no"},
		{"nbd-timeout = 86401\n", "1: nbd-timeout '86401': must be 0 to 86400 seconds"},
		{"rng-rate = 1023\n", "1: rng-rate '1023': must be 1024 to 1073741824 bytes per second"},
		{"rng-rate = 0\n", "1: rng-rate '0': must be 1024 to 1073741824 bytes per second"},
		{"nbd-reconnect = 5s\n", "1: nbd-reconnect '5s': must be 0 to 86400 seconds"},
		{"queues = 2\nindirect = no\nqueues = 2\n", "3: queues '2': is given twice"},
		{"\nstate-dir = /none/such\n", "2: state-dir '/none/such': there is no such directory"},
		{"image-dir = /none/such\n", "1: image-dir '/none/such': there is no such directory"},
		{"disk = 3 /x\n", "1: disk '3 /x': must be GUEST/DEVID IMAGE"},
		{"disk = 3/0\n", "1: disk '3/0': must be GUEST/DEVID IMAGE"},
		{"disk = /0 /x\n", "1: disk '/0 /x': must be GUEST/DEVID IMAGE"},
		{"disk = web/x /x\n", "1: disk 'web/x /x': must be GUEST/DEVID IMAGE"},
		{"disk = web/ /x\n", "1: disk 'web/ /x': must be GUEST/DEVID IMAGE"},
		{"disk = 40000/0 /x\n", "1: disk '40000/0 /x': is no domain id: that is at most 32751"},
		{"disk = 3/0 x.raw\n",
		 "1: disk '3/0 x.raw': its image must be an absolute path, or nbd://, or nbd+unix://"},
		{"disk = 3/0 /x\ndisk = 3/0 /y\n", "2: disk '3/0 /y': names a device twice"},
		{"disk = web/0 /x\ndisk = web/1 /x\ndisk = web/0 /y\n", "3: disk 'web/0 /y': names a device twice"},
	};
	struct fixture *f = *state;
	char expected[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		gd_config_exit(&f->config);
		gd_config_init(&f->config);
		snprintf(expected, sizeof(expected), "%s:%s", f->path, cases[i].error);
		assert_int_equal(parse_file(f, cases[i].text), -EINVAL);
		assert_string_equal(f->error, expected);
	}
}

/* A file of zeroes, which a crash of the host can leave, is no empty file: it would lift all restrictions. */
static void refuses_a_damaged_file(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		unsigned line;
	} cases[] = {
		{"\0\0\0\0\0\0\0\0", 8, 1}, {"queues = 2\nqueue-size = 64\0 9\n", 30, 2}, {"queues = 2\n\0", 12, 2}};
	struct fixture *f = *state;
	char expected[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FILE *file = fopen(f->path, "w");

		assert_non_null(file);
		assert_int_equal(fwrite(cases[i].bytes, 1, cases[i].length, file), cases[i].length);
		assert_int_equal(fclose(file), 0);
		snprintf(expected, sizeof(expected), "%s:%u: has a NUL byte, so the file is damaged", f->path,
			 cases[i].line);
		assert_int_equal(gd_config_file(&f->config, f->path, f->error), -EINVAL);
		assert_string_equal(f->error, expected);
	}
}

/* A UUID's line comes before a name's, and that before a number's, wherever they stand. */
static void finds_guests_by_what_they_are_called(void **state)
{
	static const char uuid[] = "16b01b6f-4240-4693-ad8d-12350dae39be";
	const struct gd_aliases all = {3, "web", uuid}, named = {3, "web", NULL}, other = {4, "Web", NULL},
				slash = {5, "a/b", NULL}, unknown = {3, NULL, NULL};
	struct fixture *f = *state;

	assert_int_equal(parse_file(f, "disk = 3/0 /id\ndisk = web/0 /name\n"
				       "disk = 16B01B6F-4240-4693-AD8D-12350DAE39BE/0 /uuid\ndisk = a/b/7 /slash\n"
				       "allow-foreign = web\n"),
			 0);
	assert_true(gd_config_names(&f->config));
	assert_string_equal(gd_config_disk(&f->config, &all, 0), "/uuid");
	assert_string_equal(gd_config_disk(&f->config, &named, 0), "/name");
	assert_string_equal(gd_config_disk(&f->config, &unknown, 0), "/id");
	assert_string_equal(gd_config_disk(&f->config, &slash, 7), "/slash");
	assert_null(gd_config_disk(&f->config, &other, 0));
	assert_null(gd_config_disk(&f->config, &all, 1));
	assert_true(gd_config_foreign(&f->config, &named));
	assert_false(gd_config_foreign(&f->config, &unknown));
	assert_false(gd_config_foreign(&f->config, &other));
	gd_config_exit(&f->config);
	gd_config_init(&f->config);
	assert_int_equal(parse_file(f, "disk = 3/0 /id\nallow-foreign = all\n"), 0);
	assert_false(gd_config_names(&f->config));
}

/* With directories for images NBD is refused, unless a setting of its own allows it. */
static void bounds_nbd(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, NULL, NULL, NULL), 0);
	assert_null(gd_config_nbd(&f->config));
	assert_int_equal(parse(f, "--image-dir", "/tmp", NULL), 0);
	assert_non_null(gd_config_nbd(&f->config));
	assert_null(gd_config_nbd(&f->config)[0]);
	assert_int_equal(parse(f, "--nbd-allow=unix:/run/nbd", "--nbd-allow", "tcp:store"), 0);
	assert_string_equal(gd_config_nbd(&f->config)[0], "unix:/run/nbd");
	assert_string_equal(gd_config_nbd(&f->config)[1], "tcp:store");
	assert_null(gd_config_nbd(&f->config)[2]);
	gd_config_exit(&f->config);
	gd_config_init(&f->config);
	assert_int_equal(parse(f, "--nbd-allow=none", NULL, NULL), 0);
	assert_string_equal(gd_config_nbd(&f->config)[0], "none");
	gd_config_exit(&f->config);
	gd_config_init(&f->config);
	assert_int_equal(parse(f, "--nbd-allow=tcp:store", "--nbd-allow", "unix:/none/such"), 0);
	assert_int_equal(f->config.nbd_missing, 2); /* a host needs no directory */
}

/* They live as long as somebody holds them (AddressSanitizer looks). */
static void is_held(void **state)
{
	char *good[] = {(char *)"grantiod", (char *)"--queues=2", NULL}, *bad[] = {good[0], (char *)"--queues=0", NULL};
	const struct gd_config *held;
	struct gd_config *config;
	struct fixture *f = *state;

	assert_int_equal(gd_config_new(&config, 2, bad, f->error), -EINVAL);
	assert_string_equal(f->error, "grantiod: --queues '0': must be 1 to 16");
	assert_int_equal(gd_config_new(&config, 2, good, f->error), 0);
	held = gd_config_hold(config);
	gd_config_drop(config);
	assert_int_equal(held->queues, 2);
	gd_config_drop(held);
	gd_config_drop(NULL);
}

static void bounds_its_lists(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < GD_CONFIG_IMAGE_DIRS; i++)
		assert_int_equal(parse(f, "--image-dir", "/tmp", NULL), 0);
	assert_int_equal(parse(f, "--image-dir", "/tmp", NULL), -EINVAL);
	assert_string_equal(f->error, "grantiod: --image-dir '/tmp': is one more than 16");
	assert_null(f->config.image_dirs[GD_CONFIG_IMAGE_DIRS]);
	for (unsigned i = 0; i < GD_CONFIG_RAW; i++)
		assert_int_equal(parse(f, "--raw-image", "/a", NULL), 0);
	assert_int_equal(parse(f, "--raw-image", "/a", NULL), -EINVAL);
	assert_string_equal(f->error, "grantiod: --raw-image '/a': is one more than 64");
	for (unsigned i = 0; i < GD_CONFIG_FOREIGN; i++)
		assert_int_equal(parse(f, "--allow-foreign", "7", NULL), 0);
	assert_int_equal(parse(f, "--allow-foreign", "7", NULL), -EINVAL);
	assert_string_equal(f->error, "grantiod: --allow-foreign '7': is one more than 64");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(has_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_options, setup, teardown),
		cmocka_unit_test_setup_teardown(names_what_is_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_is_not_well_formed, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_what_is_well_formed, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(the_command_line_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(names_the_line_of_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_a_damaged_file, setup, teardown),
		cmocka_unit_test_setup_teardown(finds_guests_by_what_they_are_called, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_nbd, setup, teardown),
		cmocka_unit_test_setup_teardown(is_held, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_its_lists, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
