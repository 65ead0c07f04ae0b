// A whole Hanabi on one machine: private Redis (state and media), MariaDB, nginx and every service, each supervised.
// deploy/up runs it for people; the system tests run it on free ports and break it on purpose.
//
//     const stack = await startStack({ runDir, services: { transcoder: 2 }, env: { transcoder: { HANABI_LADDER: '…' } } });
//     stack.origin                      'http://127.0.0.1:43210'
//     stack.service('transcoder', 1).kill('SIGKILL')
//     await stack.stop()
//
// `tls`: {cert, key}: HTTPS and WSS at stack.secureOrigin and RTMPS at stack.secureRtmpUrl, beside the plain ports; with `redirect` plain HTTP only says
// where. `data`: Redis and MariaDB in TLS, too, and no other way; they are checked against `ca`. A certificate that is replaced is taken up at once.
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, waitForPort } from './ports.mjs';
import { binary, mariadbServer, migrate, nginxServer, redisServer, repo } from './servers.mjs';
import { recipes } from './services.mjs';
import { Supervised } from './supervised.mjs';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const secretNames = ['jwt', 'keySeal', 'hls', 'mysql', 'seal'];

/** Secrets are made once per run directory and kept there, readable by the owner only. */
function loadSecrets(runDir) {
    const file = path.join(runDir, 'secrets.json');
    const secrets = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {};
    const missing = secretNames.filter((name) => !secrets[name]); // all of them, or those of a newer version
    for (const name of missing) secrets[name] = crypto.randomBytes(32).toString('hex');
    if (missing.length > 0) fs.writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    return secrets;
}

export class Stack {
    constructor(options) {
        this.runDir = path.resolve(options.runDir);
        this.options = options;
        this.instances = new Map(); // service name -> Supervised[]
        this.servers = {};          // redis, mediaRedis, mariadb, nginx
        this.storeDir = path.join(this.runDir, 'store');
    }

    service(name, index = 0) {
        const found = this.instances.get(name)?.[index];
        if (!found) throw new Error(`no instance ${index} of ${name} in this stack`);
        return found;
    }

    /** Every process of the stack. */
    all() { return [...[...this.instances.values()].flat(), ...Object.values(this.servers)]; }

    log(name) { return path.join(this.runDir, 'logs', `${name}.log`); }

    async start() {
        for (const folder of ['logs', 'store', 'spool', 'nginx']) fs.mkdirSync(path.join(this.runDir, folder), { recursive: true });
        this.secrets = loadSecrets(this.runDir);
        const wanted = { ...this.options.ports };
        this.ports = {};
        for (const name of ['state', 'media', 'mysql', 'public', 'purge', 'store', 'rtmp']) this.ports[name] = wanted[name] ?? await freePort();
        this.publicHost = this.options.publicHost ?? '127.0.0.1';
        this.origin = `http://127.0.0.1:${this.ports.public}`;
        this.rtmpUrl = this.options.rtmpUrl ?? `rtmp://127.0.0.1:${this.ports.rtmp}/live`;
        if (this.options.tls) await this.prepareTls(this.options.tls);
        this.dataTls = this.tls?.data ? this.tls : null;
        const [redis, ca] = this.dataTls ? ['rediss', `?ca=${this.tls.ca}`] : ['redis', ''];
        this.redisUrl = `${redis}://127.0.0.1:${this.ports.state}${ca}`;
        this.mediaRedisUrl = `${redis}://127.0.0.1:${this.ports.media}${ca}`;
        this.mysqlUrl = `mysql://hanabi:${this.secrets.mysql}@127.0.0.1:${this.ports.mysql}/hanabi${ca}`;
        await this.startData();
        await this.startServices();
        this.startEdge();
        await this.ready();
        return this;
    }

    async prepareTls(options) {
        this.tls = { port: await freePort(), rtmpsPort: await freePort(), ...options };
        this.secureOrigin = `https://127.0.0.1:${this.tls.port}`;
        this.secureRtmpUrl = `rtmps://127.0.0.1:${this.tls.rtmpsPort}/live`;
        if (this.tls.redirect) this.origin = this.secureOrigin;
    }

    supervised(extra) { return { restart: this.options.restart ?? true, onChange: () => this.options.onChange?.(this), ...extra }; }

    async startData() {
        const { runDir, ports } = this;
        this.servers.redis = redisServer(this.supervised({ name: 'redis', port: ports.state, dir: path.join(runDir, 'redis-state'),
            logFile: this.log('redis-state'), durable: true, tls: this.dataTls }));
        this.servers.mediaRedis = redisServer(this.supervised({ name: 'media-redis', port: ports.media, dir: path.join(runDir, 'redis-media'),
            logFile: this.log('redis-media'), durable: false, maxMemory: '2gb', tls: this.dataTls }));
        this.servers.redis.start();
        this.servers.mediaRedis.start();
        this.servers.mariadb = await mariadbServer(this.supervised({ name: 'mariadb', port: ports.mysql, dir: path.join(runDir, 'mysql'),
            logFile: this.log('mariadb'), user: 'hanabi', password: this.secrets.mysql, database: 'hanabi', tls: this.dataTls }));
        this.servers.mariadb.start();
        await Promise.all([waitForPort(ports.state), waitForPort(ports.media), waitForPort(ports.mysql, 60000)]);
        await migrate(this.mysqlUrl);
    }

