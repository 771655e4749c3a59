/* SPDX-License-Identifier: MIT */
/* grantio disk against the store: the keys that xl writes, errors, detaching. The backend is played by the test. */
#include "tests/unit/cli/catch.h"
#include "tests/unit/store/fixture.h"

#include "cli/disk/disk.h"
#include "cli/domain.h"
#include "cli/rng/rng.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#undef REFUSED /* the store fixture's, for bytes on the wire */
#define REFUSED(code, line, ...)                                             \
	do {                                                                 \
		int refused_ = RUN(&root, __VA_ARGS__);                      \
                                                                             \
		cli_refused(refused_, code, line, "line " STRING(__LINE__)); \
	} while (0)
#define DONE(...)                                                           \
	do {                                                                \
		if (RUN(&root, __VA_ARGS__))                                \
			fail_msg("line " STRING(__LINE__) ": %s", cli_err); \
	} while (0)

#define DISK(...)	  DONE("disk", __VA_ARGS__)
#define USAGE(text, ...)  REFUSED(2, "grantio: disk " text "\n", "disk", __VA_ARGS__)
#define FAILED(text, ...) REFUSED(1, "grantio: disk " text "\n", "disk", __VA_ARGS__)

static const struct gc_command *const commands[] = {&gc_disk_command, &gc_rng_command, NULL};
static const struct gc_command root = {.name = "grantio", .summary = "a test", .commands = commands};
static struct xs_handle *xs;

