// love-counter with real Redis and MariaDB: what is answered is counted, once, whatever is killed; the chat hears of it; Redis is freed at the end.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { secret, token } from '../lib/chat.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { atEnd, checkLogs, removeFolder, sleep, waitFor } from '../lib/fixture.mjs';
import { RedisClient, goLive, keys, seedBroadcast } from '../lib/redis_client.mjs';

const long = process.env.HANABI_LONG === 'yes';
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-love-'));
let data;
const counters = [];
const agent = new http.Agent({ keepAlive: true, maxSockets: 100 });

const sql = (text) => data.sql(text);
const numbers = async (text) => new Map((await sql(text)).split('\n').filter(Boolean).map((line) => line.split('\t')).map(([key, value]) => [key, Number(value)]));
/** All that Redis holds of a broadcast's hearts. */
const keysOf = (id) => Object.entries(keys).filter(([name, key]) => name.startsWith('KEY_LOVE') && key.endsWith(':')).map(([, key]) => key + id);

async function addCounter(env = {}) {
    const [port, admin] = [await freePort(), await freePort()];
    const name = `love-${counters.length}`;
    const counter = new Supervised({ name, command: binary('love-counter'), logFile: path.join(dir, `${name}.log`), env: { PATH: process.env.PATH,
        ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1', HANABI_LOVE_LISTEN: `127.0.0.1:${port}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`,
        HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_JWT_SECRET: secret, HANABI_INSTANCE: name, ...env } });
    Object.assign(counter, { port, admin });
    counters.push(counter);
    counter.start();
    await waitFor('ready', async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok, 15000);
    return counter;
}

/** One request on a kept connection: {status, json, headers}; throws when the line breaks. */
function call(counter, method, pathname, { as, body, raw } = {}) {
    return new Promise((resolve, reject) => {
        const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
        const request = http.request({ port: counter.port, host: '127.0.0.1', method, path: `/api/v1/broadcasts/${pathname}`, agent, timeout: 8000,
            headers: { ...(as ? { Authorization: `Bearer ${as}` } : {}), ...(text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }) } }, (answer) => {
            let all = '';
            answer.on('data', (data) => { all += data; }).on('end', () => {
                try { resolve({ status: answer.statusCode, json: all ? JSON.parse(all) : null, headers: answer.headers }); } catch (error) { reject(error); }
            }).on('error', reject);
        });
        request.on('error', reject).on('timeout', () => request.destroy(new Error('no answer')));
        request.end(text);
    });
}

before(async () => {
    data = await DataServers.start(dir);
    atEnd(async () => {
        agent.destroy();
        await Promise.all(counters.map((counter) => counter.stop()));
        await data.stop();
        checkLogs(counters.map((counter) => counter.options.logFile));
        removeFolder(dir);
    });
    await addCounter();
    const uncapped = { HANABI_LOVE_RATE_PER_S: '100000', HANABI_LOVE_BURST: '10000000', HANABI_LOVE_BATCHES_PER_S: '100000', HANABI_LOVE_BATCHES_BURST: '10000000' };
    await addCounter(uncapped);
    await addCounter(uncapped);
});

