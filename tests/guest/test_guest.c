/* SPDX-License-Identifier: MIT */
/*
 * The scenarios on the model: with grantiod, and the peer, as processes. What they print must be transcript.txt, which
 * is what they print on real Xen (tests/lab/scenarios/guest-library.sh). TRANSCRIPT=FILE writes it anew.
 */
#include "model.h"

#include "guest/os/xen/xen.h"
#include "tests/host/host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* As xl makes a guest on x86: no address, no interrupt, and no word about grants. */
static const struct rig_key x86[] = {{"base", "0"}, {"irq", "0"}, {"grant_usage", NULL}, {NULL, NULL}};
static const struct rig_key x86_readonly[] = {
	{"base", "0"}, {"irq", "0"}, {"grant_usage", NULL}, {"mode", "r"}, {NULL, NULL}};

static void node(struct rig *rig, const char *path, const char *value, unsigned owner)
{
	struct xs_permissions permissions[] = {{.id = owner, .perms = XS_PERM_NONE}, {.id = 1, .perms = XS_PERM_READ}};

	assert_true(xs_write(rig->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	assert_true(xs_set_permissions(rig->xs, XBT_NULL, path, permissions, owner == 1 ? 1 : 2));
}

/* What else xl writes, as far as the scenarios look at it. */
static void directories(struct rig *rig)
{
	node(rig, "/local/domain/1/domid", "1", 0);
	node(rig, "/local/domain/1/name", "guest", 0);
	node(rig, "/local/domain/1/data", "", 1);
	assert_true(xs_write(rig->xs, XBT_NULL, "/local/domain/0/name", "Domain-0", 8));
}

static pid_t peer_start(const char *image)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setenv("LD_PRELOAD", getenv("GRANTIO_MODEL_LIB"), 1);
		execl(getenv("PEER"), "peer", "1", image, (char *)NULL);
		_exit(127);
	}
	return child;
}

static char *file_read(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, RIG_MIB);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, RIG_MIB - 1, file) < RIG_MIB - 1);
	fclose(file);
	return text;
}

/* What lies between the two marks; `text` is changed. */
static char *between(char *text)
{
	char *begin = strstr(text, "GUEST transcript\n"), *end = strstr(text, "GUEST end of transcript\n");

	assert_non_null(begin);
	assert_non_null(end);
	*end = '\0';
	return begin + strlen("GUEST transcript\n");
}

static void compare(char *have, char *want)
{
	char *h, *w, *have_rest = NULL, *want_rest = NULL;
	unsigned line = 0, differ = 0;

	h = strtok_r(have, "\n", &have_rest);
	w = strtok_r(want, "\n", &want_rest);
	for (; h || w; h = strtok_r(NULL, "\n", &have_rest), w = strtok_r(NULL, "\n", &want_rest)) {
		line++;
		if (h && w && !strcmp(h, w))
			continue;
		differ++;
		print_error("line %u\n  Xen:   %s\n  model: %s\n", line, w ? w : "", h ? h : "");
	}
	if (differ)
		fail_msg("%u lines differ from transcript.txt", differ);
}

/* What the guest prints with two disks as these keys describe them; the caller frees it. */
static char *guest_run(struct rig *rig, const struct rig_key *rw, const struct rig_key *ro)
{
	static const char *const arguments[] = {"--indirect", NULL};
	const char *image = rig_image(rig, "rw.raw", 4 * RIG_MIB), *readonly = rig_image(rig, "ro.raw", RIG_MIB);
	char *text = NULL;
	size_t bytes;
	FILE *console = open_memstream(&text, &bytes);
	pid_t peer;

	assert_non_null(console);
	rig_daemon_start(rig, arguments);
	rig_domain_make(rig, 1, 1);
	directories(rig);
	rig_disk_write(rig, 1, 0, image, rw);
	rig_disk_write(rig, 1, 1, readonly, ro);
	peer = peer_start(image);
	assert_int_equal(guest_model_open(rig->dir, 1, console), 0);
	gio_xen_main("");
	guest_model_close();
	fclose(console);
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	rig_domain_destroy(rig, 1);
	rig_log_wait(rig, "<6>d1/xvda: stopped", 1);
	assert_int_equal(rig_daemon_stop(rig, SIGTERM), 0);
	return text;
}

static void transcript(void **state)
{
	const char *renew = getenv("TRANSCRIPT");
	char *text = guest_run(*state, x86, x86_readonly), *have = between(text), *want;

	if (renew) {
		FILE *file = fopen(renew, "we");

		assert_non_null(file);
		fputs(have, file);
		fclose(file);
	}
	want = file_read(getenv("GUEST_TRANSCRIPT"));
	compare(have, want);
	free(want);
	free(text);
}

/* Cut out the registers' section, which looks at what lies beside a device: other things, on Arm. */
static void registers_cut(char *text)
{
	char *begin = strstr(text, "- registers\n"), *end = strstr(text, "- disk: ");

	assert_non_null(begin);
	assert_non_null(end);
	memmove(begin, end, strlen(end) + 1);
}

/* The same where the toolstack has chosen addresses and interrupt lines. */
static void transcript_of_a_tree(void **state)
{
	static const struct rig_key readwrite[] = {{NULL, NULL}}, readonly[] = {{"mode", "r"}, {NULL, NULL}};
	char *text = guest_run(*state, readwrite, readonly), *have = between(text);
	char *want = file_read(getenv("GUEST_TRANSCRIPT"));

	registers_cut(have);
	registers_cut(want);
	compare(have, want);
	free(want);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(transcript, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(transcript_of_a_tree, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