static void put(const char *path, const char *value)
{
	assert_true(xs_write(xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

static void domain_make(unsigned domid, const char *arch)
{
	struct xs_permissions perms[2] = {{.id = 0, .perms = XS_PERM_NONE}, {.id = domid, .perms = XS_PERM_READ}};
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	assert_true(xs_mkdir(xs, XBT_NULL, path));
	assert_true(xs_set_permissions(xs, XBT_NULL, path, perms, 2));
	snprintf(path, sizeof(path), "/libxl/%u/type", domid);
	put(path, "pvh");
	snprintf(path, sizeof(path), "/libxl/%u/" GC_DOMAIN_ARCH, domid);
	if (arch)
		put(path, arch);
	snprintf(path, sizeof(path), "/local/domain/%u/name", domid);
	put(path, domid == 1 ? "db" : "web");
	snprintf(path, sizeof(path), "/local/domain/%u/vm", domid);
	put(path, domid == 1 ? "/vm/0f0f0f0f-1111-4222-8333-abcdefabcdef" : "/vm/5a5a5a5a-1111-4222-8333-abcdefabcdef");
}

/* ---- a backend that answers with what it is told to ---- */

static struct backend {
	pthread_t thread;
	struct xs_handle *xs;
	int stop_fd;
	const char *opened, *error; /* the state it answers 1 with (NULL: it goes), and what it says is wrong */
} backend;

/* The state, and what is wrong, at once: who sees the one may take all of the disk away. */
static void backend_opened(const char *path)
{
	static const char error[] = "/local/domain/0/error/backend/virtio_disk/1/51712/error";
	xs_transaction_t transaction;

	do {
		transaction = xs_transaction_start(backend.xs);
		if (backend.error)
			xs_write(backend.xs, transaction, error, backend.error, (unsigned)strlen(backend.error));
		if (backend.opened)
			xs_write(backend.xs, transaction, path, backend.opened, 1);
		else
			xs_rm(backend.xs, transaction, path);
	} while (!xs_transaction_end(backend.xs, transaction, false) && errno == EAGAIN);
}

static void backend_answer(const char *path)
{
	char *value;

	if (strlen(path) < 6 || strcmp(path + strlen(path) - 6, "/state") != 0)
		return;
	value = xs_read(backend.xs, XBT_NULL, path, NULL);
	if (value && strcmp(value, "1") == 0) {
		backend_opened(path);
	} else if (value && strcmp(value, "5") == 0) {
		xs_write(backend.xs, XBT_NULL, path, "6", 1);
	}
	free(value);
}

static void *backend_run(void *arg)
{
	struct pollfd fds[2] = {{.fd = xs_fileno(backend.xs), .events = POLLIN},
				{.fd = backend.stop_fd, .events = POLLIN}};
	char **event;

	while (!fds[1].revents) {
		if (poll(fds, 2, -1) <= 0)
			continue;
		while ((event = xs_check_watch(backend.xs))) {
			backend_answer(event[XS_WATCH_PATH]);
			free(event);
		}
	}
	return arg;
}

static void backend_start(unsigned domid, const char *opened, const char *error)
{
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u/backend", domid);
	backend = (struct backend){
		.xs = xs_open_as(0), .stop_fd = eventfd(0, EFD_CLOEXEC), .opened = opened, .error = error};
	assert_non_null(backend.xs);
	assert_true(xs_watch(backend.xs, path, "b"));
	assert_int_equal(pthread_create(&backend.thread, NULL, backend_run, NULL), 0);
}

static void backend_stop(void)
{
	uint64_t one = 1;

	assert_int_equal(write(backend.stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(backend.thread, NULL);
	close(backend.stop_fd);
	xs_close(backend.xs);
}

static int disk_setup(void **state)
{
	int err = store_setup(state);

	xs = xs_open_as(0); /* sets XENSTORED_PATH too */
	assert_non_null(xs);
	setenv("GRANTIO_MACHINE", "/nonexistent", 1); /* whatever runs on this machine is not asked */
	domain_make(1, "arm");
	domain_make(2, "arm");
	return err;
}

static int disk_teardown(void **state)
{
	xs_close(xs);
	return store_teardown(state);
}

/* ---- the recordings ---- */

/* The dump holds every line of the recording, in the same order, and of those directories no other line. */
static void dump_compare(const char *fixture)
{
	static char dump[65536], recorded[65536];
	FILE *pipe = popen("timeout 60 xenstore-ls -fp | grep virtio_disk", "r"), *file;
	size_t got;

	assert_non_null(pipe);
	got = fread(dump, 1, sizeof(dump) - 1, pipe);
	dump[got] = '\0';
	assert_int_equal(pclose(pipe), 0);
	file = fopen(fixture, "r");
	assert_non_null(file);
	got = fread(recorded, 1, sizeof(recorded) - 1, file);
	recorded[got] = '\0';
	fclose(file);
	for (char *a = dump, *b = recorded; *a || *b;) { /* line by line: cmocka cuts long strings */
		size_t a_length = strcspn(a, "\n"), b_length = strcspn(b, "\n");

		if (a_length != b_length || memcmp(a, b, a_length) != 0)
			fail_msg("%.*s instead of %.*s", (int)a_length, a, (int)b_length, b);
		a += a_length + (a[a_length] == '\n');
		b += b_length + (b[b_length] == '\n');
	}
}

static void test_as_xl_dom0(void **state)
{
	(void)state;
	backend_start(0, "2", NULL);
	DISK("attach", "1", "/run/disk/a.raw", "--vdev", "xvda");
	assert_string_equal(cli_out, "xvda\n");
	dump_compare(FIXTURES "/xl-4.20-arm-dom0.txt");
	backend_stop();
}

static void test_as_xl_driver_domain(void **state)
{
	(void)state;
	backend_start(1, "2", NULL);
	DISK("attach", "2", "/run/disk/a.raw", "--backend=1");
	dump_compare(FIXTURES "/xl-4.20-arm-driverdomain.txt");
	DISK("list");
	assert_non_null(strstr(cli_out, "\n2     web          xvda    51712   1       InitWait "));
	DISK("detach", "2", "xvda");
	backend_stop();
}

static void expect(const char *dir, const char *key, const char *wanted)
{
	char path[256], *value;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	value = xs_read(xs, XBT_NULL, path, NULL);
	if (wanted ? !value || strcmp(value, wanted) != 0 : value != NULL)
		fail_msg("%s is %s, not %s", path, value ? value : "missing", wanted ? wanted : "missing");
	free(value);
}

static void test_options(void **state)
{
	static const char dir[] = "/local/domain/0/backend/virtio_disk/1/51728";

	(void)state;
	DISK("attach", "1", "/a", "--no-wait");
	DISK("attach", "1", "nbd://localhost/x", "--no-wait", "--mode", "r", "--no-grants", "--direct-io-safe");
	assert_string_equal(cli_out, "xvdb\n");
	expect(dir, "params", "nbd://localhost/x");
	expect(dir, "mode", "r");
	expect(dir, "grant_usage", "0");
	expect(dir, "discard-enable", "0");
	expect(dir, "direct-io-safe", "1");
	expect(dir, "base", "33554944");
	expect(dir, "irq", "34");
	expect(dir, "grantio-format", NULL);
	DISK("attach", "1", "/c", "--no-wait", "--no-discard", "--vdev", "hda1", "--format", "raw");
	expect("/local/domain/0/backend/virtio_disk/1/769", "grantio-format", "raw");
	expect("/local/domain/0/backend/virtio_disk/1/769", "discard-enable", "0");
	expect("/local/domain/0/backend/virtio_disk/1/769", "mode", "w");
	expect("/local/domain/0/backend/virtio_disk/1/769", "direct-io-safe", NULL);
}

/* Slots are used again; those of generic virtio devices are taken too; there are 11. */
static void test_slots(void **state)
{
	(void)state;
	put("/libxl/1/device/virtio/0/base", "0x2000200");
	put("/libxl/1/device/virtio/0/irq", "34");
	DISK("attach", "1", "/a", "--no-wait");
	DISK("attach", "1", "/b", "--no-wait");
	expect("/libxl/1/device/virtio_disk/51728", "base", "33555456");
	expect("/libxl/1/device/virtio_disk/51728", "irq", "35");
	DISK("detach", "1", "xvda", "--force");
	DISK("attach", "1", "/c", "--no-wait");
	expect("/libxl/1/device/virtio_disk/51712", "irq", "33");
	for (int i = 0; i < 8; i++)
		DISK("attach", "1", "/d", "--no-wait");
	expect("/libxl/1/device/virtio_disk/51872", "irq", NULL);
	REFUSED(1, "grantio: disk attach: domain 1: no virtio-mmio device is free, there are 11\n", "disk", "attach",
		"1", "/e", "--no-wait");
	DISK("attach", "2", "/a", "--no-wait"); /* each domain has its own */
}

/* xl's keys on x86: no place, no word about grants, and as many disks as there are names. */
static void test_x86(void **state)
{
	static const char dir[] = "/local/domain/0/backend/virtio_disk/3/51712";

	(void)state;
	domain_make(3, "x86");
	DISK("attach", "3", "/a", "--no-wait");
	expect(dir, "base", "0");
	expect(dir, "irq", "0");
	expect(dir, "transport", "mmio");
	expect(dir, "specification", "virtio");
	expect(dir, "grant_usage", NULL);
	expect("/libxl/3/device/virtio_disk/51712", "base", "0");
	expect("/libxl/3/device/virtio_disk/51712", "grant_usage", NULL);
	DISK("list", "3");
	assert_non_null(strstr(cli_out, " yes "));
	FAILED("attach: domain 3: a guest on x86 has its disks by grants, --no-grants is for Arm", "attach", "3", "/b",
	       "--no-wait", "--no-grants");
	for (int i = 1; i < 26; i++)
		DISK("attach", "3", "/b", "--no-wait");
	expect("/libxl/3/device/virtio_disk/268441856", "base", "0"); /* xvdz */
	FAILED("attach: domain 3: no name from xvda to xvdz is free (see --vdev)", "attach", "3", "/c", "--no-wait");
}

/* Where nobody says what a domain is, it is what its host is. */
static void test_host_decides(void **state)
{
	struct utsname uts;

	(void)state;
	assert_int_equal(uname(&uts), 0);
	domain_make(3, NULL);
	DISK("attach", "3", "/a", "--no-wait");
	expect("/libxl/3/device/virtio_disk/51712", "base", strstr(uts.machine, "86") ? "0" : "33554432");
}

static void test_detach(void **state)
{
	(void)state;
	backend_start(0, "2", NULL);
	DISK("attach", "1", "/a");
	DISK("attach", "1", "/b");
	DISK("detach", "1", "51712");
	expect("/local/domain/0/backend/virtio_disk/1", "51712", NULL);
	expect("/local/domain/1/device/virtio_disk", "51712", NULL);
	expect("/libxl/1/device/virtio_disk", "51712", NULL);
	expect("/local/domain/0/backend/virtio_disk/1", "51728", "");
	DISK("detach", "1", "xvdb");
	expect("/local/domain/0", "backend", NULL); /* empty directories go */
	expect("/local/domain/1/device", "virtio_disk", NULL);
	expect("/libxl", "1", "");
	expect("/local/domain", "1", ""); /* the domain's own stays, though it is empty here */
	backend_stop();
}

/* Names and UUIDs are as good as numbers, in each place; paths of the shell's are made whole. */
static void test_names(void **state)
{
	char here[512], whole[600];

	(void)state;
	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(whole, sizeof(whole), "%s/images/a.raw", here);
	DISK("attach", "db", "images/a.raw", "--no-wait");
	expect("/local/domain/0/backend/virtio_disk/1/51712", "params", whole);
	DISK("attach", "5A5A5A5A-1111-4222-8333-abcdefabcdef", "/b", "--no-wait", "--backend", "db");
	expect("/local/domain/1/backend/virtio_disk/2/51712", "params", "/b");
	snprintf(whole, sizeof(whole), "%s/b.raw", here);
	DISK("attach", "db", "./b.raw", "--no-wait");
	expect("/local/domain/0/backend/virtio_disk/1/51728", "params", whole);
	DISK("list", "web");
	assert_null(strstr(cli_out, "a.raw"));
	assert_non_null(strstr(cli_out, " /b\n"));
	DISK("detach", "web", "xvda", "--force");
	expect("/libxl/2/device", "virtio_disk", NULL);
	domain_make(3, "arm"); /* a second "web" */
	FAILED("attach: domain 'web': 2 domains have this name, give the number", "attach", "web", "/c");
	FAILED("detach: domain 'mail': no such domain", "detach", "mail", "xvda");
}

/* A guest on Arm cannot be told to let go: what it uses, or may use, is not taken away unless that is meant. */
static void test_detach_in_use(void **state)
{
	(void)state;
	backend_start(0, "2", NULL);
	DISK("attach", "1", "/a");
	backend_stop();
	put("/local/domain/0/backend/virtio_disk/1/51712/state", "4");
	FAILED("detach: vdev 'xvda': domain 1 has used it, and no grantiod answers at /nonexistent/control that could "
	       "say whether it still does: start it, or name its socket by --control (or see --force)",
	       "detach", "1", "xvda");
	expect("/local/domain/0/backend/virtio_disk/1/51712", "online", "1");
	DISK("detach", "1", "xvda", "--force");
	expect("/libxl/1/device", "virtio_disk", NULL);
	domain_make(3, "x86");
	backend_start(0, "4", NULL);
	DISK("attach", "3", "/a");
	DISK("detach", "3", "xvda"); /* this one is asked, and its backend says when it has let go */
	backend_stop();
}

static void test_refused_by_backend(void **state)
{
	(void)state;
	backend_start(0, "6", "params '/none': No such file or directory");
	REFUSED(1,
		"grantio: disk attach: vdev 'xvda': refused by the backend: params '/none': No such file or "
		"directory\n",
		"disk", "attach", "1", "/none");
	expect("/libxl/1/device", "virtio_disk", NULL); /* undone */
	expect("/local/domain/0/backend", "virtio_disk", NULL);
	expect("/local/domain/0/error/backend/virtio_disk/1/51712", "error", backend.error);
	backend_stop(); /* else it answers the next one too */
	DISK("attach", "1", "/other", "--no-wait");
	expect("/local/domain/0/error/backend/virtio_disk/1/51712", "error", NULL); /* it is not about that one */
}

/* It says neither that it is ready nor what is wrong. */
static void test_backend_does_not_serve(void **state)
{
	(void)state;
	backend_start(0, "6", NULL);
	FAILED("attach: vdev 'xvda': the backend in domain 0 does not serve it, its state is Closed", "attach", "1",
	       "/a");
	backend_stop();
	backend_start(0, NULL, NULL);
	FAILED("attach: vdev 'xvda': the backend in domain 0 does not serve it, its state is -", "attach", "1", "/a");
	backend_stop();
	expect("/libxl/1/device", "virtio_disk", NULL); /* undone */
	expect("/local/domain/0/backend", "virtio_disk", NULL);
}

static void test_list(void **state)
{
	(void)state;
	DISK("attach", "1", "/tmp/a \"quoted\"", "--no-wait");
	DISK("attach", "2", "/b", "--no-wait", "--vdev", "xvdc", "--mode", "r", "--no-grants");
	DISK("list");
	assert_non_null(strstr(cli_out,
			       "1     db           xvda    51712   0       Initialising ?      -            w    "
			       "yes    0x02000000 33  /tmp/a"));
	assert_non_null(strstr(cli_out,
			       "\n2     web          xvdc    51744   0       Initialising ?      -            r    "
			       "no     0x02000000 33  /b\n"));
	DISK("list", "2");
	assert_null(strstr(cli_out, "xvda"));
	/* A driver domain writes the reason: it must not reach the terminal as it is. */
	put("/local/domain/0/error/backend/virtio_disk/2/51744/error", "no\033[2Jsuch\nfile");
	DISK("list", "2");
	assert_non_null(strstr(cli_out, "/b\n      error: no?[2Jsuch?file\n"));
	assert_true(xs_rm(xs, XBT_NULL, "/local/domain/0/error"));
	DISK("list", "--json");
	assert_non_null(strstr(cli_out, "quoted\\\"\"},\n  {\"domid\": 2, \"domain\": \"web\", \"vdev\": \"xvdc\", "));
	assert_non_null(strstr(cli_out, "\"mode\": \"r\", \"type\": 2, \"grants\": false, "));
	DISK("list", "1", "--json");
	assert_string_equal(cli_out, "[\n  {\"domid\": 1, \"domain\": \"db\", \"vdev\": \"xvda\", \"devid\": 51712, "
				     "\"backend\": 0, \"backend_state\": 1, \"frontend_state\": 1, \"served\": \"?\", "
				     "\"guest\": \"-\", \"mode\": \"w\", \"type\": 2, \"grants\": true, "
				     "\"base\": 33554432, \"irq\": 33, \"target\": \"/tmp/a \\\"quoted\\\"\"}\n]\n");
	FAILED("list: domain 7: no such domain", "list", "7", "--json");
	FAILED("list: domain 'db2': no such domain", "list", "db2");
	domain_make(3, "x86");
	DISK("list", "3", "--json");
	assert_string_equal(cli_out, "[]\n");
	DISK("attach", "3", "/c", "--no-wait");
	put("/local/domain/0/backend/virtio_disk/3/51712/state", "4");
	put("/local/domain/3/device/virtio_disk/51712/state", "4");
	DISK("list", "3");
	assert_non_null(strstr(cli_out, "Connected    ?      Connected    w    yes    -          -   /c\n"));
}

/* Generic virtio devices are shown too, states that are none are, and names that are no numbers are nobody's. */
static void test_list_of_others(void **state)
{
	(void)state;
	put("/libxl/1/device/virtio/3/base", "0x2000200");
	put("/libxl/1/device/virtio/3/irq", "34");
	put("/libxl/1/device/virtio/3/grant_usage", "1");
	put("/libxl/1/device/virtio/4/type", "virtio,device4");
	put("/libxl/1/device/virtio/5/type", "virtio,device1a");
	put("/libxl/1/device/virtio/6/type", "virtio,device2");
	put("/libxl/1/device/virtio_disk/xvdp/base", "0x2000400");
	DISK("attach", "1", "/a", "--no-wait");
	put("/local/domain/0/backend/virtio_disk/1/51712/state", "9");
	DISK("list", "1");
	assert_non_null(
		strstr(cli_out, "\n1     db           xvda    51712   0       ?            ?      -            w "));
	assert_non_null(strstr(cli_out,
			       "\n1     db           virtio3 3       0       -            ?      -            -    "
			       "yes    0x02000200 34  -\n"));
	assert_non_null(strstr(cli_out,
			       "\n1     db           virtio4 4       0       -            ?      -            -    "
			       "yes    -          -   random numbers\n"));
	assert_non_null(strstr(cli_out, "   a device of type 26\n"));
	assert_non_null(strstr(cli_out, "virtio6 6 "));
	assert_null(strstr(cli_out, "51952")); /* xvdp */
	DISK("list", "1", "--json");
	assert_non_null(strstr(cli_out, "\"vdev\": \"virtio4\", \"devid\": 4, "));
	assert_non_null(strstr(cli_out, "\"type\": 4, "));
	assert_non_null(strstr(cli_out, "\"target\": \"random numbers\"}"));
}

/* ---- random numbers ---- */

#define RNG(...)		     DONE("rng", __VA_ARGS__)
#define RNG_REFUSED(code, text, ...) REFUSED(code, "grantio: rng " text "\n", "rng", __VA_ARGS__)

/* The keys of xl's `virtio` list; and the type where the guest believes it, which xl leaves out. */
static void rng_expect(const char *dir)
{
	static const char *const keys[][2] = {
		{"frontend", "/local/domain/1/device/virtio/0"},
		{"frontend-id", "1"},
		{"irq", "33"},
		{"base", "0x2000000"},
		{"type", "virtio,device4"},
		{"transport", "mmio"},
		{"grant_usage", "1"},
		{"params", NULL},
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		expect(dir, keys[i][0], keys[i][1]);
}

static void test_rng(void **state)
{
	(void)state;
	backend_start(0, "2", NULL);
	RNG("attach", "db");
	assert_string_equal(cli_out, "virtio0\n");
	rng_expect("/local/domain/0/backend/virtio/1/0");
	rng_expect("/libxl/1/device/virtio/0");
	expect("/local/domain/1/device/virtio/0", "backend", "/local/domain/0/backend/virtio/1/0");
	expect("/local/domain/1/device/virtio/0", "type", "virtio,device4");
	RNG("attach", "1");
	DISK("attach", "1", "/a");
	expect("/libxl/1/device/virtio_disk/51712", "irq", "35");
	DISK("list", "db");
	assert_non_null(strstr(cli_out,
			       "db           virtio1 1       0       InitWait     ?      -            -    yes "
			       "   0x02000200 34  random numbers\n"));
	RNG("detach", "db", "virtio0");
	RNG("detach", "1", "1");
	expect("/local/domain/0/backend", "virtio", NULL);
	backend_stop();
}

/* On x86, by a driver domain; and what is refused. */
static void test_rng_elsewhere(void **state)
{
	(void)state;
	domain_make(3, "x86");
	RNG("attach", "3", "--no-wait", "--backend", "1");
	expect("/local/domain/1/backend/virtio/3/0", "base", "0");
	expect("/local/domain/3/device/virtio/0", "type", "virtio,device4");
	for (int i = 1; i < 26; i++)
		RNG("attach", "3", "--no-wait");
	RNG_REFUSED(1, "attach: domain 3: it has 26 devices of xl's virtio list already", "attach", "3", "--no-wait");
	put("/libxl/1/device/virtio/3/type", "virtio,device1a");
	RNG_REFUSED(2, "detach: device 'xvda': must be a name as virtio0, or a number", "detach", "1", "xvda");
	RNG_REFUSED(1, "detach: device 'virtio3': domain 1 has no such device of random numbers", "detach", "1",
		    "virtio3");
	RNG_REFUSED(1, "attach: domain 7: no such domain", "attach", "7");
}

static void test_bad_input(void **state)
{
	char longest[2048];

	(void)state;
	USAGE("attach: an argument is missing: 1 given, 2 needed (see --help)", "attach", "1");
	FAILED("attach: domain 'x': no such domain", "attach", "x", "/a");
	USAGE("attach: domain '0': not between 1 and 32751", "attach", "0", "/a");
	USAGE("attach: target 'a.raw': must be an absolute path of domain 2, or a URI", "attach", "1", "a.raw",
	      "--backend", "web");
	USAGE("attach: target '': neither a path nor a URI", "attach", "1", "");
	USAGE("attach: vdev 'foo': not a disk's name (xvda, xvda1, hda, sda, d0p1, a number)", "attach", "1", "/a",
	      "--vdev", "foo");
	USAGE("attach: mode 'rw': neither w nor r", "attach", "1", "/a", "--mode=rw");
	FAILED("attach: backend '-1': no such domain", "attach", "1", "/a", "--backend", "-1");
	USAGE("attach: format 'qcow2': only raw is served; let qemu-nbd serve others, and name "
	      "nbd+unix:///?socket=PATH",
	      "attach", "1", "/a", "--format=qcow2");
	USAGE("attach: option '--force': no such option (see --help)", "attach", "1", "/a", "--force");
	USAGE("detach: vdev 'foo': not a disk's name (xvda, xvda1, hda, sda, d0p1, a number)", "detach", "1", "foo");
	USAGE("list: domain '99999': not between 0 and 32751", "list", "99999");
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	USAGE("attach: target: longer than 1024 bytes", "attach", "1", longest);
	USAGE("refresh: argument 'x': one too many (see --help)", "refresh", "d1/xvda", "x");
	USAGE("stats: argument 'y': one too many (see --help)", "stats", "x", "y");
	REFUSED(2, "grantio: disk: command 'lst': no such command, is it 'list' (see --help)?\n", "disk", "lst");
	REFUSED(2, "grantio: disk: command 'watch': no such command (see --help)\n", "disk", "watch");
	FAILED("attach: domain 7: no such domain", "attach", "7", "/a");
	FAILED("attach: domain 8: no such domain", "attach", "1", "/a", "--backend", "8");
	FAILED("detach: vdev 'xvda': domain 1 has no such virtio disk", "detach", "1", "xvda");
	DISK("attach", "1", "/a", "--no-wait");
	FAILED("attach: vdev 'd0': domain 1 has device 51712 already", "attach", "1", "/b", "--no-wait", "--vdev",
	       "d0");
	expect("/local/domain/0/backend/virtio_disk/1/51712", "params", "/a");
	setenv("XENSTORED_PATH", "/nonexistent/store", 1);
	FAILED("list: xenstore /nonexistent/store: No such file or directory", "list");
	FAILED("list: machine /none: it does not run (see 'grantio model start')", "list", "--machine", "/none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_as_xl_dom0, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_as_xl_driver_domain, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_options, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_slots, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_x86, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_host_decides, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_detach, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_names, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_detach_in_use, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_refused_by_backend, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_backend_does_not_serve, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_list, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_list_of_others, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_rng, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_rng_elsewhere, disk_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_bad_input, disk_setup, disk_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
