// Stream keys with live-api, ingest, a Redis that keeps its data and MariaDB: MySQL's newest key is the only one that opens a line, whoever renews
// it at the same moment, whatever is away meanwhile, and whoever puts a lost broadcast back into Redis.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { waitForPort } from '../../deploy/stack/ports.mjs';
import { ApiRig } from '../lib/api_rig.mjs';
import { sleep, waitFor } from '../lib/fixture.mjs';
import { keyHash } from '../lib/ingest_rig.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';
import { RtmpClient } from '../lib/rtmp_client.mjs';

const AVC_CONFIG = Buffer.from('17000000000164001fffe100046764001f01000268ee', 'hex');
const KEY_FRAME = Buffer.from('170100000000000004658884ff', 'hex');

let rig, ingest, owner, apis;

before(async () => {
    rig = await ApiRig.start({ durable: true });
    apis = [rig.api, await rig.addApi()];
    ingest = await rig.add('ingest', 'HANABI_RTMP_LISTEN', { HANABI_MYSQL_URL: rig.data.mysqlUrl });
    await rig.ready(ingest);
    owner = await rig.session('花子');
});

const create = async () => (await rig.call('POST', '/broadcasts', { as: owner.token, body: { title: 'keys' } })).json;
const renew = (id, api = rig.api) => rig.call('POST', `/broadcasts/${id}/stream_key`, { as: owner.token, api });
const shown = async (id) => (await rig.call('GET', `/broadcasts/${id}`, { as: owner.token })).json.stream_key;
const inRedis = async (id) => (await rig.redis.hash(keys.KEY_BROADCAST + id)).key_hash;
const inMysql = async (id) => (await rig.sql(`SELECT stream_key_hash FROM broadcasts WHERE id = '${id}'`))[0][0];
const connect = () => RtmpClient.connect({ port: ingest.port });

/** The status that a publisher with this key is given: 'NetStream.Publish.Start' opens the line (and it is closed again). */
async function answerTo(key) {
    const client = await connect();
    try {
        await client.publish(key);
        return 'NetStream.Publish.Start';
    } catch (error) { return error.code; } finally { client.close(); }
}

/** A publisher that sends a picture ten times a second until close(). */
async function publisher(key) {
    const client = await connect();
    await client.publish(key);
    client.sendTag({ type: 9, timestamp: 0, body: AVC_CONFIG });
    let timestamp = 0;
    const timer = setInterval(() => { timestamp += 100; client.sendTag({ type: 9, timestamp, body: KEY_FRAME }); }, 100);
    return { client, close: () => { clearInterval(timer); client.close(); } };
}

const settled = (id) => waitFor('nobody publishes', async () => (await rig.redis.hash(keys.KEY_BROADCAST + id)).connected !== '1');

test('renewed by many at the same moment: Redis, MySQL and what the owner is shown agree, and that key alone opens a line', { timeout: 60000 }, async () => {
    for (let round = 0; round < 15; round += 1) {
        const { id } = await create();
        const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => renew(id, apis[i % 2])));
        assert.deepEqual([...new Set(answers.map((a) => a.status))], [200]);
        const key = await shown(id);
        assert.equal(await inMysql(id), keyHash(key), `round ${round}`);
        assert.equal(await inRedis(id), keyHash(key), `round ${round}`);
        const given = [...new Set(answers.map((a) => a.json.stream_key))];
        assert.ok(given.includes(key));
        const known = await Promise.all(given.map((k) => rig.redis.command('GET', keys.KEY_STREAM_KEY + keyHash(k))));
        assert.deepEqual(given.filter((_, i) => known[i]), [key], `round ${round}: only one is known`);
        if (round > 0) continue;
        for (const k of given) assert.equal(await answerTo(k), k === key ? 'NetStream.Publish.Start' : 'NetStream.Publish.BadName');
    }
});

test('renewed while Redis is away: the old key is worth nothing as soon as Redis is back, though the owner was told to try again', { timeout: 60000 }, async () => {
    const made = await create();
    await rig.data.redis.stop('SIGTERM');
    await waitFor('readyz names it', async () => 'redis' in await rig.missing(rig.api), 8000);
    assert.equal((await renew(made.id)).status, 503);
    const key = await shown(made.id);
    assert.notEqual(key, made.stream_key);
    rig.redis.close();
    rig.data.redis.start();
    await waitForPort(rig.data.redisPort);
    rig.redis = new RedisClient(rig.data.redisPort);
    await waitFor('Redis has the new key', async () => await inRedis(made.id) === keyHash(key), 8000);
    await rig.ready(ingest);
    assert.equal(await answerTo(made.stream_key), 'NetStream.Publish.BadName');
    assert.equal(await answerTo(key), 'NetStream.Publish.Start');
    await waitFor('the outbox is empty', async () => (await rig.sql("SELECT COUNT(*) FROM outbox WHERE kind = 'stream_key'"))[0][0] === '0', 8000);
});

for (const away of ['live-api', 'live-api and MariaDB']) {
    test(`renewed during a publish, then Redis loses its data with ${away} away: the old key does not come back to life`, { timeout: 90000 }, async () => {
        const made = await create();
        const line = await publisher(made.stream_key);
        try {
            await waitFor('on air', async () => (await rig.redis.hash(keys.KEY_BROADCAST + made.id)).session);
            const key = (await renew(made.id)).json.stream_key;
            // With MariaDB at hand, at once: ingest has not heard of it from Redis. Without, once it has.
            if (away !== 'live-api') await sleep(1200);
            await Promise.all(rig.services.filter((s) => s.name === 'live-api' && s.exits.length === 0).map((s) => s.stop()));
            if (away !== 'live-api') await rig.data.mariadb.stop('SIGKILL');
            await rig.redis.command('FLUSHALL');
            await waitFor('ingest has restored the broadcast and its key', async () => await inRedis(made.id), 8000);
            assert.equal(await inRedis(made.id), keyHash(key));
            assert.equal(line.client.closed, false);
            line.close();
            await settled(made.id);
            if (away === 'live-api') assert.equal(await answerTo(made.stream_key), 'NetStream.Publish.BadName');
            else assert.equal(await answerTo(made.stream_key), 'NetStream.Publish.Failed', 'nobody can say that it is no key of another broadcast');
            assert.equal(await answerTo(key), 'NetStream.Publish.Start');
        } finally { line.close(); }
        if (away !== 'live-api') {
            rig.data.mariadb.start();
            await waitForPort(rig.data.mysqlPort, 60000);
        }
        rig.api = await rig.addApi();
    });
}
