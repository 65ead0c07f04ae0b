// live-api with a real Redis and MariaDB: the endpoints, who may do what, paging, and what it does when one of the two is away.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { before, test } from 'node:test';
import { waitForPort } from '../../deploy/stack/ports.mjs';
import { ApiRig, secrets, token } from '../lib/api_rig.mjs';
import { waitFor } from '../lib/fixture.mjs';
import { RedisClient, goLive, keys } from '../lib/redis_client.mjs';

let rig;
let owner;
let other;
let operator;
const announcements = [];

before(async () => {
    rig = await ApiRig.start();
    [owner, other, operator] = [await rig.session('花子'), await rig.session('other'), await rig.session('op', 'operator')];
    const listener = new RedisClient(rig.data.redisPort);
    await listener.subscribe(keys.CHANNEL_ANNOUNCE, (_, message) => announcements.push(JSON.parse(message)));
});

const call = (...args) => rig.call(...args);
const create = async (title = 'a title', as = owner.token) => {
    const made = await call('POST', '/broadcasts', { as, body: { title } });
    assert.equal(made.status, 201, JSON.stringify(made.json));
    return made.json;
};
const get = async (id, as) => (await call('GET', `/broadcasts/${id}`, { as })).json;
const row = async (id) => (await rig.sql(`SELECT state, version, announced_at_ms IS NOT NULL, stream_key_hash IS NULL, title FROM broadcasts WHERE id = '${id}'`))[0];
const refused = async (answer, status, code) => {
    const { status: got, json } = await answer;
    assert.equal(got, status, JSON.stringify(json));
    if (code) assert.equal(json.error.code, code);
    assert.equal(typeof json.error.message, 'string');
};

test('a session: a token that every service can check', async () => {
    const made = await call('POST', '/sessions', { body: { name: 'someone', role: 'operator' } });
    assert.equal(made.status, 201);
    const [head, claims, signature] = made.json.token.split('.');
    assert.equal(signature, crypto.createHmac('sha256', secrets.jwt).update(`${head}.${claims}`).digest('base64url'));
    const read = JSON.parse(Buffer.from(claims, 'base64url'));
    assert.deepEqual([read.sub, read.name, read.role], [made.json.user_id, 'someone', 'operator']);
    assert.ok(read.exp > Date.now() / 1000);
    for (const body of [{}, { name: '' }, { name: '   ' }, { name: 5 }, { name: 'x'.repeat(101) }, { name: 'a\nb' }, { name: 'x', role: 'king' }])
        await refused(call('POST', '/sessions', { body }), 400);
    for (const raw of ['{"name":', '[]', '"x"', '', '{"name":"\xff"}']) await refused(call('POST', '/sessions', { raw: Buffer.from(raw, 'latin1') }), 400);
    await refused(call('POST', '/sessions', { body: { name: 'x'.repeat(100000) } }), 413);
    const strict = await rig.addApi({ HANABI_LOCAL_MODE: 'false' });
    await refused(call('POST', '/sessions', { body: { name: 'x' }, api: strict }), 403);
});

test('a broadcast: made, shown, its key only to its owner, hashed and sealed at rest', async () => {
    const made = await create('初回 🎆');
    assert.equal(made.state, 'scheduled');
    assert.equal(made.rtmp_url, 'rtmp://push.example/live');
    assert.match(made.stream_key, /^[0-9a-zA-Z_-]{20,}$/);
    assert.equal(made.chat_url, `/chat/v1/broadcasts/${made.id}`);
    assert.equal(made.status_url, `/status/v1/broadcasts/${made.id}`);
    assert.equal((await get(made.id, owner.token)).stream_key, made.stream_key);
    for (const as of [undefined, other.token, operator.token]) assert.equal((await get(made.id, as)).stream_key, undefined);
    assert.equal((await get(made.id)).title, '初回 🎆');
    assert.deepEqual((await get(made.id)).owner, { id: owner.user_id, name: '花子' });

    const hash = crypto.createHash('sha256').update(made.stream_key).digest('hex');
    assert.equal(await rig.redis.command('GET', keys.KEY_STREAM_KEY + hash), made.id);
    const dump = (await rig.sql(`SELECT *, HEX(stream_key_sealed) FROM broadcasts WHERE id = '${made.id}'`))[0].join(' ') + JSON.stringify(await rig.redis.hash(keys.KEY_BROADCAST + made.id));
    assert.ok(dump.includes(hash) && !dump.includes(made.stream_key) && !dump.includes(Buffer.from(made.stream_key).toString('hex').toUpperCase()));
    await waitFor('burst-status knows it', async () => (await rig.statusOf(made.id)).json.state === 'scheduled', 1000);
});

