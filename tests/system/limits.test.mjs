// What one client address may do at the edge, and whose word is taken for what that address is. Clients are told apart by addresses of loopback.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import WebSocket from 'ws';
import { freePort } from '../../deploy/stack/ports.mjs';
import { edgeValues, repo } from '../../deploy/stack/servers.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { freshStack, newBroadcast, removeFolder, waitFor } from '../lib/fixture.mjs';

const PROXY = '127.0.0.9';
let stack;
let broadcast;

before(async () => {
    stack = await freshStack({ services: { transcoder: 0, ingest: 0, 'segment-uploader': 0, chat: 1, 'love-counter': 1 }, env: { edge: {
        HANABI_EDGE_API_RATE: '2', HANABI_EDGE_API_BURST: '4', HANABI_EDGE_SESSION_RATE: '1', HANABI_EDGE_SESSION_BURST: '2', HANABI_EDGE_LOVE_RATE: '1', HANABI_EDGE_LOVE_BURST: '3',
        HANABI_EDGE_STATUS_RATE: '1', HANABI_EDGE_STATUS_BURST: '3', HANABI_EDGE_CHAT_RATE: '1', HANABI_EDGE_CHAT_BURST: '5', HANABI_EDGE_CHAT_CONNECTIONS: '3', HANABI_EDGE_WAITING: '2',
        HANABI_EDGE_HLS_RATE: '2', HANABI_EDGE_HLS_BURST: '9', HANABI_EDGE_HLS_CONNECTIONS: '2', HANABI_TRUSTED_PROXIES: `${PROXY} 10.0.0.0/8` } } });
    broadcast = await newBroadcast(stack);
});

/** A request from an address of loopback; `read` false: its answer is not read. */
const send = (pathname, { from, method = 'GET', token, forwarded, proto, json, read = true }) => new Promise((resolve, reject) => {
    const headers = { ...(token ? { authorization: `Bearer ${token}` } : {}), ...(forwarded ? { 'x-forwarded-for': forwarded } : {}), ...(proto ? { 'x-forwarded-proto': proto } : {}), ...(json ? { 'content-type': 'application/json' } : {}) };
    const request = http.request(new URL(pathname, stack.origin), { method, headers, localAddress: from, agent: false }, (answer) => {
        if (!read) { resolve({ status: answer.statusCode, end: () => request.destroy() }); return; }
        let text = '';
        answer.on('data', (data) => { text += data; }).on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
    });
    request.on('error', reject).end(json && JSON.stringify(json));
});
const many = (count, pathname, options) => Promise.all(Array.from({ length: count }, () => send(pathname, options)));

function assertRefused(answer) {
    assert.equal(answer.status, 429);
    assert.match(answer.headers['content-type'], /^application\/json/);
    assert.ok(Number(answer.headers['retry-after']) >= 1);
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(JSON.parse(answer.text).error.code, 'too_many_requests');
}

/** Of many in a row the burst is let through, and what the rate adds while they come; the rest is refused, and later there is room again. */
async function assertRate(burst, pathname, options) {
    const answers = [];
    for (let i = 0; i < burst + 20; i += 1) answers.push(await send(pathname, options));
    const refused = answers.filter((answer) => answer.status === 429);
    assert.ok(refused.length >= 5 && refused.length < 20, `${pathname}: ${answers.map((answer) => answer.status)}`);
    refused.forEach(assertRefused);
    await waitFor(`${pathname} again`, async () => (await send(pathname, options)).status !== 429, 5000, 200);
}

test('each kind of request has a rate of its own for an address, and says when to come again', async () => {
    await assertRate(4, '/api/v1/items', { from: '127.0.0.2' });
    await assertRate(4, '/api/v1/settings', { from: '127.0.0.3' });
    await assertRate(4, '/api/v1/archives', { from: '127.0.0.4' });
    await assertRate(3, `/api/v1/broadcasts/${broadcast.id}/loves`, { from: '127.0.0.2' });
    await assertRate(3, `/status/v1/broadcasts/${broadcast.id}`, { from: '127.0.0.2' });
    await assertRate(2, '/api/v1/sessions', { from: '127.0.0.2', method: 'POST', json: { name: 'n' } });
    await assertRate(9, new URL(broadcast.playback).pathname, { from: '127.0.0.2' });
    assert.equal((await send('/', { from: '127.0.0.2' })).status, 200, 'pages have none');
});

test('what an address has used up is nobody else\'s loss', async () => {
    await many(12, '/api/v1/items', { from: '127.0.0.5' });
    assert.equal((await send('/api/v1/items', { from: '127.0.0.5' })).status, 429);
    assert.equal((await send('/api/v1/items', { from: '127.0.0.6' })).status, 200);
});