test('a batch, its resend, the total, the ranking; what is wrong is told', async () => {
    const [counter, other] = counters;
    const client = new RedisClient(data.redisPort);
    await seedBroadcast(client, 'hearts', { state: 'live' });
    await seedBroadcast(client, 'later');
    await seedBroadcast(client, 'before', { state: 'ended' });
    await sql("INSERT INTO users VALUES ('owner', 'owner', 'viewer', 1); INSERT INTO broadcasts (id, owner_id, title, version, created_at_ms) VALUES ('hearts', 'owner', 't', 1, 1), ('silent', 'owner', 't', 1, 1)");
    const [ann, bob] = [token('ann', { name: 'Ann 花' }), token('bob')];
    const tap = (body, as = ann, on = counter, id = 'hearts') => call(on, 'POST', `${id}/loves`, { as, body });
    assert.deepEqual((await tap({ batch_id: 'a1', count: 5 })).json, { accepted: 5, total: 5 });
    assert.deepEqual((await tap({ batch_id: 'a1', count: 5 })).json, { accepted: 5, total: 5 }, 'again');
    assert.deepEqual((await tap({ batch_id: 'a1', count: 5 }, ann, other)).json, { accepted: 5, total: 5 }, 'again, elsewhere');
    assert.deepEqual((await tap({ batch_id: 'a1', count: 7 }, bob)).json, { accepted: 7, total: 12 }, "another user's batch of the same name");
    assert.deepEqual((await call(counter, 'GET', 'hearts/loves')).json, { total: 12 });
    assert.deepEqual((await call(counter, 'GET', 'hearts/loves/ranking')).json, { ranking: [{ user_id: 'bob', name: 'bob', count: 7 }, { user_id: 'ann', name: 'Ann 花', count: 5 }] });
    assert.deepEqual((await call(counter, 'GET', 'hearts/loves/ranking?limit=1', { as: ann })).json, { ranking: [{ user_id: 'bob', name: 'bob', count: 7 }], me: { rank: 2, count: 5 } });
    for (const id of ['silent', 'later']) assert.deepEqual((await call(counter, 'GET', `${id}/loves`)).json, { total: 0 }, id);
    assert.deepEqual((await call(counter, 'GET', 'silent/loves/ranking')).json, { ranking: [] });
    // A page that is being left sends its token in the body.
    assert.deepEqual((await call(counter, 'POST', 'hearts/loves', { body: { batch_id: 'a2', count: 1, token: ann } })).json, { accepted: 1, total: 13 });
    const refused = async (expected, code, ...args) => {
        const answer = await tap(...args);
        assert.deepEqual([answer.status, answer.json.error.code], [expected, code], JSON.stringify(answer.json));
    };
    for (const as of [null, 'forged', token('ann', { key: 'another secret' }), token('ann', { exp: 1 }), token('a|b'), token('', { name: 'n' })]) {
        assert.equal((await tap({ batch_id: 'x', count: 1 }, as)).status, 401);
        if (as) assert.equal((await call(counter, 'POST', 'hearts/loves', { body: { batch_id: 'x', count: 1, token: as } })).status, 401, 'in the body');
    }
    await refused(404, 'not_found', { batch_id: 'x', count: 1 }, ann, counter, 'nobody');
    await refused(409, 'not_live', { batch_id: 'x', count: 1 }, ann, counter, 'later');
    await refused(409, 'over', { batch_id: 'x', count: 1 }, ann, counter, 'before');
    for (const count of [0, -1, 1001, 1.5, '3', null, undefined]) await refused(400, 'invalid_count', { batch_id: 'x', count });
    for (const batch of ['', 'a'.repeat(65), 'a b', 3, null, undefined, 'a|b']) await refused(400, 'invalid_batch_id', { batch_id: batch, count: 1 });
    assert.equal((await call(counter, 'POST', 'hearts/loves', { as: ann, raw: '[1' })).status, 400);
    assert.equal((await call(counter, 'GET', 'nobody/loves')).status, 404);
    assert.equal((await call(counter, 'GET', 'hearts/loves/ranking?limit=101')).status, 400);
    client.close();
});

test('a name longer than a row holds is cut: it does not keep everybody\'s hearts out of MySQL', async () => {
    const client = new RedisClient(data.redisPort);
    await seedBroadcast(client, 'names', { state: 'live' });
    for (const as of [token('long', { name: 'é'.repeat(150) }), token('short')])
        assert.equal((await call(counters[0], 'POST', 'names/loves', { as, body: { batch_id: 'n', count: 3 } })).status, 200);
    await waitFor('both in MySQL', async () => (await sql("SELECT user_id, CHAR_LENGTH(user_name) FROM love_users WHERE broadcast_id = 'names' ORDER BY user_id")) === 'long\t100\nshort\t5', 8000);
    client.close();
});

test('the cap is honest: it says how many counted, then when to come back', async () => {
    const client = new RedisClient(data.redisPort);
    await seedBroadcast(client, 'capped', { state: 'live' });
    client.close();
    const eve = token('eve');
    const tap = (batch, count) => call(counters[0], 'POST', 'capped/loves', { as: eve, body: { batch_id: batch, count } });
    assert.equal((await tap('c1', 500)).json.accepted, 500);
    const partly = (await tap('c2', 500)).json.accepted;
    assert.ok(partly >= 100 && partly < 200, `600 at once and 30 a second: ${partly}`);
    const limited = await tap('c3', 500).then((answer) => (answer.status === 429 ? answer : tap('c4', 500)));
    assert.equal(limited.status, 429);
    assert.equal(limited.json.error.code, 'rate_limited');
    assert.match(limited.headers['retry-after'], /^[1-9]$/);
    assert.equal((await tap('c2', 500)).json.accepted, partly, 'the resend of what counted in part says the same');
});

