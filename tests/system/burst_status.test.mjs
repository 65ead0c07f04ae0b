// burst-status alone with a real Redis: what it answers, how fast it hears, what it does when Redis goes, and clients that misbehave.
import assert from 'node:assert/strict';
import net from 'node:net';
import { before, test } from 'node:test';
import { waitForPort } from '../../deploy/stack/ports.mjs';
import { ApiRig } from '../lib/api_rig.mjs';
import { sleep, waitFor } from '../lib/fixture.mjs';
import { RedisClient, goLive, keys, seedBroadcast } from '../lib/redis_client.mjs';

let rig;
before(async () => { rig = await ApiRig.start({ mysql: false }); });

const stateOf = async (id) => (await rig.statusOf(id)).json.state;
const hears = (id, state, timeoutMs = 2000) => waitFor(`${id} ${state}`, async () => await stateOf(id) === state, timeoutMs, 10);

/** All that comes back for `text` on one connection, until the server closes it or `until` has been seen. */
function exchange(text, until = null, timeoutMs = 4000) {
    return new Promise((resolve, reject) => {
        let all = '';
        const socket = net.connect(rig.status.port, '127.0.0.1', () => socket.write(text));
        const timer = setTimeout(() => { socket.destroy(); reject(new Error(`no end after ${timeoutMs} ms: ${all.slice(0, 300)}`)); }, timeoutMs);
        const finish = () => { clearTimeout(timer); socket.destroy(); resolve(all); };
        socket.on('data', (data) => { all += data; if (until && all.split(until).length > 1) finish(); }).on('end', finish).on('error', reject);
    });
}

test('a state, its version and when to ask again', async () => {
    await seedBroadcast(rig.redis, 'first');
    await hears('first', 'scheduled');
    const { status, json, headers } = await rig.statusOf('first');
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(json).sort(), ['id', 'retry_after_ms', 'state', 'version']);
    assert.equal(json.id, 'first');
    assert.ok(Number.isInteger(json.version) && json.version > 0);
    assert.ok(json.retry_after_ms >= 1000 && json.retry_after_ms <= 3000, json.retry_after_ms);
    assert.match(headers.get('content-type'), /^application\/json/);
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.equal(headers.get('access-control-allow-origin'), '*');
    assert.ok(Math.abs(Date.parse(headers.get('date')) - Date.now()) < 3000);
});

test('unknown: 404 with the error schema and Retry-After', async () => {
    for (const id of ['nobody', 'a'.repeat(64), 'a'.repeat(300), '..%2f', '%00']) {
        const { status, json, headers } = await rig.statusOf(id);
        assert.equal(status, 404, id);
        assert.equal(json.error.code, 'not_found');
        assert.equal(typeof json.error.message, 'string');
        assert.match(headers.get('retry-after'), /^[2-5]$/);
    }
    assert.equal((await fetch(`${rig.status.origin}/elsewhere`)).status, 404);
});

test('suspended shows less than a second after the script, live again too, and versions rise', async (t) => {
    let session = await seedBroadcast(rig.redis, 'drops', { state: 'live' });
    await hears('drops', 'live');
    let { version } = (await rig.statusOf('drops')).json;
    let slowest = 0;
    for (let i = 0; i < 5; i += 1) {
        for (const [state, change] of [['suspended', () => rig.redis.script('session_close', 'drops', session, 'publisher_gone')], ['live', async () => { session = await goLive(rig.redis, 'drops'); }]]) {
            await change();
            const began = performance.now();
            await hears('drops', state, 1000);
            slowest = Math.max(slowest, performance.now() - began);
            const now = (await rig.statusOf('drops')).json;
            assert.ok(now.version > version, `${now.version} after ${version}`);
            version = now.version;
        }
    }
    t.diagnostic(`slowest change: ${slowest.toFixed(0)} ms`);
    assert.ok(slowest < 1000);
});

