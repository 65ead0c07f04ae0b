// Run by tests/compose against its stack, from outside: the pages in Chromium, the walls between the containers, and a broadcast that outlives each of them.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import { framesMove, launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, newBroadcast, programmeFile, pushFile, sleep, status, waitFor, waitForState } from '../lib/fixture.mjs';

const run = promisify(execFile);
const project = process.env.HANABI_COMPOSE.split(' ');
const compose = async (...args) => (await run('docker-compose', [...project, ...args], { maxBuffer: 1 << 24 })).stdout;
const docker = async (...args) => (await run('docker', args, { maxBuffer: 1 << 24 })).stdout.trim();
const stack = { origin: process.env.HANABI_ORIGIN };
const services = ['ingest', 'transcoder', 'segment-uploader', 'burst-status', 'live-api', 'settings-sync', 'chat', 'love-counter', 'archive'];
const listens = { ingest: 1935, 'burst-status': 8080, 'live-api': 8080, 'settings-sync': 8080, chat: 8080, 'love-counter': 8080, archive: 8080 };

const containersOf = async (service) => (await compose('ps', '-q', service)).trim().split('\n').filter(Boolean);
const inspect = async (id) => JSON.parse(await docker('inspect', id))[0];
const addressesOf = async (id) => Object.values((await inspect(id)).NetworkSettings.Networks).map((network) => network.IPAddress).filter(Boolean);
const isHealthy = async (id) => (await inspect(id)).State.Health?.Status === 'healthy';

let file;
before(async () => {
    file = await programmeFile(240, { size: '640x360' });
    await waitFor('every container healthy', async () => {
        for (const service of [...services, 'edge', 'redis', 'media-redis', 'mariadb']) {
            const ids = await containersOf(service);
            if (ids.length === 0) return false;
            for (const id of ids) if (!await isHealthy(id)) return false;
        }
        return true;
    }, 180000, 1000);
    await waitFor('the API answers', async () => (await api(stack, 'GET', '/broadcasts')).status === 200, 30000, 200);
});

const knock = async (id, address, port) => {
    try {
        await run('docker', ['exec', id, 'timeout', '2', 'bash', '-c', `exec 3<>/dev/tcp/${address}/${port}`]);
        return true;
    } catch { return false; }
};

test('images: no root, no writable root file system, no compiler', async () => {
    for (const service of services) {
        const [id] = await containersOf(service);
        const found = await inspect(id);
        assert.equal(found.HostConfig.ReadonlyRootfs, true, service);
        assert.equal(await docker('exec', id, 'id', '-u'), '10001', service);
        assert.equal(await docker('exec', id, 'sh', '-c', 'command -v gcc cc make cmake curl wget || true'), '', service);
        await assert.rejects(run('docker', ['exec', id, 'touch', '/usr/local/bin/x']), undefined, service);
    }
});

test('from inside each container: no other service, but Redis, MariaDB and what it stores to', { timeout: 300000 }, async (t) => {
    const where = {};
    for (const service of [...services, 'redis', 'media-redis', 'mariadb']) where[service] = await addressesOf((await containersOf(service))[0]);
    const databases = { ingest: ['redis', 'media-redis', 'mariadb'], transcoder: ['redis', 'media-redis'], 'segment-uploader': ['redis', 'media-redis', 'mariadb'],
        'burst-status': ['redis'], 'live-api': ['redis', 'mariadb'], 'settings-sync': ['redis', 'mariadb'], chat: ['redis', 'mariadb'], 'love-counter': ['redis', 'mariadb'], archive: ['redis', 'mariadb'] };
    const ports = { redis: 6379, 'media-redis': 6379, mariadb: 3306 };
    let closed = 0;
    for (const from of services) {
        const [id] = await containersOf(from);
        for (const database of databases[from]) {
            const reached = await Promise.all(where[database].map((address) => knock(id, address, ports[database])));
            assert.ok(reached.some(Boolean), `${from} cannot reach ${database}`);
        }
        const others = services.filter((other) => other !== from).flatMap((other) => where[other].flatMap((address) => [9090, listens[other]].filter(Boolean).map((port) => [other, address, port])));
        const open = (await Promise.all(others.map(async ([other, address, port]) => (await knock(id, address, port) ? `${other} ${address}:${port}` : null)))).filter(Boolean);
        assert.deepEqual(open, [], `${from} reaches other services`);
        closed += others.length;
    }
    t.diagnostic(`${closed} doors between services tried, all closed`);
});

