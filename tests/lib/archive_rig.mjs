// archive alone, with real Redis, MariaDB and a folder as the store; broadcasts that are over are seeded as the other services leave them.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { secrets } from './api_rig.mjs';
import { DataServers } from './data_servers.mjs';
import { atEnd, checkLogs, removeFolder, run, waitFor } from './fixture.mjs';
import { RedisClient, keys, scriptText } from './redis_client.mjs';

const SEGMENT_MS = 2000;

/** Segments of 2 s in sessions with gaps of `gapMs` between them: [{wallMs, mediaMs, durationMs, session, discontinuity}] */
export function makeSegments(startMs, sessions, gapMs) {
    const segments = [];
    let wallMs = startMs;
    sessions.forEach((count, session) => {
        for (let i = 0; i < count; i += 1) {
            segments.push({ wallMs, mediaMs: segments.length * SEGMENT_MS, durationMs: SEGMENT_MS, session: session + 1, discontinuity: i === 0 && session > 0 });
            wallMs += SEGMENT_MS;
        }
        wallMs += gapMs;
    });
    return segments;
}

/** Where on the recording something said at `atMs` belongs, the simple way: a search from the front. */
export function mediaOf(segments, atMs) {
    let media = 0;
    for (const segment of segments) {
        if (segment.wallMs > atMs) break;
        media = segment.mediaMs + Math.min(atMs - segment.wallMs, segment.durationMs);
    }
    return media;
}

export class ArchiveRig {
    static async start() {
        const rig = new ArchiveRig();
        rig.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-archive-'));
        rig.storeDir = path.join(rig.dir, 'store');
        rig.services = [];
        fs.mkdirSync(rig.storeDir);
        atEnd(() => rig.stop());
        rig.data = await DataServers.start(rig.dir);
        rig.redis = new RedisClient(rig.data.redisPort);
        await rig.sql("INSERT INTO users (id, name, created_at_ms) VALUES ('owner', 'Aoi 葵', 1)");
        return rig;
    }

    /** One more archive process. */
    async add(env = {}, { restart = true } = {}) {
        const [port, admin] = [await freePort(), await freePort()];
        const name = `archive-${this.services.length}`;
        const service = new Supervised({ name, command: binary('archive'), restart, logFile: path.join(this.dir, `${name}.log`), env: { ...process.env, HANABI_INSTANCE: name, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`,
            HANABI_REDIS_URL: this.data.redisUrl, HANABI_MYSQL_URL: this.data.mysqlUrl, HANABI_STORE_URL: `file://${this.storeDir}`, HANABI_STORE_SYNC: 'false',
            HANABI_ARCHIVE_LISTEN: `127.0.0.1:${port}`, HANABI_JWT_SECRET: secrets.jwt, HANABI_HLS_SECRET: secrets.hls, HANABI_SEAL_SECRET: secrets.seal, HANABI_ARCHIVE_SETTLE_MS: '0', HANABI_ARCHIVE_EXPORT_INTERVAL_MS: '1000', ...env } });
        Object.assign(service, { origin: `http://127.0.0.1:${port}`, admin: `http://127.0.0.1:${admin}` });
        this.services.push(service);
        service.start();
        return service;
    }

    sql(text) { return this.data.sql(text); }

    /** A statement as the database's own administrator. */
    async rootSql(text) {
        const { stdout } = await run('mariadb', ['-S', path.join(this.dir, 'mysql/data/mysqld.sock'), '-u', 'root', '-BNe', text]);
        return stdout.trim();
    }

