/* Finds broadcasts to work on, takes their leases, and keeps one child process per broadcast alive. Loop thread only.
 */
#pragma once

#include "services/transcoder/config.h"

struct service;
struct supervisor;

/* NULL: logged why. `config` must outlive it. */
struct supervisor *supervisor_create(struct service *service, const struct transcoder_config *config);
void supervisor_destroy(struct supervisor *supervisor);
/* No new work; the children stop at their next segment, then service_drained(). */
void supervisor_drain(struct supervisor *supervisor);