test('chat lines and requests that wait are counted while they are open', async () => {
    const open = (from) => new Promise((resolve, reject) => {
        const socket = new WebSocket(new URL(broadcast.chat_url, stack.origin).href.replace(/^http/, 'ws'), { localAddress: from, perMessageDeflate: false });
        socket.on('open', () => resolve(socket)).on('error', reject).on('unexpected-response', (_, answer) => {
            let text = '';
            answer.on('data', (data) => { text += data; }).on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
        });
    });
    const lines = [await open('127.0.0.2'), await open('127.0.0.2'), await open('127.0.0.2')];
    assertRefused(await open('127.0.0.2'));
    const other = await open('127.0.0.3');
    assert.equal(other.readyState, WebSocket.OPEN);
    assert.ok(lines.every((line) => line.readyState === WebSocket.OPEN), 'who is there stays');
    lines.pop().terminate();
    const again = await waitFor('a place', async () => { const line = await open('127.0.0.2'); return line.readyState === WebSocket.OPEN && line; }, 8000, 500);
    for (const line of [...lines, other, again]) line.terminate();

    const waits = { from: '127.0.0.7', token: broadcast.token, read: false };
    const waiting = [1, 2].map(() => http.get(new URL('/api/v1/notifications?since=0&wait_s=20', stack.origin),
        { headers: { authorization: `Bearer ${waits.token}` }, localAddress: waits.from, agent: false }).on('error', () => {}));
    await waitFor('both wait', async () => /^hanabi_api_notice_waiters 2$/m.test(await (await fetch(`${stack.adminUrl('live-api')}/metrics`)).text()));
    assertRefused(await send('/api/v1/notifications', { from: '127.0.0.7', token: broadcast.token }));
    assert.equal((await send('/api/v1/items', { from: '127.0.0.7' })).status, 200, 'other calls go on');
    waiting.forEach((request) => request.destroy());
    await waitFor('a place', async () => (await send('/api/v1/notifications', { from: '127.0.0.7', token: broadcast.token })).status === 200, 5000, 500);
});

test('a segment that is fetched slowly counts until it is there', async () => {
    const file = path.join(stack.storeDir, 'live', broadcast.id, 'big.ts');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, Buffer.alloc(40 << 20));
    const big = new URL('big.ts', broadcast.playback).pathname;
    const slow = [await send(big, { from: '127.0.0.3', read: false }), await send(big, { from: '127.0.0.3', read: false })];
    const refused = await send(new URL(broadcast.playback).pathname, { from: '127.0.0.3' });
    assertRefused(refused);
    assert.equal(refused.headers['access-control-allow-origin'], '*', 'a player on another site may read why');
    slow.forEach((one) => one.end());
    await waitFor('a place', async () => (await send(new URL(broadcast.playback).pathname, { from: '127.0.0.3' })).status === 404, 5000, 500);
});

test('X-Forwarded-For is the word of a proxy of ours, and of nobody else', async () => {
    // Whoever invents addresses stays the one that the line comes from.
    const invented = await Promise.all(Array.from({ length: 12 }, (_, i) => send('/api/v1/items', { from: '127.0.0.8', forwarded: `198.51.100.${i}` })));
    assert.ok(invented.filter((answer) => answer.status === 429).length >= 6);
    // Through the proxy each client has its own; what the client itself claims stands in front of what the proxy adds.
    const through = (client, forged = '') => send('/api/v1/items', { from: PROXY, forwarded: `${forged}${client}` });
    const clients = await Promise.all(Array.from({ length: 12 }, (_, i) => through(`203.0.113.${i}`)));
    assert.ok(clients.every((answer) => answer.status === 200));
    const forged = await Promise.all(Array.from({ length: 12 }, (_, i) => through('203.0.113.77', `198.51.100.${i}, `)));
    assert.ok(forged.filter((answer) => answer.status === 429).length >= 6);
    // A chain of ours: the first that is not ours, from behind.
    const chain = await Promise.all(Array.from({ length: 12 }, () => through('203.0.113.88, 10.1.2.3')));
    assert.ok(chain.filter((answer) => answer.status === 429).length >= 6);
    assert.equal((await through('203.0.113.89, 10.1.2.3')).status, 200);
    // An IPv6 host has a /64 to choose from.
    const host = await Promise.all(Array.from({ length: 12 }, (_, i) => through(`2001:db8:1:2:${i}:1:2:3`)));
    assert.ok(host.filter((answer) => answer.status === 429).length >= 6);
    assert.equal((await through('2001:db8:1:3::1')).status, 200);
    assert.deepEqual((await Promise.all(Array.from({ length: 12 }, (_, i) => through(`::ffff:192.0.2.${i}`)))).map((answer) => answer.status), Array(12).fill(200));
});

