// Who watched: now, at most, how many different ones; and every event of a broadcast in the export as often as it happened, whatever archive goes through.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { ApiRig, secrets, token } from '../lib/api_rig.mjs';
import { Viewer } from '../lib/chat.mjs';
import { Exports } from '../lib/exports.mjs';
import { atEnd, sleep, waitFor } from '../lib/fixture.mjs';
import { goLive, keys } from '../lib/redis_client.mjs';

let rig;
let exports;
let archive;
let love;
const chats = [];
const uuid = () => crypto.randomUUID();

before(async () => {
    rig = await ApiRig.start({ durable: true });
    rig.storeDir = path.join(rig.dir, 'store');
    fs.mkdirSync(rig.storeDir);
    const common = { HANABI_MYSQL_URL: rig.data.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt };
    for (let i = 0; i < 2; i += 1) chats.push(await rig.add('chat', 'HANABI_CHAT_LISTEN', { ...common, HANABI_INSTANCE: `chat-${i}`, HANABI_CHAT_PRESENCE_MS: '200', HANABI_CHAT_REAP_MS: '1000', HANABI_CHAT_AUDIENCE_LOG_MS: '100', HANABI_CHAT_RATE_BURST: '1000', HANABI_CHAT_DUPLICATE_MS: '0' }));
    love = await rig.add('love-counter', 'HANABI_LOVE_LISTEN', { ...common, HANABI_LOVE_BURST: '100000' });
    const port = await freePort();
    archive = new Supervised({ name: 'archive', command: binary('archive'), logFile: rig.log('archive'), env: { PATH: process.env.PATH, ASAN_OPTIONS: 'detect_leaks=1', ...common, HANABI_INSTANCE: 'archive',
        HANABI_REDIS_URL: rig.data.redisUrl, HANABI_ADMIN_LISTEN: '127.0.0.1:0', HANABI_ARCHIVE_LISTEN: `127.0.0.1:${port}`, HANABI_STORE_URL: `file://${rig.storeDir}`, HANABI_STORE_SYNC: 'false',
        HANABI_HLS_SECRET: secrets.hls, HANABI_SEAL_SECRET: secrets.seal, HANABI_ARCHIVE_SETTLE_MS: '0', HANABI_ARCHIVE_EXPORT_INTERVAL_MS: '200', HANABI_ARCHIVE_EXPORT_MAX_LINES: '100' } });
    archive.origin = `http://127.0.0.1:${port}`;
    archive.logFile = rig.log('archive');
    archive.start();
    rig.services.push(archive);
    for (const chat of chats) await rig.ready(chat);
    await rig.ready(love);
    exports = await Exports.open(rig.storeDir);
    atEnd(() => exports.close());
});

const sqlMap = async (text) => Object.fromEntries((await rig.sql(text)).map(([key, value]) => [key, Number(value)]));

async function onAir(title) {
    const owner = await rig.session('Host');
    const { json } = await rig.call('POST', '/broadcasts', { as: owner.token, body: { title } });
    await goLive(rig.redis, json.id);
    return { id: json.id, owner };
}

/** By its owner; and the transcoder, which is not here, lets go of it. */
async function end(id, owner) {
    assert.equal((await rig.call('POST', `/broadcasts/${id}/end`, { as: owner.token })).status, 200);
    await rig.redis.command('ZREM', keys.KEY_STREAMS, id);
}

const watch = (id, as, chat) => new Viewer(chat.port, id, { as, token: as && token({ sub: as }) }).ready();

async function tap(id, as, count) {
    const answer = await fetch(`${love.origin}/api/v1/broadcasts/${id}/loves`, { method: 'POST', headers: { Authorization: `Bearer ${token({ sub: as })}`, 'Content-Type': 'application/json' }, body: JSON.stringify({ batch_id: uuid(), count }) });
    assert.equal(answer.status, 200);
}

/** Nothing waits any more, in Redis or in MySQL. */
const caughtUp = () => waitFor('all is exported', async () => {
    for (const stream of [keys.KEY_EXPORT_AUDIENCE, keys.KEY_EXPORT_STATES]) if (await rig.redis.command('XLEN', stream) > 0) return false;
    if (await rig.redis.command('ZCARD', keys.KEY_CHAT_MOVING) > 0) return false;
    return (await rig.sql('SELECT (SELECT COUNT(*) FROM export_cursors WHERE is_pending) + (SELECT COUNT(*) FROM exports WHERE NOT is_done) + (SELECT COUNT(*) FROM outbox)'))[0][0] === '0';
}, 30000, 100);

