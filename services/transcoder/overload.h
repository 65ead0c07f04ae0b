/* Decides how much work is done while the machine cannot keep up. Pure; times in milliseconds. */
#pragma once

#include "services/transcoder/video_stage.h"

#include <stdint.h>

struct overload {
    int64_t shed_lag_ms, skip_lag_ms;
    enum video_effort effort;
    int64_t since_ms, lag_then_ms; /* start of the stretch of time looked at */
    int64_t calm_since_ms;
};

enum overload_action { OVERLOAD_NONE, OVERLOAD_LESS, OVERLOAD_MORE, OVERLOAD_SKIP };

void overload_init(struct overload *overload, int64_t shed_lag_ms, int64_t skip_lag_ms);
/* About once a second. `lag_ms`: how far behind the newest media. LESS and MORE: `effort` has changed. SKIP: drop what
 * is behind; `effort` is less, too, unless it was the least: whoever falls behind so fast is not judged before. */
enum overload_action overload_judge(struct overload *overload, int64_t now_ms, int64_t lag_ms);
