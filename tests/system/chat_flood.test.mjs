// A million comments a minute into one broadcast, and viewers that never read: what the others see, what is kept, how much memory it takes.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { ChatRig, secret } from '../lib/chat.mjs';
import { chatLoad } from '../lib/chat_load.mjs';
import { atEnd, run, sleep, waitFor } from '../lib/fixture.mjs';
import { inTime, watchDisk, watchNeighbours } from '../lib/neighbours.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';

const isLong = process.env.HANABI_LONG === 'yes';
const rig = new ChatRig();
const MB = 1024 * 1024;

before(async () => {
    await rig.start();
    atEnd(() => rig.stop());
    await run('sync'); // what earlier tests wrote is not this one's to wait for
});

/** Looks at the processes twice a second until stop(): the most memory and queue, whether one was ever not well, how much others disturbed. */
async function observe(chats) {
    const redis = new RedisClient(rig.redisPort);
    const processors = watchNeighbours(), disk = await watchDisk(redis);
    const seen = { memory: 0, queue: 0, bad: [] };
    let isOver = false;
    const done = (async () => {
        while (!isOver) {
            for (const chat of chats) {
                seen.memory = Math.max(seen.memory, await rig.metric(chat, 'process_resident_memory_bytes'));
                seen.queue = Math.max(seen.queue, await rig.metric(chat, 'hanabi_chat_queue_bytes'));
                for (const page of ['healthz', 'readyz']) {
                    const { status } = await fetch(`http://127.0.0.1:${chat.admin}/${page}`);
                    if (status !== 200) seen.bad.push(`${page} ${status}`);
                }
            }
            await sleep(500);
        }
    })();
    return { async stop() {
        seen.noise = { processors: processors(), disk: await disk() };
        redis.close();
        isOver = true;
        await done;
        return seen;
    } };
}

const figures = ({ delivery_ms, offered, acked }) => `p99 ${delivery_ms.p99} ms, ${offered} offered, ${acked} acknowledged`;

test('a million comments a minute: health, memory, gifts and delivery hold, and what is acknowledged is in the log', { timeout: 300000 }, async (t) => {
    const seconds = isLong ? 60 : 10;
    const memoryMb = 64;
    // No user says more than a person could if there were a million of them; here 500 speak for them.
    const env = { HANABI_CHAT_ROOM_SIZE: '125', HANABI_CHAT_ROOM_BUDGET: '30', HANABI_CHAT_BROADCASTER_BUDGET: '60', HANABI_CHAT_MEMORY_MB: String(memoryMb), HANABI_CHAT_PRESENCE_MS: '2000' };
    const chats = [await rig.chat(env), await rig.chat(env)];
    await rig.broadcast('million', 'idol');
    const acks = path.join(rig.dir, 'acks');
    const load = await chatLoad(chats.map((chat) => chat.port), '/chat/v1/broadcasts/million', { viewers: 500, posters: 500, rate: 1000000 / 60, lead: 1, seconds, settle: 3, secret, acks, count: '"type":"gift"' });
    await load.ready;
    const idol = await rig.viewer(chats[0], 'million', { as: 'idol' }).ready();
    const observer = await observe(chats);
    const redis = new RedisClient(rig.redisPort);
    let gifts = 0;
    for (const until = Date.now() + seconds * 1000 - 1500; Date.now() < until; gifts += 1) {
        await redis.script('chat_append', 'million', '', `"type":"gift","user":{"id":"rich","name":"R"},"item":{"id":"rocket"},"number":${gifts}}`);
        await sleep(250);
    }
    const shout = await idol.say('thank you all');
    const result = await load.over;
    const seen = await observer.stop();
    t.diagnostic(JSON.stringify(result));
    t.diagnostic(`memory ${(seen.memory / MB).toFixed(0)} MiB, queues ${(seen.queue / MB).toFixed(1)} MiB at most; ${(result.acked / seconds).toFixed(0)} of ${(result.offered / seconds).toFixed(0)} comments a second acknowledged`);
    assert.equal(result.connected, 500);
    assert.equal(result.closed, 0, 'nobody is sent away');
    assert.equal(result.disordered, 0);
    assert.equal(shout.type, 'ack');
    assert.deepEqual([result.counted_min, result.counted_max], [gifts, gifts], 'every viewer got every gift, once');
    assert.equal(idol.of('gift').length, gifts);
    assert.deepEqual(seen.bad, []);
    assert.ok(seen.queue < memoryMb * MB, 'queues stay within their bound');
    assert.ok(seen.memory < (memoryMb + 64) * MB, 'and so does the process: that bound, the program and the connections');
    // Every acknowledged comment stands in the log.
    const logged = new Set();
    for (let from = '-'; ;) {
        const entries = await redis.command('XRANGE', `${keys.KEY_CHAT_LOG}million`, from, '+', 'COUNT', 2000);
        for (const [id] of entries) logged.add(id);
        if (entries.length < 2000) break;
        from = `(${entries.at(-1)[0]}`;
    }
    redis.close();
    const acknowledged = fs.readFileSync(acks, 'utf8').trim().split('\n');
    assert.equal(acknowledged.length, result.acked);
    assert.equal(acknowledged.filter((id) => !logged.has(id)).length, 0);
    assert.equal(new Set(acknowledged).size, acknowledged.length);
    await inTime(t, seen.noise, figures(result), {
        'the load itself kept up': result.offered >= 0.98 * seconds * 1000000 / 60,
        'most of it was taken': result.acked > 0.5 * result.offered,
        'delivered within 250 ms at p99': result.delivery_ms.p99 <= 250,
    });
});

test('300 that never read among 2,000 that do: the 2,000 notice nothing, memory stays bounded', { timeout: 120000 }, async (t) => {
    const chat = await rig.chat({ HANABI_CHAT_SLOW_MS: '2000', HANABI_CHAT_SOCKET_SEND_KB: '8', HANABI_CHAT_ROOM_BUDGET: '0', HANABI_CHAT_PRESENCE_MS: '2000' });
    await rig.broadcast('deaf');
    const load = await chatLoad([chat.port], '/chat/v1/broadcasts/deaf', { viewers: 2000, deaf: 300, posters: 40, rate: 40, seconds: 10, settle: 2, text: 190, secret });
    await load.ready;
    const observer = await observe([chat]);
    const result = await load.over;
    const seen = await observer.stop();
    t.diagnostic(JSON.stringify(result));
    t.diagnostic(`memory ${(seen.memory / MB).toFixed(0)} MiB, queues ${(seen.queue / MB).toFixed(1)} MiB at most`);
    assert.deepEqual([result.connected, result.closed, result.disordered], [2300, 0, 0]);
    assert.equal(result.acked, result.offered);
    assert.deepEqual([result.comments_min, result.comments_max], [result.offered, result.offered], 'each of the 2,000 got each comment once');
    await waitFor('the deaf are closed', async () => await rig.metric(chat, 'hanabi_chat_slow_closed_total') === 300, 15000, 200);
    assert.deepEqual(seen.bad, []);
    assert.ok(seen.memory < 100 * MB && seen.queue < 16 * MB);
    await inTime(t, seen.noise, figures(result), { 'delivered within 250 ms at p99': result.delivery_ms.p99 <= 250 });
});
