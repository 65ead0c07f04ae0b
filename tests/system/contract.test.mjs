// proto/openapi.yaml and proto/asyncapi.yaml: linted, complete, and held against what the real services answer and publish.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { createConfig, lint } from '@redocly/openapi-core';
import { ApiRig, secrets, token } from '../lib/api_rig.mjs';
import { AsyncApi, OpenApi, protoDir } from '../lib/contract.mjs';
import { waitFor } from '../lib/fixture.mjs';
import { RedisClient, goLive, keys } from '../lib/redis_client.mjs';

const openapi = new OpenApi();
const asyncapi = new AsyncApi();

for (const file of ['openapi.yaml', 'asyncapi.yaml']) {
    test(`${file} passes the linter`, async () => {
        const config = await createConfig({ extends: ['recommended'], rules: { 'info-license': 'off', 'info-license-strict': 'off' } });
        const problems = await lint({ ref: path.join(protoDir, file), config });
        assert.deepEqual(problems.map((p) => `${p.severity} ${p.ruleId}: ${p.message} at ${p.location[0]?.pointer}`), []);
    });
}

test('every channel of keys.h is in asyncapi.yaml, and no other', () => {
    const named = Object.entries(keys).filter(([name]) => name.startsWith('CHANNEL_')).map(([, value]) => value);
    assert.deepEqual(asyncapi.channelPrefixes().sort(), named.sort());
});

test('the examples of messages are what their schemas say', () => {
    for (const [name, message] of asyncapi.messages())
        for (const example of message.examples ?? []) assert.equal(asyncapi.checkPayload(name, example.payload), null, name);
});

test('an undocumented member, status or path is found out', () => {
    const headers = new Headers({ 'content-type': 'application/json', 'access-control-allow-origin': '*', 'cache-control': 'no-store' });
    const good = { id: 'a', state: 'live', version: 1, retry_after_ms: 5 };
    openapi.check('GET', '/status/v1/broadcasts/a', 200, headers, good);
    assert.throws(() => openapi.check('GET', '/status/v1/broadcasts/a', 200, headers, { ...good, extra: 1 }));
    assert.throws(() => openapi.check('GET', '/status/v1/broadcasts/a', 200, headers, { ...good, state: 'dead' }));
    assert.throws(() => openapi.check('GET', '/status/v1/broadcasts/a', 418, headers, good));
    assert.throws(() => openapi.check('GET', '/status/v2/broadcasts/a', 200, headers, good));
    assert.throws(() => asyncapi.check(keys.CHANNEL_SEGMENT_QUEUED, { type: 'segment.queued' }));
});

let rig;
let settings;
let loves;
let archive;
const heard = [];

before(async () => {
    rig = await ApiRig.start({ env: { 'live-api': { HANABI_PAYMENT_SECRET: 'contract' } } });
    settings = await rig.add('settings-sync', 'HANABI_SETTINGS_LISTEN', { HANABI_MYSQL_URL: rig.data.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt });
    await rig.ready(settings);
    loves = await rig.add('love-counter', 'HANABI_LOVE_LISTEN', { HANABI_MYSQL_URL: rig.data.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt, HANABI_LOVE_BURST: '100' });
    await rig.ready(loves);
    fs.mkdirSync(path.join(rig.dir, 'store'));
    archive = await rig.add('archive', 'HANABI_ARCHIVE_LISTEN', { HANABI_MYSQL_URL: rig.data.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt, HANABI_HLS_SECRET: secrets.hls, HANABI_SEAL_SECRET: secrets.seal,
        HANABI_STORE_URL: `file://${path.join(rig.dir, 'store')}`, HANABI_ARCHIVE_SETTLE_MS: '0' });
    await rig.ready(archive);
    for (const channel of ['CHANNEL_BROADCAST', 'CHANNEL_STREAM', 'CHANNEL_SEGMENT_QUEUED', 'CHANNEL_ANNOUNCE', 'CHANNEL_SETTING'])
        await new RedisClient(rig.data.redisPort).subscribe(keys[channel], (name, message) => heard.push([name, JSON.parse(message)]));
});

