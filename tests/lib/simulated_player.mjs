// A player without a picture: the page's own logic (follow.js) with a real clock and real requests; media is loaded as hls.js would, one
// playlist every target duration and each new segment once.
import { createFollower } from '../../services/web/public/assets/js/follow.js';
import { parseMaster, parseMedia } from './hls.mjs';

const realClock = {
    now: () => performance.now(),
    setTimeout: (fn, ms) => setTimeout(fn, ms),
    clearTimeout: (handle) => clearTimeout(handle),
};

export class SimulatedPlayer {
    /** `request(url)` -> {status, text, json}: counts and sends. */
    constructor({ statusUrl, playbackUrl, request }) {
        this.statusUrl = statusUrl;
        this.playbackUrl = playbackUrl;
        this.request = request;
        this.phase = 'connecting';
        this.segments = new Set();
        this.mediaUrl = null;
        this.timer = null;
        this.generation = 0;
        this.polls = []; // times of status requests
        this.playlists = 0;
        this.follower = createFollower({
            clock: realClock,
            fetchStatus: () => this.fetchStatus(),
            actions: {
                play: (how) => this.play(how),
                halt: () => this.halt(),
                finish: () => { this.halt(); this.follower.finished(); },
                show: (phase) => { this.phase = phase; },
            },
        });
    }

    start() { this.follower.start(); }

    stop() { this.follower.stop(); this.halt(); }

    async fetchStatus() {
        this.polls.push(Date.now());
        const answer = await this.request(this.statusUrl, 'status');
        if (answer.status === 404) return { missing: true };
        if (answer.status !== 200) throw new Error(`status ${answer.status}`);
        return JSON.parse(answer.text);
    }

    halt() {
        clearTimeout(this.timer);
        this.timer = null;
        this.generation += 1;
    }

    play(how) {
        this.halt();
        if (how !== 'resume') this.mediaUrl = null;
        this.step(this.generation);
    }

    async step(generation) {
        const current = () => generation === this.generation;
        try {
            if (!this.mediaUrl) {
                const master = await this.request(this.playbackUrl, 'media');
                if (!current()) return;
                if (master.status !== 200) { this.follower.trouble({ httpStatus: master.status }); return; }
                const { variants } = parseMaster(master.text);
                this.mediaUrl = new URL(variants[0].uri, this.playbackUrl).href;
            }
            const answer = await this.request(this.mediaUrl, 'media');
            if (!current()) return;
            if (answer.status !== 200) { this.follower.trouble({ httpStatus: answer.status }); return; }
            this.playlists += 1;
            const playlist = parseMedia(answer.text);
            let fresh = false;
            for (const segment of playlist.segments.slice(-2)) {
                if (this.segments.has(segment.uri)) continue;
                this.segments.add(segment.uri);
                fresh = true;
                const got = await this.request(new URL(segment.uri, this.mediaUrl).href, 'media');
                if (!current()) return;
                if (got.status !== 200) { this.follower.trouble({ httpStatus: got.status }); return; }
            }
            if (fresh) this.follower.progress(true);
            // As hls.js: a target duration after a change, half of one after none.
            this.timer = setTimeout(() => this.step(generation), (fresh ? 1 : 0.5) * playlist.targetDuration * 1000);
        } catch {
            if (current()) this.follower.trouble({ httpStatus: 0 });
        }
    }
}