test('the return is spread too: 0 to 2 s right after it', async () => {
    await seedBroadcast(rig.redis, 'returns', { state: 'suspended' });
    await goLive(rig.redis, 'returns');
    await hears('returns', 'live');
    const answers = await Promise.all(Array.from({ length: 200 }, async () => (await rig.statusOf('returns')).json.retry_after_ms));
    assert.ok(Math.max(...answers) <= 2000 && Math.min(...answers) < 400 && Math.max(...answers) > 1600, answers.join(' '));
});

test('500 players that obey retry_after_ms: no second has more than twice the mean', async (t) => {
    await seedBroadcast(rig.redis, 'burst', { state: 'suspended' });
    await hears('burst', 'suspended');
    // Time is computed, the answers are the server's own: all 500 learn of the suspension at once and then do as they are told for a minute.
    const perSecond = new Array(60).fill(0);
    let asked = Array.from({ length: 500 }, () => 0);
    const drawn = [];
    const draw = async () => {
        if (drawn.length === 0) {
            const text = 'GET /status/v1/broadcasts/burst HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(99) + 'GET /status/v1/broadcasts/burst HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
            for (const [, ms] of (await exchange(text)).matchAll(/"retry_after_ms": *(\d+)\}/g)) drawn.push(Number(ms));
            assert.equal(drawn.length, 100);
        }
        return drawn.pop();
    };
    while (asked.length > 0) {
        const next = [];
        for (const at of asked) {
            const when = at + await draw();
            if (when < 60000) { next.push(when); perSecond[Math.floor(when / 1000)] += 1; }
        }
        asked = next;
    }
    const mean = perSecond.reduce((sum, n) => sum + n, 0) / perSecond.length;
    t.diagnostic(`polls a second: mean ${mean.toFixed(1)}, most ${Math.max(...perSecond)}`);
    assert.ok(Math.max(...perSecond) <= 2 * mean, perSecond.join(' '));
});

test('a snapshot of thousands while states change: everything is there, nothing goes back', async () => {
    const count = 1700; // several pages
    for (let i = 0; i < count; i += 1) await seedBroadcast(rig.redis, `many${i}`);
    const changing = (async () => { for (let i = 0; i < count; i += 2) await rig.redis.script('broadcast_end', `many${i}`, 'owner'); })();
    const late = await rig.addStatus();
    await changing;
    await waitFor('the last change has come', async () => (await rig.statusOf(`many${count - 2}`, late)).json.state === 'ended', 3000);
    for (let i = 0; i < count; i += 1) {
        const { json } = await rig.statusOf(`many${i}`, late);
        assert.equal(json.state, i % 2 ? 'scheduled' : 'ended', `many${i}`);
        assert.equal(String(json.version), (await rig.redis.command('HGET', keys.KEY_BROADCAST + `many${i}`, 'version')), `many${i}`);
    }
});

