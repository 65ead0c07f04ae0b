/* A playout channel in a video element, with hls.js or by the browser itself.
 *
 *     const player = createChannelPlayer(video, { now, onTrouble(httpStatus), onLevels() });
 *     player.play(url);  …  player.behindMs(), player.toOnAir()
 *
 * EXT-X-PROGRAM-DATE-TIME is when a picture is on air, and the playlist reaches six target durations beyond that. So where to be
 * is known from the clock alone, and all viewers can be at the same moment however long their joining took.
 * now(): the server's clock in milliseconds. */
const LEAD_SEGMENTS = 6;
const HLS_CONFIG = {
    lowLatencyMode: false,
    liveSyncDurationCount: LEAD_SEGMENTS,
    liveMaxLatencyDurationCount: LEAD_SEGMENTS + 4,
    liveDurationInfinity: true,
    capLevelToPlayerSize: true,
    maxBufferLength: 20,
    maxMaxBufferLength: 30,
    backBufferLength: 30,
};
/* The URL is not valid (any more): no other variant of it will be. */
const isRefusal = (httpStatus) => httpStatus === 403 || httpStatus === 410;

export function createChannelPlayer(video, { now, onTrouble, onLevels }) {
    const { Hls } = globalThis;
    const usesHls = Boolean(Hls?.isSupported());
    let hls = null;

    function onError(data) {
        const httpStatus = data.response?.code ?? 0;
        if (!data.fatal && !isRefusal(httpStatus)) return; // hls.js tries again by itself
        if (data.fatal && data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
        else onTrouble(httpStatus);
    }

    function playHls(url) {
        hls = new Hls(HLS_CONFIG);
        hls.on(Hls.Events.ERROR, (_, data) => onError(data));
        hls.on(Hls.Events.MANIFEST_PARSED, onLevels);
        hls.on(Hls.Events.LEVEL_SWITCHED, onLevels);
        hls.loadSource(url);
        hls.attachMedia(video);
    }

    function stop() {
        hls?.destroy();
        hls = null;
        if (usesHls || !video.hasAttribute('src')) return;
        video.removeAttribute('src');
        video.load();
    }

    /* When the picture shown is on air, in milliseconds, or null. */
    function playingMs() {
        if (hls) return hls.playingDate?.getTime() ?? null;
        const startMs = video.getStartDate?.().getTime();
        return Number.isFinite(startMs) ? startMs + video.currentTime * 1000 : null;
    }

    const behindMs = () => (playingMs() === null ? null : now() - playingMs());
    const heightOf = (level) => Math.min(level.width || level.height || 0, level.height || 0);

    video.addEventListener('error', () => !usesHls && video.hasAttribute('src') && onTrouble(0));

    return {
        isSupported: usesHls || video.canPlayType('application/vnd.apple.mpegurl') !== '',
        playingMs,
        behindMs,
        stop,
        play(url) {
            stop();
            if (usesHls) playHls(url);
            else video.src = url;
        },
        toOnAir() {
            const behind = behindMs();
            if (behind !== null) video.currentTime = Math.max(0, video.currentTime + behind / 1000);
        },
        heights() {
            return [...new Set((hls?.levels ?? []).map(heightOf))].filter((height) => height > 0).sort((a, b) => b - a);
        },
        playingHeight() {
            const level = hls?.levels?.[hls.currentLevel];
            return level ? heightOf(level) : 0;
        },
        /* height: -1 for automatic */
        choose(height) {
            if (hls) hls.nextLevel = height < 0 ? -1 : hls.levels.findIndex((level) => heightOf(level) === height);
        },
    };
}
