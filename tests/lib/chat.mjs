// Chat processes with a real Redis and a real MariaDB of their own, and viewers that remember what they got.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import WebSocket from 'ws';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { DataServers } from './data_servers.mjs';
import { removeFolder, run, waitFor } from './fixture.mjs';
import { signToken } from './token.mjs';
import { keys } from './redis_client.mjs';

export const secret = 'chat-test-secret';

/** A token that this rig's processes take; `key` for a bad one, and any claim. */
export const token = (sub, { key = secret, ...claims } = {}) => signToken({ sub, ...claims }, key);

/** One websocket of a viewer; with `ca` in TLS, trusting nothing else. `events` is everything that came in frames of events, `ids` those of the events that have one. */
export class Viewer {
    constructor(port, broadcast, { as, last, room, token: given, path: pathname, ca, headers } = {}) {
        const query = new URLSearchParams();
        if (given ?? as) query.set('token', given ?? token(as));
        if (last) query.set('last', last);
        if (room !== undefined) query.set('room', String(room));
        this.user = as;
        this.events = [];
        this.errors = [];
        this.answers = new Map(); // ref -> ack or error
        this.count = 0;
        this.first = []; // the first frames as they came
        this.socket = new WebSocket(`${ca ? 'wss' : 'ws'}://127.0.0.1:${port}${pathname ?? `/chat/v1/broadcasts/${broadcast}`}?${query}`, { perMessageDeflate: false, ca, headers });
        this.closed = new Promise((resolve) => {
            this.socket.on('close', (code) => { this.closeCode = code; resolve(code); });
        });
        this.socket.on('error', (error) => { this.error = error; });
        this.socket.on('message', (data) => this.onMessage(JSON.parse(String(data))));
    }

    onMessage(message) {
        if (this.first.length < 300) this.first.push(message);
        if (message.events) this.events.push(...message.events.map((event) => ({ ...event, got_ms: Date.now() })));
        else if (message.type === 'hello') this.hello = message;
        else if (message.ref) this.answers.set(message.ref, message);
        else if (message.type === 'error') this.errors.push(message);
    }

    get comments() { return this.events.filter((event) => event.type === 'comment'); }

    get texts() { return this.comments.map((event) => event.text); }

    get lastId() { return this.events.findLast((event) => event.id)?.id; }

    of(type) { return this.events.filter((event) => event.type === type); }

    async ready() {
        await waitFor(`hello for ${this.user ?? 'a reader'}`, () => this.hello || this.closeCode, 10000, 5);
        assert.ok(this.hello, `closed with ${this.closeCode} ${JSON.stringify(this.errors)}`);
        return this;
    }

    /** Sends and returns the acknowledgement or the error. */
    async say(text, extra = {}) {
        const ref = `r${this.count++}`;
        this.socket.send(JSON.stringify({ type: 'comment', ref, text, ...extra }));
        return this.answer(ref);
    }

    async send(message) {
        const ref = message.ref ?? `r${this.count++}`;
        this.socket.send(JSON.stringify({ ...message, ref }));
        return this.answer(ref);
    }

    answer(ref) { return waitFor(`an answer to ${ref} of ${this.user}`, () => this.answers.get(ref), 10000, 2); }

    close() { this.socket.terminate(); return this.closed; }
}

/** Redis, MariaDB and `count` chat processes. */
export class ChatRig {
    constructor() {
        this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-chat-'));
        this.chats = [];
        this.started = 0;
        this.viewers = new Set();
    }

    async start() {
        this.data = await DataServers.start(this.dir, { restart: false });
        const { redis, redisPort, redisUrl, mariadb, mysqlUrl } = this.data;
        return Object.assign(this, { redis, redisPort, redisUrl, mariadb, mysqlUrl });
    }