test('comments, hearts, gifts, joins, leaves and states: the export has what happened, archive killed at random moments meanwhile', { timeout: 90000 }, async (t) => {
    const shows = [await onAir('one'), await onAir('two'), await onAir('three')];
    const did = { joins: {}, leaves: {}, taps: {} };
    const note = (what, id, count = 1) => { did[what][id] = (did[what][id] ?? 0) + count; };
    let isOver = false;
    let kills = 0;
    const killer = (async () => {
        while (!isOver) {
            await sleep(150 + Math.random() * 600);
            archive.kill('SIGKILL');
            kills += 1;
        }
    })();
    const giver = await rig.session('Hanako');
    await rig.call('POST', '/wallet/topups', { as: giver.token, body: { coins: 100000 } });
    await Promise.all(shows.map(async ({ id, owner }, show) => {
        const host = await new Viewer(chats[0].port, id, { as: owner.user_id, token: owner.token }).ready();
        note('joins', id);
        for (let round = 0; round < 6; round += 1) {
            const viewers = await Promise.all(Array.from({ length: 10 }, (_, i) => watch(id, i < 8 ? `user-${round}-${i}` : undefined, chats[i % 2])));
            note('joins', id, viewers.length);
            for (let i = 0; i < 10; i += 1) assert.ok((await viewers[i % 8].say(`round ${round}, ${i} of show ${show} 花火`)).id);
            for (let i = 0; i < 3; i += 1) { await tap(id, `user-${round}-${i}`, 7 + i); note('taps', id, 7 + i); }
            assert.equal((await rig.call('POST', '/purchases', { as: giver.token, body: { item_id: 'sparkler', broadcast_id: id, idempotency_key: uuid() } })).status, 201);
            await Promise.all(viewers.map((viewer) => viewer.close()));
            note('leaves', id, viewers.length);
        }
        await end(id, owner);
        await host.close();
        note('leaves', id);
    }));
    isOver = true;
    await killer;
    await Promise.all(shows.map(({ id }) => waitFor(`${id} is archived`, async () => (await rig.redis.command('HGET', `${keys.KEY_BROADCAST}${id}`, 'state')) === 'archived', 20000, 100)));
    await caughtUp();
    t.diagnostic(`archive killed ${kills} times; ${Object.keys(exports.files()).length} files; ${JSON.stringify(await exports.query('SELECT (SELECT COUNT(*) FROM $join) AS joins, (SELECT COUNT(*) FROM $leave) AS leaves, (SELECT COUNT(*) FROM $comment) AS comments, (SELECT SUM(count) FROM $love) AS hearts'))}`);
    assert.deepEqual(await exports.map('SELECT broadcast, COUNT(*) FROM $comment GROUP BY 1'), await sqlMap("SELECT broadcast_id, COUNT(*) FROM comments WHERE type = 'comment' GROUP BY 1"), 'comments');
    assert.deepEqual(await exports.query('SELECT COUNT(*) AS n, COUNT(DISTINCT broadcast || id) AS ids FROM $comment'), [{ n: 180, ids: 180 }]);
    assert.deepEqual(await exports.map('SELECT broadcast, SUM(count) FROM $love GROUP BY 1'), await sqlMap('SELECT broadcast_id, total FROM loves'), 'hearts');
    assert.deepEqual(await exports.map('SELECT broadcast, MAX(total) FROM $love GROUP BY 1'), did.taps);
    assert.deepEqual(await exports.map('SELECT broadcast, SUM(count) FROM $tap GROUP BY 1'), did.taps);
    const ranking = await exports.map("SELECT broadcast || ' ' || \"user\", SUM(count) FROM $tap GROUP BY 1");
    assert.equal(Object.keys(ranking).length, 54, 'eighteen users in each of the three');
    assert.deepEqual(ranking, await sqlMap("SELECT CONCAT(broadcast_id, ' ', user_id), taps FROM love_users"), "each user's hearts");
    assert.deepEqual(await rig.sql('SELECT * FROM love_taps'), [], 'what is exported is not kept');
    assert.deepEqual(await exports.map('SELECT broadcast, COUNT(DISTINCT purchase) FROM $gift GROUP BY 1'), await sqlMap('SELECT broadcast_id, COUNT(*) FROM purchases GROUP BY 1'), 'gifts');
    assert.deepEqual(await exports.map('SELECT broadcast, SUM(item.price) FROM $gift GROUP BY 1'), await sqlMap('SELECT broadcast_id, SUM(price) FROM purchases GROUP BY 1'), 'coins');
    assert.deepEqual(await exports.map('SELECT broadcast, COUNT(*) FROM $join GROUP BY 1'), did.joins);
    assert.deepEqual(await exports.map('SELECT broadcast, COUNT(*) FROM $leave GROUP BY 1'), did.leaves);
    assert.deepEqual(await exports.query(`SELECT COUNT(*) AS n, COUNT(DISTINCT j.session) AS sessions FROM $join j JOIN $leave l ON l.session = j.session AND l.broadcast = j.broadcast AND l.at_ms >= j.at_ms`), [{ n: 183, sessions: 183 }]);
    assert.deepEqual(await exports.map('SELECT broadcast, COUNT(DISTINCT "user") FROM $join WHERE role = \'viewer\' GROUP BY 1'), Object.fromEntries(shows.map(({ id }) => [id, 48])));
    for (const { id } of shows) {
        const states = await exports.query(`SELECT state, version FROM $state WHERE broadcast = '${id}' ORDER BY version`);
        assert.deepEqual(states.map((one) => one.state), ['scheduled', 'live', 'ended', 'archived']);
    }
    for (const kind of ['comment', 'gift', 'love', 'tap', 'join', 'leave', 'state']) assert.deepEqual(await exports.misplaced(kind), [], kind);
});

