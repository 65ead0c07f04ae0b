// Chat over two independent chat Redis: every service finds a broadcast's chat on the same one; one of them is away for a while, and the other's
// broadcasts do not notice.
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { redisServer } from '../../deploy/stack/servers.mjs';
import { Stack } from '../../deploy/stack/stack.mjs';
import { Crowd } from '../lib/crowd.mjs';
import { freshStack, newBroadcast, run, sleep, waitFor } from '../lib/fixture.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';

class ShardedStack extends Stack {
    async startData() {
        this.chatPorts = [await freePort(), await freePort()];
        this.chatPorts.forEach((port, i) => {
            this.servers[`chatRedis${i}`] = redisServer(this.supervised({ name: `chat-redis-${i}`, port, dir: path.join(this.runDir, `redis-chat-${i}`), logFile: this.log(`redis-chat-${i}`),
                durable: true, restart: false }));
            this.servers[`chatRedis${i}`].start();
        });
        const urls = { HANABI_CHAT_REDIS_URL: this.chatPorts.map((port) => `redis://127.0.0.1:${port}`).join(' ') };
        for (const name of ['chat', 'live-api', 'love-counter', 'archive']) this.options.env[name] = { ...this.options.env[name], ...urls };
        await Promise.all([super.startData(), ...this.chatPorts.map((port) => waitForPort(port))]);
    }
}

let stack;
let redis;
before(async () => {
    stack = await freshStack({ kind: ShardedStack, env: {}, services: { ingest: 0, transcoder: 0, 'segment-uploader': 0, 'live-api': 2, archive: 2 } });
    redis = stack.chatPorts.map((port) => new RedisClient(port));
});

const sql = async (text) => (await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(stack.ports.mysql), '-u', 'hanabi', 'hanabi', '-BNe', text],
    { env: { ...process.env, MYSQL_PWD: stack.secrets.mysql } })).stdout.trim();

/** A broadcast on air, without a picture, with an audience; `shard`: which Redis has its rooms. */
async function gather(t) {
    const broadcast = await newBroadcast(stack, 'Sharded');
    await run('redis-cli', ['-p', String(stack.ports.state), 'HSET', `${keys.KEY_BROADCAST}${broadcast.id}`, 'state', 'live']);
    const crowd = await Crowd.join(stack, broadcast, 3);
    t.after(() => crowd.close());
    const has = await Promise.all(redis.map((client) => client.command('EXISTS', `${keys.KEY_CHAT_ROOMS}${broadcast.id}`)));
    assert.equal(has[0] + has[1], 1, 'a broadcast is on one Redis');
    return { crowd, shard: has.indexOf(1), id: broadcast.id };
}

test('broadcasts are spread over two chat Redis; one goes away and comes back', { timeout: 120000 }, async (t) => {
    t.after(() => redis.forEach((client) => client.close()));
    const gathered = [];
    while (gathered.length < 2 || new Set(gathered.map(({ shard }) => shard)).size < 2) {
        gathered.push(await gather(t));
        assert.ok(gathered.length < 20, 'all are on one Redis');
    }
    const here = gathered.find(({ shard }) => shard === 0);
    const there = gathered.find(({ shard }) => shard === 1);
    for (const { crowd } of gathered) crowd.start();
    await Promise.all(gathered.map(({ crowd }) => crowd.goesOn('at first')));
    await waitFor('hearts are shown on both', () => [here, there].every(({ crowd }) => crowd.viewers.every((viewer) => viewer.of('love').length > 0 && viewer.of('gift').length > 0)), 10000);
    await Promise.all([here, there].map(async ({ id, shard }) => {
        const lengths = await Promise.all(redis.map((client) => client.command('EXISTS', `${keys.KEY_CHAT_LOG}${id}`)));
        assert.deepEqual(lengths, shard === 0 ? [1, 0] : [0, 1], 'its log is where its rooms are');
    }));

    await stack.servers.chatRedis1.stop('SIGKILL');
    await sleep(500);
    const before = { ...here.crowd.troubles };
    await here.crowd.goesOn('while the other Redis is away');
    await waitFor('comments are refused there', () => there.crowd.troubles['comment unavailable'] > 0, 10000);
    assert.deepEqual(here.crowd.troubles, before, 'nothing was refused here');
    stack.servers.chatRedis1.start();
    await there.crowd.goesOn('when it is back');

    await Promise.all(gathered.map(({ crowd }) => crowd.stop()));
    for (const { crowd } of gathered) assert.deepEqual(await crowd.judge(sql), []);
    t.diagnostic(`${gathered.length} broadcasts; here: ${here.crowd.summary}`);
    t.diagnostic(`there: ${there.crowd.summary}`);
    assert.deepEqual(here.crowd.downs, [], 'no chat line broke');
});
