// ingest alone with real Redis and MariaDB: keys are given as live-api would, what arrives is read from the ring.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { DataServers } from './data_servers.mjs';
import { atEnd, checkLogs, removeFolder, waitFor } from './fixture.mjs';
import { RedisClient, keys } from './redis_client.mjs';
import { readRing } from './ring.mjs';
import { RtmpClient } from './rtmp_client.mjs';

let counter = 0;

export const keyHash = (key) => crypto.createHash('sha256').update(key).digest('hex');

export class IngestRig {
    static async start() {
        const rig = new IngestRig();
        rig.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-ingest-'));
        rig.instances = [];
        atEnd(() => rig.stop());
        rig.data = await DataServers.start(rig.dir, { durable: false, media: true, logDir: path.join(rig.dir, 'logs') });
        await rig.sql("INSERT INTO users (id, name, created_at_ms) VALUES ('owner', 'Owner', 1)");
        rig.connect();
        return rig;
    }

    log(name) { return path.join(this.dir, 'logs', `${name}.log`); }

    /** A client of the state's Redis; again after that was restarted. */
    connect() {
        this.redis?.close();
        this.redis = new RedisClient(this.data.redisPort);
    }

    sql(query) { return this.data.sql(query); }

    /** One more ingest: {port, rtmpsPort, admin, pid, kill, stop}. `port` shares another one's. */
    async addIngest({ port, env = {} } = {}) {
        const index = this.instances.length, name = `ingest-${index}`, admin = await freePort(), rtmp = port ?? await freePort();
        const ingest = new Supervised({ name, command: binary('ingest'), logFile: this.log(name), restart: false,
            env: { PATH: process.env.PATH, HANABI_REDIS_URL: this.data.redisUrl, HANABI_MEDIA_REDIS_URL: this.data.mediaUrl,
                HANABI_MYSQL_URL: this.data.mysqlUrl, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`, HANABI_RTMP_LISTEN: `127.0.0.1:${rtmp}`,
                HANABI_INSTANCE: name, ASAN_OPTIONS: 'detect_leaks=1:quarantine_size_mb=16', ...env } });
        Object.assign(ingest, { port: rtmp, admin: `http://127.0.0.1:${admin}` });
        ingest.start();
        this.instances.push(ingest);
        await waitFor(`${name} is ready`, async () => (await fetch(`${ingest.admin}/readyz`)).ok);
        return ingest;
    }

    /** A scheduled broadcast: {id, key}. `where`: 'redis', 'mysql' or 'both'. */
    async broadcast({ where = 'both' } = {}) {
        const id = `b${process.pid}-${counter += 1}`, key = crypto.randomBytes(12).toString('hex');
        if (where !== 'redis') {
            await this.sql(`INSERT INTO broadcasts (id, owner_id, title, version, stream_key_hash, created_at_ms) VALUES ('${id}', 'owner', 'title', 1, '${keyHash(key)}', 1)`);
        }
        if (where !== 'mysql') await this.redis.script('broadcast_create', id, 'scheduled', 'title', 'owner', 'Owner', keyHash(key), 60000, 0, 0, 'created');
        return { id, key };
    }

    hash(id) { return this.redis.hash(keys.KEY_BROADCAST + id); }

    ring(id) { return readRing(this.data.mediaPort, id); }

    async metric(ingest, name) {
        const text = await (await fetch(`${ingest.admin}/metrics`)).text();
        const line = text.split('\n').find((l) => l.startsWith(`${name} `));
        return line ? Number(line.split(' ').at(-1)) : 0;
    }

    /** Connected and publishing `file` in real time until `stop()`. */
    async push(ingest, broadcast, file, { sendOptions = {}, ...options } = {}) {
        const client = await RtmpClient.connect({ port: ingest.port, ...options });
        await client.publish(broadcast.key);
        let stopped = false;
        const sending = client.sendFlv(file, { loop: true, stop: () => stopped, ...sendOptions });
        return { client, sending, stop: async () => { stopped = true; await sending; client.close(); }, hush: async () => { stopped = true; await sending; } };
    }

    rssKib(ingest) { return Number(fs.readFileSync(`/proc/${ingest.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]); }

    async stop() {
        const exits = await Promise.all(this.instances.map(async (ingest) => { await ingest.stop(); return ingest.exits.at(-1); }));
        this.redis?.close();
        await this.data?.stop();
        checkLogs(exits.map((_, i) => this.log(`ingest-${i}`)));
        for (const [i, exit] of exits.entries()) {
            if (exit && exit.code !== 0 && exit.signal !== 'SIGKILL') throw new Error(`ingest-${i} ended with ${exit.code ?? exit.signal}`);
        }
        removeFolder(this.dir);
    }
}
