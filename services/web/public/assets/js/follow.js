/* Follows one broadcast: when to ask for its state, and what the player is to do about it.
 *
 * It decides and does nothing else: no DOM, no hls.js, no global clock. The page gives it a real clock and a real player;
 * a simulation gives it a fake clock and a counter, and so tests the very logic that a million pages run.
 *
 *     connecting -> scheduled -> returning -> live <-> suspended        live, suspended -> ending -> ended
 *                                   ^-- suspended --'                   missing: nobody knows the id (yet)
 *
 * Two rules keep a drop from becoming a storm. Trouble with the media is never answered with another media request:
 * the loading halts and /status is asked, after a random moment. And what /status says about when to ask again, or when
 * to come back, is obeyed, for it is spread over all players there.
 *
 *     const follower = createFollower({ fetchStatus, actions, clock });
 *     follower.start();
 *
 * fetchStatus()        -> Promise of { state, version, retry_after_ms }, or { missing: true } for a 404; rejects when there is
 *                         no answer (an error's retryAfterMs, when it has one, is obeyed)
 * actions.play(how)    load media: "start" (first time), "resume" (go on after halt), "reload" (drop the source, begin at the
 *                         live edge), "renew" (the same with a new playback URL)
 * actions.halt()       stop all media requests, keep the picture
 * actions.finish()     load what is left to the end of the playlist, then call follower.finished()
 * actions.show(phase)  the phase changed
 * clock                { now(), setTimeout(fn, ms), clearTimeout(handle) }, in ms
 */

export const FOLLOW_SETTINGS = Object.freeze({
    livePollMs: 1000, // while playing: a suspension shows within about a second
    livePollJitter: 0.25, // either way
    livePollShare: 6, // of retry_after_ms, when that is longer: 6 s is what /status says at ease
    waitJitter: 0.1, // on top of retry_after_ms, never below it
    waitMs: 2000, // when retry_after_ms is missing
    minWaitMs: 250,
    maxWaitMs: 120000,
    troubleJitterMs: 500, // after a media error, before /status is asked
    statusBackoffMs: [1000, 15000], // first and longest
    mediaBackoffMs: [500, 12000],
    startMs: 10000, // a first load may take this long before it counts as stuck
    recoverMs: 3000, // a return that shows nothing for so long: load from scratch
    stallMs: 6000, // a picture that stood still for so long
    steadyMs: 5000, // played for so long: earlier trouble is forgotten
    endingMs: 20000, // for the rest of the buffer after the end
});

const RENEW_STATUS = new Set([401, 403, 410]);
const IN_PLAY = new Set(['live', 'suspended', 'returning']);