/** One call, held against the document. */
async function call(method, pathname, { as, body, raw, headers } = {}) {
    const service = [[/^\/status\//, rig.status], [/^\/api\/v1\/settings/, settings], [/^\/api\/v1\/(archives|channels)/, archive], [/\/loves(\/|\?|$)/, loves]].find(([fits]) => fits.test(pathname))?.[1] ?? rig.api;
    const { origin } = service;
    const answer = await fetch(origin + pathname, { method, body: raw ?? (body === undefined ? undefined : JSON.stringify(body)), signal: AbortSignal.timeout(10000),
        headers: { ...(as ? { Authorization: `Bearer ${as}` } : {}), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers } });
    const text = await answer.text(), json = /^application\/json\b/.test(answer.headers.get('content-type')) ? JSON.parse(text) : null;
    openapi.check(method, new URL(pathname, origin).pathname, answer.status, answer.headers, json ?? text);
    return { status: answer.status, json };
}

/** An archive, from before it stands to its deletion. */
async function callArchives(as, other) {
    const { id } = (await call('POST', '/api/v1/broadcasts', { as, body: { title: 'to be archived' } })).json;
    const one = `/api/v1/archives/${id}`;
    const expected = [
        [404, 'GET', '/api/v1/archives/nobody', {}], [401, 'GET', '/api/v1/archives?owner=me', {}], [400, 'GET', '/api/v1/archives?limit=x', {}], [200, 'GET', one, {}],
        [409, 'DELETE', one, { as }], [409, 'PATCH', one, { as, body: { visibility: 'private' } }],
    ];
    for (const [want, method, pathname, options] of expected) assert.equal((await call(method, pathname, options)).status, want, `${method} ${pathname}`);
    await call('POST', `/api/v1/broadcasts/${id}/end`, { as });
    await waitFor('archived', async () => (await call('GET', one)).json.state === 'archived', 15000, 100);
    await waitFor('the list', async () => (await call('GET', '/api/v1/archives')).json.archives.length === 1, 2000);
    const then = [
        [401, 'PATCH', one, { body: { visibility: 'private' } }], [403, 'PATCH', one, { as: other, body: { visibility: 'private' } }], [400, 'PATCH', one, { as, body: {} }],
        [200, 'PATCH', one, { as, body: { visibility: 'private' } }], [404, 'GET', one, {}], [200, 'GET', one, { as }], [200, 'GET', '/api/v1/archives?owner=me', { as }],
        [200, 'GET', `/api/v1/broadcasts/${id}`, {}], [401, 'DELETE', one, {}], [403, 'DELETE', one, { as: other }], [202, 'DELETE', one, { as }], [404, 'GET', one, { as }],
    ];
    for (const [want, method, pathname, options] of then) assert.equal((await call(method, pathname, options)).status, want, `${method} ${pathname}`);
}

/** Playout channels of an archive that stands. */
async function callChannels(owner) {
    const as = owner.token, title = 'channel';
    await rig.sql(`INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms) VALUES ('stands', '${owner.user_id}', 't', 'archived', 1, 1);
        INSERT INTO segments VALUES ('stands', 0, '0-1.ts', 0, 1, 0, 2000000, 1, '', NULL); INSERT INTO archives (broadcast_id, state, until_ms) VALUES ('stands', 'archived', 1), ('making', 'making', 1);
        INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms) VALUES ('making', '${owner.user_id}', 't', 'live', 1, 1)`);
    const { id } = (await call('POST', '/api/v1/channels', { as, body: { title, items: ['stands'], start_at: '2026-11-28T21:00:00+09:00' } })).json;
    const one = `/api/v1/channels/${id}`, other = token({ sub: 'other' });
    const expected = [
        [201, 'POST', '/api/v1/channels', { as, body: { title, items: ['stands', 'stands'], loop: true } }], [400, 'POST', '/api/v1/channels', { as, body: { title } }], [401, 'POST', '/api/v1/channels', { body: { title } }],
        [404, 'POST', '/api/v1/channels', { as, body: { title, items: ['nobody'] } }], [409, 'POST', '/api/v1/channels', { as, body: { title, items: ['making'] } }], [413, 'POST', '/api/v1/channels', { as, body: { title: 'x'.repeat(70000) } }],
        [200, 'GET', '/api/v1/channels?limit=1', {}], [200, 'GET', '/api/v1/channels?owner=me', { as }], [400, 'GET', '/api/v1/channels?cursor=x', {}], [401, 'GET', '/api/v1/channels?owner=me', {}],
        [200, 'GET', one, {}], [404, 'GET', '/api/v1/channels/nobody', {}], [401, 'DELETE', one, {}], [403, 'DELETE', one, { as: other }], [200, 'DELETE', one, { as }], [404, 'DELETE', one, { as }],
    ];
    for (const [want, method, pathname, options] of expected) assert.equal((await call(method, pathname, options)).status, want, `${method} ${pathname}`);
    await rig.sql("DELETE FROM archives WHERE broadcast_id IN ('stands', 'making')");
}

/** Gifts and wallets, while `id` is on air. */
async function callGifts(id, as, operator) {
    const given = { item_id: 'sparkler', broadcast_id: id, idempotency_key: 'k1', message: 'hi' };
    const payment = { payment_id: 'p1', user_id: 'other', coins: 5 };
    const at = String(Math.floor(Date.now() / 1000));
    const signed = { 'X-Hanabi-Timestamp': at, 'X-Hanabi-Signature': `v1=${crypto.createHmac('sha256', 'contract').update(`${at}.${JSON.stringify(payment)}`).digest('hex')}` };
    const expected = [
        [200, 'GET', '/api/v1/items', {}], [200, 'GET', '/api/v1/wallet', { as }], [401, 'GET', '/api/v1/wallet', {}],
        [402, 'POST', '/api/v1/purchases', { as, body: given }], [201, 'POST', '/api/v1/wallet/topups', { as, body: { coins: 30 } }], [400, 'POST', '/api/v1/wallet/topups', { as, body: { coins: 0 } }],
        [201, 'POST', '/api/v1/purchases', { as, body: given }], [200, 'POST', '/api/v1/purchases', { as, body: given }], [409, 'POST', '/api/v1/purchases', { as, body: { ...given, message: 'x' } }],
        [404, 'POST', '/api/v1/purchases', { as, body: { ...given, idempotency_key: 'k2', item_id: 'x' } }], [400, 'POST', '/api/v1/purchases', { as, body: {} }], [401, 'POST', '/api/v1/purchases', { body: given }],
        [200, 'GET', '/api/v1/purchases', { as }], [200, 'GET', `/api/v1/purchases?broadcast_id=${id}`, { as }], [403, 'GET', `/api/v1/purchases?broadcast_id=${id}`, { as: token({ sub: 'other' }) }],
        [404, 'GET', '/api/v1/purchases?broadcast_id=nobody', { as }], [400, 'GET', '/api/v1/purchases?cursor=x', { as }],
        [200, 'GET', `/api/v1/broadcasts/${id}/supporters?limit=5`, {}], [400, 'GET', `/api/v1/broadcasts/${id}/supporters?limit=0`, {}], [404, 'GET', '/api/v1/broadcasts/nobody/supporters', {}],
        [200, 'GET', '/api/v1/wallet/ledger?limit=1', { as }], [200, 'GET', '/api/v1/ledger/audit', { as: operator }], [403, 'GET', '/api/v1/ledger/audit', { as }],
        [401, 'POST', '/api/v1/payments/webhook', { body: payment }], [201, 'POST', '/api/v1/payments/webhook', { body: payment, headers: signed }], [200, 'POST', '/api/v1/payments/webhook', { body: payment, headers: signed }],
    ];
    for (const [want, method, pathname, options] of expected) assert.equal((await call(method, pathname, options)).status, want, `${method} ${pathname}`);
}

test('every operation answers as documented, when all is well and when it is not', async () => {
    const owner = (await call('POST', '/api/v1/sessions', { body: { name: 'owner' } })).json;
    const operator = (await call('POST', '/api/v1/sessions', { body: { name: 'op', role: 'operator' } })).json;
    const as = owner.token;
    const { id } = (await call('POST', '/api/v1/broadcasts', { as, body: { title: 'contract' } })).json;
    const other = token({ sub: 'other' });
    const one = `/api/v1/broadcasts/${id}`;
    const status = `/status/v1/broadcasts/${id}`;

    await waitFor('status', async () => (await call('GET', status)).status === 200, 2000);
    for (const caller of [undefined, as, other]) await call('GET', one, { as: caller });
    await call('PATCH', one, { as, body: { title: 'contract 2' } });
    await call('POST', `${one}/stream_key`, { as });
    await new RedisClient(rig.data.redisPort).subscribe(`${keys.CHANNEL_CHAT_ALL}${id}`, (name, message) => heard.push([name, JSON.parse(message)]));
    const session = await goLive(rig.redis, id);
    await waitFor('live', async () => (await call('GET', '/api/v1/broadcasts?state=live')).json.broadcasts.length === 1, 2000);
    await call('GET', status);
    for (const query of ['', '?owner=me&limit=1', '?state=live', '?state=archived']) await call('GET', `/api/v1/broadcasts${query}`, { as });
    await callGifts(id, as, operator.token);
    await call('POST', `${one}/loves`, { as, body: { batch_id: 'b1', count: 3 } });
    await call('GET', `${one}/loves`);
    for (const caller of [undefined, as]) await call('GET', `${one}/loves/ranking?limit=5`, { as: caller });
    await rig.redis.script('session_close', id, session, 'publisher_gone');
    await waitFor('suspended', async () => (await call('GET', status)).json.state === 'suspended', 2000);
    await call('GET', one, { as });

    const following = `/api/v1/follows/${owner.user_id}`;
    for (const method of ['PUT', 'GET', 'DELETE', 'PUT']) await call(method, following, { as: other });
    await call('GET', '/api/v1/follows', { as: other });
    await call('POST', `/api/v1/broadcasts`, { as, body: { title: 'followed' } }).then(async ({ json }) => goLive(rig.redis, json.id));
    await waitFor('a notice', async () => (await call('GET', '/api/v1/notifications?since=0&wait_s=1', { as: other })).json.notifications.length === 1, 5000);
    await call('POST', '/api/v1/notifications/read', { as: other, body: { up_to: 1 } });

    const hook = (await call('POST', '/api/v1/webhooks', { as, body: { url: 'https://hooks.example/x' } })).json.id;
    await call('GET', '/api/v1/webhooks', { as });
    await call('GET', `/api/v1/webhooks/${hook}/deliveries`, { as });
    await call('DELETE', `/api/v1/webhooks/${hook}`, { as });
    await call('GET', '/api/v1/search?q=followed');
    await call('GET', `/api/v1/oembed?url=${encodeURIComponent(`${rig.api.origin}/watch/${id}`)}`);
    for (const page of ['watch', 'archive']) await call('GET', `/api/v1/previews/${page}/${id}`);

    await callChannels(owner);
    const setting = '/api/v1/settings';
    await call('PUT', `${setting}/decoration`, { as, body: { background: '#112233', frame: 'gold' } });
    await call('PUT', `${setting}/blocks/other`, { as });
    await call('PUT', `${setting}/words`, { as, body: { words: ['x'] } });
    await call('PUT', `${setting}/broadcasts/${id}/mutes/other`, { as, body: { until_ms: 0 } });
    await call('PUT', `${setting}/broadcasts/${id}/bans/other`, { as });
    await call('PUT', `${setting}/broadcasts/${id}/slow_mode`, { as, body: { seconds: 3 } });
    await call('POST', `${setting}/notices`, { as: operator.token, body: { text: 'hello' } });
    await call('GET', setting, { as });
    await call('GET', `${setting}/notices`, { as: operator.token });
    for (const path of ['decoration', 'blocks/other', 'words', `broadcasts/${id}/mutes/other`, `broadcasts/${id}/bans/other`, `broadcasts/${id}/slow_mode`])
        await call('DELETE', `${setting}/${path}`, { as });

    const flood = await Promise.all(Array.from({ length: 40 }, () => call('DELETE', `${setting}/words`, { as: token({ sub: 'flood' }) })));
    assert.ok(flood.some((answer) => answer.status === 429), 'too many changes');

    const expected = [
        [400, 'POST', '/api/v1/sessions', { body: {} }], [400, 'POST', '/api/v1/broadcasts', { as, body: { title: '' } }], [400, 'POST', '/api/v1/broadcasts', { as, raw: '{' }],
        [401, 'POST', '/api/v1/broadcasts', { body: { title: 't' } }], [413, 'POST', '/api/v1/broadcasts', { as, body: { title: 'x'.repeat(70000) } }],
        [400, 'GET', '/api/v1/broadcasts?state=x', {}], [401, 'GET', '/api/v1/broadcasts?owner=me', {}], [404, 'GET', '/api/v1/broadcasts/nobody', {}],
        [401, 'PATCH', one, { body: { title: 't' } }], [403, 'PATCH', one, { as: other, body: { title: 't' } }], [404, 'PATCH', '/api/v1/broadcasts/nobody', { as, body: { title: 't' } }],
        [401, 'POST', `${one}/end`, {}], [403, 'POST', `${one}/end`, { as: other }], [404, 'POST', '/api/v1/broadcasts/nobody/end', { as }],
        [401, 'POST', `${one}/stream_key`, {}], [403, 'POST', `${one}/stream_key`, { as: other }], [404, 'POST', '/api/v1/broadcasts/nobody/stream_key', { as }],
        [200, 'POST', `${one}/end`, { as }], [409, 'POST', `${one}/stream_key`, { as }], [200, 'GET', one, { as }],
        [400, 'PUT', following, { as }], [401, 'PUT', following, {}], [404, 'PUT', '/api/v1/follows/nobody', { as }], [404, 'DELETE', '/api/v1/follows/nobody', { as }],
        [404, 'GET', '/api/v1/follows/nobody', {}], [401, 'DELETE', following, {}], [401, 'GET', '/api/v1/follows', {}], [400, 'GET', '/api/v1/follows?limit=0', { as }],
        [400, 'POST', '/api/v1/webhooks', { as, body: {} }], [401, 'GET', '/api/v1/webhooks', {}], [403, 'POST', '/api/v1/webhooks', { as, body: { url: 'https://hooks.example/', scope: 'all' } }],
        [404, 'DELETE', '/api/v1/webhooks/nobody', { as }], [404, 'GET', '/api/v1/webhooks/nobody/deliveries', { as }],
        [400, 'GET', '/api/v1/search', {}], [400, 'GET', '/api/v1/oembed', {}], [404, 'GET', '/api/v1/oembed?url=x', {}], [501, 'GET', '/api/v1/oembed?format=xml', {}],
        [404, 'GET', '/api/v1/previews/watch/nobody', {}], [404, 'GET', `/api/v1/previews/cms/${id}`, {}],
        [400, 'GET', '/api/v1/notifications?since=x', { as }], [401, 'GET', '/api/v1/notifications', {}], [400, 'POST', '/api/v1/notifications/read', { as, body: {} }],
        [404, 'GET', '/status/v1/broadcasts/nobody', {}], [401, 'GET', setting, {}], [403, 'GET', `${setting}/notices`, { as }], [403, 'PUT', `${setting}/broadcasts/${id}/bans/x`, { as: other }],
        [409, 'POST', `${one}/loves`, { as, body: { batch_id: 'b2', count: 1 } }], [400, 'POST', `${one}/loves`, { as, body: { batch_id: 'b2', count: 0 } }],
        [401, 'POST', `${one}/loves`, { body: { batch_id: 'b2', count: 1 } }], [404, 'POST', '/api/v1/broadcasts/nobody/loves', { as, body: { batch_id: 'b2', count: 1 } }],
        [404, 'GET', '/api/v1/broadcasts/nobody/loves', {}], [400, 'GET', `${one}/loves/ranking?limit=0`, {}],
        [400, 'PUT', `${setting}/decoration`, { as, body: { background: 'red', frame: 'gold' } }],
    ];
    for (const [want, method, pathname, options] of expected) assert.equal((await call(method, pathname, options)).status, want, `${method} ${pathname}`);
    await callArchives(as, other);
    const missing = openapi.operations().map((o) => o.operation.operationId).filter((name) => !openapi.seen.has(name));
    assert.deepEqual(missing, [], 'every documented operation has been called with success');
});

test('what was published meanwhile is what asyncapi.yaml says', async () => {
    const lease = await rig.redis.command('HSET', `${keys.KEY_LEASE_TRANSCODER}contract`, 'token', '1');
    assert.equal(lease, 1);
    await rig.redis.script('segment_push', 'contract', '1', '{}', '{}', '0');
    // What goes to the chat is a list of events.
    const types = () => new Set(heard.flatMap(([, message]) => message).map((message) => message.type));
    const expected = ['state', 'stream.opened', 'stream.closed', 'segment.queued', 'broadcast.live', 'setting', 'love', 'gift'];
    await waitFor('all kinds', () => expected.every((type) => types().has(type)), 5000);
    for (const [channel, message] of heard) asyncapi.check(channel, message);
    assert.throws(() => asyncapi.check(`${keys.CHANNEL_CHAT_ALL}contract`, [{ type: 'love', at_ms: 1 }]), 'a total is part of it');
});

test('without MariaDB: the 503s are documented too', async () => {
    const as = token({ sub: 'owner' });
    await rig.data.mariadb.stop('SIGKILL');
    assert.equal((await call('POST', '/api/v1/broadcasts', { as, body: { title: 't' } })).status, 503);
    assert.equal((await call('GET', '/api/v1/broadcasts?state=ended')).status, 503);
    assert.equal((await call('GET', '/api/v1/broadcasts/nobody')).status, 503);
    for (const [method, path] of [['GET', ''], ['GET', '/x'], ['DELETE', '/x']]) assert.equal((await call(method, `/api/v1/channels${path}`, { as })).status, 503);
    assert.equal((await call('PUT', '/api/v1/settings/blocks/x', { as })).status, 503);
    assert.equal((await call('GET', '/api/v1/archives')).status, 503);
});