test('whoever sends single taps is told to add them up: what is remembered of one user stays small, and a resend is still harmless', async (t) => {
    const client = new RedisClient(data.redisPort);
    await seedBroadcast(client, 'single', { state: 'live' });
    const eve = token('eve');
    const tap = (batch, as = eve) => call(counters[0], 'POST', 'single/loves', { as, body: { batch_id: batch, count: 1 } });
    const began = Date.now();
    const answers = await Promise.all(Array.from({ length: 800 }, (_, i) => tap(`single-tap-with-an-id-of-32-${String(i).padStart(4, '0')}`)));
    const counted = answers.filter((answer) => answer.status === 200);
    const refused = answers.find((answer) => answer.status === 429);
    const most = 600 + Math.ceil((Date.now() - began) / 1000);
    assert.ok(counted.length >= 600 && counted.length <= most, `600 at once and one a second: ${counted.length}`);
    assert.equal(refused.json.error.code, 'rate_limited');
    assert.match(refused.json.error.message, /add taps up/);
    assert.match(refused.headers['retry-after'], /^[12]$/, 'one comes back each second');
    assert.equal(counted.length + answers.filter((answer) => answer.status === 429).length, 800);
    // One that counted is answered again, one that did not may come again; others are not held up.
    const index = answers.findIndex((answer) => answer.status === 200);
    assert.deepEqual((await tap(`single-tap-with-an-id-of-32-${String(index).padStart(4, '0')}`)).json, answers[index].json);
    assert.equal((await tap('of-another', token('ann'))).status, 200);
    const late = answers.findIndex((answer) => answer.status === 429);
    await waitFor('a second later there is room again', async () => (await tap(`single-tap-with-an-id-of-32-${String(late).padStart(4, '0')}`)).status === 200, 3000, 100);
    const { total } = (await call(counters[0], 'GET', 'single/loves')).json;
    const windows = await client.command('KEYS', `${keys.KEY_LOVE_BATCHES}single:*`);
    let [remembered, bytes] = [0, 0];
    for (const key of windows) {
        remembered += await client.command('HLEN', key);
        bytes += await client.command('MEMORY', 'USAGE', key, 'SAMPLES', '0');
    }
    assert.equal(remembered, total, 'as many ids as counted batches');
    assert.ok(remembered <= 2 + 600 + Math.ceil((Date.now() - began) / 1000), `${remembered}`);
    const metrics = await (await fetch(`http://127.0.0.1:${counters[0].admin}/metrics`)).text();
    assert.ok(Number(metrics.match(/^hanabi_love_too_many_batches_total (\d+)/m)[1]) >= 800 - most);
    t.diagnostic(`${remembered} batches remembered in ${bytes} bytes, ${(bytes / remembered).toFixed(0)} each`);
    client.close();
});

test('the chat hears the total once a second from one of the instances, and it only rises', async () => {
    const client = new RedisClient(data.redisPort);
    const listener = new RedisClient(data.redisPort);
    await seedBroadcast(client, 'heard', { state: 'live' });
    const told = [];
    await listener.subscribe(`${keys.CHANNEL_CHAT_ALL}heard`, (channel, message) => told.push(...JSON.parse(message)));
    const eve = token('eve');
    for (let i = 0; i < 30; i += 1) {
        await call(counters[1 + (i % 2)], 'POST', 'heard/loves', { as: eve, body: { batch_id: `b${i}`, count: 2 } });
        await sleep(100);
    }
    await waitFor('the last total', () => told.at(-1)?.total === 60, 5000);
    assert.ok(told.length >= 3 && told.length <= 7, `${told.length} messages in about 3 s`);
    for (let i = 1; i < told.length; i += 1) assert.ok(told[i].total > told[i - 1].total && told[i].at_ms - told[i - 1].at_ms >= 900, JSON.stringify(told));
    assert.ok(told.every((event) => event.type === 'love'));
    client.close();
    listener.close();
});

/** Redis loses all its data, and comes back. */
async function loseRedis() {
    await data.redis.stop();
    fs.rmSync(path.join(dir, 'redis'), { recursive: true });
    fs.mkdirSync(path.join(dir, 'redis'));
    data.redis.start();
    await waitForPort(data.redisPort);
}

/** A broadcast of MySQL that was on air, put back as live-api does; on air again. */
async function restoreBroadcast(client, id) {
    await client.script('broadcast_create', id, 'suspended', 'seeded', 'owner', 'owner', '', 60000, 1, 1, 'restored');
    await goLive(client, id);
}

