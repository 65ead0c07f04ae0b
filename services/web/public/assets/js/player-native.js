/* Browsers that play HLS themselves and lack MSE (older iPhones). The browser fetches when it likes, so the only way to
 * halt it is to take the source away; stage.js keeps the last picture on a canvas above. */
import { bufferAhead } from './buffer.js';

export class NativePlayer {
    constructor(video, events) {
        this.video = video;
        this.events = events;
        this.url = null;
        this.finishing = false;
        video.addEventListener('error', () => {
            if (video.hasAttribute('src')) events.onTrouble(0);
        });
        video.addEventListener('loadeddata', () => events.onProgress());
        video.addEventListener('progress', () => events.onProgress());
        video.addEventListener('ended', () => events.onFinished());
    }

    play(url) {
        this.url = url;
        this.finishing = false;
        this.video.src = url;
        this.video.load();
    }

    resume() {
        if (this.url) this.play(this.url);
    }

    halt() {
        if (!this.video.hasAttribute('src')) return;
        this.video.removeAttribute('src');
        this.video.load();
    }

    finish() {
        this.finishing = true;
        if (!this.video.hasAttribute('src')) this.events.onFinished();
    }

    tick() {
        if (this.finishing && (this.video.ended || bufferAhead(this.video) < 0.15)) this.events.onFinished();
    }

    toLiveEdge() {
        const { seekable } = this.video;
        if (seekable.length > 0) this.video.currentTime = Math.max(0, seekable.end(seekable.length - 1) - 4);
    }

    destroy() {
        this.halt();
    }

    levels() {
        return [];
    }

    chooseLevel() {}

    get playingHeight() {
        return Math.min(this.video.videoHeight, this.video.videoWidth);
    }

    stats() {
        const start = this.video.getStartDate?.().getTime();
        return {
            latencyMs: Number.isFinite(start) ? Date.now() - start - this.video.currentTime * 1000 : null,
            bufferMs: bufferAhead(this.video) * 1000,
            height: this.playingHeight,
            bitrate: 0,
            bandwidth: 0,
            droppedFrames: 0,
            totalFrames: 0,
            rate: this.video.playbackRate,
        };
    }
}