test('the playback URL is what the edge checks, and the same for everybody', async () => {
    const { id } = await create();
    const { playback_url: url, thumbnail_url: thumbnail } = await get(id);
    assert.equal((await get(id, other.token)).playback_url, url);
    const [, expires, signature, rest] = url.match(/^\/hls\/(\d+)\/([\w-]+)\/(.*)$/);
    assert.equal(rest, `live/${id}/master.m3u8`);
    assert.equal(signature, crypto.createHash('md5').update(`${expires}live/${id}${secrets.hls}`).digest('base64url'));
    const left = Number(expires) - Date.now() / 1000;
    assert.ok(left >= 6 * 3600 && left <= 12 * 3600, String(left));
    assert.equal(thumbnail, url.replace('master.m3u8', 'thumbnail.jpg'));
});

test('what is refused: no token, bad tokens, bad titles, unknown ids, other methods', async () => {
    const { id } = await create();
    const expired = token({ sub: 'u', exp: Math.floor(Date.now() / 1000) - 1 });
    const forged = token({ sub: 'u' }, { secret: 'another secret altogether' });
    const none = `${token({ sub: 'u' }, { header: { alg: 'none' } }).split('.').slice(0, 2).join('.')}.`;
    for (const as of [undefined, 'nonsense', expired, forged, none, token({ sub: 'u', exp: undefined })]) {
        for (const path of ['/broadcasts', `/broadcasts/${id}/end`, `/broadcasts/${id}/stream_key`]) await refused(call('POST', path, { as, body: { title: 't' } }), 401);
    }
    const long = '字'.repeat(200);
    assert.equal((await create(long)).title, long);
    for (const title of ['', ' ', `${long}x`, 7, null, undefined, 'a\u0007b']) await refused(call('POST', '/broadcasts', { as: owner.token, body: { title } }), 400);
    for (const unknown of ['nobody', 'x'.repeat(65), 'a.b']) {
        await refused(call('GET', `/broadcasts/${unknown}`), 404);
        await refused(call('POST', `/broadcasts/${unknown}/end`, { as: owner.token }), 404);
        await refused(call('POST', `/broadcasts/${unknown}/stream_key`, { as: owner.token }), 404);
    }
    await refused(call('DELETE', `/broadcasts/${id}`), 405);
    await refused(call('GET', '/nothing'), 404);
});

test('nobody fills Redis and burst-status with broadcasts that never begin', async () => {
    const [hoarder, other] = [await rig.session('hoarder'), await rig.session('other')];
    const create = async ({ token: as }) => (await call('POST', '/broadcasts', { as, body: { title: 'soon' } })).status;
    await rig.sql(`INSERT INTO broadcasts (id, owner_id, title, version, created_at_ms) SELECT CONCAT('soon-', seq), '${hoarder.user_id}', 'soon', 0, IF(seq = 1000, 1, ${Date.now()}) FROM seq_1_to_1000`);
    assert.deepEqual([await create(hoarder), await create(hoarder), await create(other)], [201, 409, 201], 'one of them is older than a week');
    await rig.sql("DELETE FROM broadcasts WHERE id LIKE 'soon-%'");
});