test('a refusal is a line in the log that tells no secret of the path', async () => {
    const lines = await waitFor('the lines', () => {
        const found = fs.readFileSync(stack.log('edge.access'), 'utf8').split('\n').filter((line) => line.includes('"request.limited"')).map((line) => JSON.parse(line));
        return ['api', 'chat', 'hls', 'status'].every((route) => found.some((line) => line.route === route)) && found.some((line) => line.peer === '203.0.113.77') && found;
    }, 5000);
    assert.ok(lines.some((line) => line.rate === 'REJECTED') && lines.some((line) => line.connections === 'REJECTED'));
    assert.ok(!lines.some((line) => JSON.stringify(line).includes(broadcast.id)));
    assert.doesNotMatch(fs.readFileSync(path.join(stack.runDir, 'logs/nginx.error.log'), 'utf8'), /limiting/);
});

test('which scheme the client asked by, a trusted proxy says, and nobody else', async () => {
    const scheme = async (from, proto) => {
        const { text } = await send(`/watch/${broadcast.id}`, { from, forwarded: '203.0.113.77', proto });
        return /json\+oembed" href="(https?):/.exec(text)[1];
    };
    assert.deepEqual([await scheme(PROXY, 'https'), await scheme(PROXY, 'http'), await scheme(PROXY, 'x"y'), await scheme('127.0.0.250', 'https')], ['https', 'http', 'http', 'http']);
});

test('a broken bound is told', () => {
    assert.throws(() => edgeValues({ HANABI_EDGE_API_RATE: '0' }), /HANABI_EDGE_API_RATE=0: expected a whole number/);
    assert.throws(() => edgeValues({ HANABI_EDGE_WAITING: '5; }' }), /HANABI_EDGE_WAITING/);
    assert.throws(() => edgeValues({ HANABI_TRUSTED_PROXIES: '10.0.0.0/8, proxy' }), /HANABI_TRUSTED_PROXIES: 10.0.0.0\/8, is neither/);
});

/** The container's edge with folder and ports of this machine; nothing stands behind it. */
async function containerEdge(t, env) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-edge-'));
    fs.chmodSync(dir, 0o755); // its workers are nobody
    const [port, purge, store] = [await freePort(), await freePort(), await freePort()];
    const script = fs.readFileSync(path.join(repo, 'deploy/docker/edge-entrypoint'), 'utf8').replace('/etc/hanabi/nginx', path.join(repo, 'deploy/nginx'))
        .replace('0.0.0.0:8080', `127.0.0.1:${port}`).replace('0.0.0.0:8081', `127.0.0.1:${purge}`).replace('127.0.0.1:8082', `127.0.0.1:${store}`);
    fs.writeFileSync(path.join(dir, 'entrypoint'), script);
    const log = path.join(dir, 'stderr'); // a file: nginx opens /dev/stderr, which a socket is not good for
    const child = spawnBound('bash', [path.join(dir, 'entrypoint')], { stdio: ['ignore', 'ignore', fs.openSync(log, 'w')], env: { PATH: `${process.env.PATH}:/usr/sbin`, HANABI_RUN_DIR: dir, HANABI_HLS_SECRET: 'x', HANABI_EDGE_DRAIN_S: '0', ...env } });
    const exited = new Promise((resolve) => child.once('close', (code) => resolve({ code, stderr: fs.readFileSync(log, 'utf8') })));
    t.after(async () => { child.kill('SIGTERM'); await exited; removeFolder(dir); });
    return { origin: `http://127.0.0.1:${port}`, exited };
}

test('the edge in a container takes the same variables', { timeout: 30000 }, async (t) => {
    const edge = await containerEdge(t, { HANABI_EDGE_API_RATE: '1', HANABI_EDGE_API_BURST: '3', HANABI_TRUSTED_PROXIES: '127.0.0.0/8', HANABI_EDGE_HLS_RATE: '' });
    const items = (forwarded) => fetch(`${edge.origin}/api/v1/items`, { headers: { 'x-forwarded-for': forwarded } });
    await waitFor('the edge', async () => (await items('203.0.113.1')).status === 503);
    const statuses = (await Promise.all(Array.from({ length: 20 }, () => items('203.0.113.2')))).map((answer) => answer.status);
    assert.ok(statuses.filter((status) => status === 429).length >= 5, String(statuses));
    assert.equal((await items('203.0.113.3')).status, 503);

    for (const [env, sentence] of [[{ HANABI_EDGE_CHAT_RATE: 'many' }, /HANABI_EDGE_CHAT_RATE=many: expected a whole number/], [{ HANABI_TRUSTED_PROXIES: 'all' }, /HANABI_TRUSTED_PROXIES: all is neither/]]) {
        const { code, stderr } = await (await containerEdge(t, env)).exited;
        assert.equal(code, 2);
        assert.match(stderr, sentence);
    }
});
