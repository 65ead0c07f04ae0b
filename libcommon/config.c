/* Every sentence names the variable, what was found and what is expected: whoever deploys reads nothing else. */
#include "libcommon/config.h"

#include "libcommon/alloc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Where the sentence about the first problem goes. */
struct failure {
    char *text;
    size_t size;
};

static int fail(const struct failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(const struct failure *failure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->text, failure->size, format, arguments);
    va_end(arguments);
    return -1;
}

/* A value as it may be shown: secrets are not, and what is long or unprintable would hide the sentence around it. */
static const char *shown(const struct config_row *row, const char *value, char out[80])
{
    if (row->secret)
        return "(not shown)";
    size_t len = 0;
    for (; value[len] && len < 60; len++)
        out[len] = isprint((unsigned char)value[len]) ? value[len] : '?';
    snprintf(out + len, 80 - len, "%s", value[len] ? "…" : "");
    return out;
}

static void join_choices(const char *const *choices, const char *suffix, char *out, size_t out_size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; choices && choices[i] && len < out_size; i++)
        len += (size_t)snprintf(out + len, out_size - len, "%s%s%s", i ? ", " : "", choices[i], suffix);
}

/* Digits only, no sign but a leading minus, no blanks: strtoll() alone would take " +7". */
static bool parse_integer(const char *text, int64_t *value)
{
    const char *digits = text + (*text == '-');
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    *value = strtoll(text, NULL, 10);
    return errno == 0;
}

static int load_integer(const struct config_row *row, const char *value, int64_t *out, const struct failure *failure)
{
    char text[80];
    int64_t number;
    if (!parse_integer(value, &number))
        return fail(failure, "%s is \"%s\": expected a whole number from %" PRId64 " to %" PRId64 " (%s)", row->name,
                    shown(row, value, text), row->min, row->max, row->help);
    if (number < row->min || number > row->max)
        return fail(failure, "%s is %s: expected a number from %" PRId64 " to %" PRId64 " (%s)", row->name,
                    shown(row, value, text), row->min, row->max, row->help);
    *out = number;
    return 0;
}

static int load_bool(const struct config_row *row, const char *value, bool *out, const struct failure *failure)
{
    char text[80];
    if (!strcmp(value, "true") || !strcmp(value, "1"))
        *out = true;
    else if (!strcmp(value, "false") || !strcmp(value, "0"))
        *out = false;
    else
        return fail(failure, "%s is \"%s\": expected true, false, 1 or 0 (%s)", row->name, shown(row, value, text),
                    row->help);
    return 0;
}

static int check_choice(const struct config_row *row, const char *value, const struct failure *failure)
{
    char text[80], choices[256];
    for (size_t i = 0; row->choices[i]; i++)
        if (!strcmp(value, row->choices[i]))
            return 0;
    join_choices(row->choices, "", choices, sizeof choices);
    return fail(failure, "%s is \"%s\": expected one of %s (%s)", row->name, shown(row, value, text), choices,
                row->help);
}

static int check_url(const struct config_row *row, const char *value, const struct failure *failure)
{
    char text[80], schemes[256];
    const char *separator = strstr(value, "://");
    for (size_t i = 0; separator && separator[3] && row->choices && row->choices[i]; i++) {
        size_t len = strlen(row->choices[i]);
        if (len == (size_t)(separator - value) && !strncasecmp(value, row->choices[i], len))
            return 0;
    }
    join_choices(row->choices, "://…", schemes, sizeof schemes);
    return fail(failure, "%s is \"%s\": expected a URL that begins with %s (%s)", row->name, shown(row, value, text),
                schemes, row->help);
}

/* The host must be an address: a name could resolve to several, and a listener wants exactly one. */
static bool parse_listen(const char *value, struct config_listen *out)
{
    bool is_v6 = value[0] == '[';
    const char *host = value + is_v6;
    const char *end = is_v6 ? strchr(host, ']') : strchr(host, ':');
    int64_t port;
    if (!end || (size_t)(end - host) >= sizeof out->host)
        return false;
    const char *colon = end + is_v6;
    if (*colon != ':' || strlen(colon + 1) > 5 || !parse_integer(colon + 1, &port) || port < 0 || port > UINT16_MAX)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->host, host, (size_t)(end - host));
    out->port = (uint16_t)port;
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(is_v6 ? AF_INET6 : AF_INET, out->host, address) == 1;
}