test('a title is changed by the owner or an operator', async () => {
    const { id } = await create('before');
    await refused(call('PATCH', `/broadcasts/${id}`, { as: other.token, body: { title: 'x' } }), 403);
    await refused(call('PATCH', `/broadcasts/${id}`, { as: owner.token, body: { title: '' } }), 400);
    const changed = await call('PATCH', `/broadcasts/${id}`, { as: owner.token, body: { title: 'after' } });
    assert.equal(changed.status, 200);
    assert.equal(changed.json.title, 'after');
    assert.equal((await get(id)).title, 'after');
    assert.equal((await call('PATCH', `/broadcasts/${id}`, { as: operator.token, body: { title: 'by the operator' } })).status, 200);
    assert.equal((await row(id))[4], 'by the operator');
});

test('a renewed stream key: the old one is worth nothing', async () => {
    const made = await create();
    await refused(call('POST', `/broadcasts/${made.id}/stream_key`, { as: other.token }), 403);
    await refused(call('POST', `/broadcasts/${made.id}/stream_key`, { as: operator.token }), 403);
    const renewed = await call('POST', `/broadcasts/${made.id}/stream_key`, { as: owner.token });
    assert.equal(renewed.status, 200);
    assert.notEqual(renewed.json.stream_key, made.stream_key);
    const lookUp = (key) => rig.redis.command('GET', keys.KEY_STREAM_KEY + crypto.createHash('sha256').update(key).digest('hex'));
    assert.equal(await lookUp(made.stream_key), null);
    assert.equal(await lookUp(renewed.json.stream_key), made.id);
    assert.equal((await get(made.id, owner.token)).stream_key, renewed.json.stream_key);
});

test('ended by the owner or an operator, once and for all', async () => {
    const [first, second] = [await create(), await create()];
    await refused(call('POST', `/broadcasts/${first.id}/end`, { as: other.token }), 403);
    const ended = await call('POST', `/broadcasts/${first.id}/end`, { as: owner.token });
    assert.equal(ended.status, 200);
    assert.equal(ended.json.state, 'ended');
    assert.equal((await call('POST', `/broadcasts/${first.id}/end`, { as: owner.token })).json.state, 'ended');
    assert.equal((await call('POST', `/broadcasts/${second.id}/end`, { as: operator.token })).json.state, 'ended');
    await waitFor('the row says so', async () => (await row(first.id))[0] === 'ended');
    assert.equal((await row(first.id))[3], '1', 'no key hash is left');
    assert.equal((await get(first.id, owner.token)).stream_key, undefined);
    await refused(call('POST', `/broadcasts/${first.id}/stream_key`, { as: owner.token }), 409, 'broadcast_over');
    // Long over: Redis has forgotten it, the row has not.
    await rig.redis.command('DEL', keys.KEY_BROADCAST + first.id);
    assert.equal((await get(first.id)).state, 'ended');
    assert.equal((await call('POST', `/broadcasts/${first.id}/end`, { as: owner.token })).json.state, 'ended');
});

test('what waits for longer than Redis keeps it can be ended, too', async () => {
    const { id } = await create('never began');
    await rig.sql(`UPDATE broadcasts SET created_at_ms = created_at_ms - 8 * 86400000 WHERE id = '${id}'`);
    await rig.redis.command('DEL', keys.KEY_BROADCAST + id);
    await refused(call('POST', `/broadcasts/${id}/end`, { as: other.token }), 403);
    const ended = await call('POST', `/broadcasts/${id}/end`, { as: owner.token });
    assert.deepEqual([ended.status, ended.json.state], [200, 'ended']);
    await waitFor('the row says so', async () => (await row(id))[0] === 'ended');
});