export function createFollower({ fetchStatus, actions, clock, random = Math.random, settings = {} }) {
    const set = { ...FOLLOW_SETTINGS, ...settings };

    let phase = 'connecting';
    let version = 0;
    let stopped = false;
    let loaded = false; // a source was given to the player at some time
    let asking = false;
    let pollTimer = null;
    let mediaTimer = null;
    let endTimer = null;
    let statusFailures = 0;
    let mediaAttempts = 0;
    let trouble = null; // how to play again once /status says that the broadcast is live
    let playedAt = 0;
    let progressAt = 0;
    let patienceMs = set.startMs;

    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

    /* Half to all of an exponentially growing step: jittered at the cap too. */
    function backoff([firstMs, maxMs], attempt) {
        const step = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 16));
        return step / 2 + random() * (step / 2);
    }

    function enter(next) {
        if (next === phase) return;
        phase = next;
        actions.show(phase);
    }

    // ---- asking ----

    function askIn(ms) {
        clock.clearTimeout(pollTimer);
        pollTimer = stopped ? null : clock.setTimeout(ask, ms);
    }

    async function ask() {
        if (stopped || asking) return;
        asking = true;
        let answer = null;
        let failure = null;
        try {
            answer = await fetchStatus();
        } catch (error) {
            failure = error ?? {};
        }
        asking = false;
        if (stopped || phase === 'ending' || phase === 'ended') return;
        if (failure) onNoAnswer(failure);
        else hear(answer);
    }

    /* The state is unknown: what plays goes on playing. A player in trouble may try for itself, slowly. */
    function onNoAnswer(failure) {
        const told = Number.isFinite(failure.retryAfterMs) ? failure.retryAfterMs : 0;
        askIn(Math.max(backoff(set.statusBackoffMs, statusFailures), Math.min(told, set.maxWaitMs)));
        statusFailures += 1;
        if (phase !== 'live' || statusFailures < 2) return;
        checkProgress();
        if (trouble) playAgainLater();
    }

    function waitMs(retryAfterMs) {
        const told = Number.isFinite(retryAfterMs) ? retryAfterMs : set.waitMs;
        return clamp(told, set.minWaitMs, set.maxWaitMs) * (1 + random() * set.waitJitter);
    }

    /* While playing, the rhythm is the page's own, until /status is under load and stretches its times: then so do the polls. */
    function livePollMs(retryAfterMs) {
        const told = Number.isFinite(retryAfterMs) ? Math.min(retryAfterMs, set.maxWaitMs) : 0;
        const pollMs = Math.max(set.livePollMs, told / set.livePollShare);
        return pollMs * (1 + (random() * 2 - 1) * set.livePollJitter);
    }

    // ---- hearing ----

    /* An answer of /status; another source of states (the chat connection) may give its own in the same form. */
    function hear(answer) {
        if (stopped || phase === 'ending' || phase === 'ended') return;
        statusFailures = 0;
        if (answer.missing) return hearMissing();
        if (answer.version < version) {
            // An instance that is behind: its state is history, its time is as good as any.
            return askIn(phase === 'live' || phase === 'returning' ? livePollMs(answer.retry_after_ms) : waitMs(answer.retry_after_ms));
        }
        version = answer.version;
        switch (answer.state) {
            case 'live':
                return hearLive(answer);
            case 'ended':
            case 'archived':
                return hearEnded();
            case 'suspended':
                halt();
                enter('suspended');
                return askIn(waitMs(answer.retry_after_ms));
            default:
                halt();
                enter('scheduled');
                return askIn(waitMs(answer.retry_after_ms));
        }
    }

    function hearMissing() {
        // One that was known a moment ago is not gone: whoever answered has just started.
        if (version === 0 && !loaded) enter('missing');
        else if (phase === 'live' && trouble) playAgainLater();
        askIn(backoff(set.statusBackoffMs, 3));
    }

    function hearLive(answer) {
        askIn(livePollMs(answer.retry_after_ms));
        if (phase === 'connecting') {
            enter('live');
            return play('start');
        }
        if (phase === 'live') {
            checkProgress();
            if (trouble) playAgainLater();
            return undefined;
        }
        if (phase === 'returning') return undefined;
        const spreadMs = Number.isFinite(answer.retry_after_ms) ? clamp(answer.retry_after_ms, 0, set.maxWaitMs) : random() * set.waitMs;
        enter('returning');
        mediaTimer = clock.setTimeout(() => {
            mediaTimer = null;
            mediaAttempts = 0;
            enter('live');
            play(loaded ? 'resume' : 'start');
        }, spreadMs);
        return undefined;
    }

    function hearEnded() {
        clearMediaTimer();
        clock.clearTimeout(pollTimer);
        pollTimer = null;
        trouble = null;
        if (!loaded || !IN_PLAY.has(phase)) return enter('ended');
        enter('ending');
        endTimer = clock.setTimeout(finished, set.endingMs);
        return actions.finish();
    }

    // ---- media ----

    function clearMediaTimer() {
        clock.clearTimeout(mediaTimer);
        mediaTimer = null;
    }

    function halt() {
        clearMediaTimer();
        trouble = null;
        if (phase === 'live') actions.halt();
    }

    function play(how) {
        trouble = null;
        loaded = true;
        playedAt = clock.now();
        progressAt = playedAt;
        patienceMs = (how === 'resume' ? set.recoverMs : set.startMs) * 2 ** Math.min(mediaAttempts, 2);
        actions.play(how);
    }

    function playAgainLater() {
        if (mediaTimer !== null) return;
        mediaTimer = clock.setTimeout(
            () => {
                mediaTimer = null;
                play(trouble ?? 'reload');
            },
            backoff(set.mediaBackoffMs, mediaAttempts),
        );
        mediaAttempts += 1;
    }

    /* hls.js may believe that all is well while nothing moves, say when the playlist's window went on without it. */
    function checkProgress() {
        if (trouble || mediaTimer !== null || clock.now() - progressAt < patienceMs) return;
        trouble = 'reload';
        actions.halt();
    }

    /* A media request failed, or the player gave up. httpStatus: 0 when there was no answer. */
    function onTrouble({ httpStatus = 0 } = {}) {
        if (stopped || phase !== 'live' || trouble || mediaTimer !== null) return;
        trouble = RENEW_STATUS.has(httpStatus) ? 'renew' : 'reload';
        actions.halt();
        // Without an answer the last time, the next time for asking is set already; a storm must not shorten it.
        if (statusFailures === 0) askIn(random() * set.troubleJitterMs);
    }

    /* Something arrived, or nothing is expected to (the viewer paused); moving: the picture moves. */
    function onProgress(moving) {
        if (trouble) return;
        progressAt = clock.now();
        if (!moving) return;
        patienceMs = set.stallMs;
        if (progressAt - playedAt >= set.steadyMs) mediaAttempts = 0;
    }

    function finished() {
        if (stopped || phase !== 'ending') return;
        clock.clearTimeout(endTimer);
        endTimer = null;
        actions.halt();
        enter('ended');
    }

    return {
        start() {
            actions.show(phase);
            ask();
        },
        stop() {
            stopped = true;
            clock.clearTimeout(pollTimer);
            clock.clearTimeout(endTimer);
            clearMediaTimer();
        },
        /* The page woke up (tab shown, network back): what it knows may be old. */
        wake() {
            if (phase !== 'ending' && phase !== 'ended' && statusFailures === 0) askIn(random() * set.troubleJitterMs);
        },
        hear,
        trouble: onTrouble,
        progress: onProgress,
        finished,
        get phase() {
            return phase;
        },
        get version() {
            return version;
        },
    };
}
