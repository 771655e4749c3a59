/* SPDX-License-Identifier: MIT */
#include "model/store/perms.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The letter at index n stands for the rights n: GM_RIGHT_READ and GM_RIGHT_WRITE are its bits. */
static const char letters[] = {'n', 'r', 'w', 'b'};

struct gm_perms gm_perms_owner(uint16_t domid)
{
	return (struct gm_perms){.count = 1, .entry[0].domid = domid};
}

/* The first entry that names the domain counts; whoever is not named has the rights of the owner's entry. */
unsigned gm_perms_rights(const struct gm_perms *perms, uint16_t domid)
{
	if (domid == 0 || perms->entry[0].domid == domid)
		return GM_RIGHTS_ALL;
	for (uint32_t i = 1; i < perms->count; i++) {
		if (perms->entry[i].domid == domid)
			return perms->entry[i].rights;
	}
	return perms->entry[0].rights;
}

bool gm_perms_drop(struct gm_perms *perms, uint16_t domid)
{
	uint32_t kept = 1;

	for (uint32_t i = 1; i < perms->count; i++) {
		if (perms->entry[i].domid != domid)
			perms->entry[kept++] = perms->entry[i];
	}
	if (kept == perms->count)
		return false;
	perms->count = kept;
	return true;
}

/* One "r12". */
static int perm_parse(struct gm_perm *out, const char *text)
{
	const char *letter = *text ? memchr(letters, *text, sizeof(letters)) : NULL;
	uint32_t domid = 0;

	if (!letter || !text[1])
		return -EINVAL;
	for (text++; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		domid = domid * 10 + (uint32_t)(*text - '0');
		if (domid > UINT16_MAX)
			return -EINVAL;
	}
	out->domid = (uint16_t)domid;
	out->rights = (uint8_t)(letter - letters);
	return 0;
}

/* Every entry must be valid: a client that makes a mistake must not end up with other rights than it meant. */
int gm_perms_parse(struct gm_perms *out, const char *text, size_t length)
{
	int err;

	if (length == 0 || text[length - 1] != '\0')
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	for (const char *end = text + length; text < end; text += strlen(text) + 1) {
		if (out->count == GM_STORE_PERMS_MAX)
			return -ENOSPC;
		err = perm_parse(&out->entry[out->count], text);
		if (err)
			return err;
		out->count++;
	}
	return 0;
}

size_t gm_perms_format(const struct gm_perms *perms, char *text)
{
	size_t used = 0;

	for (uint32_t i = 0; i < perms->count; i++) {
		const struct gm_perm *perm = &perms->entry[i];

		/* Fits: a letter, at most five digits and NUL are the seven bytes that each entry has. */
		used += (size_t)snprintf(text + used, GM_PERMS_TEXT_MAX - used, "%c%u", letters[perm->rights & 3],
					 perm->domid) +
			1;
	}
	return used;
}
