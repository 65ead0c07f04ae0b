// segment-uploader alone with real Redis and MariaDB, and the transcoder's side of the hand-off played by the test: parts on the media Redis,
// entries through the script of proto/lua.
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { DataServers } from './data_servers.mjs';
import { atEnd, checkLogFolder, removeFolder, waitFor } from './fixture.mjs';
import { parseMaster, parseMedia } from './hls.mjs';
import { RedisClient, keys } from './redis_client.mjs';

export class UploaderRig {
    /** `env`: for every uploader; `storeUrl`: instead of a folder. */
    static async start({ uploaders = 1, env = {}, storeUrl } = {}) {
        const rig = new UploaderRig();
        rig.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-uploader-'));
        rig.storeDir = path.join(rig.dir, 'store');
        rig.storeUrl = storeUrl ?? `file://${rig.storeDir}`;
        rig.env = env;
        for (const folder of ['store', 'spool', 'logs']) fs.mkdirSync(path.join(rig.dir, folder));
        rig.purged = [];
        rig.uploaders = [];
        atEnd(() => rig.stop());
        rig.data = await DataServers.start(rig.dir, { durable: false, media: true, logDir: path.join(rig.dir, 'logs') });
        rig.redis = new RedisClient(rig.data.redisPort);
        rig.media = new RedisClient(rig.data.mediaPort);
        rig.edge = http.createServer((request, response) => { rig.purged.push(`${request.method} ${request.url}`); response.end(); });
        await new Promise((resolve) => rig.edge.listen(0, '127.0.0.1', resolve));
        for (let i = 0; i < uploaders; i += 1) await rig.addUploader();
        return rig;
    }

    log(name) { return path.join(this.dir, 'logs', `${name}.log`); }

    /** archive, on the same store. */
    async addArchive(env = {}) {
        const archive = new Supervised({ name: 'archive', command: binary('archive'), logFile: this.log('archive'), restart: false, env: { PATH: process.env.PATH, HANABI_REDIS_URL: this.data.redisUrl,
            HANABI_MYSQL_URL: this.data.mysqlUrl, HANABI_ADMIN_LISTEN: '127.0.0.1:0', HANABI_ARCHIVE_LISTEN: '127.0.0.1:0', HANABI_STORE_URL: this.storeUrl, HANABI_ARCHIVE_EXPORT_INTERVAL_MS: '200',
            HANABI_JWT_SECRET: 'j', HANABI_HLS_SECRET: 'h', HANABI_SEAL_SECRET: 's', ASAN_OPTIONS: 'detect_leaks=1', ...this.env, ...env } });
        archive.start();
        atEnd(() => archive.stop());
        return archive;
    }

    async addUploader(env = {}) {
        const index = this.uploaders.length, name = `segment-uploader-${index}`, admin = await freePort();
        const uploader = new Supervised({ name, command: binary('segment-uploader'), logFile: this.log(name), restart: false,
            env: { PATH: process.env.PATH, HANABI_REDIS_URL: this.data.redisUrl, HANABI_MEDIA_REDIS_URL: this.data.mediaUrl,
                HANABI_MYSQL_URL: this.data.mysqlUrl, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`, HANABI_STORE_URL: this.storeUrl, HANABI_LOG_LEVEL: 'debug',
                HANABI_PURGE_URLS: `http://127.0.0.1:${this.edge.address().port}/purge`, HANABI_SPOOL_DIR: path.join(this.dir, 'spool'),
                HANABI_INSTANCE: `uploader-${index}`, ASAN_OPTIONS: 'detect_leaks=1', ...this.env, ...env } });
        uploader.admin = `http://127.0.0.1:${admin}`;
        uploader.start();
        this.uploaders.push(uploader);
        await waitFor(`${name} answers`, async () => (await fetch(`${uploader.admin}/healthz`)).ok);
        return uploader;
    }

    async ready(uploader = this.uploaders[0]) {
        const answer = await fetch(`${uploader.admin}/readyz`);
        return { ok: answer.ok, ...await answer.json() };
    }

    async metric(name, uploader = this.uploaders[0]) {
        const text = await (await fetch(`${uploader.admin}/metrics`)).text();
        const line = text.split('\n').find((l) => l.startsWith(`${name} `) || l.startsWith(`${name}{`));
        return line ? Number(line.split(' ').at(-1)) : null;
    }

    sql(query) { return this.data.rows(query); }

    /** Only what is in the folder; null when it is not there. */
    read(file) {
        try { return fs.readFileSync(path.join(this.storeDir, file), 'utf8'); } catch { return null; }
    }

    playlist(id, rendition) {
        const text = this.read(`live/${id}/${rendition}/index.m3u8`);
        return text === null ? null : parseMedia(text);
    }

    master(id) {
        const text = this.read(`live/${id}/master.m3u8`);
        return text === null ? null : parseMaster(text);
    }

    events(uploaderIndex, event) {
        return fs.readFileSync(this.log(`segment-uploader-${uploaderIndex}`), 'utf8').split('\n').filter((line) => line.includes(`"event":"${event}"`)).map((line) => JSON.parse(line));
    }

    async stop() {
        for (const uploader of this.uploaders) await uploader.stop();
        this.edge?.close();
        this.redis?.close();
        this.media?.close();
        await this.data?.stop();
        checkLogFolder(path.join(this.dir, 'logs'));
        removeFolder(this.dir);
    }
}

const ladder = [
    { name: '720p', width: 1280, height: 720, frame_rate: 30, codecs: 'avc1.64001f,mp4a.40.2', bytes: 60000 },
    { name: '360p', width: 640, height: 360, frame_rate: 30, codecs: 'avc1.64001e,mp4a.40.2', bytes: 20000 },
];

