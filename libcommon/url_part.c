/* No sscanf: it takes signs, spaces and overflows for numbers. */
#include "libcommon/url_part.h"

#include <ctype.h>
#include <string.h>

int url_part_copy(char *out, size_t out_size, const char *begin, const char *end)
{
    size_t len = (size_t)(end - begin);

    if (len == 0 || len >= out_size)
        return -1;
    memcpy(out, begin, len);
    out[len] = '\0';
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int url_part_escape(const char *begin, const char *end)
{
    int high = end - begin > 2 ? hex_digit(begin[1]) : -1;
    int low = end - begin > 2 ? hex_digit(begin[2]) : -1;

    return high >= 0 && low >= 0 && (high | low) != 0 ? high << 4 | low : -1;
}

/* Passwords may hold '@', ':' and '/' as %40 and the like. */
int url_part_decode(char *out, size_t out_size, const char *begin, const char *end)
{
    size_t len = 0;

    for (const char *p = begin; p < end; p++) {
        char c = *p;

        if (c == '%') {
            int byte = url_part_escape(p, end);

            if (byte < 0)
                return -1;
            c = (char)byte;
            p += 2;
        }
        if (len + 1 >= out_size)
            return -1;
        out[len++] = c;
    }
    out[len] = '\0';
    return 0;
}

int url_part_number(const char *begin, const char *end, int min, int max)
{
    int value = 0;

    if (begin == end || end - begin > 6)
        return -1;
    for (const char *p = begin; p < end; p++) {
        if (!isdigit((unsigned char)*p))
            return -1;
        value = value * 10 + (*p - '0');
    }
    return value >= min && value <= max ? value : -1;
}

int url_part_host(const char *begin, const char *end, int default_port, char *host, size_t host_size, int *port)
{
    const char *host_end, *rest;

    if (begin < end && *begin == '[') {
        host_end = memchr(begin, ']', (size_t)(end - begin));
        if (!host_end)
            return -1;
        begin++;
        rest = host_end + 1;
    } else {
        host_end = memchr(begin, ':', (size_t)(end - begin));
        if (!host_end)
            host_end = end;
        rest = host_end;
    }
    if (url_part_copy(host, host_size, begin, host_end) != 0)
        return -1;
    *port = default_port;
    if (rest < end) {
        if (*rest != ':')
            return -1;
        *port = url_part_number(rest + 1, end, 1, 65535);
    }
    return *port > 0 ? 0 : -1;
}
