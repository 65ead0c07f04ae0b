/* Accepts publishers on one address, shared with other processes (SO_REUSEPORT), within the limits on connections in
 * all and per address. Loop thread only. */
#pragma once

#include "libcommon/config.h"

struct ingest;
struct listener;
struct tls;

/* `tls` NULL: plain. NULL when the address is not to be had (errno says why). */
struct listener *listener_create(struct ingest *ingest, const struct config_listen *listen, struct tls *tls);
void listener_destroy(struct listener *listener); /* stops accepting; NULL is fine */
