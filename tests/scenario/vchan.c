/* SPDX-License-Identifier: MIT */
/*
 * Two ends of a libxenvchan channel, by Xen's own library. The server sends back what it gets until the client has
 * gone; the client sends and compares, and with "wait" then waits for the server's end. Usage: vchan server DOMID PATH
 * | vchan client DOMID PATH [wait]
 */
#include <errno.h>
#include <libxenvchan.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES (1u << 20)
#define RING  8192 /* more than a page: its pages are shared, too */

static int serve(struct libxenvchan *chan)
{
	char buffer[3000];
	int n;

	printf("ready\n");
	fflush(stdout);
	if (libxenvchan_wait(chan) < 0)
		return 1;
	while ((n = libxenvchan_read(chan, buffer, sizeof(buffer))) > 0)
		for (int sent = 0, now; sent < n; sent += now) {
			now = libxenvchan_write(chan, buffer + sent, (size_t)(n - sent));
			if (now <= 0)
				return 1;
		}
	return libxenvchan_is_open(chan) == 1; /* the client has gone */
}

static int echo(struct libxenvchan *chan)
{
	uint8_t out[2000], in[2000];

	for (unsigned at = 0; at < BYTES; at += sizeof(out)) {
		for (unsigned i = 0; i < sizeof(out); i++)
			out[i] = (uint8_t)((at + i) * 2654435761u >> 24);
		if (libxenvchan_send(chan, out, sizeof(out)) != sizeof(out) ||
		    libxenvchan_recv(chan, in, sizeof(in)) != sizeof(in) || memcmp(in, out, sizeof(out))) {
			fprintf(stderr, "vchan: other bytes, or none, at %u\n", at);
			return 1;
		}
	}
	printf("same\n");
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	int server, domid, err;
	struct libxenvchan *chan;
	char byte;

	if (argc < 4)
		return 2;
	server = strcmp(argv[1], "server") == 0;
	domid = atoi(argv[2]);
	chan = server ? libxenvchan_server_init(NULL, domid, argv[3], RING, RING)
		      : libxenvchan_client_init(NULL, domid, argv[3]);
	if (!chan) {
		fprintf(stderr, "vchan: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	chan->blocking = !!chan; /* not a constant: the one bit is signed in Xen 4.17, and not in 4.20 */
	err = server ? serve(chan) : echo(chan);
	if (!err && argc > 4) /* nothing comes any more but the end */
		err = libxenvchan_read(chan, &byte, 1) > 0 || libxenvchan_is_open(chan) == 1;
	libxenvchan_close(chan);
	return err;
}