test('viewers now, at most, different ones: live in chat and API, in MySQL when it is over; a killed process counts nobody twice', { timeout: 60000 }, async () => {
    const { id, owner } = await onAir('counted');
    const audience = async () => (await rig.call('GET', `/broadcasts/${id}`)).json.audience;
    const counted = (want) => waitFor(JSON.stringify(want), async () => { assert.deepEqual(await audience(), want); return true; }, 5000, 50);
    assert.deepEqual(await audience(), { now: 0, peak: 0, unique: 0 });
    const first = await watch(id, 'ann', chats[0]);
    const others = [await watch(id, 'bob', chats[1]), await watch(id, undefined, chats[1])];
    await counted({ now: 3, peak: 3, unique: 3 });
    await waitFor('chat says so', () => first.events.some((event) => event.type === 'viewers' && event.now === 3 && event.peak === 3 && event.unique === 3), 5000);
    const again = await watch(id, 'ann', chats[0]);
    await counted({ now: 4, peak: 4, unique: 3 });
    await again.close();
    await counted({ now: 3, peak: 4, unique: 3 });
    // A process dies, its viewers come back elsewhere: for a while five are counted, and there never were more than four.
    chats[1].kill('SIGKILL');
    await Promise.all(others.map((viewer) => viewer.closed));
    const back = [await watch(id, 'bob', chats[0]), await watch(id, 'eve', chats[0])];
    await waitFor('the dead are counted too', () => first.events.some((event) => event.type === 'viewers' && event.now === 5), 5000);
    await counted({ now: 3, peak: 4, unique: 4 });
    await rig.call('POST', `/broadcasts/${id}/end`, { as: owner.token });
    await rig.redis.command('ZREM', keys.KEY_STREAMS, id);
    await waitFor('archived', async () => (await rig.redis.command('HGET', `${keys.KEY_BROADCAST}${id}`, 'state')) === 'archived', 20000, 100);
    const archived = (await (await fetch(`${archive.origin}/api/v1/archives/${id}`)).json()).audience;
    assert.deepEqual(archived, { peak: 4, unique: 4 });
    const visitors = [await watch(id, 'visitor', chats[0]), await watch(id, undefined, chats[0])];
    await counted({ now: 5, peak: 4, unique: 4 });
    await sleep(500); // more than twice as long as until the next count
    assert.deepEqual(await audience(), { now: 5, peak: 4, unique: 4 }, 'who comes when it is over was not there');
    await Promise.all([first, ...back, ...visitors].map((viewer) => viewer.close()));
    await waitFor('they have left', async () => (await audience()).now === 0, 5000, 50);
    await waitFor('the state stands in MySQL', async () => (await rig.sql(`SELECT state FROM broadcasts WHERE id = '${id}'`))[0][0] === 'archived', 5000, 50);
    await rig.redis.command('DEL', `${keys.KEY_BROADCAST}${id}`, `${keys.KEY_CHAT_STATE}${id}`, `${keys.KEY_CHAT_UNIQUE}${id}`, `${keys.KEY_CHAT_ROOMS}${id}`);
    assert.deepEqual(await audience(), { now: 0, peak: 4, unique: 4 }, 'Redis has forgotten it');
    await caughtUp();
    const gone = await exports.query("SELECT DISTINCT instance, CAST(at_ms / 1000 > 0 AS INT) AS dated FROM $process_gone");
    assert.deepEqual(gone, [{ instance: 'chat-1', dated: 1 }]);
    assert.deepEqual(await exports.query(`SELECT COUNT(*) AS n FROM $join j ANTI JOIN $leave l ON l.session = j.session WHERE j.broadcast = '${id}' AND j.instance = 'chat-1'`), [{ n: 2 }], 'whose leaving nobody told');
    // What chat-0 tells of them may still be on its way when nothing waits in Redis yet.
    await waitFor('every leaving that was told', async () => (await exports.query(`SELECT COUNT(*) AS n FROM $join j ANTI JOIN $leave l ON l.session = j.session WHERE j.instance = 'chat-0'`))[0].n === 0, 10000, 200);
});
