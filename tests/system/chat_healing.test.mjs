// What a dead subscription, a deposed master and a failover mean to viewers: nothing missed, nothing twice, and how long it took.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ChatRig } from '../lib/chat.mjs';
import { atEnd, sleep, tcpProxy, waitFor } from '../lib/fixture.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';
import { Sentinels } from '../lib/sentinels.mjs';

const isLong = process.env.HANABI_LONG === 'yes';
const rig = new ChatRig();

before(async () => {
    await rig.start();
    atEnd(() => rig.stop());
});

/** Says something every 40 ms until stop(); `acked` are the ids that were acknowledged. */
function talk(viewer) {
    const acked = [];
    let isOver = false;
    const done = (async () => {
        for (let i = 0; !isOver; i += 1) {
            const answer = await viewer.say(`${viewer.user} ${i} ${Date.now()}`).catch(() => ({}));
            if (answer.type === 'ack') acked.push(answer.id);
            await sleep(40);
        }
    })();
    return { acked, stop: () => { isOver = true; return done; } };
}

async function logIds(redis, broadcast) {
    return (await redis.command('XRANGE', `${keys.KEY_CHAT_LOG}${broadcast}`, '-', '+')).map(([id]) => id);
}

const seconds = (list) => list.map((ms) => (ms / 1000).toFixed(1)).join(' ');

