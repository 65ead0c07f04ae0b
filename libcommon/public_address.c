#include "libcommon/public_address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

static bool ipv4_is_public(uint32_t address)
{
    static const struct {
        uint32_t prefix;
        int bits;
    } special[] = {
        {0x00000000, 8},  /* this network */
        {0x0a000000, 8},  /* private */
        {0x64400000, 10}, /* shared: carrier-grade NAT */
        {0x7f000000, 8},  /* loopback */
        {0xa9fe0000, 16}, /* link-local, the clouds' metadata among it */
        {0xac100000, 12}, /* private */
        {0xc0000000, 24}, /* protocol assignments */
        {0xc0000200, 24}, /* documentation */
        {0xc0586300, 24}, /* 6to4 relays */
        {0xc0a80000, 16}, /* private */
        {0xc6120000, 15}, /* benchmarks */
        {0xc6336400, 24}, /* documentation */
        {0xcb007100, 24}, /* documentation */
        {0xe0000000, 3},  /* multicast, reserved, broadcast */
    };

    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
        if ((address ^ special[i].prefix) >> (32 - special[i].bits) == 0)
            return false;
    return true;
}

static uint32_t ipv4_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool ipv6_is_public(const uint8_t bytes[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};     /* ::ffff:0:0/96 */
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};        /* 64:ff9b::/96 */
    static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8}; /* 2001:db8::/32 */

    if (memcmp(bytes, mapped, 12) == 0 || memcmp(bytes, nat64, 12) == 0)
        return ipv4_is_public(ipv4_at(bytes + 12));
    if (bytes[0] == 0x20 && bytes[1] == 0x02) /* 6to4 */
        return ipv4_is_public(ipv4_at(bytes + 2));
    /* Global unicast is 2000::/3, less the protocol assignments (2001::/23, Teredo among them) and documentation. */
    if ((bytes[0] & 0xe0) != 0x20 || (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] < 2))
        return false;
    return memcmp(bytes, documentation, 4) != 0 && !(bytes[0] == 0x3f && bytes[1] == 0xff && bytes[2] < 0x10);
}

bool address_is_public(const struct sockaddr *address)
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;

    switch (address->sa_family) {
    case AF_INET:
        memcpy(&ipv4, address, sizeof(ipv4));
        return ipv4_is_public(ntohl(ipv4.sin_addr.s_addr));
    case AF_INET6:
        memcpy(&ipv6, address, sizeof(ipv6));
        return ipv6_is_public(ipv6.sin6_addr.s6_addr);
    default:
        return false;
    }
}
