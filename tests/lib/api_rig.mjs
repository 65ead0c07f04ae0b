// live-api and burst-status alone, with real Redis and MariaDB on free ports; the video services' side is played by the scripts of proto/lua.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { DataServers } from './data_servers.mjs';
import { atEnd, checkLogs, removeFolder, waitFor } from './fixture.mjs';
import { RedisClient } from './redis_client.mjs';
import { signToken } from './token.mjs';

export const secrets = { jwt: 'jwt-secret-of-the-tests', seal: 'seal-secret-of-the-tests', hls: 'hls-secret-of-the-tests' };

/** A token that this rig's services take; `header` and `secret` for bad ones. */
export const token = (claims, { header, secret = secrets.jwt } = {}) => signToken(claims, secret, header);

export class ApiRig {
    /** `mysql: false`: burst-status and Redis only. `durable`: a Redis that comes back with its data. */
    static async start({ mysql = true, durable = false, env = {} } = {}) {
        const rig = new ApiRig();
        rig.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-api-'));
        rig.env = env;
        rig.services = [];
        atEnd(() => rig.stop());
        rig.data = await DataServers.start(rig.dir, { durable, mysql, restart: false, logDir: path.join(rig.dir, 'logs') });
        rig.redis = new RedisClient(rig.data.redisPort);
        rig.status = await rig.addStatus();
        if (mysql) rig.api = await rig.addApi();
        return rig;
    }

    log(name) { return path.join(this.dir, 'logs', `${name}.log`); }

    async add(name, portVariable, env) {
        const [port, admin] = [await freePort(), await freePort()];
        const service = new Supervised({ name, command: binary(name), logFile: this.log(`${name}-${this.services.length}`), restart: false,
            env: { PATH: process.env.PATH, HANABI_REDIS_URL: this.data.redisUrl, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`, HANABI_LOG_LEVEL: 'debug',
                ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1', [portVariable]: `127.0.0.1:${port}`, ...env, ...this.env[name] } });
        Object.assign(service, { port, origin: `http://127.0.0.1:${port}`, admin: `http://127.0.0.1:${admin}`, logFile: service.options.logFile });
        service.start();
        this.services.push(service);
        await waitForPort(port);
        return service;
    }

    async addStatus(env = {}) {
        const service = await this.add('burst-status', 'HANABI_STATUS_LISTEN', env);
        await this.ready(service);
        return service;
    }

    async addApi(env = {}) {
        const service = await this.add('live-api', 'HANABI_API_LISTEN', { HANABI_MYSQL_URL: this.data.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt,
            HANABI_KEY_SEAL_SECRET: secrets.seal, HANABI_HLS_SECRET: secrets.hls, HANABI_LOCAL_MODE: 'true', HANABI_RTMP_URL: 'rtmp://push.example/live', ...env });
        await this.ready(service);
        return service;
    }

    ready(service, timeoutMs = 15000) {
        return waitFor(`${service.name} is ready`, async () => (await fetch(`${service.admin}/readyz`)).ok, timeoutMs);
    }

    async missing(service) { return (await (await fetch(`${service.admin}/readyz`)).json()).missing ?? {}; }

    /** {status, json, headers} of a call to live-api. */
    async call(method, pathname, { as, body, raw, headers = {}, api = this.api } = {}) {
        const answer = await fetch(`${api.origin}/api/v1${pathname}`, { method, signal: AbortSignal.timeout(15000), body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
            headers: { ...(as ? { Authorization: `Bearer ${as}` } : {}), ...(body !== undefined || raw !== undefined ? { 'Content-Type': 'application/json' } : {}), ...headers } });
        const text = await answer.text();
        return { status: answer.status, json: text ? JSON.parse(text) : null, headers: answer.headers };
    }

    async session(name = 'tester', role = undefined) { return (await this.call('POST', '/sessions', { body: { name, role } })).json; }

    async statusOf(id, service = this.status) {
        const answer = await fetch(`${service.origin}/status/v1/broadcasts/${id}`, { signal: AbortSignal.timeout(5000) });
        return { status: answer.status, json: await answer.json(), headers: answer.headers };
    }

    sql(query) { return this.data.rows(query); }

    async stop() {
        this.redis?.close();
        await Promise.all(this.services.map((service) => service.stop()));
        await this.data?.stop('SIGKILL');
        checkLogs(this.services.map((service) => service.logFile));
        removeFolder(this.dir);
    }
}