/** A viewer of the chat that comes back when its line breaks; counts what it got, once each. */
class ChatViewer {
    constructor(url, token) {
        this.url = url; this.token = token; this.ids = []; this.texts = []; this.acks = new Map(); this.longestGapMs = 0; this.ended = false;
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

test('the pages in Chromium: a moving picture, chat and hearts on two pages, the archive with its chat', { timeout: 240000 }, async (t) => {
    const browser = await launchBrowser();
    atEnd(() => browser.close());
    const broadcast = await newBroadcast(stack, 'In containers 花火');
    const pages = [];
    for (let i = 0; i < 2; i += 1) {
        const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
        pages.push(page);
        await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    }
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    for (const page of pages) await waitFor('moving video', () => framesMove(page, '#video'), 40000, 100);
    const viewer = new ChatViewer(new URL(broadcast.chat_url, stack.origin).href.replace(/^http/, 'ws'), broadcast.token);
    t.after(() => viewer.close());
    await viewer.say('r1', 'seen from a container');
    for (const page of pages) await page.getByText('seen from a container').first().waitFor({ timeout: 10000 });
    const love = await api(stack, 'POST', `/broadcasts/${broadcast.id}/loves`, { token: broadcast.token, body: { batch_id: 'b1', count: 3 } });
    assert.equal(love.status, 200, love.text);
    await screenshot(pages[0], 'compose-watch');
    await sleep(6000);
    assert.equal((await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token })).status, 200);
    const archive = await waitFor('archived', async () => {
        const { json } = await api(stack, 'GET', `/archives/${broadcast.id}`);
        return json?.state === 'archived' && json.playback_url && json;
    }, 90000, 500);
    const index = await (await fetch(new URL(archive.chat_index_url, stack.origin))).json();
    assert.ok(index.files.reduce((sum, part) => sum + part.count, 0) >= 1, JSON.stringify(index));
    await pages[0].goto(`${stack.origin}/archive/${broadcast.id}`);
    await waitFor('the recording plays', () => framesMove(pages[0], '#video'), 30000, 200);
    await screenshot(pages[0], 'compose-archive');
});

test('each container killed in turn during a broadcast: the picture comes back, nothing acknowledged is lost', { timeout: 600000 }, async (t) => {
    const broadcast = await newBroadcast(stack, 'Unkillable');
    let pusher = null;
    let over = false;
    // An encoder comes back when its line breaks, as OBS does.
    const publishing = (async () => {
        const began = Date.now();
        while (!over) {
            pusher = pushFile(broadcast.pushUrl, file, { seek: Math.floor((Date.now() - began) / 1000) % 200 });
            await pusher.exited;
            await sleep(500);
        }
    })();
    t.after(async () => { over = true; await pusher?.kill(); await publishing; });
    await waitForState(stack, broadcast.id, 'live', 40000);
    const chat = new ChatViewer(new URL(broadcast.chat_url, stack.origin).href.replace(/^http/, 'ws'), broadcast.token);
    t.after(() => chat.close());
    const said = [];
    let loves = 0;
    const tap = async (batch) => {
        await waitFor(`love ${batch}`, async () => (await api(stack, 'POST', `/broadcasts/${broadcast.id}/loves`, { token: broadcast.token, body: { batch_id: batch, count: 2 } })).status === 200, 60000, 300);
        loves += 2;
    };
    const newest = async () => {
        const master = await (await fetch(broadcast.playback)).text();
        const media = await (await fetch(new URL(master.split('\n').find((line) => line && !line.startsWith('#')), broadcast.playback))).text();
        const sequence = Number(media.match(/#EXT-X-MEDIA-SEQUENCE:(\d+)/)[1]);
        return sequence + media.split('\n').filter((line) => line.startsWith('#EXTINF')).length;
    };
    for (const service of [...services, 'edge', 'redis', 'media-redis', 'mariadb']) {
        const [id] = await containersOf(service);
        const before = await newest();
        // From outside, as a crash: the engine starts it again, as it would on a Friday night.
        process.kill((await inspect(id)).State.Pid, 'SIGKILL');
        const killed = Date.now();
        const word = `while ${service} is dead`;
        await Promise.all([chat.say(`k-${service}`, word), tap(`k-${service}`)]);
        said.push(word);
        await waitFor(`a newer segment after ${service} was killed`, async () => await newest() >= before + 2, 90000, 200);
        t.diagnostic(`${service}: two more segments ${((Date.now() - killed) / 1000).toFixed(1)} s after the kill`);
        await waitFor(`${service} again`, () => isHealthy(id), 60000, 500);
    }
    await waitFor('live', async () => (await status(stack, broadcast.id))?.state === 'live', 40000, 200);
    assert.deepEqual(said.filter((word) => !chat.texts.includes(word)), [], 'every acknowledged comment came');
    assert.equal(new Set(chat.ids).size, chat.ids.length, 'each once');
    await waitFor('the hearts', async () => (await api(stack, 'GET', `/broadcasts/${broadcast.id}/loves`)).json?.total === loves, 20000, 300);
    t.diagnostic(`longest chat line down: ${chat.longestGapMs} ms (edge, Redis and MariaDB included)`);
    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    const archive = await waitFor('archived', async () => {
        const { json } = await api(stack, 'GET', `/archives/${broadcast.id}`);
        return json?.state === 'archived' && json.playback_url && json;
    }, 120000, 500);
    const indexUrl = new URL(archive.chat_index_url, stack.origin);
    const index = await (await fetch(indexUrl)).json();
    const events = [];
    for (const part of index.files) events.push(...(await (await fetch(new URL(part.url, indexUrl))).json()).events);
    const archived = events.filter((event) => event.type === 'comment').map((event) => event.text);
    assert.deepEqual([...archived].sort(), [...said].sort(), 'the archive holds each acknowledged comment once');
});