    async startServices() {
        this.servicePorts = {};
        for (const [name, recipe] of Object.entries(recipes)) {
            const count = this.options.services?.[name] ?? recipe.instances;
            const command = binary(name);
            if (count > 0 && !fs.existsSync(command)) throw new Error(`${command} is missing: build first`);
            const shared = { rtmp: this.ports.rtmp };
            const list = [];
            this.servicePorts[name] = [];
            for (let index = 0; index < count; index += 1) {
                const ports = { admin: await freePort() };
                for (const [port, kind] of Object.entries(recipe.ports ?? {})) ports[port] = kind === 'shared' ? shared[port] : await freePort();
                this.servicePorts[name].push(ports);
                list.push(this.makeService(name, index, recipe, command, ports));
            }
            this.instances.set(name, list);
            list.forEach((instance) => instance.start());
        }
    }

    makeService(name, index, recipe, command, ports) {
        const instance = `${name}-${index}`;
        const context = { ...this, ports, instance, graceMs: this.options.graceMs ?? 60000, rtmpHost: this.options.rtmpHost ?? '127.0.0.1' };
        const env = {
            PATH: process.env.PATH, HOME: process.env.HOME ?? '/', LANG: 'C.UTF-8',
            // Sanitizer builds: a finding ends the process and is told in its log.
            ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1',
            HANABI_REDIS_URL: this.redisUrl, HANABI_INSTANCE: `${instance}-${process.pid}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
            ...recipe.env(context), ...this.options.env?.all, ...this.options.env?.[name] };
        return new Supervised(this.supervised({ name: instance, command, env, logFile: this.log(instance) }));
    }

    startEdge() {
        const { ports } = this;
        const servers = (name) => this.servicePorts[name].map((p) => `server 127.0.0.1:${p.http} max_fails=0;`).join(' ');
        this.servers.nginx = nginxServer(this.supervised({ name: 'nginx', runDir: this.runDir, logFile: this.log('nginx'), env: this.options.env?.edge,
            tls: this.tls && { ...this.tls, listen: `${this.publicHost}:${this.tls.port}` }, values: {
            STORE_LISTEN: `127.0.0.1:${ports.store}`, STORE_SERVERS: `server 127.0.0.1:${ports.store};`, STORE_DIR: this.storeDir, WEB_DIR: path.join(repo, 'services/web'),
            PUBLIC_LISTEN: `${this.publicHost}:${ports.public}`, PURGE_LISTEN: `127.0.0.1:${ports.purge}`,
            HLS_SECRET: this.secrets.hls, LIVE_API_SERVERS: servers('live-api'), BURST_STATUS_SERVERS: servers('burst-status'),
            SETTINGS_SYNC_SERVERS: servers('settings-sync'), CHAT_SERVERS: servers('chat'), ARCHIVE_SERVERS: servers('archive'),
            LOVE_COUNTER_SERVERS: servers('love-counter'),
            ...this.options.nginx } }));
        this.servers.nginx.start();
        // nginx tries what it is given and stays with what it has when that is no good.
        for (const file of this.tls ? [this.tls.cert, this.tls.key] : []) fs.watchFile(file, { interval: 1000, persistent: false }, () => this.servers.nginx.kill('SIGHUP'));
    }

    /** Runs SQL as the database's root; resolves to what it printed. */
    async sqlAsRoot(text) {
        return (await promisify(execFile)('mariadb', ['-S', path.join(this.runDir, 'mysql/data/mysqld.sock'), '-u', 'root', '-BNe', text])).stdout;
    }

    get purgeUrl() { return `http://127.0.0.1:${this.ports.purge}/purge`; }

    adminUrl(name, index = 0) { return `http://127.0.0.1:${this.servicePorts[name][index].admin}`; }

    /** Resolves when every service says that it is ready; names the ones that do not after `timeoutMs`. */
    async ready(timeoutMs = 30000) {
        const deadline = Date.now() + timeoutMs;
        const asks = [...this.instances].flatMap(([name, list]) => list.map((_, index) => [`${name}-${index}`, `${this.adminUrl(name, index)}/readyz`]));
        asks.push(['nginx', `http://127.0.0.1:${this.ports.purge}/healthz`]);
        for (const [name, url] of asks) {
            let last = '';
            for (;;) {
                try {
                    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) });
                    last = await answer.text();
                    if (answer.ok) break;
                } catch (error) { last = String(error.cause?.message ?? error.message); }
                if (Date.now() > deadline) throw new Error(`${name} is not ready after ${timeoutMs} ms: ${last.slice(0, 300)} (log: ${this.log(name)})`);
                await sleep(50);
            }
        }
    }

    /** Services first, then what they need. */
    async stop() {
        for (const file of this.tls ? [this.tls.cert, this.tls.key] : []) fs.unwatchFile(file);
        await this.servers.nginx?.stop();
        await Promise.all([...this.instances.values()].flat().map((instance) => instance.stop()));
        await Promise.all(Object.values(this.servers).map((server) => server.stop()));
    }
}

/** `kind`: a class of stack, for one that stands on something else. */
export async function startStack({ kind = Stack, ...options }) {
    const stack = new kind(options);
    try {
        return await stack.start();
    } catch (error) {
        await stack.stop();
        throw error;
    }
}
