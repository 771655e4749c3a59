/* SPDX-License-Identifier: MIT */
/* Our layouts and values against those of Xen's own header. */
#include <abi/grant_table.h>

#define __XEN_INTERFACE_VERSION__ 0x00040e00 /* with version 2 */
#include <xen/xen.h>
#include <xen/grant_table.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SAME_OFFSET(ours, our_field, theirs, their_field) \
	assert_int_equal(offsetof(ours, our_field), offsetof(theirs, their_field))

static void test_layout_v1(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct gio_grant_entry_v1), sizeof(grant_entry_v1_t));
	SAME_OFFSET(struct gio_grant_entry_v1, flags, grant_entry_v1_t, flags);
	SAME_OFFSET(struct gio_grant_entry_v1, domid, grant_entry_v1_t, domid);
	SAME_OFFSET(struct gio_grant_entry_v1, frame, grant_entry_v1_t, frame);
	assert_int_equal(GIO_GRANT_RESERVED, GNTTAB_NR_RESERVED_ENTRIES);
}

static void test_layout_v2(void **state)
{
	(void)state;
	assert_int_equal(sizeof(union gio_grant_entry_v2), sizeof(grant_entry_v2_t));
	assert_int_equal(sizeof(gio_grant_status_t), sizeof(grant_status_t));
	SAME_OFFSET(union gio_grant_entry_v2, hdr.flags, grant_entry_v2_t, hdr.flags);
	SAME_OFFSET(union gio_grant_entry_v2, hdr.domid, grant_entry_v2_t, hdr.domid);
	SAME_OFFSET(union gio_grant_entry_v2, full_page.frame, grant_entry_v2_t, full_page.frame);
	SAME_OFFSET(union gio_grant_entry_v2, sub_page.page_off, grant_entry_v2_t, sub_page.page_off);
	SAME_OFFSET(union gio_grant_entry_v2, sub_page.length, grant_entry_v2_t, sub_page.length);
	SAME_OFFSET(union gio_grant_entry_v2, sub_page.frame, grant_entry_v2_t, sub_page.frame);
	SAME_OFFSET(union gio_grant_entry_v2, transitive.trans_domid, grant_entry_v2_t, transitive.trans_domid);
	SAME_OFFSET(union gio_grant_entry_v2, transitive.gref, grant_entry_v2_t, transitive.gref);
}

static void test_flags(void **state)
{
	(void)state;
	assert_int_equal(GIO_GTF_INVALID, GTF_invalid);
	assert_int_equal(GIO_GTF_PERMIT_ACCESS, GTF_permit_access);
	assert_int_equal(GIO_GTF_ACCEPT_TRANSFER, GTF_accept_transfer);
	assert_int_equal(GIO_GTF_TRANSITIVE, GTF_transitive);
	assert_int_equal(GIO_GTF_TYPE_MASK, GTF_type_mask);
	assert_int_equal(GIO_GTF_READONLY, GTF_readonly);
	assert_int_equal(GIO_GTF_READING, GTF_reading);
	assert_int_equal(GIO_GTF_WRITING, GTF_writing);
	assert_int_equal(GIO_GTF_PWT, GTF_PWT);
	assert_int_equal(GIO_GTF_PCD, GTF_PCD);
	assert_int_equal(GIO_GTF_PAT, GTF_PAT);
	assert_int_equal(GIO_GTF_SUB_PAGE, GTF_sub_page);
}

static void test_status(void **state)
{
	(void)state;
	assert_int_equal(GIO_GNTST_OKAY, GNTST_okay);
	assert_int_equal(GIO_GNTST_GENERAL_ERROR, GNTST_general_error);
	assert_int_equal(GIO_GNTST_BAD_DOMAIN, GNTST_bad_domain);
	assert_int_equal(GIO_GNTST_BAD_GNTREF, GNTST_bad_gntref);
	assert_int_equal(GIO_GNTST_BAD_HANDLE, GNTST_bad_handle);
	assert_int_equal(GIO_GNTST_BAD_VIRT_ADDR, GNTST_bad_virt_addr);
	assert_int_equal(GIO_GNTST_BAD_DEV_ADDR, GNTST_bad_dev_addr);
	assert_int_equal(GIO_GNTST_NO_DEVICE_SPACE, GNTST_no_device_space);
	assert_int_equal(GIO_GNTST_PERMISSION_DENIED, GNTST_permission_denied);
	assert_int_equal(GIO_GNTST_BAD_PAGE, GNTST_bad_page);
	assert_int_equal(GIO_GNTST_BAD_COPY_ARG, GNTST_bad_copy_arg);
	assert_int_equal(GIO_GNTST_ADDRESS_TOO_BIG, GNTST_address_too_big);
	assert_int_equal(GIO_GNTST_EAGAIN, GNTST_eagain);
	assert_int_equal(GIO_GNTST_NO_SPACE, GNTST_no_space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout_v1),
		cmocka_unit_test(test_layout_v2),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests_name("grant_abi", tests, NULL, NULL);
}