test('live: shown at once, saved, announced once whatever happens later', async () => {
    const { id } = await create('on air');
    let session = await goLive(rig.redis, id);
    assert.equal((await get(id)).state, 'live');
    const began = Date.now();
    await waitFor('in the list', async () => (await call('GET', '/broadcasts?state=live')).json.broadcasts.some((b) => b.id === id), 1500);
    assert.ok(Date.now() - began < 1000);
    await waitFor('saved', async () => (await row(id))[0] === 'live', 3000);
    await waitFor('announced', () => announcements.some((a) => a.id === id), 2000);
    await rig.redis.script('session_close', id, session, 'publisher_gone');
    assert.ok(!(await waitFor('not in the list', async () => {
        const { broadcasts } = (await call('GET', '/broadcasts?state=live')).json;
        return broadcasts.some((b) => b.id === id) ? null : { broadcasts };
    }, 1500)).broadcasts.some((b) => b.id === id));
    await waitFor('saved again', async () => (await row(id))[0] === 'suspended', 3000);
    session = await goLive(rig.redis, id);
    await waitFor('and again', async () => (await row(id))[0] === 'live', 3000);
    const told = announcements.filter((a) => a.id === id);
    assert.equal(told.length, 1);
    assert.deepEqual([told[0].type, told[0].title, told[0].owner], ['broadcast.live', 'on air', { id: owner.user_id, name: '花子' }]);
    assert.equal(told[0].playback_url, (await get(id)).playback_url);
    assert.equal(await rig.redis.command('SISMEMBER', keys.KEY_BROADCASTS_UNSAVED, id), 0);
});

test('the list: by state, mine, page by page', async () => {
    const me = await rig.session('lister');
    const made = [];
    for (let i = 0; i < 7; i += 1) made.push((await create(`list ${i}`, me.token)).id);
    for (const id of made.slice(0, 4)) await goLive(rig.redis, id);
    const walk = async (query, param) => {
        const seen = [];
        for (let next = '', pages = 0; pages < 20; pages += 1) {
            const { json, status } = await call('GET', `/broadcasts?${query}&limit=2${next}`, { as: me.token });
            assert.equal(status, 200);
            assert.ok(json.broadcasts.length <= 2);
            seen.push(...json.broadcasts.map((b) => b.id));
            if (!json.next) return seen;
            next = `&${param}=${encodeURIComponent(json.next)}`;
        }
        throw new Error('no end');
    };
    assert.deepEqual((await walk('owner=me', 'cursor')).sort(), [...made].sort());
    await waitFor('live ones', async () => (await walk('owner=me&state=live', 'next')).length === 4, 1500);
    assert.deepEqual((await walk('owner=me&state=live', 'cursor')).sort(), made.slice(0, 4).sort());
    assert.deepEqual((await walk('owner=me&state=scheduled', 'cursor')).sort(), made.slice(4).sort());
    for (const query of ['state=nonsense', 'limit=0', 'limit=101', 'limit=x', 'cursor=x', 'cursor=1_%2e', 'owner=somebody']) await refused(call('GET', `/broadcasts?${query}`), 400);
    await refused(call('GET', '/broadcasts?owner=me'), 401);
});

test('Redis emptied: everything that is not over comes back by itself, with higher versions', async () => {
    const [waiting, onAir, over] = [await create('waiting'), await create('on air'), await create('over')];
    await goLive(rig.redis, onAir.id);
    await call('POST', `/broadcasts/${over.id}/end`, { as: owner.token });
    await waitFor('saved', async () => (await row(onAir.id))[0] === 'live' && (await row(over.id))[0] === 'ended', 3000);
    const before = (await rig.statusOf(onAir.id)).json;
    await rig.redis.command('FLUSHALL');
    await waitFor('restored', async () => (await rig.redis.hash(keys.KEY_BROADCAST + onAir.id)).state === 'suspended', 5000);
    const now = await waitFor('told', async () => { const { json } = await rig.statusOf(onAir.id); return json.state === 'suspended' && json; }, 2000);
    assert.ok(now.version > before.version);
    assert.equal((await rig.redis.hash(keys.KEY_BROADCAST + waiting.id)).state, 'scheduled');
    assert.equal(await rig.redis.command('GET', keys.KEY_STREAM_KEY + crypto.createHash('sha256').update(waiting.stream_key).digest('hex')), waiting.id);
    assert.equal(await rig.redis.command('EXISTS', keys.KEY_BROADCAST + over.id), 0);
    await goLive(rig.redis, onAir.id);
    await waitFor('saved as live', async () => { const [state, version] = await row(onAir.id); return state === 'live' && Number(version) > before.version; }, 3000);
});

