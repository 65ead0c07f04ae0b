#include "services/transcoder/checkpoint.h"

#include <jansson.h>
#include <string.h>

#define VERSION  1
#define FURTHEST (INT64_C(1) << 55) /* µs, frames: no sum of these overflows */

static json_t *encode_plan(const struct output_plan *plan, const uint32_t *continuity)
{
    json_t *renditions = json_array();

    for (int i = 0; i < plan->count; i++) {
        const struct output_rendition *r = &plan->renditions[i];

        json_array_append_new(renditions, json_pack("{s:s,s:i,s:i,s:i,s:b,s:I}", "name", r->name, "width", r->width,
                                                    "height", r->height, "kbps", r->bitrate_kbps, "pass_through",
                                                    r->pass_through, "continuity", (json_int_t)continuity[i]));
    }
    return json_pack("{s:b,s:b,s:i,s:i,s:o}", "video", plan->has_video, "audio", plan->has_audio, "rate_num",
                     plan->rate_num, "rate_den", plan->rate_den, "renditions", renditions);
}

char *checkpoint_encode(const struct checkpoint *c)
{
    char timeline[TIMELINE_TEXT_MAX];

    timeline_encode(&c->timeline, timeline);
    json_t *json = json_pack("{s:i,s:s,s:b,s:I,s:s,s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:I,s:o}", "version", VERSION,
                             "position", c->position, "in_session", c->in_session, "session", (json_int_t)c->session,
                             "timeline", timeline, "number", (json_int_t)c->number, "start_us", (json_int_t)c->start_us,
                             "origin_us", (json_int_t)c->origin_us, "audio_frame", (json_int_t)c->audio_frame,
                             "discontinuity", c->discontinuity, "anchor_us", (json_int_t)c->anchor_us, "anchor_wall_ms",
                             (json_int_t)c->anchor_wall_ms, "thumbnail_us", (json_int_t)c->thumbnail_us, "plan",
                             encode_plan(&c->plan, c->continuity));
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    return text;
}

static int parse_rendition(json_t *json, struct output_rendition *r, uint32_t *continuity)
{
    const char *name;
    int pass_through;
    json_int_t packed;

    if (json_unpack(json, "{s:s,s:i,s:i,s:i,s:b,s:I}", "name", &name, "width", &r->width, "height", &r->height, "kbps",
                    &r->bitrate_kbps, "pass_through", &pass_through, "continuity", &packed) != 0 ||
        strlen(name) == 0 || strlen(name) >= sizeof(r->name) || r->width < 0 || r->width > 16384 || r->height < 0 ||
        r->height > 16384 || r->bitrate_kbps < 0)
        return -1;
    memcpy(r->name, name, strlen(name) + 1);
    r->pass_through = pass_through != 0;
    *continuity = (uint32_t)packed;
    return 0;
}

static int parse_plan(json_t *json, struct output_plan *plan, uint32_t *continuity)
{
    json_t *renditions, *item;
    size_t i;
    int video, audio;

    if (json_unpack(json, "{s:b,s:b,s:i,s:i,s:o}", "video", &video, "audio", &audio, "rate_num", &plan->rate_num,
                    "rate_den", &plan->rate_den, "renditions", &renditions) != 0 ||
        !json_is_array(renditions) || json_array_size(renditions) == 0 ||
        json_array_size(renditions) > SEGMENT_MAX_RENDITIONS || plan->rate_num < 0 || plan->rate_den < 1)
        return -1;
    plan->has_video = video != 0;
    plan->has_audio = audio != 0;
    plan->count = (int)json_array_size(renditions);
    json_array_foreach(renditions, i, item)
    {
        if (parse_rendition(item, &plan->renditions[i], &continuity[i]) != 0)
            return -1;
    }
    return 0;
}

int checkpoint_parse(const char *text, size_t len_bytes, struct checkpoint *c)
{
    json_t *json = json_loadb(text, len_bytes, 0, NULL), *plan;
    const char *position, *timeline;
    int version, in_session, discontinuity, result = -1;
    json_int_t session, number, start, origin, audio, anchor, wall, thumbnail;

    memset(c, 0, sizeof(*c));
    if (!json ||
        json_unpack(json, "{s:i,s:s,s:b,s:I,s:s,s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:I,s:o}", "version", &version, "position",
                    &position, "in_session", &in_session, "session", &session, "timeline", &timeline, "number", &number,
                    "start_us", &start, "origin_us", &origin, "audio_frame", &audio, "discontinuity", &discontinuity,
                    "anchor_us", &anchor, "anchor_wall_ms", &wall, "thumbnail_us", &thumbnail, "plan", &plan) != 0)
        goto out;
    if (version != VERSION || strlen(position) >= sizeof(c->position) || start < 0 || origin < 0 || audio < 0 ||
        start > FURTHEST || origin > FURTHEST || audio > FURTHEST || timeline_decode(&c->timeline, timeline) != 0 ||
        parse_plan(plan, &c->plan, c->continuity) != 0)
        goto out;
    memcpy(c->position, position, strlen(position) + 1);
    c->in_session = in_session != 0;
    c->discontinuity = discontinuity != 0;
    c->session = session;
    c->number = number;
    c->start_us = start;
    c->origin_us = origin;
    c->audio_frame = audio;
    c->anchor_us = anchor;
    c->anchor_wall_ms = wall;
    c->thumbnail_us = thumbnail;
    result = 0;
out:
    json_decref(json);
    return result;
}
