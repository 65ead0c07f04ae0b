/* What `<service> --health` does: asks the admin port of the instance that runs with the same environment whether it
 * works. For the health checks of containers, whose images hold no HTTP client. Blocking; for a process that does
 * nothing else. */
#pragma once

#include "libcommon/config.h"

/* GET /healthz at `admin` (an any-address means loopback), within `timeout_ms`. 0: 200 was answered; 1: anything else,
 * and one sentence stands on standard error; 2: the port is 0, so nobody can know it. An exit status. */
int service_health_check(const struct config_listen *admin, int timeout_ms);