/** The transcoder of one broadcast, as far as the uploader can see it. */
export class FakeTranscoder {
    constructor(rig, id, { renditions = ladder } = {}) {
        Object.assign(this, { rig, id, renditions, number: 0, mediaTimeUs: 0, wallMs: Date.now(), token: '1', session: 0 });
    }

    /** The broadcast's hash and a publisher's session, as live-api and ingest make them. */
    async open({ graceMs = 60000 } = {}) {
        const { redis } = this.rig;
        await redis.script('broadcast_create', this.id, 'scheduled', 'title', 'owner', 'Owner', '', graceMs, 0, 0, 'created');
        const [answer, session] = await redis.script('session_open', this.id, 'ingest-test');
        if (answer !== 'ok') throw new Error(`session_open: ${answer}`);
        this.session = Number(session);
        await this.lease();
        return this;
    }

    lease() { return this.rig.redis.command('HSET', keys.KEY_LEASE_TRANSCODER + this.id, 'holder', 'test', 'token', this.token); }

    touch() { return this.rig.redis.script('session_touch', this.id, this.session); }

    async push({ durationUs = 2000000, discontinuity = false, thumbnail = false, without = [], partExpireS = 180, renditions = this.renditions, spread = false } = {}) {
        const { media, redis } = this.rig, entry = { session: this.session, number: this.number, discontinuity, program_date_time_ms: this.wallMs,
            media_time_us: this.mediaTimeUs, duration_us: durationUs, arrived_ms: Date.now(), renditions: [] };
        for (const r of renditions) {
            const key = `${keys.KEY_MEDIA_PART}${this.id}:${this.session}-${this.number}-${r.name}`;
            const bytes = `${this.id}/${r.name}/${this.number}/`.padEnd(r.bytes, String(this.number % 10));
            const half = spread ? Math.floor(r.bytes / 2) : r.bytes;
            const parts = spread ? [[`${key}-a`, bytes.slice(0, half)], [`${key}-b`, bytes.slice(half)]] : [[key, bytes]];
            for (const [part, text] of parts) if (!without.includes(r.name)) await media.command('SET', part, text, 'EX', partExpireS);
            entry.renditions.push({ name: r.name, width: r.width, height: r.height, frame_rate: r.frame_rate, codecs: r.codecs,
                parts: parts.map(([part, text]) => ({ key: part, bytes: text.length })) });
        }
        if (thumbnail) {
            entry.thumbnail_key = `${keys.KEY_MEDIA_PART}${this.id}:${this.number}-thumbnail`;
            await media.command('SET', entry.thumbnail_key, `JPEG ${this.number}`, 'EX', partExpireS);
        }
        const answer = await redis.script('segment_push', this.id, this.token, JSON.stringify(entry), '{}', '0');
        if (answer !== 'ok') throw new Error(`segment_push: ${answer}`);
        this.number += 1;
        this.mediaTimeUs += durationUs;
        this.wallMs += durationUs / 1000;
        return entry;
    }

    final() { return this.rig.redis.script('segment_push', this.id, this.token, '{"final":true}', '', '1'); }
}

/** Reads all playlists of a broadcast over and over: what they name must be there, and nothing may go back. */
export class PlaylistWatch {
    constructor(rig, id) {
        Object.assign(this, { rig, id, errors: [], reads: 0, seen: new Map(), order: new Map(), running: true, last: new Map() });
        this.done = this.loop();
    }

    check(rendition, playlist) {
        const last = this.last.get(rendition), fail = (text) => this.errors.push(`${rendition}: ${text}`);
        for (const segment of playlist.segments) {
            const file = path.join('live', this.id, rendition, segment.uri), known = `${rendition}/${segment.sequence}`;
            if (!this.seen.has(known)) {
                if (!fs.existsSync(path.join(this.rig.storeDir, file))) fail(`${file} is named but missing`);
                this.seen.set(known, segment);
            } else if (JSON.stringify(this.seen.get(known)) !== JSON.stringify(segment)) {
                fail(`segment ${segment.sequence} has changed`);
            }
        }
        const end = (p) => p.mediaSequence + p.segments.length;
        if (last) {
            if (playlist.mediaSequence < last.mediaSequence || end(playlist) < end(last)) fail(`went back from ${end(last)} to ${end(playlist)}`);
            if (last.endList && !playlist.endList) fail('ENDLIST went away');
            const left = last.segments.filter((s) => s.sequence < playlist.mediaSequence && s.discontinuity).length;
            if (playlist.mediaSequence <= end(last) && playlist.discontinuitySequence !== last.discontinuitySequence + left)
                fail(`discontinuity sequence ${last.discontinuitySequence} -> ${playlist.discontinuitySequence}, ${left} left`);
        }
        this.last.set(rendition, playlist);
    }

    once() {
        const folder = path.join(this.rig.storeDir, 'live', this.id);
        let names = [];
        try { names = fs.readdirSync(folder, { withFileTypes: true }).filter((e) => e.isDirectory() && e.name !== 'thumbnails').map((e) => e.name); } catch { return; }
        for (const name of names) {
            const playlist = this.rig.playlist(this.id, name);
            if (!playlist) continue;
            this.check(name, playlist);
            this.reads += 1;
        }
    }

    async loop() {
        while (this.running) {
            this.once();
            await new Promise((resolve) => setTimeout(resolve, 3));
        }
    }

    async stop() {
        this.running = false;
        await this.done;
        this.once();
        return this.errors;
    }
}
