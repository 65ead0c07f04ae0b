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

void engine_plan_make(struct engine *engine, const struct source_probe *probe)
{
    const struct output_plan before = engine->plan;
    const bool has_audio = probe->has_audio || before.has_audio || engine->must_have_audio;

    engine->plan =
        (struct output_plan){.has_video = probe->has_video || before.has_video, .has_audio = has_audio, .rate_den = 1};
    if (before.has_video) {
        engine->plan = before;
        engine->plan.has_audio = has_audio;
    } else if (engine->plan.has_video) {
        plan_video(engine, probe);
    } else {
        engine->plan.count = 1;
        snprintf(engine->plan.renditions[0].name, sizeof(engine->plan.renditions[0].name), "%s",
                 OUTPUT_AUDIO_ONLY_NAME);
    }
}
