// What the tests of the containers share: Compose and Docker as an operator uses them, and a viewer that bears anything.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import { api, Pusher, sleep, waitFor } from '../lib/fixture.mjs';

export const run = promisify(execFile);
const project = process.env.HANABI_COMPOSE.split(' ');
export const compose = async (...args) => (await run('docker-compose', [...project, ...args], { maxBuffer: 1 << 24 })).stdout;
export const docker = async (...args) => (await run('docker', args, { maxBuffer: 1 << 24 })).stdout.trim();
export const stack = { origin: process.env.HANABI_ORIGIN };
export const services = ['ingest', 'transcoder', 'segment-uploader', 'burst-status', 'live-api', 'settings-sync', 'chat', 'love-counter', 'archive'];
export const servers = ['edge', 'rtmp', 'redis', 'media-redis', 'mariadb'];

export const containersOf = async (service) => (await compose('ps', '-q', service)).trim().split('\n').filter(Boolean);
export const inspect = async (id) => JSON.parse(await docker('inspect', id))[0];
export const isHealthy = async (id) => (await inspect(id)).State.Health?.Status === 'healthy';

export const addressesOf = async (id) => Object.values((await inspect(id)).NetworkSettings.Networks).map((network) => network.IPAddress).filter(Boolean);

/** Which of the doors ("address:port") open from inside a container. */
export async function openFrom(id, doors) {
    const knock = doors.map((door) => `(timeout 2 bash -c 'exec 3<>/dev/tcp/${door.replace(':', '/')}' && echo ${door}) 2>/dev/null &`).join('\n');
    return (await docker('exec', id, 'bash', '-c', `${knock}\nwait`)).split('\n').filter(Boolean);
}

/** Resolves when every container of the named ones, at least one each, is healthy and the API answers. */
export async function allHealthy(names, timeoutMs = 180000) {
    await waitFor('every container healthy', async () => {
        for (const name of names) {
            const ids = await containersOf(name);
            if (ids.length === 0) return false;
            for (const id of ids) if (!await isHealthy(id)) return false;
        }
        return true;
    }, timeoutMs, 1000);
    await waitFor('the API answers', async () => (await api(stack, 'GET', '/broadcasts')).status === 200, 30000, 200);
}

/** Kills a container from outside, as a crash would: an engine starts it again, which it does not after `docker kill`. */
export async function crash(id) {
    process.kill((await inspect(id)).State.Pid, 'SIGKILL');
}

/** An encoder that shows the file over and over, and comes back when its line breaks, as OBS does. */
export function encode(broadcast, file) {
    const encoder = { comebacks: -1, isOver: false, stop: async () => { encoder.isOver = true; await pusher?.kill(); await done; } };
    let pusher = null;
    const done = (async () => {
        while (!encoder.isOver) {
            pusher = new Pusher('ffmpeg', ['-hide_banner', '-loglevel', 'warning', '-re', '-stream_loop', '-1', '-i', file, '-c', 'copy', '-f', 'flv', broadcast.pushUrl]);
            encoder.comebacks += 1;
            await pusher.exited;
            await sleep(300);
        }
    })();
    return encoder;
}