test('HTTP: HEAD, OPTIONS, pipelining, drips, and what is refused', async () => {
    const path = '/status/v1/broadcasts/first';
    const head = await fetch(rig.status.origin + path, { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.ok(Number(head.headers.get('content-length')) > 20);
    const options = await fetch(rig.status.origin + path, { method: 'OPTIONS' });
    assert.equal(options.status, 204);
    assert.match(options.headers.get('access-control-allow-methods'), /GET/);
    const post = await fetch(rig.status.origin + path, { method: 'POST', body: 'x' });
    assert.equal(post.status, 405);
    assert.match(post.headers.get('allow'), /GET/);
    assert.equal((await post.json()).error.code, 'method_not_allowed');

    const get = `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const piped = await exchange(get.repeat(5000) + get.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'), null, 10000);
    assert.equal(piped.match(/HTTP\/1\.1 200 OK/g).length, 5001);
    assert.equal(piped.match(/"id":"first"/g).length, 5001);

    const socket = net.connect(rig.status.port, '127.0.0.1');
    let dripped = '';
    socket.on('data', (data) => { dripped += data; });
    for (const byte of get + get) { socket.write(byte); await sleep(1); }
    await waitFor('answers to drips', () => dripped.match(/HTTP\/1\.1 200 OK/g)?.length === 2);
    socket.destroy();

    for (const [text, status] of [
        ['GET / HTTP/1.1\r\n\r\n', 400], ['NONSENSE\r\n\r\n', 400], ['GET / HTTP/2.0\r\nHost: x\r\n\r\n', 505], ['GET  / HTTP/1.1\r\nHost: x\r\n\r\n', 400],
        [`GET ${path} HTTP/1.1\nHost: x\n\n`, 400], [`GET ${path} HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n`, 400], [`GET ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello`, 400],
        [`GET ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400], [`GET ${path} HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n`, 400],
        [`GET /${'a'.repeat(3000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414], [`GET ${path} HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(9000)}\r\n\r\n`, 431],
        ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400], [`GET ${path} HTTP/1.0\r\n\r\n`, 200],
    ]) {
        const answer = await exchange(text);
        assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), `${JSON.stringify(text.slice(0, 60))}: ${answer.slice(0, 60)}`);
        assert.match(answer, /Connection: close/);
    }
});

test('half-open, slow and reading-nothing clients disturb nobody', async () => {
    const sockets = Array.from({ length: 24 }, (_, i) => {
        const socket = net.connect(rig.status.port, '127.0.0.1');
        socket.on('error', () => {});
        if (i % 3 === 1) socket.write('GET /status/v1/broad');
        if (i % 3 === 2) { socket.pause(); socket.write('GET /status/v1/broadcasts/first HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20000)); }
        return socket;
    });
    for (let i = 0; i < 50; i += 1) {
        const began = performance.now();
        assert.equal((await rig.statusOf('first')).status, 200);
        assert.ok(performance.now() - began < 500);
    }
    for (const socket of sockets) socket.destroy();
    await waitFor('they are gone', async () => /hanabi_status_connections (\d+)/.exec(await (await fetch(`${rig.status.admin}/metrics`)).text())[1] < 10, 5000);
});

test('Redis away: what is known is answered, readyz says so; back but empty: it stays known; what was missed is read', async () => {
    await seedBroadcast(rig.redis, 'stays', { state: 'live' });
    await hears('stays', 'live');
    const before = (await rig.statusOf('stays')).json;
    await rig.data.redis.stop('SIGKILL');
    await waitFor('readyz names it', async () => 'redis' in await rig.missing(rig.status), 5000);
    assert.equal((await rig.statusOf('stays')).json.state, 'live');
    assert.equal((await rig.statusOf('nobody')).status, 404);
    rig.data.redis.start();
    await waitForPort(rig.data.redisPort);
    rig.redis.close();
    rig.redis = new RedisClient(rig.data.redisPort);
    assert.equal(await rig.redis.command('DBSIZE'), 0);
    await rig.redis.script('broadcast_create', 'stays', 'suspended', 't', 'o', 'o', '', 60000, 0, 1, 'restored');
    await seedBroadcast(rig.redis, 'missed');
    await rig.ready(rig.status);
    await hears('missed', 'scheduled');
    await hears('stays', 'suspended');
    assert.ok((await rig.statusOf('stays')).json.version > before.version);
    assert.equal(await stateOf('first'), 'scheduled');
});

test('started without Redis: 503, not 404, until it knows', async () => {
    await rig.data.redis.stop('SIGKILL');
    const blind = await rig.add('burst-status', 'HANABI_STATUS_LISTEN', {});
    const answer = await rig.statusOf('stays', blind);
    assert.equal(answer.status, 503);
    assert.equal(answer.json.error.code, 'starting');
    assert.ok(answer.headers.get('retry-after'));
    rig.data.redis.start();
    await waitForPort(rig.data.redisPort);
    await rig.ready(blind);
    assert.equal((await rig.statusOf('stays', blind)).status, 404);
});

test('SIGTERM: answers what is under way and ends with status 0', async () => {
    const leaving = await rig.addStatus();
    const agent = net.connect(leaving.port, '127.0.0.1');
    await new Promise((resolve) => { agent.once('connect', resolve); });
    const began = performance.now();
    await leaving.stop();
    assert.ok(performance.now() - began < 3000, 'a client that says nothing does not hold it up');
    assert.deepEqual({ code: leaving.exits.at(-1).code, signal: leaving.exits.at(-1).signal }, { code: 0, signal: null });
    agent.destroy();
});
