/* The output plan of a broadcast: from what its first second shows, and what it had before. */
#include "services/transcoder/engine_state.h"

#include <stdio.h>

static void plan_video(struct engine *engine, const struct source_probe *probe)
{
    struct output_plan *plan = &engine->plan;
    struct ladder_plan rungs;
    int width, height;

    h264_sps_display_size(&probe->config.sps, &width, &height);
    if (ladder_plan(&engine->options.ladder, width, height, probe->rate, engine->options.max_rate, &rungs) != 0) {
        engine_fail(engine, "the picture's size is outside all limits");
        return;
    }
    plan->rate_num = rungs.rate.num;
    plan->rate_den = rungs.rate.den;
    plan->count = rungs.count;
    for (int i = 0; i < rungs.count; i++) {
        struct output_rendition *r = &plan->renditions[i];

        snprintf(r->name, sizeof(r->name), "%s", rungs.renditions[i].name);
        r->width = rungs.renditions[i].width;
        r->height = rungs.renditions[i].height;
        r->bitrate_kbps = rungs.renditions[i].bitrate_kbps;
    }
}

/* Its GOPs must add up to about two seconds, its pictures be what every player decodes, its bitrate allowed. */
static bool can_pass_through(const struct engine *engine, const struct source_probe *probe)
{
    const struct h264_sps *sps = &probe->config.sps;
    const int64_t target_ms = OUTPUT_SEGMENT_US / 1000, gop_ms = probe->key_interval_ms;

    if (!engine->options.pass_through || engine->stops_pass_through || probe->has_open_gop || gop_ms < 100 ||
        probe->video_kbps > engine->options.pass_through_max_kbps || sps->chroma_format_idc != 1 ||
        sps->bit_depth != 8 || sps->interlaced || sps->sar_width != sps->sar_height)
        return false;
    const int64_t off_ms = (target_ms + gop_ms / 2) / gop_ms * gop_ms - target_ms;
    return off_ms > -400 && off_ms < 400;
}

/* The source as top rung, instead of one of its size. */
static void plan_pass_through(struct output_plan *plan, const struct source_probe *probe)
{
    const int width = probe->config.sps.width, height = probe->config.sps.height;
    struct output_rendition *top = &plan->renditions[0];

    if (top->width != width || top->height != height) {
        if (plan->count == SEGMENT_MAX_RENDITIONS)
            plan->count--;
        memmove(top + 1, top, sizeof(*top) * (size_t)plan->count);
        plan->count++;
    }
    *top = (struct output_rendition){OUTPUT_PASS_THROUGH_NAME, width, height, probe->video_kbps, true};
}

void engine_plan_make(struct engine *engine, const struct source_probe *probe)
{
    const struct output_plan before = engine->plan;
    const bool has_audio = probe->has_audio || before.has_audio || engine->must_have_audio;

    engine->plan =
        (struct output_plan){.has_video = probe->has_video || before.has_video, .has_audio = has_audio, .rate_den = 1};
    if (before.has_video) {
        engine->plan = before;
        engine->plan.has_audio = has_audio;
        /* The name and the size stay, but from now on it is encoded. */
        for (int i = 0; engine->stops_pass_through && i < before.count; i++)
            engine->plan.renditions[i].pass_through = false;
    } else if (engine->plan.has_video) {
        plan_video(engine, probe);
        if (can_pass_through(engine, probe))
            plan_pass_through(&engine->plan, probe);
    } else {
        engine->plan.count = 1;
        snprintf(engine->plan.renditions[0].name, sizeof(engine->plan.renditions[0].name), "%s",
                 OUTPUT_AUDIO_ONLY_NAME);
    }
}
