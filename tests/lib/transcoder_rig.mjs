// transcoder alone with real Redis: ingest's side (the ring, in real time, from an FLV file) and the uploader's side (reading the queue) are played
// by the test. Also: the checks that every run of segments has to pass.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { DataServers } from './data_servers.mjs';
import { atEnd, checkLogs, removeFolder, run, sleep, waitFor } from './fixture.mjs';
import { RedisClient, keys, seedBroadcast } from './redis_client.mjs';
import { readFlv } from './rtmp_client.mjs';
import { adtsFrames, parseSegment } from './ts.mjs';

const START_US = 10_000_000; // TS_MUX_START_US

/** Replies are thrown away; arguments may be bytes. */
class Writer {
    constructor(port) { this.socket = net.connect(port, '127.0.0.1'); this.socket.on('error', () => {}).resume(); }

    send(...parts) {
        const bytes = parts.map((part) => (Buffer.isBuffer(part) ? part : Buffer.from(String(part))));
        this.socket.write(Buffer.concat([Buffer.from(`*${bytes.length}\r\n`), ...bytes.flatMap((b) => [Buffer.from(`$${b.length}\r\n`), b, Buffer.from('\r\n')])]));
    }

    close() { this.socket.destroy(); }
}

function flvTag({ type, timestamp, body }) {
    const head = Buffer.alloc(11), tail = Buffer.alloc(4);
    head[0] = type;
    head.writeUIntBE(body.length, 1, 3);
    head.writeUIntBE(timestamp & 0xffffff, 4, 3);
    head[7] = timestamp >>> 24;
    tail.writeUInt32BE(11 + body.length);
    return Buffer.concat([head, body, tail]);
}

/** An FLV file as ingest's groups: [{atMs, isStart, bytes}]. */
export function ringGroups(file) {
    const headers = { 18: null, 9: null, 8: null }, groups = [];
    let hasVideo = false, group = null, first = null;
    for (const tag of readFlv(file)) {
        const isMedia = tag.type !== 18 && !(tag.type === 9 ? tag.body[1] === 0 : tag.body[1] === 0);
        const isKey = tag.type === 9 && tag.body[0] === 0x17 && tag.body[1] === 1;
        if (tag.type === 9) hasVideo = true;
        if (!isMedia) headers[tag.type] = flvTag(tag);
        if (isMedia && first === null) first = tag.timestamp;
        const atMs = first === null ? 0 : tag.timestamp - first;
        if (!group || isKey || atMs - group.atMs >= 100) {
            group = { atMs, isStart: isKey || !hasVideo, chunks: isKey || !hasVideo ? Object.values(headers).filter(Boolean) : [] };
            groups.push(group);
        }
        group.chunks.push(flvTag(tag));
    }
    return groups.map(({ atMs, isStart, chunks }) => ({ atMs, isStart, bytes: Buffer.concat(chunks) }));
}

export class TranscoderRig {
    static async start({ transcoders = 1, env = {} } = {}) {
        const rig = new TranscoderRig();
        rig.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-transcoder-'));
        rig.env = env;
        rig.transcoders = [];
        rig.feeders = [];
        atEnd(() => rig.stop());
        rig.data = await DataServers.start(rig.dir, { durable: false, mysql: false, restart: false });
        rig.port = rig.data.redisPort;
        rig.redis = new RedisClient(rig.port);
        rig.writer = new Writer(rig.port);
        for (let i = 0; i < transcoders; i += 1) await rig.addTranscoder();
        return rig;
    }

