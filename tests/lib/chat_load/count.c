/* What is in the frames that come: comments, their order and their age; acknowledgements; errors by code. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#define COMMENT_MARK "\"text\":\"@" /* and then the time at which it was sent, in ns */

static void look_at_order(struct viewer *viewer, const char *id)
{
    char *rest;
    uint64_t ms = strtoull(id, &rest, 10);
    uint64_t sequence = *rest == '-' ? strtoull(rest + 1, NULL, 10) : 0;

    if (ms < viewer->last_ms || (ms == viewer->last_ms && sequence <= viewer->last_sequence))
        totals.disordered++;
    viewer->last_ms = ms;
    viewer->last_sequence = sequence;
}

static void take_events(struct viewer *viewer, const char *text, size_t len, int64_t now_ns)
{
    static const char id_mark[] = "{\"id\":\"", comment_mark[] = COMMENT_MARK;
    size_t count_len = strlen(options.count);
    const char *limit = text + len, *at;

    for (at = text; (at = memmem(at, (size_t)(limit - at), comment_mark, sizeof(comment_mark) - 1)) != NULL;) {
        at += sizeof(comment_mark) - 1;
        viewer->comments++;
        totals.comments++;
        delays_observe(&totals.delivery, now_ns - strtoll(at, NULL, 10));
    }
    /* `"user":{"id":` has a colon in front of it. */
    for (at = text + 1; (at = memmem(at, (size_t)(limit - at), id_mark, sizeof(id_mark) - 1)) != NULL; at++)
        if (at[-1] != ':')
            look_at_order(viewer, at + sizeof(id_mark) - 1);
    for (at = text; count_len && (at = memmem(at, (size_t)(limit - at), options.count, count_len)) != NULL;
         at += count_len) {
        viewer->counted++;
        totals.counted++;
    }
}

/* The string behind `mark`, cut at its closing quote. */
static bool copy_string(const char *text, size_t len, const char *mark, char *out, size_t size)
{
    const char *at = memmem(text, len, mark, strlen(mark));
    size_t count = 0;

    if (!at)
        return false;
    at += strlen(mark);
    while (at + count < text + len && at[count] != '"' && count + 1 < size)
        count++;
    memcpy(out, at, count);
    out[count] = '\0';
    return true;
}

static void take_ack(const char *text, size_t len, int64_t now_ns)
{
    char value[80];

    totals.acked++;
    if (copy_string(text, len, "\"ref\":\"", value, sizeof(value)))
        delays_observe(&totals.acknowledgement, now_ns - strtoll(value, NULL, 10));
    if (totals.ack_file && copy_string(text, len, "\"id\":\"", value, sizeof(value)))
        fprintf(totals.ack_file, "%s\n", value);
}

static void take_error(const char *text, size_t len)
{
    char code[40] = "?";
    size_t i = 0;

    copy_string(text, len, "\"code\":\"", code, sizeof(code));
    while (i < CODES - 1 && totals.codes[i].code[0] && strcmp(totals.codes[i].code, code) != 0)
        i++;
    strcpy(totals.codes[i].code, code);
    totals.codes[i].count++;
}

static bool begins(const char *text, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

void count_frame(struct viewer *viewer, const char *text, size_t len, int64_t now_ns)
{
    totals.frames++;
    if (begins(text, len, "{\"type\":\"ack\""))
        take_ack(text, len, now_ns);
    else if (begins(text, len, "{\"type\":\"error\""))
        take_error(text, len);
    else if (viewer->number % options.sample == 0)
        take_events(viewer, text, len, now_ns);
}