test('Redis comes back empty: no total falls, and in the end every heart of before and after is there', { timeout: 60000 }, async (t) => {
    let client = new RedisClient(data.redisPort);
    await seedBroadcast(client, 'lost', { state: 'live' });
    await sql("INSERT IGNORE INTO users VALUES ('owner', 'owner', 'viewer', 1); INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms) VALUES ('lost', 'owner', 't', 'live', 1, 1)");
    const expected = new Map();
    let sum = 0;
    const tap = async (user, batch, count) => {
        const answer = await waitFor(`${user}'s taps`, async () => { const one = await call(counters[1], 'POST', 'lost/loves', { as: token(user), body: { batch_id: batch, count } }); return one.status === 200 && one; }, 10000);
        expected.set(user, (expected.get(user) ?? 0) + count);
        sum += count;
        return answer.json;
    };
    const inMysql = () => waitFor('MySQL has all', async () => Number(await sql("SELECT total FROM loves WHERE broadcast_id = 'lost'")) === sum
        && Number(await sql("SELECT SUM(taps) FROM love_users WHERE broadcast_id = 'lost'")) === sum, 20000, 100);
    // More people than are put back at once.
    for (let i = 0; i < 2100; i += 100) await Promise.all(Array.from({ length: 100 }, (_, j) => tap(`fan${i + j}`, 'a', 1 + ((i + j) % 3))));
    await tap('ann', 'a', 500);
    await inMysql();
    client.close();

    const before = sum;
    let least = Infinity;
    let asked = 0;
    let watching = true;
    const watch = (async () => {
        while (watching) {
            const answer = await call(counters[1 + (asked % 2)], 'GET', 'lost/loves').catch(() => null);
            if (answer?.status === 200) least = Math.min(least, answer.json.total);
            else assert.ok(!answer || answer.status === 503, JSON.stringify(answer?.json));
            asked += 1;
            await sleep(5);
        }
    })();
    await loseRedis();
    client = new RedisClient(data.redisPort);
    const listener = new RedisClient(data.redisPort);
    const told = [];
    await listener.subscribe(`${keys.CHANNEL_CHAT_ALL}lost`, (channel, message) => told.push(...JSON.parse(message)));
    await sleep(300);
    await restoreBroadcast(client, 'lost');
    await tap('ann', 'b', 5);
    await tap('new', 'a', 7);
    await waitFor('all is told', () => told.at(-1)?.total === sum, 10000);
    assert.ok(told.every((event) => event.total >= before), JSON.stringify(told));
    assert.deepEqual((await call(counters[1], 'GET', 'lost/loves/ranking?limit=1')).json.ranking, [{ user_id: 'ann', name: 'ann', count: 505 }]);
    await inMysql();
    listener.close();
    client.close();

    // Again, with MariaDB away: taps count, nothing is told until what was there is there again.
    await Promise.all([data.mariadb.stop(), loseRedis()]);
    client = new RedisClient(data.redisPort);
    await restoreBroadcast(client, 'lost');
    const known = sum;
    await tap('ann', 'c', 9);
    assert.equal((await client.hash(`${keys.KEY_LOVE}lost`)).published, undefined, 'a part is not told');
    data.mariadb.start();
    await waitForPort(data.mysqlPort, 60000);
    await waitFor('the whole', async () => Number((await client.hash(`${keys.KEY_LOVE}lost`)).published) === known + 9, 20000, 50);
    watching = false;
    await watch;
    t.diagnostic(`asked ${asked} times, the least total was ${least}, ${before} before the first loss`);
    assert.ok(least >= before);
    await client.script('broadcast_end', 'lost', 'owner');
    await waitFor('settled', async () => (await sql("SELECT settled_at_ms IS NOT NULL FROM loves WHERE broadcast_id = 'lost'")) === '1', 20000, 100);
    assert.equal(Number(await sql("SELECT total FROM loves WHERE broadcast_id = 'lost'")), sum);
    assert.deepEqual(await numbers("SELECT user_id, taps FROM love_users WHERE broadcast_id = 'lost'"), expected);
    await waitFor('Redis is freed', async () => await client.command('EXISTS', ...keysOf('lost')) === 0, 20000, 200);
    client.close();
});

