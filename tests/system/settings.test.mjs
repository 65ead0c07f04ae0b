// settings-sync alone, with real Redis and MariaDB: rows, versions, messages, and what it does when one of the two is away.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { before, test } from 'node:test';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { mariadbServer, migrate, redisServer } from '../../deploy/stack/servers.mjs';
import { repo } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { atEnd, run, waitFor } from '../lib/fixture.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-settings-'));
const bin = path.join(process.env.HANABI_BIN_DIR ?? path.join(repo, 'build/bin'), 'settings-sync');
const secret = 'test-secret';
let origin;
let redis;
let mariadb;
let service;
let redisPort;
let mysqlPort;
const messages = [];

const base64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
function token(sub, role = 'viewer', exp = Math.floor(Date.now() / 1000) + 3600) {
    const text = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ sub, name: sub, role, exp })}`;
    return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}

async function call(method, pathname, { as, body } = {}) {
    const answer = await fetch(`${origin}/api/v1/settings${pathname}`, { method, signal: AbortSignal.timeout(10000),
        headers: as ? { Authorization: `Bearer ${as}` } : {}, body: body === undefined ? undefined : JSON.stringify(body) });
    return { status: answer.status, json: await answer.json(), retryAfter: answer.headers.get('retry-after') };
}

const sql = async (text) => (await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(mysqlPort), '-u', 'hanabi', 'hanabi', '-BNe', text],
    { env: { ...process.env, MYSQL_PWD: 'pw' } })).stdout.trim();

before(async () => {
    redisPort = await freePort();
    mysqlPort = await freePort();
    const port = await freePort();
    redis = redisServer({ name: 'redis', port: redisPort, dir: path.join(dir, 'redis'), logFile: path.join(dir, 'redis.log'), durable: true });
    mariadb = await mariadbServer({ name: 'mariadb', port: mysqlPort, dir: path.join(dir, 'mysql'), logFile: path.join(dir, 'mariadb.log'), user: 'hanabi', password: 'pw', database: 'hanabi' });
    redis.start();
    mariadb.start();
    await Promise.all([waitForPort(redisPort), waitForPort(mysqlPort, 60000)]);
    const mysqlUrl = `mysql://hanabi:pw@127.0.0.1:${mysqlPort}/hanabi`;
    await migrate(mysqlUrl);
    await sql("INSERT INTO users (id, name, created_at_ms) VALUES ('owner', 'o', 1); INSERT INTO broadcasts (id, owner_id, title, version, created_at_ms) VALUES ('b1', 'owner', 't', 1, 1)");
    service = new Supervised({ name: 'settings-sync', command: bin, logFile: path.join(dir, 'service.log'), restart: false, env: { ...process.env,
        HANABI_SETTINGS_LISTEN: `127.0.0.1:${port}`, HANABI_REDIS_URL: `redis://127.0.0.1:${redisPort}`, HANABI_MYSQL_URL: mysqlUrl, HANABI_JWT_SECRET: secret } });
    service.start();
    origin = `http://127.0.0.1:${port}`;
    await waitForPort(port);
    const listener = spawn('redis-cli', ['-p', String(redisPort), 'SUBSCRIBE', 'hanabi:setting']);
    listener.stdout.on('data', (data) => { for (const line of String(data).split('\n')) if (line.startsWith('{')) messages.push(JSON.parse(line)); });
    atEnd(async () => {
        listener.kill();
        await service.stop();
        const log = fs.readFileSync(path.join(dir, 'service.log'), 'utf8');
        await Promise.all([redis.stop(), mariadb.stop()]);
        if (!process.env.HANABI_KEEP_RUN) fs.rmSync(dir, { recursive: true, force: true });
        assert.doesNotMatch(log, /Sanitizer|runtime error/, log.slice(-6000));
        assert.match(log, /"event":"service.stopped"/, log.slice(-3000));
    });
    await waitFor('the service is ready', async () => (await call('PUT', '/blocks/warmup', { as: token('warmup') })).status === 200, 10000);
    await waitFor('the listener hears', async () => { await call('PUT', '/blocks/warmup', { as: token('warmup') }); return messages.length > 0; }, 10000, 100);
});

test('a decoration: row, next version, message', async () => {
    const value = { background: '#112233', frame: 'sakura' };
    const first = await call('PUT', '/decoration', { as: token('alice'), body: value });
    assert.equal(first.status, 200);
    const message = await waitFor('the message', () => messages.find((one) => one.version === first.json.version));
    assert.deepEqual({ kind: message.kind, subject: message.subject, object: message.object, value: message.value }, { kind: 'decoration', subject: 'alice', object: '', value });
    const second = await call('DELETE', '/decoration', { as: token('alice') });
    assert.equal(second.json.version, first.json.version + 1);
    assert.equal((await waitFor('the message', () => messages.find((one) => one.version === second.json.version))).value, null);
    assert.equal(await sql("SELECT value IS NULL, version FROM settings WHERE kind = 'decoration' AND subject = 'alice'"), `1\t${second.json.version}`);
});

