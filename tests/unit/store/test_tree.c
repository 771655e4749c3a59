/* SPDX-License-Identifier: MIT */
/* The tree without sockets: paths, permissions, snapshots, generations, owners' counts. */
#include "model/store/path.h"
#include "model/store/tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void test_path(void **state)
{
	static const char *const bad[] = {"", "/a/", "//", "/a//b", "a//b", "/a b", "/a\n", "/a.b", "/\xc3\xa4", "a/"};
	static const char home[] = "/local/domain/31/";
	char out[GM_PATH_MAX], longest[GM_PATH_MAX + 8];

	(void)state;
	assert_int_equal(gm_path_resolve(out, 3, "/", false), 0);
	assert_string_equal(out, "/");
	assert_int_equal(gm_path_resolve(out, 3, "/a/b-C_9@", false), 0);
	assert_string_equal(out, "/a/b-C_9@");
	assert_int_equal(gm_path_resolve(out, 3, "device/x", false), 0);
	assert_string_equal(out, "/local/domain/3/device/x");
	assert_int_equal(gm_path_resolve(out, 3, "@releaseDomain", false), -EINVAL);
	assert_int_equal(gm_path_resolve(out, 3, "@releaseDomain", true), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(gm_path_resolve(out, 3, bad[i], true), -EINVAL);
	assert_int_equal(gm_path_resolve(out, 3, "@foo", true), -ENOENT);
	memset(longest, 'a', sizeof(longest));
	longest[XENSTORE_REL_PATH_MAX + 1] = '\0';
	assert_int_equal(gm_path_resolve(out, 3, longest, false), -EINVAL); /* relative */
	assert_int_equal(gm_path_resolve(out, 3, longest + 1, false), 0);
	longest[0] = '/';
	assert_int_equal(gm_path_resolve(out, 3, longest, false), -EINVAL);
	longest[XENSTORE_REL_PATH_MAX] = '\0';
	assert_int_equal(gm_path_resolve(out, 3, longest, false), 0);
	/* A domain's own paths are as long, by whatever name. */
	longest[XENSTORE_REL_PATH_MAX] = longest[XENSTORE_REL_PATH_MAX + 1] = 'a';
	memcpy(longest, home, sizeof(home) - 1);
	longest[sizeof(home) - 1 + XENSTORE_REL_PATH_MAX] = '\0';
	assert_int_equal(gm_path_resolve(out, 3, longest, false), 0);
	longest[sizeof(home) - 1 + XENSTORE_REL_PATH_MAX] = 'a';
	longest[sizeof(home) + XENSTORE_REL_PATH_MAX] = '\0';
	assert_int_equal(gm_path_resolve(out, 3, longest, false), -EINVAL);
	assert_true(gm_path_below("/a/b", "/a") && gm_path_below("/a", "/a") && gm_path_below("/a", "/"));
	assert_false(gm_path_below("/ab", "/a") || gm_path_below("/a", "/a/b"));
}

static void test_perms(void **state)
{
	static const char *const bad[] = {"x1", "r", "", "n-1", "r65536", "n1 ", "n0x1", "N1"};
	char text[GM_PERMS_TEXT_MAX], many[GM_STORE_PERMS_MAX * 3 + 4];
	struct gm_perms perms;

	(void)state;
	assert_int_equal(gm_perms_parse(&perms, "n1\0r2\0b3\0w65535", 16), 0);
	assert_int_equal(gm_perms_format(&perms, text), 16);
	assert_memory_equal(text, "n1\0r2\0b3\0w65535", 16);
	assert_int_equal(gm_perms_rights(&perms, 0), GM_RIGHTS_ALL);
	assert_int_equal(gm_perms_rights(&perms, 1), GM_RIGHTS_ALL);
	assert_int_equal(gm_perms_rights(&perms, 2), GM_RIGHT_READ);
	assert_int_equal(gm_perms_rights(&perms, 3), GM_RIGHT_READ | GM_RIGHT_WRITE);
	assert_int_equal(gm_perms_rights(&perms, 65535), GM_RIGHT_WRITE);
	assert_int_equal(gm_perms_rights(&perms, 4), 0);
	perms.entry[0].rights = GM_RIGHT_READ; /* "r1": who is not named may read */
	assert_int_equal(gm_perms_rights(&perms, 4), GM_RIGHT_READ);
	assert_int_equal(gm_perms_rights(&perms, 65535), GM_RIGHT_WRITE);
	assert_true(gm_perms_drop(&perms, 2));
	assert_false(gm_perms_drop(&perms, 1));
	assert_int_equal(gm_perms_format(&perms, text), 13);
	assert_string_equal(text, "r1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(gm_perms_parse(&perms, bad[i], strlen(bad[i]) + 1), -EINVAL);
	assert_int_equal(gm_perms_parse(&perms, "n1", 2), -EINVAL); /* without NUL */
	assert_int_equal(gm_perms_parse(&perms, "", 0), -EINVAL);
	for (int i = 0; i <= GM_STORE_PERMS_MAX; i++)
		memcpy(many + i * 3, "n1", 3);
	assert_int_equal(gm_perms_parse(&perms, many, GM_STORE_PERMS_MAX * 3), 0);
	assert_int_equal(gm_perms_parse(&perms, many, GM_STORE_PERMS_MAX * 3 + 3), -ENOSPC);
}

static void write_text(struct gm_tree *tree, const char *path, uint16_t domid, const char *text)
{
	assert_int_equal(gm_tree_write(tree, path, domid, text, strlen(text)), 0);
}

static void assert_value(const struct gm_tree *tree, const char *path, const char *text)
{
	const struct gm_node *node = gm_tree_find(tree, path);

	if (!text) {
		assert_null(node);
		return;
	}
	assert_non_null(node);
	assert_int_equal(node->length, strlen(text));
	if (node->length)
		assert_memory_equal(node->value, text, node->length);
}

static void test_snapshot(void **state)
{
	struct gm_tree tree, old;

	(void)state;
	assert_int_equal(gm_tree_init(&tree), 0);
	write_text(&tree, "/a/b/c", 0, "1");
	write_text(&tree, "/a/x", 0, "x");
	assert_int_equal(gm_tree_copy(&old, &tree), 0);
	write_text(&tree, "/a/b/c", 0, "2");
	write_text(&tree, "/a/b/d/e", 0, "new");
	assert_int_equal(gm_tree_remove(&tree, "/a/x"), 0);
	assert_int_equal(gm_tree_remove(&tree, "/a/x"), -ENOENT);
	assert_value(&old, "/a/b/c", "1");
	assert_value(&old, "/a/b/d", NULL);
	assert_value(&old, "/a/x", "x");
	assert_value(&tree, "/a/b/c", "2");
	assert_value(&tree, "/a/b/d", "");
	assert_value(&tree, "/a/b/d/e", "new");
	assert_value(&tree, "/a/x", NULL);
	assert_int_equal(gm_tree_adopt(&tree, &old, "/a/x"), 0);
	assert_value(&tree, "/a/x", "x");
	gm_tree_exit(&old);
	assert_value(&tree, "/a/b/d/e", "new");
	gm_tree_exit(&tree);
}

static uint64_t generation(const struct gm_tree *tree, const char *path)
{
	return gm_tree_find(tree, path)->generation;
}

static uint64_t newest(const struct gm_tree *tree, const char *path)
{
	return gm_tree_find(tree, path)->newest;
}

static void test_generations(void **state)
{
	struct gm_tree tree;
	uint64_t a, b, top;

	(void)state;
	assert_int_equal(gm_tree_init(&tree), 0);
	write_text(&tree, "/a/b", 0, "1");
	a = generation(&tree, "/a");
	b = generation(&tree, "/a/b");
	top = newest(&tree, "/");
	write_text(&tree, "/a/b", 0, "2");
	assert_int_equal(generation(&tree, "/a"), a); /* its own contents are the same */
	assert_true(generation(&tree, "/a/b") > b);
	assert_true(newest(&tree, "/") > top && newest(&tree, "/a") == newest(&tree, "/a/b"));
	write_text(&tree, "/a/c", 0, "");
	assert_true(generation(&tree, "/a") > a); /* its list of children changed */
	a = generation(&tree, "/a");
	assert_int_equal(gm_tree_remove(&tree, "/a/c"), 0);
	assert_true(generation(&tree, "/a") > a && newest(&tree, "/") == generation(&tree, "/a"));
	gm_tree_exit(&tree);
}

static void test_owners(void **state)
{
	struct gm_perms perms;
	struct gm_tree tree;

	(void)state;
	assert_int_equal(gm_tree_init(&tree), 0);
	assert_int_equal(gm_tree_owned(&tree, 0), 1);
	write_text(&tree, "/d", 0, "");
	assert_int_equal(gm_perms_parse(&perms, "n5\0r6", 6), 0);
	assert_int_equal(gm_tree_perms_set(&tree, "/d", &perms), 0);
	write_text(&tree, "/d/e/f", 0, "");
	write_text(&tree, "/d/e/g", 7, "");
	assert_int_equal(gm_tree_owned(&tree, 0), 1);
	assert_int_equal(gm_tree_owned(&tree, 5), 3);
	assert_int_equal(gm_tree_owned(&tree, 7), 1);
	assert_int_equal(gm_perms_rights(&gm_tree_find(&tree, "/d/e/f")->perms, 6), GM_RIGHT_READ); /* inherited */
	assert_int_equal(gm_tree_remove(&tree, "/d/e"), 0);
	assert_int_equal(gm_tree_owned(&tree, 5), 1);
	assert_int_equal(gm_tree_owned(&tree, 7), 0);
	gm_tree_exit(&tree);
}

/* Children keep the order in which they were made, whatever the list's growth and gaps. */
static void test_order(void **state)
{
	const struct gm_node *node;
	struct gm_tree tree, copy;
	char path[16];

	(void)state;
	assert_int_equal(gm_tree_init(&tree), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "/x/%d", i);
		write_text(&tree, path, 0, "");
	}
	assert_int_equal(gm_tree_copy(&copy, &tree), 0);
	for (int i = 0; i < 40; i += 2) {
		snprintf(path, sizeof(path), "/x/%d", i);
		assert_int_equal(gm_tree_remove(&copy, path), 0);
	}
	write_text(&copy, "/x/0", 0, "");
	node = gm_tree_find(&copy, "/x");
	assert_int_equal(node->children, 21);
	assert_string_equal(node->child[0]->name, "1");
	assert_string_equal(node->child[19]->name, "39");
	assert_string_equal(node->child[20]->name, "0");
	assert_int_equal(gm_tree_find(&tree, "/x")->children, 40);
	gm_tree_exit(&tree);
	gm_tree_exit(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),	    cmocka_unit_test(test_perms),  cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_generations), cmocka_unit_test(test_owners), cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