static int load_listen(const struct config_row *row, const char *value, struct config_listen *out,
                       const struct failure *failure)
{
    char text[80];
    if (parse_listen(value, out))
        return 0;
    return fail(failure,
                "%s is \"%s\": expected an address and a port, as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:0 (%s)",
                row->name, shown(row, value, text), row->help);
}

static bool owns_string(const struct config_row *row)
{
    return row->type == CONFIG_STRING || row->type == CONFIG_CHOICE || row->type == CONFIG_URL;
}

static int load_row(const struct config_row *row, void *field, const struct failure *failure)
{
    const char *value = getenv(row->name);
    if (!value)
        value = row->default_value;
    if (!value)
        return fail(failure, "%s is missing: %s", row->name, row->help);
    switch (row->type) {
    case CONFIG_INT:
        return load_integer(row, value, field, failure);
    case CONFIG_BOOL:
        return load_bool(row, value, field, failure);
    case CONFIG_LISTEN:
        return load_listen(row, value, field, failure);
    case CONFIG_STRING:
    case CONFIG_CHOICE:
    case CONFIG_URL:
        break;
    }
    /* Set but empty is how compose files write "not set"; only a row that may be empty takes it. */
    bool may_be_empty = row->default_value && !*row->default_value;
    if (!*value && !may_be_empty)
        return fail(failure, "%s is empty: expected %s", row->name, row->help);
    if (*value && row->type == CONFIG_CHOICE && check_choice(row, value, failure))
        return -1;
    if (*value && row->type == CONFIG_URL && check_url(row, value, failure))
        return -1;
    char why[400];
    if (*value && row->check && row->check(value, why, sizeof why))
        return fail(failure, "%s: %s (%s)", row->name, why, row->help);
    *(char **)field = alloc_string(value);
    return 0;
}

int config_load(const struct config_row *rows, void *out, char *error, size_t error_size)
{
    const struct failure failure = {error, error_size};
    for (const struct config_row *row = rows; row->name; row++)
        if (owns_string(row))
            *(char **)((char *)out + row->offset) = NULL;
    for (const struct config_row *row = rows; row->name; row++) {
        if (load_row(row, (char *)out + row->offset, &failure)) {
            config_clear(rows, out);
            return -1;
        }
    }
    return 0;
}

void config_clear(const struct config_row *rows, void *out)
{
    for (const struct config_row *row = rows; row->name; row++) {
        if (!owns_string(row))
            continue;
        char **field = (char **)((char *)out + row->offset);
        free(*field);
        *field = NULL;
    }
}

static void describe_type(const struct config_row *row, char *out, size_t out_size)
{
    char choices[256];
    switch (row->type) {
    case CONFIG_STRING:
        snprintf(out, out_size, "text");
        return;
    case CONFIG_INT:
        snprintf(out, out_size, "%" PRId64 "..%" PRId64, row->min, row->max);
        return;
    case CONFIG_BOOL:
        snprintf(out, out_size, "true|false");
        return;
    case CONFIG_LISTEN:
        snprintf(out, out_size, "address:port");
        return;
    case CONFIG_CHOICE:
        join_choices(row->choices, "", choices, sizeof choices);
        snprintf(out, out_size, "%s", choices);
        return;
    case CONFIG_URL:
        join_choices(row->choices, "://", choices, sizeof choices);
        snprintf(out, out_size, "%s", choices);
        return;
    }
}

void config_print_table(const struct config_row *rows)
{
    for (const struct config_row *row = rows; row->name; row++) {
        char type[280];
        describe_type(row, type, sizeof type);
        const char *value = !row->default_value                  ? "required"
                            : row->secret && *row->default_value ? "(secret)"
                            : *row->default_value                ? row->default_value
                                                                 : "(empty)";
        printf("  %-36s %-24s %-24s %s\n", row->name, type, value, row->help);
    }
}
