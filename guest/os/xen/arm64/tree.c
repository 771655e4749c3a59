/* SPDX-License-Identifier: MIT */
#include "tree.h"

#include <stdbool.h>
#include <string.h>

/*
 * The flattened device tree (Devicetree Specification, chapter 5), as far as a small guest needs it: where RAM is, and
 * the command line. The toolstack wrote it; what lies outside of it reads as zero or as an empty text all the same.
 */
#define MAGIC	   0xd00dfeedu
#define TREE_MOST  0x200000u /* bytes; libfdt's limit for Linux is the same */
#define BEGIN_NODE 1u
#define END_NODE   2u
#define PROP	   3u
#define NOP	   4u

struct tree {
	const uint8_t *data;
	uint32_t size, structure, strings;
};

static uint32_t be32(const struct tree *tree, uint32_t at)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 4 && at < tree->size; i++)
		value = value << 8 | (at + i < tree->size ? tree->data[at + i] : 0);
	return value;
}

static uint64_t be64(const struct tree *tree, uint32_t at)
{
	return (uint64_t)be32(tree, at) << 32 | be32(tree, at + 4);
}

/* A string within the tree, its NUL included; else "". */
static const char *text_at(const struct tree *tree, uint32_t at)
{
	for (uint32_t end = at; end < tree->size; end++)
		if (!tree->data[end])
			return (const char *)tree->data + at;
	return "";
}

/* "memory@40000000" is "memory". */
static bool named(const char *node, const char *name)
{
	size_t n = strlen(name);

	return strlen(node) >= n && !memcmp(node, name, n) && (node[n] == '\0' || node[n] == '@');
}

static void property(const struct tree *tree, const char *node, uint32_t at, struct tree_facts *facts)
{
	uint32_t bytes = be32(tree, at), value = at + 8;
	const char *name = text_at(tree, tree->strings + be32(tree, at + 4));

	/* Two cells each: so it is in every guest's tree of Xen's toolstack (libxl_arm.c). */
	if (named(node, "memory") && !strcmp(name, "reg") && bytes >= 16 && !facts->ram_bytes) {
		facts->ram = be64(tree, value);
		facts->ram_bytes = be64(tree, value + 8);
	} else if (named(node, "chosen") && !strcmp(name, "bootargs") && bytes) {
		facts->command_line = text_at(tree, value);
	}
}

/* Nodes below the root; what lies deeper is passed over. */
static void walk(const struct tree *tree, struct tree_facts *facts)
{
	uint32_t at = tree->structure, token;
	const char *node = "";
	unsigned depth = 0;

	while (at < tree->size) {
		token = be32(tree, at);
		at += 4;
		if (token == BEGIN_NODE) {
			const char *name = text_at(tree, at);

			if (++depth == 2)
				node = name;
			at += (uint32_t)(strlen(name) + 4) & ~3u;
		} else if (token == END_NODE && depth) {
			depth--;
		} else if (token == PROP) {
			if (depth == 2)
				property(tree, node, at, facts);
			at += 8 + ((be32(tree, at) + 3) & ~3u);
		} else if (token != NOP) {
			return;
		}
	}
}

int gio_xen_tree_read(const void *data, struct tree_facts *facts)
{
	struct tree tree = {.data = data, .size = 40};

	*facts = (struct tree_facts){0};
	if (!data || be32(&tree, 0) != MAGIC || be32(&tree, 4) > TREE_MOST)
		return -1;
	tree.size = be32(&tree, 4);
	tree.structure = be32(&tree, 8);
	tree.strings = be32(&tree, 12);
	walk(&tree, facts);
	return facts->ram_bytes ? 0 : -1;
}