/** How many segments the first rendition has had. */
export async function newestSegment(broadcast) {
    const master = await (await fetch(broadcast.playback)).text();
    const media = await (await fetch(new URL(master.split('\n').find((line) => line && !line.startsWith('#')), broadcast.playback))).text();
    const sequence = Number(media.match(/#EXT-X-MEDIA-SEQUENCE:(\d+)/)[1]);
    return sequence + media.split('\n').filter((line) => line.startsWith('#EXTINF')).length;
}

export const archived = (broadcast) => waitFor('archived', async () => {
    const { json } = await api(stack, 'GET', `/archives/${broadcast.id}`);
    return json?.state === 'archived' && json.playback_url && json;
}, 120000, 500);

/** Every event of an archive's chat. */
export async function archivedEvents(archive) {
    const indexUrl = new URL(archive.chat_index_url, stack.origin);
    const index = await (await fetch(indexUrl)).json();
    const events = [];
    for (const part of index.files) events.push(...(await (await fetch(new URL(part.url, indexUrl))).json()).events);
    return events;
}

/** A viewer of the chat that comes back when its line breaks; counts what it got, once each. */
export class ChatViewer {
    constructor(broadcast, token) {
        this.url = new URL(broadcast.chat_url, stack.origin).href.replace(/^http/, 'ws');
        this.token = token; this.ids = []; this.texts = []; this.gifts = []; this.acks = new Map(); this.longestGapMs = 0; this.ended = false;
        this.open();
    }

    open() {
        const query = new URLSearchParams({ ...(this.token ? { token: this.token } : {}), ...(this.last ? { last: this.last, room: String(this.room ?? 0) } : {}) });
        this.socket = new WebSocket(`${this.url}?${query}`, { perMessageDeflate: false });
        this.socket.on('message', (data) => {
            const message = JSON.parse(String(data));
            if (message.type === 'hello') {
                this.room = message.room;
                if (this.brokeAt) this.longestGapMs = Math.max(this.longestGapMs, Date.now() - this.brokeAt);
                this.brokeAt = null;
                this.isOpen = true;
            }
            for (const event of message.events ?? []) {
                if (event.id) this.last = event.id;
                if (event.type === 'gift') this.gifts.push(event.id);
                if (event.type === 'comment') { this.ids.push(event.id); this.texts.push(event.text); }
            }
            if (message.ref) this.acks.set(message.ref, message);
        });
        this.socket.on('error', () => {});
        this.socket.on('close', () => {
            this.isOpen = false;
            this.brokeAt ??= Date.now();
            if (!this.ended) setTimeout(() => this.open(), 200);
        });
    }

    /** Says it until it is acknowledged; the same ref, so that it is said once. */
    async say(ref, text) {
        await waitFor(`an acknowledgement of ${ref}`, async () => {
            if (this.acks.get(ref)?.type === 'ack') return true;
            if (this.acks.get(ref)?.code === 'duplicate') return true;
            this.acks.delete(ref);
            if (this.isOpen) this.socket.send(JSON.stringify({ type: 'comment', ref, text }));
            await waitFor('an answer', () => this.acks.get(ref), 2000, 20).catch(() => {});
            return this.acks.get(ref)?.type === 'ack' || this.acks.get(ref)?.code === 'duplicate';
        }, 60000, 300);
    }

    close() { this.ended = true; this.socket.terminate(); }
}

/** Runs SQL in the database; resolves to what it printed. */
export async function sqlAsRoot(text) {
    const [mariadb] = await containersOf('mariadb');
    return docker('exec', mariadb, 'mariadb', '--default-character-set=utf8mb4', '--socket=/run/mysqld/mysqld.sock', '-u', 'mysql', 'hanabi', '-BNe', text);
}

/** What the system tests of the pages need of a stack, by the containers. */
export async function containerStack() {
    await allHealthy([...services, ...servers]);
    const ids = Object.fromEntries(await Promise.all(services.map(async (name) => [name, await containersOf(name)])));
    const addresses = {};
    for (const name of services) {
        addresses[name] = await Promise.all(ids[name].map(async (id) => Object.values((await inspect(id)).NetworkSettings.Networks)[0].IPAddress));
    }
    return {
        ...stack,
        service: (name, index = 0) => ({ kill: () => crash(ids[name][index]) }),
        adminUrl: (name, index = 0) => `http://${addresses[name][index]}:9090`,
        sqlAsRoot,
        /** One command to the state's Redis, which no port leads to from here. */
        redis: async (...command) => (await compose('exec', '-T', 'redis', 'sh', '-c', 'REDISCLI_AUTH="$HANABI_REDIS_PASSWORD" exec redis-cli "$@"', '-', ...command)).trim(),
    };
}