    /** A broadcast that has been on air, with what live-api and segment-uploader leave of it. */
    async seedBroadcast(id, segments, { endedAtMs = segments.at(-1).wallMs + SEGMENT_MS, title = `title of ${id}` } = {}) {
        await this.redis.script('broadcast_create', id, 'scheduled', title, 'owner', 'Aoi 葵', `key-of-${id}`, '60000', '0', '0', 'created');
        await this.redis.script('broadcast_end', id, 'owner');
        const rows = segments.map((s, i) => `('${id}',${i},'${i}-${s.session}.ts',${s.discontinuity ? 1 : 0},${s.wallMs},${s.mediaMs * 1000},${s.durationMs * 1000},${s.session},'{"720p":1000,"360p":500}',${i % 5 === 0 ? `'thumbnails/${i}.jpg'` : 'NULL'})`);
        for (const s of ['720p', '360p', 'thumbnails']) fs.mkdirSync(path.join(this.storeDir, 'live', id, s), { recursive: true });
        segments.forEach((s, i) => {
            for (const rendition of ['720p', '360p']) fs.writeFileSync(path.join(this.storeDir, 'live', id, rendition, `${i}-${s.session}.ts`), 'x');
            if (i % 5 === 0) fs.writeFileSync(path.join(this.storeDir, 'live', id, 'thumbnails', `${i}.jpg`), 'x');
        });
        for (const file of ['master.m3u8', 'thumbnail.jpg', '720p/index.m3u8', '360p/index.m3u8']) fs.writeFileSync(path.join(this.storeDir, 'live', id, file), '#EXTM3U\n');
        await this.sql(`${rows.length > 0 ? `INSERT INTO segments VALUES ${rows.join(',')};` : ''}
            INSERT INTO renditions VALUES ('${id}','720p',0,1280,720,30,'avc1.64001f,mp4a.40.2',3000000,2500000),('${id}','360p',1,640,360,30,'avc1.4d401e,mp4a.40.2',900000,800000);
            INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms, live_at_ms, ended_at_ms) VALUES ('${id}','owner','${title}','ended',1,${Date.now()},${segments[0]?.wallMs ?? 'NULL'},${endedAtMs})`);
    }

    /** Comments into the log with chat's own script; but their times are given: `atMs(i)` rises. */
    async say(id, count, atMs, text = (i) => `comment ${i} 花火`) {
        const script = scriptText('chat_append').replace('append(broadcast, room, e)', 'append(broadcast, room, e, id_given)').replace("'*', 'r'", "id_given, 'r'")
            .replace('for i = 1, #ARGV, 3 do', 'for i = 1, #ARGV, 4 do').replace('ARGV[i + 2])', 'ARGV[i + 2], ARGV[i + 3])');
        assert.match(script, /XADD'[^\n]*id_given[^]*#ARGV, 4 do[^]*ARGV\[i \+ 3\]\)/);
        const ids = [];
        let last = [0, 0];
        for (let i = 0; i < count;) {
            const args = [];
            for (; i < count && args.length < 4000; i += 1) {
                const at = Math.floor(atMs(i));
                last = [at, at === last[0] ? last[1] + 1 : 0];
                ids.push(`${at}-${last[1]}`);
                args.push(id, String(i % 3), `"type":"comment","user":{"id":"u${i % 500}","name":"名前 ${i % 500}"},"text":"${text(i)}"}`, ids.at(-1));
            }
            await this.redis.command('EVAL', script, '0', ...args);
        }
        return ids;
    }

    waitArchived(id, timeoutMs = 20000) {
        return waitFor(`${id} is archived`, async () => (await this.redis.command('HGET', `${keys.KEY_BROADCAST}${id}`, 'state')) === 'archived', timeoutMs, 50);
    }

    file(id, name) { return fs.readFileSync(path.join(this.storeDir, 'live', id, name), 'utf8'); }

    index(id) { return JSON.parse(this.file(id, 'chat/index.json')); }

    /** What archive has written for a broadcast: name -> hash. */
    written(id) {
        const names = fs.readdirSync(path.join(this.storeDir, 'live', id), { recursive: true }).map(String).filter((name) => /recording\.m3u8$|storyboard\.json$|^chat\/.*json$/.test(name));
        return Object.fromEntries(names.sort().map((name) => [name, crypto.createHash('sha256').update(this.file(id, name)).digest('hex')]));
    }

    async stop() {
        await Promise.all(this.services.map((service) => service.stop()));
        this.redis?.close();
        await this.data?.stop();
        checkLogs(this.services.map((service) => service.options.logFile));
        removeFolder(this.dir);
    }
}
