// settings-sync alone, with real Redis and MariaDB: rows, versions, messages, and what it does when one of the two is away.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { atEnd, checkLogs, removeFolder, waitFor } from '../lib/fixture.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';
import { signToken } from '../lib/token.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-settings-'));
const secret = 'test-secret';
let origin;
let admin;
let data;
let service;
const messages = [];

const token = (sub, claims = {}) => signToken({ sub, ...claims }, secret);
const sql = (text) => data.sql(text);

async function call(method, pathname, { as, body } = {}) {
    const answer = await fetch(`${origin}/api/v1/settings${pathname}`, { method, signal: AbortSignal.timeout(10000),
        headers: as ? { Authorization: `Bearer ${as}` } : {}, body: body === undefined ? undefined : JSON.stringify(body) });
    return { status: answer.status, json: await answer.json(), retryAfter: answer.headers.get('retry-after') };
}

before(async () => {
    const port = await freePort(), adminPort = await freePort();
    data = await DataServers.start(dir);
    await sql("INSERT INTO users (id, name, created_at_ms) VALUES ('owner', 'o', 1); INSERT INTO broadcasts (id, owner_id, title, version, created_at_ms) VALUES ('b1', 'owner', 't', 1, 1)");
    service = new Supervised({ name: 'settings-sync', command: binary('settings-sync'), logFile: path.join(dir, 'service.log'), restart: false, env: { ...process.env,
        HANABI_SETTINGS_LISTEN: `127.0.0.1:${port}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_JWT_SECRET: secret } });
    service.start();
    origin = `http://127.0.0.1:${port}`;
    admin = `http://127.0.0.1:${adminPort}`;
    await waitForPort(port);
    const listener = new RedisClient(data.redisPort);
    await listener.subscribe(keys.CHANNEL_SETTING, (channel, message) => messages.push(JSON.parse(message)));
    atEnd(async () => {
        listener.close();
        await service.stop();
        const log = path.join(dir, 'service.log');
        await data.stop();
        checkLogs([log]);
        assert.match(fs.readFileSync(log, 'utf8'), /"event":"service.stopped"/);
        removeFolder(dir);
    });
    await waitFor('the service is ready', async () => (await call('PUT', '/blocks/warmup', { as: token('warmup') })).status === 200, 10000);
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
    assert.equal((await call('PUT', '/decoration', { as: token('alice', { exp: 5 }), body: {} })).json.error.code, 'token_expired');
    for (const odd of ['', 'a:b', '../a', 'x'.repeat(65)]) assert.equal((await call('DELETE', '/decoration', { as: token(odd, { name: 'n' }) })).json.error.code, 'token_invalid', odd);
    assert.equal((await call('PUT', '/decoration', { as: token('alice'), body: { background: 'red', frame: 'gold' } })).json.error.code, 'invalid_value');
    assert.equal((await call('PUT', '/broadcasts/b1/bans/bob', { as: token('alice') })).status, 403);
    assert.equal((await call('PUT', '/broadcasts/b1/bans/bob', { as: token('owner') })).status, 200);
    assert.equal((await call('PUT', '/broadcasts/b2/bans/bob', { as: token('owner') })).status, 404);
    assert.equal((await call('PUT', '/broadcasts/b1/slow_mode', { as: token('op', { role: 'operator' }), body: { seconds: 5 } })).status, 200);
    assert.equal((await call('POST', '/notices', { as: token('alice'), body: { text: 'x' } })).status, 403);
    assert.equal((await call('GET', '/notices', { as: token('alice') })).status, 403);
});

test('a notice stands in the operation log', async () => {
    const text = '花火大会 <b>starts</b>';
    const made = await call('POST', '/notices', { as: token('op', { role: 'operator' }), body: { text } });
    assert.equal(made.status, 201);
    const log = await call('GET', '/notices', { as: token('op', { role: 'operator' }) });
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

test('whoever makes too many changes is told when the next may come; nobody else is held back', async () => {
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => call('PUT', `/blocks/user${i}`, { as: token('flood') })));
    const refused = answers.filter((answer) => answer.status === 429), saved = answers.filter((answer) => answer.status === 200);
    assert.ok(saved.length >= 30 && saved.length <= 40 && saved.length + refused.length === 60, answers.map((answer) => answer.status).join());
    for (const answer of refused) assert.deepEqual([answer.json.error.code, Number(answer.retryAfter) >= 1], ['rate_limited', true]);
    assert.equal(await sql("SELECT COUNT(*) FROM settings WHERE subject = 'flood'"), String(saved.length), 'what was refused changed nothing');
    assert.equal((await call('PUT', '/blocks/x', { as: token('calm') })).status, 200);
    assert.equal((await call('GET', '', { as: token('flood') })).status, 200, 'reading has no rate');
    const page = await (await fetch(`${admin}/metrics`)).text();
    assert.match(page, new RegExp(`^hanabi_settings_rate_limited_total ${refused.length}$`, 'm'));
    assert.match(page, /^hanabi_settings_rates_forgotten 0$/m);
    await waitFor('its next', async () => (await call('PUT', '/blocks/next', { as: token('flood') })).status === 200, 5000, 300);
});

test('MariaDB away: 503, and afterwards it goes on; Redis away: the row stands', { timeout: 90000 }, async () => {
    await data.mariadb.stop('SIGKILL');
    const refused = await call('PUT', '/blocks/x', { as: token('alice') });
    assert.equal(refused.status, 503);
    assert.equal(refused.retryAfter, '2');
    data.mariadb.start();
    let asker = 0; // somebody else each time: whoever keeps trying uses up a rate
    await waitFor('saved again', async () => (await call('PUT', '/blocks/x', { as: token(`asker${asker += 1}`) })).status === 200, 30000, 200);
    await data.redis.stop('SIGKILL');
    const saved = await waitFor('saved without Redis', async () => { const answer = await call('PUT', '/blocks/y', { as: token('alice') }); return answer.status === 200 && answer; }, 10000, 500);
    assert.equal(await sql("SELECT version FROM settings WHERE kind = 'block' AND subject = 'alice' AND object = 'y'"), String(saved.json.version));
});
