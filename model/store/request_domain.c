/* SPDX-License-Identifier: MIT */
/* Requests on domains, most of them domain 0's alone. */
#include "model/store/request.h"

#include "model/store/domain.h"
#include "model/store/forget.h"
#include "model/store/limits.h"
#include "model/store/watch.h"

#include <abi/xen.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* No sign, no space and no overflow: strtoul() would take them. */
static int domid_parse(const char *text, uint16_t *domid)
{
	unsigned value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > GIO_DOMID_MAX)
			return -EINVAL;
	}
	*domid = (uint16_t)value;
	return 0;
}

/* The domain that the payload, one string, names. */
static int domid_only(const struct gm_request *request, uint16_t *domid)
{
	const char *text;
	int err = gm_request_strings(request, &text, 1, NULL);

	return err ? err : domid_parse(text, domid);
}

/* Domain, frame and event channel of its ring; the model's domains have sockets instead and ignore the last two. */
int gm_request_introduce(struct gm_request *request)
{
	const char *string[3];
	uint16_t domid;
	int err;

	err = gm_request_strings(request, string, 3, NULL);
	if (err)
		return err;
	err = domid_parse(string[0], &domid);
	if (err)
		return err;
	err = gm_store_domain_socket_add(request->store, domid);
	if (err == -EEXIST)
		return gm_request_done(request); /* again: xenstored would connect to the ring anew */
	if (err)
		return err;
	gm_watch_fire(request->store, NULL, "@introduceDomain", GM_CHANGED);
	return gm_request_done(request);
}

/* The domain may have left nodes behind that its toolstack does not know of. */
int gm_request_release(struct gm_request *request)
{
	uint16_t domid;
	int err;

	err = domid_only(request, &domid);
	if (err)
		return err;
	if (domid == 0)
		return -EINVAL;
	if (!gm_store_domain_find(request->store, domid))
		return -ENOENT;
	/* First what can fail: a domain that is half released can be released again. */
	err = gm_store_forget(request->store, domid);
	if (!err)
		err = gm_store_domain_socket_remove(request->store, domid);
	if (err)
		return err;
	gm_watch_fire(request->store, NULL, "@releaseDomain", GM_CHANGED);
	return gm_request_done(request);
}

/* xenstored clears its mark that the domain was shut down, which the model does not keep. */
int gm_request_resume(struct gm_request *request)
{
	uint16_t domid;
	int err;

	err = domid_only(request, &domid);
	if (err)
		return err;
	return gm_store_domain_find(request->store, domid) ? gm_request_done(request) : -ENOENT;
}

/* For any id, whether there is such a domain or not: it is only a name. */
int gm_request_domain_path(struct gm_request *request)
{
	char path[32];
	uint16_t domid;
	int err;

	err = domid_only(request, &domid);
	if (err)
		return err;
	gm_connection_reply(request->connection, path,
			    (size_t)snprintf(path, sizeof(path), "/local/domain/%u", domid) + 1);
	return 0;
}

int gm_request_is_introduced(struct gm_request *request)
{
	uint16_t domid;
	int err;

	err = domid_only(request, &domid);
	if (err)
		return err;
	gm_connection_reply(request->connection, gm_store_domain_find(request->store, domid) ? "T" : "F", 2);
	return 0;
}

/* ---- xenstore-control: what is not done here is refused ---- */

static int control_help(struct gm_request *request, const char *argument)
{
	static const char text[] = "Control commands supported:\n\thelp\n\tquota\n";

	if (argument)
		return -EINVAL;
	gm_connection_reply(request->connection, text, sizeof(text));
	return 0;
}

static int control_limits(struct gm_request *request)
{
	char text[256];
	int length = snprintf(text, sizeof(text),
			      "nodes: %d\nwatches: %d\ntransactions: %d\ntransaction-nodes: %d\nnode-size: %d\n"
			      "permissions: %d\nconnections: %d\n",
			      GM_STORE_NODES_MAX, GM_STORE_WATCHES_MAX, GM_STORE_TRANSACTIONS, GM_STORE_TOUCHED_MAX,
			      GM_STORE_NODE_BYTES, GM_STORE_PERMS_DOMAIN, GM_STORE_CONNECTIONS);

	gm_connection_reply(request->connection, text, (size_t)length + 1);
	return 0;
}

/* What one domain uses. Limits are fixed: "set" is no domain, and so no request. */
static int control_quota(struct gm_request *request, const char *argument)
{
	const struct gm_store_domain *domain;
	char text[256];
	uint16_t domid;
	int err, length;

	if (!argument)
		return control_limits(request);
	err = domid_parse(argument, &domid);
	if (err)
		return err;
	domain = gm_store_domain_find(request->store, domid);
	if (!domain)
		return -ENOENT;
	length = snprintf(text, sizeof(text), "Domain %u:\nnodes: %u\nwatches: %u\ntransactions: %u\nconnections: %u\n",
			  domid, gm_tree_owned(&request->store->tree, domid), domain->watches, domain->transactions,
			  domain->connections);
	gm_connection_reply(request->connection, text, (size_t)length + 1);
	return 0;
}

int gm_request_control(struct gm_request *request)
{
	const char *command, *rest, *argument = NULL;
	int err;

	err = gm_request_strings(request, &command, 1, &rest);
	if (err)
		return err;
	if (rest < request->data + request->length) {
		const char *both[2];

		err = gm_request_strings(request, both, 2, NULL); /* at most one argument */
		if (err)
			return err;
		argument = both[1];
	}
	if (strcmp(command, "help") == 0)
		return control_help(request, argument);
	return strcmp(command, "quota") == 0 ? control_quota(request, argument) : -EINVAL;
}