    async addTranscoder(env = {}) {
        const index = this.transcoders.length, name = `transcoder-${index}`, admin = await freePort();
        const service = new Supervised({ name, command: binary('transcoder'), logFile: path.join(this.dir, `${name}.log`), restart: false,
            env: { PATH: process.env.PATH, HOME: this.dir, TMPDIR: this.dir, HANABI_REDIS_URL: this.data.redisUrl, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`,
                HANABI_INSTANCE: name, HANABI_LOG_LEVEL: 'debug', ...this.env, ...env } });
        service.admin = `http://127.0.0.1:${admin}`;
        service.start();
        this.transcoders.push(service);
        await waitFor(`${name} is ready`, async () => (await fetch(`${service.admin}/readyz`)).ok, 20000);
        return service;
    }

    log(index) { return fs.readFileSync(path.join(this.dir, `transcoder-${index}.log`), 'utf8'); }

    /** Pids of a transcoder's children. */
    childrenOf(service) {
        try {
            return fs.readFileSync(`/proc/${service.pid}/task/${service.pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);
        } catch { return []; }
    }

    async broadcast(id) {
        await seedBroadcast(this.redis, id);
        return this.openSession(id);
    }

    async openSession(id) {
        const [answer, session] = await this.redis.script('session_open', id, 'ingest-test');
        if (answer !== 'ok') throw new Error(`session_open: ${answer}`);
        return session;
    }

    /** Feeds the ring in real time; resolves when the file is over. `stopAt` ms of media: ends there. */
    async feed(id, session, file, { stopAt = Infinity, end = 'closed' } = {}) {
        const key = keys.KEY_MEDIA_RING + id, groups = ringGroups(file).filter((group) => group.atMs < stopAt), startedAt = Date.now();
        for (const group of groups) {
            const wait = startedAt + group.atMs + 100 - Date.now();
            if (wait > 0) await sleep(wait);
            if (this.stopped) return;
            this.writer.send('XADD', key, 'MAXLEN', '~', 220, '*', 's', session, ...(group.isStart ? ['k', '1'] : []), 'd', group.bytes);
        }
        if (end) this.writer.send('XADD', key, '*', 's', session, 'e', end);
    }

    /** Entries queued so far: [{id, atMs, entry}]. */
    async queued(id) {
        return (await this.redis.command('XRANGE', keys.KEY_SEGMENTS + id, '-', '+')).map(([entryId, fields]) => ({ atMs: Number(entryId.split('-')[0]), entry: JSON.parse(fields[1]) }));
    }

    /** The bytes of a part (binary: the small client reads text only). */
    async part(key) {
        const { stdout } = await new Promise((resolve, reject) => {
            execFile('redis-cli', ['-p', String(this.port), '--raw', 'GET', key], { encoding: 'buffer', maxBuffer: 64 << 20 },
                (error, out) => (error ? reject(error) : resolve({ stdout: out })));
        });
        return stdout.subarray(0, -1);
    }

    /** All segments of a broadcast with their bytes, in the form that problemsOf() takes. */
    async segments(id) {
        const found = [];
        for (const { entry, atMs } of await this.queued(id)) {
            if (entry.final) continue;
            const renditions = [];
            for (const r of entry.renditions) renditions.push({ ...r, bytes: await this.part(r.parts[0].key) });
            found.push({ ...entry, atMs, startUs: entry.media_time_us, endUs: entry.media_time_us + entry.duration_us, renditions });
        }
        return found;
    }

    async stop() {
        this.stopped = true;
        for (const service of this.transcoders) await service.stop();
        this.redis.close();
        this.writer.close();
        await this.data.stop();
        checkLogs(this.transcoders.map((service) => service.options.logFile));
        removeFolder(this.dir);
    }
}

/** Runs the file mode; returns {segments, figures}: segments as rig.segments() gives them. */
export async function transcodeFile(input, { env = {}, args = [] } = {}) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-transcode-'));
    try {
        const { stdout } = await run(binary('transcoder'), ['file', input, dir, ...args], { env: { ...process.env, ...env }, timeout: 120000 });
        const segments = fs.readFileSync(path.join(dir, 'segments.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line)).map((one) => ({
            ...one, startUs: one.start_us, endUs: one.end_us,
            renditions: one.renditions.map((r) => ({ ...r, name: r.rendition, bytes: fs.readFileSync(path.join(dir, r.rendition, `${one.number}.ts`)) })),
        }));
        return { segments, figures: JSON.parse(stdout.trim().split('\n').at(-1)) };
    } finally {
        fs.rmSync(dir, { recursive: true, force: true });
    }
}

/** What is wrong with a run of segments: timeline, boundaries, counters, IDR and headers in front, audio without hole or overlap. */
export function problemsOf(segments) {
    const problems = [], before = new Map();
    segments.forEach((segment, i) => {
        const joined = i > 0 && !segment.discontinuity, next = segments[i + 1], seconds = (segment.endUs - segment.startUs) / 1e6;
        if (joined && segment.startUs !== segments[i - 1].endUs) problems.push(`${segment.number}: begins at ${segment.startUs}, the one before ends at ${segments[i - 1].endUs}`);
        if (i > 0 && segment.number !== segments[i - 1].number + 1) problems.push(`${segment.number}: follows ${segments[i - 1].number}`);
        if (i > 0 && segment.startUs < segments[i - 1].endUs) problems.push(`${segment.number}: goes back in time`);
        if (seconds >= 2.5 || (next && !next.discontinuity && seconds < 1.5)) problems.push(`${segment.number}: lasts ${seconds} s`);
        for (const r of segment.renditions) {
            const where = `${r.name}/${segment.number}`, parsed = parseSegment(r.bytes), last = before.get(r.name) ?? { counters: new Map() };
            problems.push(...parsed.problems.filter((p) => r.name !== 'audio' || !/IDR|SPS|PPS/.test(p)).map((p) => `${where}: ${p}`));
            for (const [pid, counter] of parsed.counters) {
                if (last.counters.has(pid) && ((last.counters.get(pid) + 1) & 15) !== counter.first) problems.push(`${where}: pid ${pid} counts ${counter.first} after ${last.counters.get(pid)}`);
            }
            const counters = new Map(last.counters);
            for (const [pid, counter] of parsed.counters) counters.set(pid, counter.last);
            const video = (parsed.video?.units ?? []).map((unit) => unit.pts).sort((a, b) => a - b), audio = adtsFrames(parsed.audio).map((frame) => frame.pts);
            if (video.length && Math.abs(video[0] - (segment.startUs + START_US) * 0.09) > 2) problems.push(`${where}: begins at PTS ${video[0]}`);
            const frames = joined && last.video !== undefined ? [last.video, ...video] : video, samples = joined && last.audio !== undefined ? [last.audio, ...audio] : audio;
            for (let k = 1; k < frames.length; k += 1) if (frames[k] - frames[k - 1] > 90 * 510) problems.push(`${where}: no picture for ${(frames[k] - frames[k - 1]) / 90} ms`);
            for (let k = 1; k < samples.length; k += 1) if (Math.abs(samples[k] - samples[k - 1] - 1920) > 3) problems.push(`${where}: ${(samples[k] - samples[k - 1]) / 90} ms from one AAC frame to the next`);
            before.set(r.name, { counters, video: video.at(-1), audio: audio.at(-1) });
        }
    });
    return problems;
}

/** One rendition's segments as one stream. */
export const joinedBytes = (segments, name) => Buffer.concat(segments.map((segment) => segment.renditions.find((r) => r.name === name).bytes));