test('who may do what', async () => {
    assert.equal((await call('PUT', '/decoration', { body: {} })).status, 401);
    assert.equal((await call('PUT', '/decoration', { as: `${token('alice')}x`, body: {} })).json.error.code, 'token_invalid');
    assert.equal((await call('PUT', '/decoration', { as: token('alice', 'viewer', 5), body: {} })).json.error.code, 'token_expired');
    assert.equal((await call('PUT', '/decoration', { as: token('alice'), body: { background: 'red', frame: 'gold' } })).json.error.code, 'invalid_value');
    assert.equal((await call('PUT', '/broadcasts/b1/bans/bob', { as: token('alice') })).status, 403);
    assert.equal((await call('PUT', '/broadcasts/b1/bans/bob', { as: token('owner') })).status, 200);
    assert.equal((await call('PUT', '/broadcasts/b2/bans/bob', { as: token('owner') })).status, 404);
    assert.equal((await call('PUT', '/broadcasts/b1/slow_mode', { as: token('op', 'operator'), body: { seconds: 5 } })).status, 200);
    assert.equal((await call('POST', '/notices', { as: token('alice'), body: { text: 'x' } })).status, 403);
    assert.equal((await call('GET', '/notices', { as: token('alice') })).status, 403);
});

test('a notice stands in the operation log', async () => {
    const text = '花火大会 <b>starts</b>';
    const made = await call('POST', '/notices', { as: token('op', 'operator'), body: { text } });
    assert.equal(made.status, 201);
    const log = await call('GET', '/notices', { as: token('op', 'operator') });
    assert.equal(log.json.notices[0].value.text, text);
    assert.equal(log.json.notices[0].by, 'op');
    assert.ok(await waitFor('the message', () => messages.find((one) => one.version === made.json.version && one.value.text === text)));
});

test('nobody fills the memory of all chat processes: a value has what its kind has and nothing else, and of a kind there is a number that is enough', async () => {
    const more = 'x'.repeat(60000);
    for (const [path, body] of [['/broadcasts/b1/mutes/bob', { until_ms: 0, more }], ['/broadcasts/b1/slow_mode', { seconds: 5, more }], ['/words', { words: ['x'], more }]])
        assert.deepEqual([path, (await call('PUT', path, { as: token('owner'), body })).status], [path, 400]);
    await sql(`INSERT INTO settings (kind, subject, object, value, version, updated_by, updated_at_ms) SELECT 'block', 'hater', CONCAT('u', seq), IF(seq MOD 2, '{}', NULL), 1000000 + seq, 'hater', 1 FROM seq_1_to_9999`);
    const put = async (object, method = 'PUT') => { const { status, json } = await call(method, `/blocks/${object}`, { as: token('hater') }); return [status, json.error?.code]; };
    assert.deepEqual(await put('last'), [200, undefined]);
    assert.deepEqual([await put('one-more'), await put('unheard-of', 'DELETE')], [[409, 'too_many_settings'], [409, 'too_many_settings']]);
    assert.deepEqual([await put('u2'), await put('u1', 'DELETE')], [[200, undefined], [200, undefined]]);
    assert.equal((await call('PUT', '/blocks/hater', { as: token('somebody') })).status, 200);
});

test('a hundred changes at once: versions without gap, messages for all', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => call('PUT', `/blocks/user${i % 7}`, { as: token(`caster${i % 5}`) })));
    const versions = answers.map((answer) => answer.json.version).sort((a, b) => a - b);
    assert.deepEqual(versions, Array.from({ length: 100 }, (_, i) => versions[0] + i));
    await waitFor('all messages', () => versions.every((version) => messages.some((one) => one.version === version)));
});

test('MariaDB away: 503, and afterwards it goes on; Redis away: the row stands', { timeout: 90000 }, async () => {
    await mariadb.stop('SIGKILL');
    const refused = await call('PUT', '/blocks/x', { as: token('alice') });
    assert.equal(refused.status, 503);
    assert.equal(refused.retryAfter, '2');
    mariadb.start();
    await waitFor('saved again', async () => (await call('PUT', '/blocks/x', { as: token('alice') })).status === 200, 30000, 200);
    await redis.stop('SIGKILL');
    const saved = await waitFor('saved without Redis', async () => { const answer = await call('PUT', '/blocks/y', { as: token('alice') }); return answer.status === 200 && answer; }, 10000);
    assert.equal(await sql("SELECT version FROM settings WHERE kind = 'block' AND subject = 'alice' AND object = 'y'"), String(saved.json.version));
});