test('MariaDB killed: what is known is answered, states wait and are saved when it is back', async () => {
    const { id } = await create('survives');
    const session = await goLive(rig.redis, id);
    await waitFor('saved', async () => (await row(id))[0] === 'live', 3000);
    await rig.data.mariadb.stop('SIGKILL');
    await waitFor('readyz names it', async () => 'mysql' in await rig.missing(rig.api), 8000);
    assert.equal((await get(id)).state, 'live');
    assert.equal((await get(id, owner.token)).state, 'live');
    assert.ok((await waitFor('the list of who is live', () => call('GET', '/broadcasts?state=live'))).json.broadcasts.some((b) => b.id === id));
    const refusal = await call('POST', '/broadcasts', { as: owner.token, body: { title: 'no' } });
    assert.equal(refusal.status, 503);
    assert.equal(refusal.headers.get('retry-after'), '2');
    assert.equal((await call('POST', '/sessions', { body: { name: 'n' } })).status, 201);
    await rig.redis.script('session_close', id, session, 'publisher_gone');
    assert.equal((await get(id)).state, 'suspended');
    assert.equal((await call('POST', `/broadcasts/${id}/end`, { as: owner.token })).json.state, 'ended');
    rig.data.mariadb.start();
    await waitForPort(rig.data.mysqlPort, 60000);
    await waitFor('saved', async () => (await row(id))[0] === 'ended', 10000);
    await rig.ready(rig.api);
    await create('works again');
});

test('killed in the middle: the next process saves what was left', async () => {
    const { id } = await create();
    await rig.api.stop('SIGKILL');
    const session = await goLive(rig.redis, id);
    await rig.redis.script('session_close', id, session, 'publisher_gone');
    assert.equal(await rig.redis.command('SISMEMBER', keys.KEY_BROADCASTS_UNSAVED, id), 1);
    rig.api = await rig.addApi();
    await waitFor('saved', async () => (await row(id))[0] === 'suspended', 5000);
});

test('Redis killed: rows are answered, nothing hangs, and it recovers', async () => {
    const { id } = await create('row only');
    await rig.data.redis.stop('SIGKILL');
    await waitFor('readyz names it', async () => 'redis' in await rig.missing(rig.api), 8000);
    assert.equal((await get(id)).title, 'row only');
    assert.equal((await call('GET', '/broadcasts?state=live')).status, 200);
    assert.equal((await call('POST', `/broadcasts/${id}/end`, { as: owner.token })).status, 503);
    const made = await call('POST', '/broadcasts', { as: owner.token, body: { title: 'meanwhile' } });
    assert.equal(made.status, 201);
    rig.redis.close();
    rig.data.redis.start();
    await waitForPort(rig.data.redisPort);
    rig.redis = new RedisClient(rig.data.redisPort);
    await waitFor('put into Redis', async () => (await rig.redis.hash(keys.KEY_BROADCAST + made.json.id)).state === 'scheduled', 8000);
    await waitFor('known at the status', async () => (await rig.statusOf(made.json.id)).json.state === 'scheduled', 5000);
});

test('SIGTERM: ends with status 0', async () => {
    await rig.api.stop();
    assert.deepEqual({ code: rig.api.exits.at(-1).code, signal: rig.api.exits.at(-1).signal }, { code: 0, signal: null });
});