    /** A chat process: {port, admin, process}. */
    async chat(env = {}) {
        const port = await freePort();
        const admin = await freePort();
        const index = this.started++;
        const process_ = new Supervised({ name: `chat-${index}`, command: binary('chat'), logFile: path.join(this.dir, `chat-${index}.log`), restart: false, env: { ...process.env,
            ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1', HANABI_INSTANCE: `chat-${index}-${process.pid}`,
            HANABI_CHAT_LISTEN: `127.0.0.1:${port}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`, HANABI_REDIS_URL: this.redisUrl,
            HANABI_MYSQL_URL: this.mysqlUrl, HANABI_JWT_SECRET: secret, HANABI_CHAT_RATE_BURST: '100000', HANABI_CHAT_RATE_PER_10S: '1000000',
            HANABI_CHAT_ROOM_BUDGET: '0', HANABI_CHAT_BROADCASTER_BUDGET: '0', HANABI_CHAT_PRESENCE_MS: '200', ...env } });
        const chat = { port, admin, process: process_, log: path.join(this.dir, `chat-${index}.log`) };
        this.chats.push(chat);
        process_.start();
        await waitForPort(port, 30000);
        await waitFor('ready', async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).status === 200, 15000);
        return chat;
    }

    viewer(chat, broadcast, options) {
        const viewer = new Viewer(chat.port, broadcast, options);
        this.viewers.add(viewer);
        return viewer;
    }

    async cli(...args) { return (await run('redis-cli', ['-p', String(this.redisPort), ...args])).stdout.trim(); }

    sql(text) { return this.data.sql(text); }

    async broadcast(id, owner = 'owner') {
        await this.cli('HSET', `${keys.KEY_BROADCAST}${id}`, 'state', 'live', 'owner_id', owner, 'version', '1');
        return id;
    }

    /** What settings-sync does: the row with the next version, then the message. `publish` false: the message is lost. */
    async setting(kind, subject, object, value, { publish = true } = {}) {
        const text = value === null ? 'NULL' : `'${JSON.stringify(value)}'`;
        const at = Date.now();
        const version = Number(await this.sql(`START TRANSACTION; UPDATE settings_version SET version = version + 1 WHERE id = 1;
            INSERT INTO settings (kind, subject, object, value, version, updated_by, updated_at_ms)
            VALUES ('${kind}', '${subject}', '${object}', ${text}, (SELECT version FROM settings_version WHERE id = 1), 'test', ${at})
            ON DUPLICATE KEY UPDATE value = VALUES(value), version = VALUES(version), updated_at_ms = VALUES(updated_at_ms);
            COMMIT; SELECT version FROM settings_version WHERE id = 1`));
        if (publish) await this.cli('PUBLISH', keys.CHANNEL_SETTING, JSON.stringify({ type: 'setting', version, kind, subject, object, value, at_ms: at }));
        return version;
    }

    async metric(chat, name) {
        const text = await (await fetch(`http://127.0.0.1:${chat.admin}/metrics`)).text();
        const line = text.split('\n').find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}{`));
        return line ? Number(line.slice(line.lastIndexOf(' ') + 1)) : 0;
    }

    /** Ends the chat processes; throws when one did not end well. To be called while what they need is still there. */
    async stopChats() {
        for (const viewer of this.viewers) viewer.socket.terminate();
        const complaints = [];
        const chats = this.chats.splice(0);
        await Promise.all(chats.map((chat) => chat.process.stop()));
        for (const chat of chats) {
            const log = fs.readFileSync(chat.log, 'utf8');
            if (/Sanitizer|runtime error/.test(log)) complaints.push(log.slice(-6000));
            else if (!chat.wasKilled && !/"event":"service.stopped"/.test(log)) complaints.push(`no clean end: ${log.slice(-3000)}`);
            if (process.env.HANABI_KEEP_RUN) console.log(log);
        }
        assert.deepEqual(complaints, []);
    }

    async stop() {
        try {
            await this.stopChats();
        } finally {
            await this.data.stop();
            removeFolder(this.dir);
        }
    }
}
