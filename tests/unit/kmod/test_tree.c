/* SPDX-License-Identifier: MIT */
#include <tree.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- a device's ids ---------------------------------------------------------------------------------------------- */

static int backend_of(const struct gk_tree_id *ids, size_t n, gio_domid_t *backend)
{
	*backend = 0xdead;
	return gk_tree_backend(ids, n, backend);
}

static void test_one_id_is_the_backends_domain(void **state)
{
	static const uint32_t good[] = {0, 1, 7, 0x7fef};
	gio_domid_t backend;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		const struct gk_tree_id id = {.ours = true, .cells = 1, .id = good[i]};

		assert_int_equal(backend_of(&id, 1, &backend), 0);
		assert_int_equal(backend, good[i]);
	}
}

static void test_ids_that_are_no_domain(void **state)
{
	static const uint32_t bad[] = {0x7ff0, 0x7ff1, 0xffff, 0x10000, 0x10001, UINT32_MAX};
	gio_domid_t backend;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		const struct gk_tree_id id = {.ours = true, .cells = 1, .id = bad[i]};

		assert_int_equal(backend_of(&id, 1, &backend), -GIO_ERANGE);
		assert_int_equal(backend, 0xdead);
	}
}

static void test_devices_of_others(void **state)
{
	const struct gk_tree_id others[] = {{false, 1, 3}, {false, 2, 5}};
	gio_domid_t backend;

	(void)state;
	assert_int_equal(backend_of(NULL, 0, &backend), -GIO_ENODEV);
	assert_int_equal(backend_of(others, 1, &backend), -GIO_ENODEV);
	assert_int_equal(backend_of(others, 2, &backend), -GIO_ENODEV);
}

static void test_more_ids_must_agree(void **state)
{
	const struct gk_tree_id same[] = {{true, 1, 3}, {true, 1, 3}}, differ[] = {{true, 1, 3}, {true, 1, 4}};
	const struct gk_tree_id mixed[] = {{true, 1, 3}, {false, 1, 3}}, last[] = {{false, 1, 3}, {true, 1, 3}};
	gio_domid_t backend;

	(void)state;
	assert_int_equal(backend_of(same, 2, &backend), 0);
	assert_int_equal(backend, 3);
	assert_int_equal(backend_of(differ, 2, &backend), -GIO_EINVAL);
	assert_int_equal(backend_of(mixed, 2, &backend), -GIO_EINVAL);
	assert_int_equal(backend_of(last, 2, &backend), -GIO_EINVAL);
}

static void test_ids_have_one_cell(void **state)
{
	const struct gk_tree_id none = {true, 0, 0}, two = {true, 2, 1};
	gio_domid_t backend;

	(void)state;
	assert_int_equal(backend_of(&none, 1, &backend), -GIO_EINVAL);
	assert_int_equal(backend_of(&two, 1, &backend), -GIO_EINVAL);
}

static void test_no_more_ids_than_may_be(void **state)
{
	struct gk_tree_id ids[GK_TREE_IDS + 1];
	gio_domid_t backend;

	(void)state;
	for (size_t i = 0; i < COUNT(ids); i++)
		ids[i] = (struct gk_tree_id){.ours = true, .cells = 1, .id = 2};
	assert_int_equal(backend_of(ids, GK_TREE_IDS, &backend), 0);
	assert_int_equal(backend_of(ids, GK_TREE_IDS + 1, &backend), -GIO_EINVAL);
}

/* ---- iommu-map of a PCI host bridge -------------------------------------------------------------------------------
 */

/* 00:01.0 goes to domain 1, 00:02.0 to 00:02.7 to domains 2 to 9; bus 1 is behind an IOMMU. */
static const struct gk_tree_line map[] = {
	{.rid = 0x8, .phandle = 10, .id = 1, .count = 1},
	{.rid = 0x10, .phandle = 10, .id = 2, .count = 8},
	{.rid = 0x100, .phandle = 20, .id = 0x100, .count = 0x100},
	{.rid = 0x10, .phandle = 30, .id = 9, .count = 1}, /* after the line that has it: never */
};

static int find(uint32_t mask, uint32_t rid, uint32_t *phandle, uint32_t *id)
{
	*phandle = *id = 0xdead;
	return gk_tree_map(map, COUNT(map), mask, rid, phandle, id);
}

