// Watches a broadcast's playlists over time and holds every rule of a live HLS output against them (RFC 8216, its revision, Apple's
// authoring specification): fetches each new playlist, each segment as soon as it is named, and at the end judges the whole run.
//
//     const monitor = new HlsMonitor(playbackUrl); monitor.start(); … await monitor.stop();
//     assert.deepEqual(await monitor.judge({ ended: true }), []);
import { parseMaster, parseMedia } from './hls.mjs';
import { adtsFrames, parseSegment } from './ts.mjs';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const TICKS = 90000;
const WRAP = 2 ** 33;
const forward = (from, to) => ((to - from) % WRAP + WRAP) % WRAP;
const signed = (from, to) => { const d = forward(from, to); return d > WRAP / 2 ? d - WRAP : d; };

class Rendition {
    constructor(name, url) {
        this.name = name;
        this.url = url;
        this.versions = []; // {at, playlist}: each different text
        this.segments = new Map(); // sequence -> {…playlist segment, parsed, bytes, url, namedAt, removedAt}
    }
}

export class HlsMonitor {
    constructor(masterUrl, { pollMs = 200, keepBytes = false, fetch: get = fetch } = {}) {
        this.masterUrl = masterUrl;
        this.fetch = get;
        this.pollMs = pollMs;
        this.keepBytes = keepBytes;
        this.renditions = new Map();
        this.masters = [];
        this.problems = [];
        this.flowing = []; // [from, to] stretches in which media arrived without a break, for the cadence rule
        this.stopped = false;
    }

    problem(text) { if (this.problems.length < 200) this.problems.push(text); }

    start() { this.loop = this.run(); }

