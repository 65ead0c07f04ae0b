// A Redis has reached its maxmemory. The state Redis, because MariaDB hangs and the comments wait in it: comments and hearts are refused with when to ask again, the video and
// everything else goes on, and with MariaDB back `archive` makes room by itself.
// The media Redis: it drops segments that stand in the store, and viewers see nothing of it.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Viewer } from '../lib/chat.mjs';
import { api, freshStack, newBroadcast, programmeFile, pushFile, run, waitFor, waitForState } from '../lib/fixture.mjs';
import { onAir } from '../lib/on_air.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';

const ROOM = 1 << 20; // left in Redis when MariaDB hangs
const LINE = 'それはもう、とても長い感想です。'.repeat(12);
let stack;
let file;
before(async () => {
    file = await programmeFile(120);
    stack = await freshStack({ graceMs: 60000, env: { archive: { HANABI_ARCHIVE_TAIL_ENTRIES: '50', HANABI_ARCHIVE_TAIL_MS: '1000' },
        chat: { HANABI_CHAT_RATE_BURST: '100000', HANABI_CHAT_RATE_PER_10S: '100000' } } });
});

const chat = (id, options) => new Viewer(new URL(stack.origin).port, id, options).ready();
const session = async (name) => (await api(stack, 'POST', '/sessions', { body: { name } })).json.token;

test('the state Redis is full: what viewers send is refused, what is on air goes on, new ones too, and room comes by itself', { timeout: 120000 }, async (t) => {
    const { broadcast, monitor } = await onAir(t, stack, file);
    const second = await newBroadcast(stack, 'begins while Redis is full');
    const [token, bob] = [await session('ann'), await session('bob')];
    const ann = await chat(broadcast.id, { token });
    t.after(() => ann.close());
    const said = [];
    const say = async (text) => {
        const answer = await ann.say(text);
        if (answer.type === 'ack') said.push(answer.id);
        return answer;
    };
    const tap = (batch) => api(stack, 'POST', `/broadcasts/${broadcast.id}/loves`, { token, body: { batch_id: batch, count: 3 } });
    assert.equal((await say('before')).type, 'ack');
    assert.equal((await tap('before')).status, 200);

    const redis = new RedisClient(stack.ports.state);
    t.after(() => redis.close());
    stack.servers.mariadb.pause();
    t.after(() => stack.servers.mariadb.resume());
    const used = Number(/used_memory:(\d+)/.exec(await redis.command('INFO', 'memory'))[1]);
    assert.equal(await redis.command('CONFIG', 'SET', 'maxmemory', used + ROOM), 'OK');
    // What connections use comes and goes: full it is when nothing at all has been taken for a second.
    let refused, heart, takenAt = Date.now();
    for (let round = 0; Date.now() - takenAt < 1000; round += 1) {
        const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => say(`${said.length + i} ${LINE}`)));
        refused = answers.find(({ type }) => type === 'error');
        heart = await tap(`full${round}`);
        if (heart.status === 200 || answers.some(({ type }) => type === 'ack')) takenAt = Date.now();
    }
    t.diagnostic(`${said.length} comments acknowledged until Redis was full`);
    assert.ok(said.length > 100, 'it filled with comments');
    assert.deepEqual([refused.code, refused.retry_after_ms > 0], ['unavailable', true], JSON.stringify(refused));
    assert.deepEqual([heart.status, heart.json.error.code, Number(heart.headers.get('retry-after')) >= 1], [503, 'unavailable', true], heart.text);
    const from = monitor.newest().segments.at(-1).sequence;
    const pusher = pushFile(second.pushUrl, file);
    t.after(() => pusher.kill());
    await waitForState(stack, second.id, 'live', 15000);
    const late = await chat(broadcast.id, { token: bob });
    t.after(() => late.close());
    assert.ok(late.hello, 'who comes now may read');
    await waitFor('the playlist goes on', () => monitor.newest().segments.at(-1).sequence >= from + 4, 20000);
    await waitFor('the metric tells', async () => Number(/redis_memory_ratio\{[^}]*redis="state"[^}]*\} ([0-9.]+)/.exec(await (await fetch(`${stack.adminUrl('archive')}/metrics`)).text())?.[1]) > 0.9, 15000, 200);
    assert.equal((await say('still full')).code, 'unavailable');

    stack.servers.mariadb.resume();
    const began = Date.now();
    await waitFor('comments are taken again', async () => (await say('there is room')).type === 'ack', 30000, 100);
    t.diagnostic(`taken again ${Date.now() - began} ms after MariaDB goes on`);
    assert.equal((await tap('full')).status, 200, 'and hearts');
    const sql = async (text) => (await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(stack.ports.mysql), '-u', 'hanabi', 'hanabi', '-BNe', text],
        { env: { ...process.env, MYSQL_PWD: stack.secrets.mysql } })).stdout.trim();
    const inMysql = async () => Number(await sql(`SELECT COUNT(*) FROM comments WHERE broadcast_id = '${broadcast.id}' AND type = 'comment'`));
    await waitFor('all comments are in MySQL', async () => await inMysql() >= said.length, 20000, 200);
    assert.equal(await inMysql(), said.length, 'each acknowledged comment once, and no other');
    await monitor.stop();
    assert.deepEqual(await monitor.judge(), []);
});

test('the media Redis is full: what stands in the store goes first, and nobody sees it', { timeout: 90000 }, async (t) => {
    const { broadcast, monitor } = await onAir(t, stack, file);
    await waitFor('its ring is full', () => monitor.newest().segments.at(-1).sequence >= 8, 20000);
    const media = new RedisClient(stack.ports.media);
    t.after(() => media.close());
    const info = async (section, field) => Number(new RegExp(`${field}:(\\d+)`).exec(await media.command('INFO', section))[1]);
    // Something has to go at once, and from here on what comes in drives something out.
    assert.equal(await media.command('CONFIG', 'SET', 'maxmemory', Math.round(0.85 * await info('memory', 'used_memory'))), 'OK');
    const before = await info('stats', 'evicted_keys');
    const from = monitor.newest().segments.at(-1).sequence;
    const ring = () => media.command('XLEN', `${keys.KEY_MEDIA_RING}${broadcast.id}`);
    const depth = await ring();
    let least = depth; // from it a transcoder that is started again goes on
    await waitFor('the playlist goes on', async () => { least = Math.min(least, await ring()); return monitor.newest().segments.at(-1).sequence >= from + 8; }, 30000);
    t.diagnostic(`${await info('stats', 'evicted_keys') - before} keys evicted`);
    assert.ok(await info('stats', 'evicted_keys') > before, 'it was full');
    assert.ok(least > depth / 2, `the ring stays: ${depth} entries, at least ${least}`);
    const lives = await Promise.all((await media.command('KEYS', `${keys.KEY_MEDIA_PART}${broadcast.id}:*`)).map((key) => media.command('TTL', key)));
    assert.ok(lives.filter((seconds) => seconds > 30).length <= 9, `what is in the store goes half a minute later: ${lives}`);
    await monitor.stop();
    assert.deepEqual(await monitor.judge(), []);
    assert.equal(monitor.newest().segments.filter((segment) => segment.discontinuity).length, 0, 'no seam');
});
