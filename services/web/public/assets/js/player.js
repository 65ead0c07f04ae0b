/* The picture: one interface over hls.js and over browsers that play HLS themselves.
 *
 *     const player = createPlayer(video, { onTrouble(httpStatus), onProgress(), onFinished(), onLevels() });
 *     player.play(url)   from scratch, at the live edge      player.halt()    no more requests, the picture stays
 *     player.resume()    go on where halt() stopped          player.finish()  on to the end of the playlist, then onFinished()
 *
 * hls.js would retry by itself; here it does not. Each failure is reported once and follow.js decides, because only
 * /status knows whether trying again makes sense.
 */
import { bufferAhead } from './buffer.js';
import { NativePlayer } from './player-native.js';
import { createPacer } from './pace.js';

const LIVE_SYNC_S = 3.5; // where to begin, behind the newest segment's end; pace.js takes it from there
const once = (firstByteMs, loadMs) => ({
    default: { maxTimeToFirstByteMs: firstByteMs, maxLoadTimeMs: loadMs, timeoutRetry: null, errorRetry: null },
});

const HLS_CONFIG = {
    lowLatencyMode: false,
    liveSyncDuration: LIVE_SYNC_S,
    liveMaxLatencyDuration: 12,
    liveDurationInfinity: true,
    maxBufferLength: 20,
    maxMaxBufferLength: 30,
    backBufferLength: 30,
    capLevelToPlayerSize: true,
    abrEwmaDefaultEstimate: 2_000_000,
    manifestLoadPolicy: once(5000, 8000),
    playlistLoadPolicy: once(4000, 6000),
    fragLoadPolicy: once(6000, 15000),
};

class HlsPlayer {
    constructor(video, events) {
        this.video = video;
        this.events = events;
        this.hls = null;
        this.level = -1; // chosen by the viewer: height, or -1 for automatic
        this.finishing = false;
        this.halted = false;
        this.ended = false; // the playlist has its end
        this.pacer = createPacer();
        video.addEventListener('seeking', () => this.pacer.reset());
    }

    play(url) {
        this.#drop();
        const hls = new globalThis.Hls(HLS_CONFIG);
        const { Events } = globalThis.Hls;
        this.hls = hls;
        hls.on(Events.ERROR, (_, data) => this.#onError(data));
        hls.on(Events.MANIFEST_PARSED, () => {
            this.events.onProgress();
            this.chooseLevel(this.level);
            this.events.onLevels();
        });
        hls.on(Events.FRAG_BUFFERED, () => this.events.onProgress());
        hls.on(Events.LEVEL_SWITCHED, () => this.events.onLevels());
        hls.on(Events.LEVEL_UPDATED, (_, { details }) => {
            this.ended = !details.live;
        });
        hls.loadSource(url);
        hls.attachMedia(this.video);
    }

    resume() {
        this.halted = false;
        this.pacer.reset();
        this.finishing = false;
        this.hls?.startLoad(-1);
    }

    halt() {
        this.halted = true;
        this.hls?.stopLoad();
    }

    finish() {
        this.finishing = true;
        this.hls?.startLoad(-1);
    }

    /* Called a few times a second: pace, and the end of what is left. */
    tick() {
        if (!this.hls) return;
        const live = !this.video.paused && !this.ended && !this.finishing;
        if (!live) this.pacer.reset();
        this.video.playbackRate = live ? this.pacer.tick(performance.now(), this.bufferS()) : 1;
        if (this.finishing && this.ended && this.bufferS() < 0.15) this.events.onFinished();
    }

    toLiveEdge() {
        const position = this.hls?.liveSyncPosition;
        if (Number.isFinite(position) && position > this.video.currentTime) this.video.currentTime = position;
    }

    destroy() {
        this.#drop();
    }

    #drop() {
        this.pacer.reset();
        this.hls?.destroy();
        this.hls = null;
        this.finishing = false;
        this.halted = false;
        this.ended = false;
    }

    #onError(data) {
        const { ErrorTypes, ErrorDetails } = globalThis.Hls;
        if (data.fatal && data.type === ErrorTypes.MEDIA_ERROR && data.details !== ErrorDetails.BUFFER_ADD_CODEC_ERROR) {
            // The decoder's own way back costs no request; if it fails, follow.js sees that nothing moves.
            this.hls?.recoverMediaError();
            return;
        }
        // One that was halted runs dry by intention.
        if (data.details === ErrorDetails.BUFFER_STALLED_ERROR && !this.halted && !this.finishing) this.pacer.stalled();
        const network = data.type === ErrorTypes.NETWORK_ERROR;
        if (!network && !data.fatal) return;
        if (this.finishing) {
            this.ended = true; // What is buffered is all there will be.
            this.hls?.stopLoad();
            return;
        }
        this.events.onTrouble(data.response?.code ?? 0);
    }

    bufferS() {
        return bufferAhead(this.video);
    }

    /* Highest first; without the ones that only differ in bitrate. */
    levels() {
        const heights = (this.hls?.levels ?? []).map((level) => shortSide(level));
        return [...new Set(heights)].filter((height) => height > 0).sort((a, b) => b - a);
    }

    chooseLevel(height) {
        this.level = height;
        if (!this.hls) return;
        const index = this.hls.levels.findIndex((level) => shortSide(level) === height);
        this.hls.nextLevel = height < 0 ? -1 : index;
    }

    get playingHeight() {
        const level = this.hls?.levels?.[this.hls.currentLevel];
        return level ? shortSide(level) : 0;
    }

    stats() {
        const level = this.hls?.levels?.[this.hls.currentLevel];
        const quality = this.video.getVideoPlaybackQuality?.();
        const date = this.hls?.playingDate;
        return {
            latencyMs: date ? Date.now() - date.getTime() : null,
            bufferMs: this.bufferS() * 1000,
            height: level ? shortSide(level) : 0,
            bitrate: level?.bitrate ?? 0,
            bandwidth: this.hls?.bandwidthEstimate ?? 0,
            droppedFrames: quality?.droppedVideoFrames ?? 0,
            totalFrames: quality?.totalVideoFrames ?? 0,
            rate: this.video.playbackRate,
        };
    }
}

/* 720p is 720 lines of a landscape picture, and 720 columns of a portrait one. */
const shortSide = (level) => Math.min(level.width || level.height || 0, level.height || 0);

export function createPlayer(video, events) {
    if (globalThis.Hls?.isSupported()) return new HlsPlayer(video, events);
    if (video.canPlayType('application/vnd.apple.mpegurl')) return new NativePlayer(video, events);
    return null;
}
