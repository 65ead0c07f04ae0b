/* How fast to play, so that viewers stay together behind the camera.
 *
 * How far behind is too far? Neither the clock of this device nor the moment at which playlists happen to be fetched can be trusted to
 * say so. The buffer can: it falls until the next segment is there, and what it never falls below is delay without a
 * use. So: a little faster than life while that rest is large, never so much that one hears it. Each stall asks for a larger rest.
 *
 *     const pacer = createPacer();
 *     video.playbackRate = pacer.tick(nowMs, bufferS);     a few times a second, while playing live
 *     pacer.stalled();  pacer.reset();                     the picture waited; the source is new
 */
const FAST = 1.06;
const WINDOW_MS = 5000; // two segments, so that the lowest point is in it
const FIRST_RESERVE_S = 0.9;
const MAX_RESERVE_S = 3;
const STALL_STEP_S = 0.5;
const SLACK_S = 0.4; // above the reserve: hurry

export function createPacer() {
    let samples = [];
    let since = null;
    let reserveS = FIRST_RESERVE_S;
    let fast = false;

    function reset() {
        samples = [];
        since = null;
        fast = false;
    }

    return {
        reset,
        stalled() {
            reserveS = Math.min(MAX_RESERVE_S, reserveS + STALL_STEP_S);
            reset();
        },
        tick(nowMs, bufferS) {
            since ??= nowMs;
            samples.push({ at: nowMs, bufferS });
            while (samples[0].at < nowMs - WINDOW_MS) samples.shift();
            const restS = Math.min(...samples.map((sample) => sample.bufferS));
            if (nowMs - since < WINDOW_MS) return 1;
            // What was gained since the lowest point was seen is gained: stop a little early.
            if (fast) fast = restS > reserveS + SLACK_S / 2;
            else fast = restS > reserveS + SLACK_S;
            return fast ? FAST : 1;
        },
    };
}
