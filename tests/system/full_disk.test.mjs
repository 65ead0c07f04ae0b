// The disk under Redis, or under MariaDB, is full: whoever sends is told so, what was acknowledged stays, and with room again it goes on by itself. With `appendfsync always`
// (what we ship) Redis ends itself and is started again and again; with `everysec` it refuses to write (MISCONF). The disks are small tmpfs, which takes root.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { Viewer, secret, token } from '../lib/chat.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { atEnd, checkLogs, removeFolder, sleep, waitFor } from '../lib/fixture.mjs';
import { RedisClient, keys, seedBroadcast } from '../lib/redis_client.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-disk-'));
/** A disk of its own under a folder of `dir`; what is wrong, or null. */
function mount(name, size) {
    fs.mkdirSync(path.join(dir, name));
    const { status, stderr, error } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path.join(dir, name)], { encoding: 'utf8' });
    return status === 0 ? null : `nothing can be mounted here: ${stderr ?? error}`;
}
const skip = mount('redis', '8m') ?? mount('mysql', '256m') ?? false;
const filler = (disk) => path.join(dir, disk, 'filler');
const as = token('ann');
let data, origin, admin, chatPort, speaker;
const said = []; // ids of acknowledged comments
const sent = new Map(); // batch -> taps, of all that were ever sent