test('200 clients while love-counter, Redis and MariaDB are killed: MySQL has exactly what was acknowledged', { timeout: long ? 600000 : 150000 }, async (t) => {
    const setup = new RedisClient(data.redisPort);
    await seedBroadcast(setup, 'storm', { state: 'live' });
    setup.close();
    const [clients, batches] = [200, long ? 500 : 60];
    const acknowledged = new Map();
    let resends = 0;
    let finished = 0;
    const client = async (number) => {
        const as = token(`u${number}`);
        let sum = 0;
        for (let i = 0; i < batches; i += 1) {
            const body = { batch_id: `b${i}`, count: 1 + ((number * 7 + i * 13) % 20) };
            // Every tenth is sent twice though it was answered, as after a lost answer.
            let times = i % 10 === 0 ? 2 : 1;
            for (let attempt = 0; times > 0; attempt += 1) {
                const answer = await call(counters[1 + ((number + attempt) % 2)], 'POST', 'storm/loves', { as, body }).catch(() => null);
                if (answer?.status === 200) {
                    assert.equal(answer.json.accepted, body.count);
                    times -= 1;
                    continue;
                }
                assert.ok(!answer || answer.status === 503, JSON.stringify(answer?.json));
                resends += 1;
                await sleep(50 + Math.random() * 200);
            }
            sum += body.count;
            await sleep(60 + Math.random() * 120); // so that the kills fall in between
        }
        acknowledged.set(`u${number}`, sum);
        finished += 1;
    };
    const working = Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
    let kills = 0;
    const victims = [() => counters[1].kill('SIGKILL'), () => data.redis.kill('SIGKILL'), () => counters[2].kill('SIGKILL'), () => data.mariadb.kill('SIGKILL')];
    const killing = (async () => {
        while (finished < clients && kills < (long ? 60 : 12)) {
            await sleep(300 + Math.random() * 900);
            victims[kills % victims.length]();
            kills += 1;
        }
    })();
    await working;
    await killing;
    const total = [...acknowledged.values()].reduce((sum, value) => sum + value, 0);
    await Promise.all([waitForPort(data.redisPort), waitForPort(data.mysqlPort, 60000)]);
    const after = await waitFor('Redis has loaded its data', async () => {
        const client = new RedisClient(data.redisPort);
        try { await client.script('broadcast_end', 'storm', 'owner'); return client; } catch (error) { client.close(); throw error; }
    });
    await waitFor('settled', async () => (await sql("SELECT settled_at_ms IS NOT NULL FROM loves WHERE broadcast_id = 'storm'")) === '1', 60000, 200);
    assert.equal(Number(await sql("SELECT total FROM loves WHERE broadcast_id = 'storm'")), total);
    assert.deepEqual(await numbers("SELECT user_id, taps FROM love_users WHERE broadcast_id = 'storm'"), acknowledged);
    assert.deepEqual(await numbers("SELECT user_id, SUM(taps) FROM love_taps WHERE broadcast_id = 'storm' GROUP BY user_id"), acknowledged, 'and for the export, tap by tap');
    await waitFor('Redis is freed', async () => await after.command('EXISTS', ...keysOf('storm')) === 0, 20000, 200);
    const ticks = (await sql("SELECT at_ms, total FROM love_ticks WHERE broadcast_id = 'storm' ORDER BY at_ms")).split('\n').map((line) => line.split('\t').map(Number));
    for (let i = 1; i < ticks.length; i += 1) assert.ok(ticks[i][1] >= ticks[i - 1][1], 'ticks rise');
    assert.equal(ticks.at(-1)[1], total);
    // From MySQL now, and for a while from memory.
    await sql("INSERT INTO broadcasts (id, owner_id, title, version, created_at_ms) VALUES ('storm', 'owner', 't', 1, 1)");
    assert.deepEqual((await call(counters[1], 'GET', 'storm/loves')).json, { total });
    const { ranking } = (await call(counters[1], 'GET', 'storm/loves/ranking?limit=3')).json;
    assert.deepEqual(ranking.map((entry) => entry.count), [...acknowledged.values()].sort((a, b) => b - a).slice(0, 3));
    await sql("UPDATE loves SET total = total + 1 WHERE broadcast_id = 'storm'");
    assert.deepEqual((await call(counters[1], 'GET', 'storm/loves')).json, { total }, 'MySQL was not asked again');
    assert.equal((await call(counters[1], 'POST', 'storm/loves', { as: token('u1'), body: { batch_id: 'late', count: 1 } })).json.error.code, 'over');
    after.close();
    t.diagnostic(`${clients} clients x ${batches} batches, ${total} taps, ${kills} kills, ${resends} resends`);
    assert.ok(kills >= victims.length, 'each of them was killed');
});