    async get(url) {
        const request = () => this.fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(15000) });
        // A kept connection that the edge has closed in this very moment: a browser asks once more, on a new one.
        const answer = await request().catch((error) => { if (error.name === 'TypeError') return request(); throw error; });
        if (answer.status >= 300 && answer.status < 400) this.problem(`redirect for ${url}`);
        return { status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) };
    }

    async run() {
        while (!this.stopped) {
            const began = Date.now();
            try { await this.poll(); } catch (error) { this.problem(`poll: ${error.message}`); }
            await sleep(Math.max(0, this.pollMs - (Date.now() - began)));
        }
    }

    async poll() {
        const master = await this.get(this.masterUrl);
        if (master.status === 404 && this.masters.length === 0) return; // not started yet
        if (master.status !== 200) { this.problem(`multivariant playlist: ${master.status}`); return; }
        const text = master.bytes.toString();
        if (this.masters.at(-1)?.text !== text) this.masters.push({ at: Date.now(), ...parseMaster(text) });
        for (const variant of this.masters.at(-1).variants) {
            if (/^(\/|[a-z]+:)/.test(variant.uri)) this.problem(`variant ${variant.uri} is not relative`);
            const name = variant.uri.split('/')[0];
            if (!this.renditions.has(name)) this.renditions.set(name, new Rendition(name, new URL(variant.uri, this.masterUrl).href));
        }
        await Promise.all([...this.renditions.values()].map((rendition) => this.pollRendition(rendition)));
    }

    async pollRendition(rendition) {
        const answer = await this.get(rendition.url);
        if (answer.status !== 200) { this.problem(`${rendition.name}: playlist answered ${answer.status}`); return; }
        const text = answer.bytes.toString();
        const last = rendition.versions.at(-1);
        if (last?.playlist.text === text) return;
        const playlist = parseMedia(text);
        this.compareVersions(rendition, last?.playlist, playlist);
        rendition.versions.push({ at: Date.now(), playlist });
        await Promise.all(playlist.segments.filter((segment) => !rendition.segments.has(segment.sequence)).map((segment) => this.fetchSegment(rendition, segment)));
    }

    compareVersions(rendition, before, after) {
        const where = `${rendition.name} at sequence ${after.mediaSequence}`;
        if (after.discontinuitySequence === null) this.problem(`${where}: no EXT-X-DISCONTINUITY-SEQUENCE`);
        if (!after.independent && !this.masters.at(-1).independent) this.problem(`${where}: no EXT-X-INDEPENDENT-SEGMENTS`);
        if (after.segments.length > 0 && after.segments[0].pdt === null) this.problem(`${where}: the first segment has no EXT-X-PROGRAM-DATE-TIME`);
        for (const segment of after.segments) {
            if (Math.round(segment.duration) > after.targetDuration) this.problem(`${where}: EXTINF ${segment.duration} rounds over the target duration`);
            if (segment.discontinuity && segment.pdt === null) this.problem(`${where}: no EXT-X-PROGRAM-DATE-TIME after a discontinuity`);
            if (/^(\/|[a-z]+:)/.test(segment.uri)) this.problem(`${where}: ${segment.uri} is not relative`);
        }
        if (!before) return;
        if (before.endList) this.problem(`${where}: changed after EXT-X-ENDLIST`);
        if (after.targetDuration !== before.targetDuration) this.problem(`${where}: target duration changed`);
        if (after.mediaSequence < before.mediaSequence) this.problem(`${where}: media sequence fell from ${before.mediaSequence}`);
        const removed = before.segments.slice(0, after.mediaSequence - before.mediaSequence);
        const stay = before.segments.slice(after.mediaSequence - before.mediaSequence);
        stay.forEach((segment, i) => {
            const now = after.segments[i];
            if (!now || now.uri !== segment.uri || now.duration !== segment.duration || now.discontinuity !== segment.discontinuity) {
                this.problem(`${where}: segment ${segment.sequence} changed or vanished from the middle`);
            }
        });
        const gone = removed.filter((segment) => segment.discontinuity).length;
        if (after.discontinuitySequence !== before.discontinuitySequence + gone) {
            this.problem(`${where}: discontinuity sequence ${before.discontinuitySequence} -> ${after.discontinuitySequence}, ${gone} left the window`);
        }
        if (removed.length > 0) {
            const total = after.segments.reduce((sum, segment) => sum + segment.duration, 0);
            if (!after.endList && total < 3 * after.targetDuration) this.problem(`${where}: only ${total} s left after a removal`);
            if (!after.endList && after.segments.length < 6) this.problem(`${where}: only ${after.segments.length} segments after a removal`);
            for (const segment of removed) { const known = rendition.segments.get(segment.sequence); if (known) known.removedAt ??= Date.now(); }
        }
    }

    async fetchSegment(rendition, segment) {
        const url = new URL(segment.uri, rendition.url).href;
        const record = { ...segment, url, namedAt: Date.now() };
        rendition.segments.set(segment.sequence, record);
        const { status, bytes } = await this.get(url);
        if (status !== 200) { this.problem(`${rendition.name}: segment ${segment.sequence} (${segment.uri}) is named but answered ${status}`); return; }
        record.size = bytes.length;
        const parsed = parseSegment(bytes);
        for (const text of parsed.problems) this.problem(`${rendition.name}/${segment.uri}: ${text}`);
        record.counters = parsed.counters;
        record.sps = parsed.sps;
        record.video = parsed.video && { units: parsed.video.units.map(({ pts, dts }) => ({ pts, dts })) };
        record.audio = parsed.audio && adtsFrames(parsed.audio);
        if (this.keepBytes) record.bytes = bytes;
    }

    async stop() {
        this.stopped = true;
        await this.loop;
    }

    newest() {
        const rendition = [...this.renditions.values()][0];
        return rendition?.versions.at(-1)?.playlist ?? null;
    }

    /** What a player needs in its buffer (ms) so that it never stopped: by how much segments fell behind media time, at worst. */
    bufferNeeded() {
        const segments = [...[...this.renditions.values()][0].segments.values()].sort((a, b) => a.sequence - b.sequence);
        let mediaMs = 0;
        let best = Infinity;
        let worst = 0;
        for (const segment of segments) {
            const delay = segment.namedAt - mediaMs;
            best = Math.min(best, delay);
            worst = Math.max(worst, delay - best);
            mediaMs += segment.duration * 1000;
        }
        return Math.round(worst);
    }

    /** All bytes of a rendition, in order (keepBytes). */
    concatenated(name) {
        const rendition = this.renditions.get(name);
        return Buffer.concat([...rendition.segments.values()].sort((a, b) => a.sequence - b.sequence).map((segment) => segment.bytes));
    }

    /**
     * All findings of the run. `cadence`: stretches [from, to] of wall time in which media flowed without a break. `mixed`: a channel of several
     * recordings, so counters and timestamps may begin anew at a discontinuity, and a variant's RESOLUTION and CODECS are those of the most demanding.
     */
    async judge({ ended = false, cadence = [], maxGapMs = 3000, mixed = false } = {}) {
        this.mixed = mixed;
        const renditions = [...this.renditions.values()];
        if (renditions.length === 0) this.problem('no playlist was ever seen');
        for (const rendition of renditions) {
            this.judgeChain(rendition);
            this.judgeCadence(rendition, cadence, maxGapMs);
            if (ended && !rendition.versions.at(-1)?.playlist.endList) this.problem(`${rendition.name}: no EXT-X-ENDLIST at the end`);
        }
        this.judgeAlignment(renditions);
        this.judgeMaster();
        await this.judgeRemoved(renditions);
        return this.problems;
    }

    judgeChain(rendition) {
        const segments = [...rendition.segments.values()].sort((a, b) => a.sequence - b.sequence);
        const holes = segments.filter((segment, i) => i > 0 && segment.sequence !== segments[i - 1].sequence + 1);
        if (holes.length > 0) this.problem(`${rendition.name}: media sequence has holes before ${holes.map((s) => s.sequence)}`);
        for (let i = 1; i < segments.length; i += 1) {
            const [before, after] = [segments[i - 1], segments[i]];
            if (!before.counters || !after.counters || (this.mixed && after.discontinuity)) continue;
            const where = `${rendition.name} ${before.sequence} -> ${after.sequence}`;
            for (const [pid, { last }] of before.counters) {
                const next = after.counters.get(pid);
                if (next && next.first !== ((last + 1) & 15)) this.problem(`${where}: pid ${pid} counter ${next.first} after ${last}`);
            }
            if (before.video && after.video) {
                const start = signed(before.video.units[0].pts, after.video.units[0].pts) / TICKS;
                const step = signed(before.video.units.at(-1).dts, after.video.units[0].dts) / TICKS;
                if (Math.abs(start - before.duration) > 0.002) this.problem(`${where}: EXTINF ${before.duration}, media says ${start.toFixed(4)}`);
                if (step <= 0) this.problem(`${where}: video dts goes back by ${-step}`);
                if (start > this.newestTarget(rendition) + 0.5) this.problem(`${where}: segment lasts ${start}`);
            }
            if (before.audio?.length && after.audio?.length) {
                const end = before.audio.at(-1);
                const gap = signed(end.pts + (end.samples * TICKS) / end.rate, after.audio[0].pts) / TICKS;
                if (Math.abs(gap) > 0.0225) this.problem(`${where}: audio gap of ${(gap * 1000).toFixed(1)} ms${after.discontinuity ? ' (at a discontinuity)' : ''}`);
                if (!before.video) {
                    const start = signed(before.audio[0].pts, after.audio[0].pts) / TICKS;
                    if (Math.abs(start - before.duration) > 0.0225) this.problem(`${where}: EXTINF ${before.duration}, audio says ${start.toFixed(4)}`);
                }
            }
            if (!after.discontinuity && before.pdt !== null && after.pdt !== null && Math.abs(after.pdt - before.pdt - before.duration * 1000) > 50) {
                this.problem(`${where}: program date time steps ${after.pdt - before.pdt} ms over ${before.duration} s`);
            }
        }
    }

    newestTarget(rendition) { return rendition.versions.at(-1).playlist.targetDuration; }

    judgeCadence(rendition, stretches, maxGapMs) {
        for (const [from, to] of stretches) {
            const times = [from, ...rendition.versions.map((version) => version.at).filter((at) => at >= from && at <= to), to];
            for (let i = 1; i < times.length; i += 1) {
                // Polling sees a change up to two polls late.
                if (times[i] - times[i - 1] > maxGapMs + 2 * this.pollMs) this.problem(`${rendition.name}: no new playlist for ${times[i] - times[i - 1]} ms`);
            }
        }
    }

    judgeAlignment(renditions) {
        const [first, ...others] = renditions;
        for (const other of others) {
            for (const [sequence, segment] of first.segments) {
                const twin = other.segments.get(sequence);
                if (!twin) continue;
                const where = `${first.name} and ${other.name} at ${sequence}`;
                if (twin.discontinuity !== segment.discontinuity) this.problem(`${where}: discontinuity in one only`);
                if (twin.duration !== segment.duration) this.problem(`${where}: EXTINF ${segment.duration} and ${twin.duration}`);
                if (twin.pdt !== segment.pdt) this.problem(`${where}: program date times differ by ${twin.pdt - segment.pdt} ms`);
                if (segment.video && twin.video && segment.video.units[0].pts !== twin.video.units[0].pts) this.problem(`${where}: begin at different media times`);
            }
            if (this.newestTarget(first) !== this.newestTarget(other)) this.problem(`${first.name} and ${other.name}: target durations differ`);
        }
    }

    judgeMaster() {
        const master = this.masters.at(-1);
        if (!master) return;
        for (const variant of master.variants) {
            const rendition = this.renditions.get(variant.uri.split('/')[0]);
            const segments = [...rendition.segments.values()].filter((segment) => segment.size);
            if (segments.length === 0) continue;
            const where = `variant ${rendition.name}`;
            // A segment much shorter than the target (cut by a drop) says nothing of the bit rate.
            const whole = segments.filter((segment) => segment.duration > 1);
            const peak = Math.max(...whole.map((segment) => (segment.size * 8) / segment.duration));
            const average = segments.reduce((sum, s) => sum + s.size * 8, 0) / segments.reduce((sum, s) => sum + s.duration, 0);
            if (whole.length > 0 && (peak > variant.bandwidth * 1.25 || peak < variant.bandwidth * 0.75)) this.problem(`${where}: BANDWIDTH ${variant.bandwidth}, measured peak ${Math.round(peak)}`);
            if (!(variant.average > 0) || average > variant.average * 1.4 || average < variant.average * 0.6) this.problem(`${where}: AVERAGE-BANDWIDTH ${variant.average}, measured ${Math.round(average)}`);
            const sps = segments.map((segment) => segment.sps).filter(Boolean);
            for (const one of sps) {
                if (this.mixed) {
                    if (one.width * one.height > variant.width * variant.height) { this.problem(`${where}: RESOLUTION ${variant.width}x${variant.height}, stream ${one.width}x${one.height}`); break; }
                    if (!variant.codecs.includes(one.codec.slice(0, 5))) { this.problem(`${where}: CODECS ${variant.codecs}, stream ${one.codec}`); break; }
                    continue;
                }
                if (one.width !== variant.width || one.height !== variant.height) { this.problem(`${where}: RESOLUTION ${variant.width}x${variant.height}, stream ${one.width}x${one.height}`); break; }
                if (!variant.codecs.toLowerCase().includes(one.codec)) { this.problem(`${where}: CODECS ${variant.codecs}, stream ${one.codec}`); break; }
            }
            if (segments.some((segment) => segment.audio?.length) !== /mp4a\.40\.\d+/.test(variant.codecs)) this.problem(`${where}: CODECS ${variant.codecs} and the audio do not agree`);
            if (sps.length > 0) {
                const frames = segments.reduce((sum, s) => sum + (s.video?.units.length ?? 0), 0);
                const rate = frames / segments.reduce((sum, s) => sum + s.duration, 0);
                if (rate > variant.frameRate * 1.05 + 0.5) this.problem(`${where}: FRAME-RATE ${variant.frameRate}, measured ${rate.toFixed(2)}`);
            }
        }
    }

    async judgeRemoved(renditions) {
        for (const rendition of renditions) {
            const longest = Math.max(0, ...rendition.versions.map(({ playlist }) => playlist.segments.reduce((sum, s) => sum + s.duration, 0)));
            for (const segment of rendition.segments.values()) {
                if (!segment.removedAt || Date.now() - segment.removedAt > (segment.duration + longest) * 1000) continue;
                const { status } = await this.get(segment.url);
                if (status !== 200) this.problem(`${rendition.name}: removed segment ${segment.sequence} answers ${status} too early`);
            }
        }
    }
}
