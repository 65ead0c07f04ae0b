/* A child that starts is behind, and so is one after a stall of Redis; that is no overload as long as it catches up. */
#include "services/transcoder/overload.h"

#define LOOK_MS     3000 /* a judgement needs this long */
#define GAIN_MS     600  /* catching up: at least this much in that time */
#define CALM_LAG_MS 1000
#define CALM_MS     30000 /* quiet for so long: more work again */

void overload_init(struct overload *overload, int64_t shed_lag_ms, int64_t skip_lag_ms)
{
    *overload =
        (struct overload){.shed_lag_ms = shed_lag_ms, .skip_lag_ms = skip_lag_ms, .since_ms = -1, .calm_since_ms = -1};
}

enum overload_action overload_judge(struct overload *overload, int64_t now_ms, int64_t lag_ms)
{
    if (lag_ms > overload->skip_lag_ms && overload->since_ms >= 0 && lag_ms >= overload->lag_then_ms) {
        overload->since_ms = -1;
        if (overload->effort < EFFORT_LEVELS - 1)
            overload->effort++;
        return OVERLOAD_SKIP;
    }
    if (lag_ms > CALM_LAG_MS || overload->calm_since_ms < 0)
        overload->calm_since_ms = now_ms;
    if (lag_ms <= overload->shed_lag_ms) {
        overload->since_ms = -1;
        if (overload->effort > EFFORT_FULL && now_ms - overload->calm_since_ms >= CALM_MS) {
            overload->calm_since_ms = now_ms;
            overload->effort--;
            return OVERLOAD_MORE;
        }
        return OVERLOAD_NONE;
    }
    if (overload->since_ms < 0) {
        overload->since_ms = now_ms;
        overload->lag_then_ms = lag_ms;
        return OVERLOAD_NONE;
    }
    if (now_ms - overload->since_ms < LOOK_MS)
        return OVERLOAD_NONE;
    const bool catches_up = lag_ms < overload->lag_then_ms - GAIN_MS;
    overload->since_ms = now_ms;
    overload->lag_then_ms = lag_ms;
    if (catches_up || overload->effort == EFFORT_LEVELS - 1)
        return OVERLOAD_NONE;
    overload->effort++;
    return OVERLOAD_LESS;
}
