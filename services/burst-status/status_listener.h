/* The listening socket of the public port. */
#pragma once

#include "libcommon/config.h"

#include <stdint.h>

/* A non-blocking listener that other processes of this service may share the port with; -1 and errno. `port`: the one
 * really bound. */
int status_listener_open(const struct config_listen *listen_at, uint16_t *port);