static void test_map_first_and_last_of_a_line(void **state)
{
	static const struct {
		uint32_t rid, phandle, id;
	} cases[] = {{0x8, 10, 1}, {0x10, 10, 2}, {0x17, 10, 9}, {0x100, 20, 0x100}, {0x1ff, 20, 0x1ff}};
	uint32_t phandle, id;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(find(UINT32_MAX, cases[i].rid, &phandle, &id), 0);
		assert_int_equal(phandle, cases[i].phandle);
		assert_int_equal(id, cases[i].id);
	}
}

static void test_map_has_no_line(void **state)
{
	static const uint32_t rids[] = {0, 7, 9, 0xf, 0x18, 0xff, 0x200, 0xffff};
	uint32_t phandle, id;

	(void)state;
	for (size_t i = 0; i < COUNT(rids); i++) {
		assert_int_equal(find(UINT32_MAX, rids[i], &phandle, &id), -GIO_ENODEV);
		assert_int_equal(phandle, 0xdead);
	}
	assert_int_equal(gk_tree_map(NULL, 0, UINT32_MAX, 8, &phandle, &id), -GIO_ENODEV);
}

static void test_map_mask(void **state)
{
	uint32_t phandle, id;

	(void)state;
	/* All functions of a device are one. */
	assert_int_equal(find(0xfff8, 0xd, &phandle, &id), 0);
	assert_int_equal(id, 1);
	/* A line for ids that the mask leaves out. */
	assert_int_equal(find(0xff, 0x300, &phandle, &id), -GIO_EINVAL);
	assert_int_equal(find(0x7, 0x8, &phandle, &id), -GIO_EINVAL);
}

static void test_map_that_wraps(void **state)
{
	static const struct gk_tree_line all[] = {{.rid = 2, .phandle = 1, .id = UINT32_MAX, .count = UINT32_MAX}};
	uint32_t phandle, id;

	(void)state;
	assert_int_equal(gk_tree_map(all, 1, UINT32_MAX, 0, &phandle, &id), -GIO_ENODEV);
	assert_int_equal(gk_tree_map(all, 1, UINT32_MAX, 1, &phandle, &id), -GIO_ENODEV);
	assert_int_equal(gk_tree_map(all, 1, UINT32_MAX, 2, &phandle, &id), 0);
	assert_int_equal(id, UINT32_MAX);
	assert_int_equal(gk_tree_map(all, 1, UINT32_MAX, 3, &phandle, &id), -GIO_EINVAL);
	assert_int_equal(gk_tree_map(all, 1, UINT32_MAX, UINT32_MAX, &phandle, &id), -GIO_EINVAL);
}

/* ---- what kind of device ----------------------------------------------------------------------------------------- */

static void test_type_of_a_child_node(void **state)
{
	static const struct {
		const char *text;
		uint32_t type;
	} good[] = {
		{"virtio,device2", 2}, {"virtio,device1a", 26}, {"virtio,device22", 34}, {"virtio,deviceffff", 0xffff}};
	static const char *const bad[] = {
		"",
		"virtio,device",
		"virtio,devic",
		"virtio,device0",
		"virtio,device2 ",
		"virtio,device1A",
		"virtio,device-1",
		"virtio,mmio",
		"xvirtio,device2",
		"virtio,device12345",
		"virtio,device2,",
		"virtio,deviceg",
	};
	uint32_t type;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(gk_tree_type(good[i].text, &type), 0);
		assert_int_equal(type, good[i].type);
	}
	type = 7;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(gk_tree_type(bad[i], &type), -GIO_EINVAL);
	assert_int_equal(type, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_type_of_a_child_node),	cmocka_unit_test(test_one_id_is_the_backends_domain),
		cmocka_unit_test(test_ids_that_are_no_domain),	cmocka_unit_test(test_devices_of_others),
		cmocka_unit_test(test_more_ids_must_agree),	cmocka_unit_test(test_ids_have_one_cell),
		cmocka_unit_test(test_no_more_ids_than_may_be), cmocka_unit_test(test_map_first_and_last_of_a_line),
		cmocka_unit_test(test_map_has_no_line),		cmocka_unit_test(test_map_mask),
		cmocka_unit_test(test_map_that_wraps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
