/* What the parsers of URLs share: those of databases, and the HTTP server. A part is the bytes from `begin` up to
 * `end`. Any thread. */
#pragma once

#include <stddef.h>

/* As it is. 0, or -1 when it is empty or does not fit. */
int url_part_copy(char *out, size_t out_size, const char *begin, const char *end);
/* With %XX decoded (not %00). 0, or -1 when it is malformed or does not fit; an empty part is fine. */
int url_part_decode(char *out, size_t out_size, const char *begin, const char *end);
/* The byte of the escape (%XX) that begins at `begin`; -1: there is none, or it is %00. */
int url_part_escape(const char *begin, const char *end);
/* A decimal number within [min, max], or -1. */
int url_part_number(const char *begin, const char *end, int min, int max);
/* host, host:port, [v6]:port; without a port `default_port`. 0 or -1. */
int url_part_host(const char *begin, const char *end, int default_port, char *host, size_t host_size, int *port);
