// live-api and burst-status alone, with real Redis and MariaDB on free ports; the video services' side is played by the scripts of proto/lua.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import crypto from 'node:crypto';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { mariadbServer, migrate, redisServer, repo } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { atEnd, run, waitFor } from './fixture.mjs';
import { RedisClient } from './redis_client.mjs';

const binDir = path.resolve(process.env.HANABI_BIN_DIR ?? path.join(repo, 'build/bin'));
const password = 'test-only';
export const secrets = { jwt: 'jwt-secret-of-the-tests', seal: 'seal-secret-of-the-tests', hls: 'hls-secret-of-the-tests' };

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token as the identity provider would sign it; `header` and `secret` for bad ones. */
export function token(claims, { header = { alg: 'HS256', typ: 'JWT' }, secret = secrets.jwt } = {}) {
    const text = `${base64url(header)}.${base64url({ role: 'viewer', exp: Math.floor(Date.now() / 1000) + 3600, name: claims.sub, ...claims })}`;
    return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}

export class ApiRig {
    /** `mysql: false`: burst-status and Redis only. `durable`: a Redis that comes back with its data. */
    static async start({ mysql = true, durable = false, env = {} } = {}) {
        const rig = new ApiRig();
        rig.durable = durable;
        rig.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-api-'));
        rig.env = env;
        rig.services = [];
        fs.mkdirSync(path.join(rig.dir, 'logs'));
        atEnd(() => rig.stop());
        rig.redisPort = await freePort();
        rig.redisUrl = `redis://127.0.0.1:${rig.redisPort}`;
        rig.startRedis();
        await waitForPort(rig.redisPort);
        rig.redis = new RedisClient(rig.redisPort);
        if (mysql) await rig.startMysql();
        rig.status = await rig.addStatus();
        if (mysql) rig.api = await rig.addApi();
        return rig;
    }

    log(name) { return path.join(this.dir, 'logs', `${name}.log`); }

    startRedis() {
        this.redisServer = redisServer({ name: 'redis', port: this.redisPort, dir: path.join(this.dir, 'redis'), logFile: this.log('redis'), durable: this.durable, restart: false });
        this.redisServer.start();
    }

    async startMysql() {
        this.mysqlPort = await freePort();
        this.mysqlUrl = `mysql://hanabi:${password}@127.0.0.1:${this.mysqlPort}/hanabi`;
        this.mariadb = await mariadbServer({ name: 'mariadb', port: this.mysqlPort, dir: path.join(this.dir, 'mysql'), logFile: this.log('mariadb'),
            user: 'hanabi', password, database: 'hanabi', restart: false });
        this.mariadb.start();
        await waitForPort(this.mysqlPort, 60000);
        await migrate(this.mysqlUrl);
    }

    async add(name, portVariable, env) {
        const [port, admin] = [await freePort(), await freePort()];
        const service = new Supervised({ name, command: path.join(binDir, name), logFile: this.log(`${name}-${this.services.length}`), restart: false,
            env: { PATH: process.env.PATH, HANABI_REDIS_URL: this.redisUrl, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`, HANABI_LOG_LEVEL: 'debug',
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
        const service = await this.add('live-api', 'HANABI_API_LISTEN', { HANABI_MYSQL_URL: this.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt,
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

    async sql(query) {
        const { stdout } = await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(this.mysqlPort), '-u', 'hanabi', '-N', '-B', '-e', query, 'hanabi'],
            { env: { ...process.env, MYSQL_PWD: password } });
        return stdout.trim().split('\n').filter(Boolean).map((line) => line.split('\t'));
    }

    async stop() {
        this.redis?.close();
        await Promise.all(this.services.map((service) => service.stop()));
        await this.mariadb?.stop('SIGKILL');
        await this.redisServer?.stop('SIGKILL');
        const findings = this.services.map((service) => fs.readFileSync(service.logFile, 'utf8')).join('\n').match(/ERROR: (Address|Leak)Sanitizer[^]*|runtime error:.*/);
        if (process.env.HANABI_KEEP_RUN) console.log(`kept: ${this.dir}`);
        else fs.rmSync(this.dir, { recursive: true, force: true });
        if (findings) throw new Error(findings[0].slice(0, 3000));
    }
}
