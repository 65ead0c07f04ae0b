/* Whether an address is one of the public internet's: for requests that outsiders make us send, which must not reach
 * what only we can reach. Decide on the address that is connected to, never on the name (it may resolve to another one
 * the next moment). Pure; any thread. */
#pragma once

#include <stdbool.h>

struct sockaddr;

/* False for loopback, private, link-local, shared, multicast, documentation, benchmark and reserved addresses
 * (IANA's special-purpose registries), for IPv6 ones that carry such an IPv4 address, and for other families. */
bool address_is_public(const struct sockaddr *address);