test('a black hole on the subscription: healed within 8 s, with every comment and setting of the gap', { timeout: 300000 }, async (t) => {
    const rounds = isLong ? 10 : 2;
    await rig.broadcast('hole', 'caster');
    // Five processes, each with a line to Redis of its own, that go deaf together: ten times in two rounds.
    const deaf = [];
    for (let i = 0; i < 5; i += 1) {
        const proxy = await tcpProxy(rig.redisPort, atEnd);
        const chat = await rig.chat({ HANABI_REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
        deaf.push({ proxy, chat, viewer: await rig.viewer(chat, 'hole', { as: `ear${i}` }).ready() });
    }
    const mouth = await rig.viewer(await rig.chat(), 'hole', { as: 'mouth' }).ready();
    atEnd(() => rig.stopChats()); // before their lines go
    const talking = talk(mouth);
    const took = [];
    for (let round = 0; round < rounds; round += 1) {
        await waitFor('all hear', () => deaf.every(({ viewer }) => viewer.lastId === mouth.lastId), 5000);
        for (const { proxy } of deaf) proxy.swallow('SUBSCRIBE');
        const began = Date.now();
        await sleep(300);
        const gap = (await mouth.say(`into the gap ${round}`)).id;
        const decoration = { background: `#00000${round}`, frame: 'gold' };
        await rig.setting('block', 'caster', `rude${round}`, {});
        const version = await rig.setting('decoration', 'ear0', '', decoration);
        assert.ok(deaf.every(({ viewer }) => !viewer.comments.some((event) => event.id === gap)), 'they are deaf');
        await Promise.all(deaf.map(async ({ viewer }) => {
            await waitFor('the comment of the gap', () => viewer.comments.some((event) => event.id === gap), 12000);
            took.push(Date.now() - began);
        }));
        for (const { chat } of deaf) await waitFor('the setting of the gap', async () => await rig.metric(chat, 'hanabi_chat_setting_version') >= version, 1000);
        const { id } = await deaf[0].viewer.say(`decorated ${round}`);
        const shown = await waitFor('the next comment', () => mouth.comments.find((event) => event.id === id), 3000);
        assert.deepEqual(shown.user.decoration, decoration);
        const rude = await rig.viewer(deaf[1].chat, 'hole', { as: `rude${round}` }).ready();
        assert.equal((await rude.say('x')).code, 'blocked');
        await rude.close();
    }
    await talking.stop();
    const redis = new RedisClient(rig.redisPort);
    const logged = await logIds(redis, 'hole');
    redis.close();
    await waitFor('all have the last', () => deaf.every(({ viewer }) => viewer.lastId === logged.at(-1)), 5000);
    for (const { viewer } of deaf) assert.deepEqual(viewer.comments.map((event) => event.id), logged);
    assert.ok(talking.acked.every((id) => logged.includes(id)));
    t.diagnostic(`${took.length} dead subscriptions healed after ${seconds(took)} s; ${logged.length} comments, each seen once by all`);
    assert.ok(Math.max(...took) <= 8000, `${seconds(took)} s`);
});

let set;
let viewers;

test('Sentinel: masters are killed or hang: healed within 3 s of the election', { timeout: 300000 }, async (t) => {
    const rounds = isLong ? 10 : 3;
    set = await new Sentinels(rig.dir).start();
    atEnd(() => set.stop());
    const seed = new RedisClient(set.ports[0]);
    await seed.command('HSET', `${keys.KEY_BROADCAST}failover`, 'state', 'live', 'owner_id', 'caster', 'version', '1');
    seed.close();
    const chats = [await rig.chat({ HANABI_REDIS_URL: set.url }), await rig.chat({ HANABI_REDIS_URL: set.url })];
    atEnd(() => rig.stopChats());
    viewers = [];
    for (const name of ['a', 'b', 'c', 'd']) viewers.push(await rig.viewer(chats[viewers.length % 2], 'failover', { as: name }).ready());
    const took = [];
    const talks = viewers.map(talk);
    for (let round = 0; round < rounds; round += 1) {
        await set.whole();
        if (round % 3 === 2) set.servers[set.master].pause();
        else set.servers[set.master].kill();
        const elected = await set.elected();
        const acked = talks.map((one) => one.acked.length);
        const heard = viewers.map((viewer) => viewer.comments.length);
        await waitFor('all are acknowledged and heard again', () => viewers.every((viewer, i) => talks[i].acked.length > acked[i] && viewer.comments.length > heard[i]), 15000, 5);
        took.push(Date.now() - elected);
        await set.swapped();
    }
    await Promise.all(talks.map((one) => one.stop()));
    const now = new RedisClient(set.ports[set.master]);
    const logged = await logIds(now, 'failover');
    now.close();
    await waitFor('all have the last', () => viewers.every((viewer) => viewer.lastId === logged.at(-1)), 5000);
    const known = new Set(logged);
    for (const viewer of viewers) {
        const ids = viewer.comments.map((event) => event.id);
        assert.equal(new Set(ids).size, ids.length, 'nothing twice');
        assert.deepEqual(ids.filter((id) => known.has(id)), logged, `${viewer.user} misses nothing`);
    }
    // Replication is asynchronous, but an acknowledgement waits for it (libcommon/redis_settle.h).
    assert.deepEqual(talks.flatMap(({ acked }) => acked).filter((id) => !known.has(id)), [], 'no acknowledged comment was lost with a master');
    t.diagnostic(`${rounds} failovers healed ${seconds(took)} s after the election; ${logged.length} comments in the log`);
    assert.ok(Math.max(...took) <= 3000, `${seconds(took)} s`);
});

test('a deposed master that goes on answering is noticed', { timeout: 60000 }, async (t) => {
    await set.whole();
    const old = new RedisClient(set.ports[set.master]);
    const fresh = new RedisClient(set.ports[1 - set.master]);
    // Cut off from the sentinels, not from us.
    await fresh.command('REPLICAOF', 'NO', 'ONE');
    for (const client of set.clients) {
        await client.command('SENTINEL', 'REMOVE', 'main');
        await client.command('SENTINEL', 'MONITOR', 'main', '127.0.0.1', set.ports[1 - set.master], 2);
    }
    const deposed = Date.now();
    // From now on only what stands in the new master's log counts.
    const [gift] = await fresh.script('chat_append', 'failover', '', '"type":"gift","user":{"id":"rich","name":"R"},"item":{"id":"rocket"}}');
    await waitFor('all have moved', () => viewers.every((viewer) => viewer.of('gift').some((event) => event.id === gift)), 10000, 5);
    const noticed = Date.now() - deposed;
    assert.match(await old.command('INFO', 'replication'), /role:master/);
    for (const viewer of viewers) await waitFor('acknowledged again', async () => (await viewer.say(`again ${Date.now()}`)).type === 'ack', 5000, 100);
    const logged = await logIds(fresh, 'failover');
    await waitFor('all have the last', () => viewers.every((viewer) => viewer.lastId === logged.at(-1)), 5000);
    for (const viewer of viewers) assert.equal(viewer.of('gift').length, 1);
    [old, fresh].forEach((client) => client.close());
    t.diagnostic(`noticed after ${seconds([noticed])} s`);
    assert.ok(noticed <= 8000);
});