before(async () => {
    if (skip) { removeFolder(dir); return; }
    atEnd(() => { for (const disk of ['redis', 'mysql']) spawnSync('umount', ['-l', path.join(dir, disk)]); removeFolder(dir); });
    data = await DataServers.start(dir);
    const [port, adminPort] = [await freePort(), await freePort()];
    const counter = new Supervised({ name: 'love-counter', command: binary('love-counter'), logFile: path.join(dir, 'love-counter.log'), env: { PATH: process.env.PATH, ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1',
        HANABI_LOVE_LISTEN: `127.0.0.1:${port}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_JWT_SECRET: secret,
        HANABI_LOVE_RATE_PER_S: '100000', HANABI_LOVE_BURST: '10000000', HANABI_LOVE_BATCHES_PER_S: '100000', HANABI_LOVE_BATCHES_BURST: '10000000' } });
    counter.start();
    atEnd(async () => { await counter.stop(); await data.stop(); checkLogs([counter.options.logFile]); });
    [origin, admin] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${adminPort}`];
    await waitFor('ready', async () => (await fetch(`${admin}/readyz`)).ok, 15000);
    const client = new RedisClient(data.redisPort);
    await seedBroadcast(client, 'full', { state: 'live' });
    client.close();

    const chatAdmin = await freePort();
    chatPort = await freePort();
    const chat = new Supervised({ name: 'chat', command: binary('chat'), logFile: path.join(dir, 'chat.log'), env: { PATH: process.env.PATH, ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1',
        HANABI_CHAT_LISTEN: `127.0.0.1:${chatPort}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${chatAdmin}`, HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_JWT_SECRET: secret,
        HANABI_CHAT_RATE_BURST: '1000', HANABI_CHAT_RATE_PER_10S: '1000' } });
    chat.start();
    atEnd(async () => { await chat.stop(); checkLogs([chat.options.logFile]); });
    await waitFor('chat', async () => (await fetch(`http://127.0.0.1:${chatAdmin}/readyz`)).ok, 15000);
    speaker = await new Viewer(chatPort, 'full', { as: 'bob' }).ready();
    atEnd(() => speaker.socket.terminate());
});

/** A comment; its acknowledgement is remembered. */
async function say(text) {
    const answer = await speaker.say(text);
    if (answer.type === 'ack') said.push(answer.id);
    return answer;
}

async function tap(batch) {
    sent.set(batch, 3);
    const answer = await fetch(`${origin}/api/v1/broadcasts/full/loves`, { method: 'POST', signal: AbortSignal.timeout(8000), headers: { Authorization: `Bearer ${as}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ batch_id: batch, count: 3 }) });
    return { status: answer.status, json: await answer.json(), retryAfter: answer.headers.get('retry-after') };
}

function fill(disk) {
    const fd = fs.openSync(filler(disk), 'w');
    try { for (;;) fs.writeSync(fd, Buffer.alloc(4096)); } catch (error) { assert.equal(error.code, 'ENOSPC'); } finally { fs.closeSync(fd); }
}

/** Taps until it is refused, and some more; then room again. What was refused is sent again under the same name, as clients do. */
async function fullDisk(prefix, t) {
    const refused = [];
    let acknowledged = 0, taps = 0;
    fill('redis');
    while (refused.length < 20 && taps < 5000) {
        const batch = `${prefix}${taps += 1}`;
        const answer = await tap(batch);
        if (answer.status === 200) { acknowledged += 1; continue; }
        assert.deepEqual([answer.status, answer.json.error.code, Number(answer.retryAfter) >= 1], [503, 'unavailable', true], JSON.stringify(answer));
        refused.push(batch);
        await sleep(50);
    }
    assert.ok(refused.length === 20, 'a full disk is told');
    const unsaid = await say(`${prefix}: into the full disk`);
    assert.deepEqual([unsaid.type, unsaid.code], ['error', 'unavailable'], JSON.stringify(unsaid));
    fs.rmSync(filler('redis'));
    const began = Date.now();
    await waitFor('it takes taps again', async () => (await tap(refused[0])).status === 200, 20000, 50);
    t.diagnostic(`${acknowledged} acknowledged beside the full disk, then 503; back ${Date.now() - began} ms after there was room`);
    for (const batch of refused) assert.equal((await tap(batch)).status, 200);
    const total = [...sent.values()].reduce((all, count) => all + count, 0);
    assert.equal((await (await fetch(`${origin}/api/v1/broadcasts/full/loves`)).json()).total, total, 'each tap once: those that were acknowledged, and those that were sent again');
    await waitFor('a comment', async () => (await say(`${prefix}: there is room`)).type === 'ack', 10000, 200);
    const client = new RedisClient(data.redisPort);
    const log = JSON.stringify(await client.command('XRANGE', `${keys.KEY_CHAT_LOG}full`, '-', '+'));
    client.close();
    for (const id of said) assert.ok(log.includes(id), `${id} was acknowledged`);
    await waitFor('ready', async () => (await fetch(`${admin}/readyz`)).ok, 5000);
    await waitFor('MySQL has them', async () => Number(await data.sql("SELECT COALESCE(MAX(total), 0) FROM loves WHERE broadcast_id = 'full'")) === total, 20000, 200);
}

test('the disk of a Redis that waits for it (appendfsync always) is full', { skip, timeout: 90000 }, async (t) => {
    for (let i = 0; i < 10; i += 1) {
        assert.equal((await tap(`before${i}`)).status, 200);
        assert.equal((await say(`before ${i}`)).type, 'ack');
    }
    await fullDisk('always', t);
    assert.ok(data.redis.exits.length > 0, 'Redis has ended itself meanwhile');
});

test('the disk of a Redis that does not wait for it (everysec) is full', { skip, timeout: 90000 }, async (t) => {
    const client = new RedisClient(data.redisPort);
    assert.equal(await client.command('CONFIG', 'SET', 'appendfsync', 'everysec'), 'OK');
    const ends = data.redis.exits.length;
    await fullDisk('everysec', t);
    assert.equal(data.redis.exits.length, ends, 'Redis has refused and not ended');
    client.close();
});

test('the disk of MariaDB is full: a setting is saved or refused with 503, and what was saved stands', { skip, timeout: 90000 }, async (t) => {
    const port = await freePort(), adminPort = await freePort();
    const settings = new Supervised({ name: 'settings-sync', command: binary('settings-sync'), logFile: path.join(dir, 'settings-sync.log'), env: { PATH: process.env.PATH, ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1',
        HANABI_SETTINGS_LISTEN: `127.0.0.1:${port}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_JWT_SECRET: secret,
        HANABI_SETTINGS_RATE_BURST: '1000000' } });
    settings.start();
    t.after(async () => { await settings.stop(); checkLogs([settings.options.logFile]); });
    await waitFor('ready', async () => (await fetch(`http://127.0.0.1:${adminPort}/readyz`)).ok, 15000);
    // A value of some length, so that the table has to grow.
    const words = { words: Array.from({ length: 50 }, (_, i) => `${i}${'花'.repeat(15)}`) };
    const put = async (user) => {
        const answer = await fetch(`http://127.0.0.1:${port}/api/v1/settings/words`, { method: 'PUT', signal: AbortSignal.timeout(10000), headers: { Authorization: `Bearer ${token(user)}` }, body: JSON.stringify(words) });
        return { status: answer.status, json: await answer.json(), retryAfter: answer.headers.get('retry-after') };
    };
    assert.equal((await put('before')).status, 200);
    fill('mysql');
    const saved = ['before'], refused = [];
    for (let i = 0; i < 5000 && refused.length < 10; i += 1) {
        const answer = await put(`user${i}`);
        if (answer.status === 200) { saved.push(`user${i}`); continue; }
        assert.deepEqual([answer.status, answer.json.error.code, Number(answer.retryAfter) >= 1], [503, 'database_unavailable', true], JSON.stringify(answer));
        refused.push(`user${i}`);
    }
    assert.equal(refused.length, 10, 'a full disk is told');
    fs.rmSync(filler('mysql'));
    const began = Date.now();
    await waitFor('it saves again', async () => (await put(refused[0])).status === 200, 20000, 50);
    t.diagnostic(`${saved.length - 1} saved beside the full disk, then 503; back ${Date.now() - began} ms after there was room`);
    assert.equal(data.mariadb.exits.length, 0);
    const rows = await data.rows("SELECT subject, version FROM settings WHERE kind = 'words' ORDER BY version");
    assert.deepEqual(rows.map(([subject]) => subject), [...saved, refused[0]], 'those that were saved, and no other');
    assert.equal(new Set(rows.map(([, version]) => version)).size, rows.length);
});
