/* The lines that a child sends its supervisor: figures once a second, and the checkpoint of each segment that Redis
 * has. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct child_status {
    int64_t lag_ms, effort;                                   /* now */
    int64_t segments, frames, dropped, repeated;              /* since the child's start */
    int64_t silence_ms, broken_tags, rebases, skips, push_ms; /* push_ms: of the last segment */
};

/* Followed by the checkpoint as it stands in Redis. */
#define CHILD_CHECKPOINT_PREFIX "checkpoint "

#define CHILD_STATUS_FORMAT "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}"

/* One line without its end, to be freed with free(). */
static inline char *child_status_encode(const struct child_status *s)
{
    json_t *json = json_pack(CHILD_STATUS_FORMAT, "lag_ms", (json_int_t)s->lag_ms, "effort", (json_int_t)s->effort,
                             "segments", (json_int_t)s->segments, "frames", (json_int_t)s->frames, "dropped",
                             (json_int_t)s->dropped, "repeated", (json_int_t)s->repeated, "silence_ms",
                             (json_int_t)s->silence_ms, "broken_tags", (json_int_t)s->broken_tags, "rebases",
                             (json_int_t)s->rebases, "skips", (json_int_t)s->skips, "push_ms", (json_int_t)s->push_ms);
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    return text;
}

/* 0, or -1: not such a line. */
static inline int child_status_parse(const char *line, struct child_status *s)
{
    json_t *json = json_loads(line, 0, NULL);
    json_int_t v[11];

    memset(v, 0, sizeof(v));
    const int result = json
                           ? json_unpack(json, CHILD_STATUS_FORMAT, "lag_ms", &v[0], "effort", &v[1], "segments", &v[2],
                                         "frames", &v[3], "dropped", &v[4], "repeated", &v[5], "silence_ms", &v[6],
                                         "broken_tags", &v[7], "rebases", &v[8], "skips", &v[9], "push_ms", &v[10])
                           : -1;
    json_decref(json);
    *s = (struct child_status){v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10]};
    return result;
}
