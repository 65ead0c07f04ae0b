// Two chat processes with three small rooms, a real Redis and a real MariaDB: who gets what, in which order, and what is lost when something dies.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { ChatRig, token } from '../lib/chat.mjs';
import { AsyncApi } from '../lib/contract.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';
import { sleep, waitFor } from '../lib/fixture.mjs';

const rig = new ChatRig();
const env = { HANABI_CHAT_ROOM_SIZE: '3', HANABI_CHAT_REAP_MS: '1500' };
let one;
let two;

before(async () => {
    await rig.start();
    one = await rig.chat(env);
    two = await rig.chat({ ...env, HANABI_CHAT_WORKERS: '2' });
});
after(() => rig.stop());

/** `count` viewers in turn on both processes, so that every room spans them. */
async function fill(broadcast, count, prefix = 'viewer') {
    const viewers = [];
    for (let i = 0; i < count; i += 1) viewers.push(await rig.viewer(i % 2 ? two : one, broadcast, { as: `${prefix}${i}` }).ready());
    return viewers;
}

const log = async (broadcast) => {
    const lines = (await rig.cli('--json', 'XRANGE', `${keys.KEY_CHAT_LOG}${broadcast}`, '-', '+'));
    return JSON.parse(lines).map(([id, fields]) => ({ id, room: fields[1], event: JSON.parse(`{${fields[3]}`) }));
};

test('three rooms on two processes: each comment to its room, once, in one order', async () => {
    await rig.broadcast('rooms');
    const viewers = await fill('rooms', 9);
    assert.deepEqual([0, 1, 2].map((room) => viewers.filter((viewer) => viewer.hello.room === room).length), [3, 3, 3]);
    const answers = await Promise.all(viewers.flatMap((viewer) => Array.from({ length: 30 }, (_, i) => viewer.say(`${viewer.user} ${i}`))));
    assert.ok(answers.every((answer) => answer.type === 'ack'), JSON.stringify(answers.find((answer) => answer.type !== 'ack')));
    await waitFor('all comments', () => viewers.every((viewer) => viewer.comments.length >= 90), 10000).catch(() => {});
    for (const room of [0, 1, 2]) {
        const members = viewers.filter((viewer) => viewer.hello.room === room);
        const logged = (await log('rooms')).filter((entry) => entry.room === String(room)).map((entry) => entry.id);
        assert.equal(logged.length, 90);
        for (const member of members) {
            assert.deepEqual(member.comments.map((event) => event.id), logged, `${member.user} in room ${room}`);
            assert.ok(member.comments.every((event) => members.some((other) => other.user === event.user.id)));
        }
    }
});

test('a room that is not there: whoever asks for it gets one that is, and nothing is made of its number', async () => {
    await rig.broadcast('elsewhere');
    const strangers = await Promise.all([9999999, 99999, 5000, 7].map((room) => rig.viewer(one, 'elsewhere', { room }).ready()));
    assert.ok(strangers.every((viewer) => viewer.hello.room <= 1), JSON.stringify(strangers.map((viewer) => viewer.hello)));
    const fields = (await rig.cli('HKEYS', 'hanabi:chat:rooms:elsewhere')).split('\n').map((field) => field.replace(/\|.*/, ''));
    assert.deepEqual([...new Set(fields)].sort(), ['0', '1', 'rooms', 'total']);
});

test('an acknowledged comment is in the log at that moment', async () => {
    await rig.broadcast('acks');
    const viewer = await rig.viewer(one, 'acks', { as: 'alice' }).ready();
    for (let i = 0; i < 20; i += 1) {
        const { id } = await viewer.say(`n ${i}`);
        assert.equal(JSON.parse(await rig.cli('--json', 'XRANGE', `${keys.KEY_CHAT_LOG}acks`, id, id)).length, 1);
    }
});

test('the broadcaster is heard in all rooms and sees them all; so are messages of other services', async () => {
    await rig.broadcast('all', 'idol');
    const viewers = await fill('all', 7);
    const idol = await rig.viewer(two, 'all', { as: 'idol' }).ready();
    const operator = await rig.viewer(one, 'all', { token: token('op', { role: 'operator' }) }).ready();
    assert.deepEqual([idol.hello.role, operator.hello.role, viewers[0].hello.role], ['broadcaster', 'operator', 'viewer']);
    await idol.say('hello everybody');
    await Promise.all(viewers.map((viewer) => viewer.say(`from ${viewer.user}`)));
    const love = { type: 'love', total: 12, at_ms: 1 };
    await rig.cli('PUBLISH', `${keys.CHANNEL_CHAT_ALL}all`, JSON.stringify([love]));
    await rig.cli('PUBLISH', keys.CHANNEL_BROADCAST, JSON.stringify({ type: 'state', id: 'all', state: 'suspended', version: 5, at_ms: 1, reason: 'silence' }));
    await waitFor('everything everywhere', () => [...viewers, idol, operator].every((viewer) => viewer.texts.includes('hello everybody') &&
        viewer.of('love').length === 1 && viewer.of('state')[0]?.state === 'suspended'));
    await waitFor('the broadcaster sees every room', () => viewers.every((viewer) => [idol, operator].every((seer) => seer.texts.includes(`from ${viewer.user}`))));
    assert.equal(viewers[0].comments.find((event) => event.text === 'hello everybody').user.role, 'broadcaster');
    // A room that is opened while the broadcaster watches is seen from its first comment on.
    const late = await fill('all', 6, 'late');
    for (const viewer of late) await viewer.say(`at once from ${viewer.user}`);
    await waitFor('new rooms too', () => late.every((viewer) => idol.texts.includes(`at once from ${viewer.user}`)));
    assert.equal(new Set(idol.comments.map((event) => event.id)).size, idol.comments.length);
});

test('deleting: the broadcaster and a moderator may, a viewer may not; everybody hears of it', async () => {
    await rig.broadcast('deletes', 'idol');
    const viewers = await fill('deletes', 4);
    const idol = await rig.viewer(one, 'deletes', { as: 'idol' }).ready();
    const moderator = await rig.viewer(two, 'deletes', { token: token('mod', { role: 'moderator' }) }).ready();
    assert.equal(moderator.hello.role, 'moderator');
    const { id } = await viewers[0].say('rude');
    assert.equal((await viewers[1].send({ type: 'delete', id })).code, 'forbidden');
    assert.equal((await idol.send({ type: 'delete', id })).type, 'ack');
    const other = await viewers[1].say('rude too');
    assert.equal((await moderator.send({ type: 'delete', id: other.id })).type, 'ack');
    await waitFor('deleted everywhere', () => viewers.every((viewer) => [id, other.id].every((gone) => viewer.of('deleted').some((event) => event.target === gone))));
    await moderator.say('be kind');
    await waitFor('heard in all rooms', () => viewers.every((viewer) => viewer.comments.at(-1)?.user.role === 'moderator'));
    assert.ok((await log('deletes')).some((entry) => entry.event.type === 'deleted' && entry.event.target === id));
});

test('who comes back gets what was missed, in the same room, nothing twice', async () => {
    await rig.broadcast('back');
    const [alice, bob, carol] = await fill('back', 3);
    await alice.say('before');
    await waitFor('bob has it', () => bob.texts.includes('before'));
    await bob.close();
    await fill('back', 3, 'other');
    for (let i = 0; i < 10; i += 1) await alice.say(`missed ${i}`);
    const again = await rig.viewer(one, 'back', { as: bob.user, last: bob.lastId }).ready();
    assert.equal(again.hello.room, 0);
    await carol.say('after');
    await waitFor('caught up', () => again.texts.includes('after'));
    assert.deepEqual(again.texts, [...Array.from({ length: 10 }, (_, i) => `missed ${i}`), 'after']);
});

test('a comment that is sent again with its ref is not said twice, wherever it is sent', async () => {
    await rig.broadcast('again');
    const [alice, bob] = await fill('again', 2);
    const said = await alice.send({ type: 'comment', ref: 'x-1', text: 'once' });
    alice.answers.clear();
    assert.deepEqual(await alice.send({ type: 'comment', ref: 'x-1', text: 'once' }), said, 'not a duplicate: the same comment');
    for (const process_ of [one, two]) {
        const back = await rig.viewer(process_, 'again', { as: alice.user, last: alice.lastId }).ready();
        assert.deepEqual(await back.send({ type: 'comment', ref: 'x-1', text: 'once' }), said);
        await back.close();
    }
    // Another text or another author is another comment, whatever its ref.
    const ids = [said.id];
    alice.answers.clear();
    ids.push((await alice.send({ type: 'comment', ref: 'x-1', text: 'twice' })).id, (await bob.send({ type: 'comment', ref: 'x-1', text: 'once' })).id);
    assert.equal(new Set(ids).size, 3);
    await waitFor('three comments', () => bob.comments.length === 3);
    assert.deepEqual((await log('again')).map((entry) => entry.id), ids);
});

test('a room that has emptied is filled again; viewers now and unique are told', async () => {
    await rig.broadcast('reuse');
    const viewers = await fill('reuse', 7);
    assert.deepEqual(viewers.map((viewer) => viewer.hello.room), [0, 0, 0, 1, 1, 1, 2]);
    const counts = () => { const { now, unique } = viewers[6].of('viewers').at(-1) ?? {}; return `${now} ${unique}`; };
    await waitFor('seven', () => counts() === '7 7');
    await Promise.all(viewers.slice(3, 6).map((viewer) => viewer.close()));
    await waitFor('four are left', () => counts() === '4 7');
    const late = await fill('reuse', 3, 'new');
    assert.deepEqual(late.map((viewer) => viewer.hello.room), [1, 1, 1]);
    await late[0].say('in the old room');
    await waitFor('heard there', () => late.every((viewer) => viewer.texts.includes('in the old room')));
    assert.ok(viewers.slice(0, 3).concat(viewers[6]).every((viewer) => viewer.texts.length === 0));
    await waitFor('ten in all', () => counts() === '7 10');
    const again = await rig.viewer(one, 'reuse', { as: viewers[3].user }).ready();
    await waitFor('one more now, nobody new', () => counts() === '8 10');
    await again.close();
});

test('a gift of another service reaches all rooms, is logged, and never thinned', async () => {
    await rig.broadcast('gifts', 'idol');
    const viewers = await fill('gifts', 7);
    const idol = await rig.viewer(one, 'gifts', { as: 'idol' }).ready();
    const redis = new RedisClient(rig.redisPort);
    const [id] = await redis.script('chat_append', 'gifts', '', '"type":"gift","user":{"id":"rich","name":"R"},"item":{"id":"rocket","name":"Rocket","price":100,"icon":"rocket","colour":"#ff5c8a"},"purchase":"p1"}');
    redis.close();
    await waitFor('the gift', () => [...viewers, idol].every((viewer) => viewer.of('gift').length === 1));
    assert.ok([...viewers, idol].every((viewer) => viewer.of('gift')[0].id === id && viewer.of('gift')[0].item.id === 'rocket'));
    assert.equal((await log('gifts'))[0].event.type, 'gift');
});

test('while Redis takes nothing, nothing is acknowledged; what was acknowledged at last is in the log', async () => {
    await rig.broadcast('slow');
    const [alice, bob] = await fill('slow', 2);
    rig.redis.pause();
    const said = alice.say('wait for it');
    await sleep(700);
    assert.equal(alice.answers.size, 0, 'no acknowledgement without the log');
    assert.equal(bob.comments.length, 0);
    rig.redis.resume();
    const { type, id } = await said;
    assert.equal(type, 'ack');
    assert.deepEqual((await log('slow')).map((entry) => entry.id), [id]);
    await waitFor('bob has it', () => bob.lastId === id);
});

test('a process is killed: its viewers come back elsewhere, miss nothing and get nothing twice; its places are given back', { timeout: 60000 }, async () => {
    await rig.broadcast('kill');
    const victim = await rig.chat(env);
    const stays = await rig.viewer(one, 'kill', { as: 'stays' }).ready();
    const moves = [];
    for (let i = 0; i < 2; i += 1) moves.push(await rig.viewer(victim, 'kill', { as: `moves${i}` }).ready());
    const acknowledged = [];
    let isOver = false;
    const talk = (async () => {
        for (let i = 0; !isOver; i += 1) {
            const answer = await stays.say(`line ${i}`);
            if (answer.type === 'ack') acknowledged.push(answer.id);
            await sleep(5);
        }
    })();
    await waitFor('some talk', () => moves.every((viewer) => viewer.comments.length > 20));
    victim.wasKilled = true;
    victim.process.kill('SIGKILL');
    const back = await Promise.all(moves.map(async (viewer) => {
        await viewer.closed;
        return rig.viewer(two, 'kill', { as: viewer.user, last: viewer.lastId }).ready();
    }));
    await waitFor('talk goes on', () => back.every((viewer) => viewer.comments.length > 50));
    isOver = true;
    await talk;
    await waitFor('the last one', () => back.every((viewer) => viewer.lastId === acknowledged.at(-1)));
    for (const [i, viewer] of back.entries()) {
        const got = [...moves[i].comments, ...viewer.comments].map((event) => event.id);
        assert.deepEqual(got, acknowledged.slice(acknowledged.indexOf(got[0])));
        assert.equal(viewer.hello.room, 0);
    }
    await waitFor('three places are taken, not five', async () => await rig.cli('HGET', `${keys.KEY_CHAT_ROOMS}kill`, 'total') === '3', 15000, 100);
    await waitFor('and counted', () => stays.of('viewers').at(-1)?.now === 3);
    assert.equal(stays.of('viewers').at(-1).unique, 3);
});

test('Redis is killed and comes back with its data: those who are here miss nothing', { timeout: 60000 }, async () => {
    await rig.broadcast('redis');
    const [alice, bob] = await fill('redis', 2);
    await alice.say('before');
    await waitFor('bob has it', () => bob.texts.includes('before'));
    await sleep(1100); // appendfsync everysec: what is tested is the chat, not the second that Redis may lose
    await rig.redis.stop('SIGKILL');
    assert.equal((await alice.say('into the void')).code, 'unavailable');
    rig.redis.start();
    await waitFor('acknowledged again', async () => (await alice.say(`again ${Date.now()}`)).type === 'ack', 20000, 100);
    const { id } = await alice.say('after');
    await waitFor('bob hears again', () => bob.lastId === id, 15000);
    const logged = (await log('redis')).map((entry) => entry.id);
    assert.deepEqual(bob.comments.map((event) => event.id), logged);
});

test('the subscription breaks again and again under load: nothing is missed, repeated or out of order', { timeout: 60000 }, async () => {
    await rig.broadcast('broken', 'idol');
    const viewers = await fill('broken', 6);
    const idol = await rig.viewer(two, 'broken', { as: 'idol' }).ready();
    let isOver = false;
    const talk = Promise.all(viewers.map(async (viewer) => {
        for (let i = 0; !isOver; i += 1) await viewer.say(`${viewer.user} ${i}`);
    }));
    await rig.cli('HSET', `${keys.KEY_BROADCAST}broken`, 'state', 'ended', 'version', '9'); // its message was lost
    for (let i = 0; i < 10; i += 1) {
        await sleep(150);
        await rig.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    }
    await sleep(150);
    isOver = true;
    await talk;
    const entries = await log('broken');
    const idsOf = (room) => entries.filter((entry) => room === null || entry.room === String(room)).map((entry) => entry.id);
    await waitFor('everybody has the last', () => viewers.every((viewer) => viewer.lastId === idsOf(viewer.hello.room).at(-1)) && idol.lastId === idsOf(null).at(-1), 15000).catch(() => {});
    for (const viewer of viewers) assert.deepEqual(viewer.comments.map((event) => event.id), idsOf(viewer.hello.room));
    assert.deepEqual(idol.comments.map((event) => event.id), idsOf(null));
    assert.ok([...viewers, idol].every((viewer) => viewer.of('state').length === 1 && viewer.of('state')[0].state === 'ended'), 'the state is read again');
    assert.ok(await rig.metric(one, 'hanabi_chat_recovered_total') + await rig.metric(two, 'hanabi_chat_recovered_total') > 0, 'the test broke nothing');
});

test('tokens: none is read only, forged and expired are refused, an unknown broadcast too', async () => {
    await rig.broadcast('tokens', 'idol');
    const reader = await rig.viewer(one, 'tokens').ready();
    assert.equal((await reader.say('hi')).code, 'read_only');
    for (const [options, code, error] of [
        [{ token: token('eve', { key: 'other' }) }, 4401, 'token_invalid'],
        [{ token: `${token('eve').split('.')[0].replace(/.*/, Buffer.from('{"alg":"none"}').toString('base64url'))}.${token('eve').split('.')[1]}.` }, 4401, 'token_invalid'],
        [{ token: 'rubbish' }, 4401, 'token_invalid'],
        [{ token: token('eve', { exp: 1000 }) }, 4401, 'token_expired'],
        [{ token: token('eve', { aud: 'another' }) }, 4401, 'token_elsewhere'],
    ]) {
        const viewer = rig.viewer(two, 'tokens', options);
        assert.equal(await viewer.closed, code);
        assert.equal(viewer.errors[0].code, error);
    }
    const bound = await rig.viewer(two, 'tokens', { token: token('bound', { aud: 'tokens' }) }).ready();
    assert.equal((await bound.say('here I may')).type, 'ack');
    assert.equal((await reader.say('still here')).code, 'read_only');
    const lost = rig.viewer(one, 'no-such-broadcast', { as: 'alice' });
    assert.equal(await lost.closed, 4404);
    assert.equal(lost.errors[0].code, 'not_found');
    const elsewhere = rig.viewer(one, 'x', { path: '/chat/v1/other' });
    await elsewhere.closed;
    assert.equal(elsewhere.hello, undefined);
});

test('malformed, oversized and binary messages: an error for that connection, nothing for the others', async () => {
    await rig.broadcast('rubbish');
    const [alice, bob] = await fill('rubbish', 2);
    for (const text of ['', '{', '[]', '"x"', '{"type":"comment"}', '{"type":"comment","text":5}', '{"type":"dance"}', '{"type":"comment","text":"a\\u0000b"}',
        '{"type":"comment","text":"  \\u3000 "}', '{"type":"comment","type":"delete","text":"x"}', '['.repeat(3000)]) {
        const before = alice.errors.length;
        alice.socket.send(text);
        await waitFor(`an error for ${text.slice(0, 40)}`, () => alice.errors.length > before);
        assert.equal(alice.errors.at(-1).code, 'invalid');
    }
    assert.equal((await alice.say('x'.repeat(201))).code, 'too_long');
    assert.equal((await alice.say('花'.repeat(200))).type, 'ack');
    assert.equal((await alice.say('花'.repeat(201))).code, 'too_long');
    assert.equal((await alice.say('<b>"quoted" \\ 😀 & \'</b>')).type, 'ack');
    for (const [payload, options, code] of [[Buffer.from([1, 2, 3]), { binary: true }, 1003], ['y'.repeat(20000), {}, 1009], [Buffer.from([0xff, 0xfe, 0x22]), { binary: false }, 1007]]) {
        const viewer = await rig.viewer(two, 'rubbish', { as: 'mallory' }).ready();
        viewer.socket.send(payload, options);
        assert.equal(await viewer.closed, code);
    }
    // In pieces, and bytes that are no websocket at all.
    alice.socket.send('{"type":"comment","ref":"pieces",', { fin: false });
    alice.socket.send('"text":"in pieces"}', { fin: true });
    assert.equal((await alice.answer('pieces')).type, 'ack');
    const raw = net.connect(one.port, '127.0.0.1');
    raw.on('error', () => {});
    raw.end(`GET /chat/v1/broadcasts/${'a'.repeat(9000)} HTTP/1.1\r\n\r\n`);
    await waitFor('the others notice nothing', () => bob.texts.includes('in pieces'));
    assert.equal(bob.texts[1], '<b>"quoted" \\ 😀 & \'</b>');
});

test('rate, duplicates, slow mode', async () => {
    const strict = await rig.chat({ ...env, HANABI_CHAT_RATE_BURST: '3', HANABI_CHAT_RATE_PER_10S: '1' });
    await rig.broadcast('rates', 'idol');
    const alice = await rig.viewer(strict, 'rates', { as: 'alice' }).ready();
    assert.equal((await alice.say('same')).type, 'ack');
    assert.equal((await alice.say('same')).code, 'duplicate');
    assert.equal((await alice.say('third')).type, 'ack');
    const refused = await alice.say('fourth');
    assert.equal(refused.code, 'rate_limited');
    assert.ok(refused.retry_after_ms > 0 && refused.retry_after_ms <= 10001);
    // The rate is the user's, not the connection's: a second socket has three attempts of its own and one comment left.
    const second = await rig.viewer(strict, 'rates', { as: 'alice' }).ready();
    assert.deepEqual([(await second.say('fifth')).type, (await second.say('sixth')).code], ['ack', 'rate_limited']);
    const bob = await rig.viewer(one, 'rates', { as: 'bob' }).ready();
    await rig.setting('slow_mode', 'rates', '', { seconds: 30 });
    await waitFor('slow mode', async () => (await bob.say(`b ${Date.now()}`)).code === 'slow_mode');
    const idol = await rig.viewer(one, 'rates', { as: 'idol' }).ready();
    assert.deepEqual([(await idol.say('i')).type, (await idol.say('ii')).type], ['ack', 'ack']);
});

test('settings: decoration, block, mute, ban, words and notice reach both processes', async () => {
    await rig.broadcast('settings', 'caster');
    const [alice, bob, carol] = await fill('settings', 3, 'set');
    const decoration = { background: '#112233', frame: 'sakura' };
    await rig.setting('decoration', alice.user, '', decoration);
    await waitFor('decorated', async () => { await alice.say(`look ${Date.now()}`); return [bob, carol].every((viewer) => viewer.comments.at(-1)?.user.decoration); });
    assert.deepEqual(bob.comments.at(-1).user.decoration, decoration);
    await rig.setting('decoration', alice.user, '', null);
    await waitFor('plain again', async () => { await alice.say(`plain ${Date.now()}`); return bob.comments.at(-1)?.user.decoration === undefined; });

    await rig.setting('block', 'caster', bob.user, {});
    await waitFor('blocked', async () => (await bob.say(`b ${Date.now()}`)).code === 'blocked');
    await rig.setting('block', 'caster', bob.user, null);
    await waitFor('unblocked', async () => (await bob.say(`u ${Date.now()}`)).type === 'ack');
    await rig.setting('mute', 'settings', carol.user, { until_ms: Date.now() + 1500 });
    await waitFor('muted', async () => (await carol.say(`m ${Date.now()}`)).code === 'muted');
    await waitFor('the mute ends', async () => (await carol.say(`e ${Date.now()}`)).type === 'ack', 5000, 100);

    await rig.broadcast('elsewhere');
    const far = await rig.viewer(two, 'elsewhere', { as: 'far' }).ready();
    const notice = await rig.setting('notice', '', 'n1', { text: '花火 <b>!</b>', by: 'op' });
    await waitFor('the notice', () => [alice, bob, carol, far].every((viewer) => viewer.of('notice').length === 1));
    assert.equal(far.of('notice')[0].text, '花火 <b>!</b>');
    await rig.setting('ban', 'settings', bob.user, {});
    assert.equal(await bob.closed, 4403);
    assert.equal(await rig.viewer(one, 'settings', { as: bob.user }).closed, 4403);
    await waitFor('the version', async () => await rig.metric(two, 'hanabi_chat_setting_version') > notice);
    await rig.setting('words', 'worded', '', { words: ['Kuso'] });
    await rig.broadcast('words', 'worded');
    const dave = await rig.viewer(one, 'words', { as: 'dave' }).ready();
    await waitFor('a word is held back', async () => (await dave.say(`what KUSO ${Date.now()}`)).code === 'blocked');
    assert.equal((await dave.say('fine')).type, 'ack');
});

test('a lost settings message: the gap is noticed with the next one and read from MySQL; a new process knows all', async () => {
    await rig.broadcast('gap', 'gapcaster');
    const alice = await rig.viewer(two, 'gap', { as: 'gapalice' }).ready();
    await rig.setting('block', 'gapcaster', 'gapalice', {}, { publish: false });
    const version = await rig.setting('block', 'gapcaster', 'somebody', {});
    await waitFor('the version', async () => await rig.metric(two, 'hanabi_chat_setting_version') === version, 3000);
    assert.equal((await alice.say('x')).code, 'blocked');
    assert.ok(await rig.metric(two, 'hanabi_chat_setting_gaps_total') > 0);
    assert.equal(await rig.metric(two, 'hanabi_chat_setting_lag'), 0);
    // Bans of what is long over are not carried along for ever.
    for (const id of ['onair', 'longover']) {
        await rig.broadcast(id, 'gapcaster');
        await rig.setting('ban', id, 'gapalice', {});
        await rig.sql(`INSERT IGNORE INTO users (id, name, created_at_ms) VALUES ('gapcaster', 'gapcaster', 1);
            INSERT IGNORE INTO broadcasts (id, owner_id, title, version, grace_ms, created_at_ms) VALUES ('${id}', 'gapcaster', 't', 0, 0, 1)`);
    }
    await rig.sql("UPDATE broadcasts SET state = 'ended', ended_at_ms = 1 WHERE id = 'longover'");
    const fresh = await rig.chat(env);
    const again = await rig.viewer(fresh, 'gap', { as: 'gapalice' }).ready();
    assert.equal((await again.say('x')).code, 'blocked');
    assert.equal(await rig.viewer(fresh, 'onair', { as: 'gapalice' }).closed, 4403);
    assert.ok(await rig.viewer(fresh, 'longover', { as: 'gapalice' }).ready());
    // Nor does a process that runs keep them.
    const brief = await rig.chat({ ...env, HANABI_CHAT_SETTINGS_KEEP_S: '1' });
    const blocked = await rig.viewer(brief, 'gap', { as: 'gapalice' }).ready();
    assert.equal(await rig.viewer(brief, 'onair', { as: 'gapalice' }).closed, 4403);
    const held = await rig.metric(brief, 'hanabi_chat_settings');
    await rig.sql(`UPDATE broadcasts SET state = 'ended', ended_at_ms = ${Date.now() - 2000} WHERE id = 'onair'`);
    await waitFor('one is dropped', async () => await rig.metric(brief, 'hanabi_chat_settings') === held - 1, 5000);
    assert.ok(await rig.viewer(brief, 'onair', { as: 'gapalice' }).ready());
    assert.equal((await blocked.say('x')).code, 'blocked');
});

test('thousands of lists of words as long as a request may be: a new process starts', { skip: process.env.HANABI_LONG !== 'yes' && 'long mode' }, async () => {
    const first = Number(await rig.sql('SELECT version + 1 FROM settings_version'));
    await rig.sql(`INSERT INTO settings (kind, subject, object, value, version, updated_by, updated_at_ms)
        SELECT 'words', CONCAT('wordy', seq), '', CONCAT('{"words":["', REPEAT('x', 65000), '"]}'), ${first} + seq, 'x', 1 FROM seq_0_to_4999; UPDATE settings_version SET version = ${first} + 4999`);
    await rig.chat(env);
});

test('a full process says so and when to come back', async () => {
    const small = await rig.chat({ ...env, HANABI_CHAT_MAX_CONNECTIONS: '2' });
    await rig.broadcast('full');
    await rig.viewer(small, 'full', { as: 'a' }).ready();
    await rig.viewer(small, 'full', { as: 'b' }).ready();
    const third = rig.viewer(small, 'full', { as: 'c' });
    assert.equal(await third.closed, 4503);
    assert.equal(third.errors[0].code, 'full');
    assert.ok(third.errors[0].retry_after_ms > 0);
    await waitFor('free again', async () => await rig.metric(small, 'hanabi_chat_connections') === 2);
});

test('readers that never read lose their connection; the others notice nothing and memory stays bounded', { timeout: 120000 }, async () => {
    const chat = await rig.chat({ ...env, HANABI_CHAT_ROOM_SIZE: '5000', HANABI_CHAT_SLOW_MS: '2000', HANABI_CHAT_SOCKET_SEND_KB: '8' });
    await rig.broadcast('deaf');
    const ears = [];
    for (let i = 0; i < 20; i += 1) ears.push(await rig.viewer(chat, 'deaf', { as: `ear${i}` }).ready());
    const deaf = [];
    for (let i = 0; i < 50; i += 1) {
        const viewer = await rig.viewer(chat, 'deaf', { as: `deaf${i}` }).ready();
        viewer.socket.pause();
        deaf.push(viewer);
    }
    let said = 0;
    let isOver = false;
    const talk = Promise.all(ears.slice(0, 10).map(async (ear) => {
        for (let i = 0; !isOver; i += 1) if ((await ear.say(`${i} ${'花'.repeat(190)}`)).type === 'ack') said += 1;
    }));
    await waitFor('the deaf are closed', async () => await rig.metric(chat, 'hanabi_chat_slow_closed_total') >= 50, 90000, 200);
    isOver = true;
    await talk;
    await waitFor('all ears have all', () => ears.every((ear) => ear.comments.length === said), 20000);
    assert.ok(await rig.metric(chat, 'hanabi_chat_queue_bytes') < 16 * 1024 * 1024);
    for (const viewer of deaf) viewer.socket.terminate();
});

test('in a quiet room a comment goes out at once, also right behind another; a third waits for the frame time', async () => {
    const frameMs = 1000;
    const chat = await rig.chat({ ...env, HANABI_CHAT_FRAME_MS: String(frameMs), HANABI_CHAT_PRESENCE_MS: '60000' });
    await rig.broadcast('quiet');
    const talker = await rig.viewer(chat, 'quiet', { as: 'talker' }).ready();
    await sleep(2 * frameMs);
    const began = Date.now();
    for (let i = 0; i < 3; i += 1) await talker.say(`comment ${i}`);
    await waitFor('all three', () => talker.comments.length === 3, 5000);
    const after = talker.comments.map((event) => event.got_ms - began);
    assert.ok(after[1] < frameMs / 2, `${after} ms`);
    assert.ok(after[2] >= frameMs - 100, `${after} ms`);
});

test('a flood is thinned for viewers, fairly, the broadcaster never, and the log keeps everything', async () => {
    const chat = await rig.chat({ ...env, HANABI_CHAT_ROOM_SIZE: '100', HANABI_CHAT_ROOM_BUDGET: '10' });
    await rig.broadcast('flood', 'idol');
    const talkers = [];
    for (let i = 0; i < 10; i += 1) talkers.push(await rig.viewer(chat, 'flood', { as: `talker${i}` }).ready());
    const idol = await rig.viewer(chat, 'flood', { as: 'idol' }).ready();
    let acknowledged = 0;
    const until = Date.now() + 3000;
    await Promise.all([...talkers.map(async (talker) => {
        for (let i = 0; Date.now() < until; i += 1) if ((await talker.say(`t ${i}`)).type === 'ack') acknowledged += 1;
    }), (async () => {
        for (let i = 0; i < 10; i += 1) { await idol.say(`idol ${i}`); await sleep(200); }
    })()]);
    await waitFor('the broadcaster in full', () => talkers.every((talker) => talker.comments.filter((event) => event.user.role).length === 10));
    const logged = (await log('flood')).filter((entry) => !entry.event.user?.role).length;
    assert.equal(logged, acknowledged);
    assert.ok(acknowledged > 200, `only ${acknowledged} comments were taken`);
    const shown = talkers[0].comments.filter((event) => !event.user.role);
    assert.ok(shown.length >= 10 && shown.length <= 60, `${shown.length} were shown`);
    assert.ok(new Set(shown.map((event) => event.user.id)).size >= 9, 'all talkers are seen');
    assert.deepEqual(talkers[9].comments.map((event) => event.id), talkers[0].comments.map((event) => event.id));
});

test('a flood beyond what Redis takes is refused at once, with a time to come back; a few that wait are not, nor is the broadcaster', async () => {
    const chat = await rig.chat({ ...env, HANABI_CHAT_ROOM_RATE: '1000000', HANABI_CHAT_RETRY_AFTER_MS: '500' });
    await rig.broadcast('shed', 'idol');
    const talker = await rig.viewer(chat, 'shed', { as: 'talker' }).ready();
    const idol = await rig.viewer(chat, 'shed', { as: 'idol' }).ready();
    const answers = [];
    rig.redis.pause();
    for (let i = 0; i < 500; i += 1) answers.push(talker.say(`before ${i}`));
    await sleep(300);
    assert.equal(await rig.metric(chat, 'hanabi_chat_shed_total'), 0, 'so many go out at once when Redis answers');
    for (let i = 0; i < 600; i += 1) answers.push(talker.say(`on top ${i}`));
    await sleep(300);
    const late = await talker.say('too much');
    assert.deepEqual([late.code, late.retry_after_ms], ['unavailable', 500]);
    const shout = idol.say('I am heard');
    await sleep(50);
    rig.redis.resume();
    const taken = (await Promise.all(answers)).filter((answer) => answer.type === 'ack').map((answer) => answer.id);
    assert.equal((await shout).type, 'ack');
    assert.ok(taken.length > 550 && taken.length < 1100, `${taken.length} were taken`);
    const logged = (await log('shed')).map((entry) => entry.id);
    assert.deepEqual(taken.filter((id) => !logged.includes(id)), []);
    assert.equal(logged.length, taken.length + 1);
    assert.equal((await talker.say('too much')).type, 'ack', 'what was refused may be said again');
});

test('comments that wait in the process behind more than 500 others are refused before anything else is looked at; so many at once are not, nor is the broadcaster', async () => {
    const chat = await rig.chat({ ...env, HANABI_CHAT_ROOM_SIZE: '1000', HANABI_CHAT_ROOM_RATE: '1000000', HANABI_CHAT_WAIT_MS: '10', HANABI_CHAT_RETRY_AFTER_MS: '500' });
    await rig.broadcast('late', 'idol');
    // Of each talker one comment in ten minutes: what comes in the flood never waits for Redis, so it is not that which makes it late.
    const version = await rig.setting('slow_mode', 'late', '', { seconds: 600 });
    await waitFor('slow mode', async () => await rig.metric(chat, 'hanabi_chat_setting_version') >= version);
    const talkers = await Promise.all(Array.from({ length: 60 }, (_, i) => rig.viewer(chat, 'late', { as: `late${i}` }).ready()));
    const idol = await rig.viewer(chat, 'late', { as: 'idol' }).ready();
    const burst = (each, what) => {
        for (const talker of talkers) for (let i = 0; i < each; i += 1) talker.socket.send(JSON.stringify({ type: 'comment', ref: `${what}${i}`, text: `${what} ${i}` }));
    };
    const answersTo = (each, what) => waitFor(`answers to ${what}`, () => {
        const answers = talkers.flatMap((talker) => Array.from({ length: each }, (_, i) => talker.answers.get(`${what}${i}`)));
        return answers.every(Boolean) && answers.map((answer) => answer.code ?? answer.type);
    }, 20000, 50);
    burst(6, 'few');
    const few = await answersTo(6, 'few');
    assert.deepEqual([few.filter((one) => one === 'ack').length, few.filter((one) => one === 'slow_mode').length], [60, 300]);
    assert.equal(await rig.metric(chat, 'hanabi_chat_shed_total'), 0);
    // What is sent meanwhile is read all at once, however fast this test sends.
    chat.process.pause();
    burst(300, 'many');
    const shout = idol.say('I am heard');
    await sleep(300);
    chat.process.resume();
    const many = await answersTo(300, 'many'), refused = many.filter((one) => one === 'unavailable').length;
    assert.equal((await shout).type, 'ack');
    assert.ok(refused > 1000, `${refused} were refused`);
    assert.equal(many.filter((one) => one === 'slow_mode').length, many.length - refused);
    assert.equal(await rig.metric(chat, 'hanabi_chat_shed_total'), refused);
    assert.ok(talkers.every((talker) => [...talker.answers.values()].every((answer) => answer.code !== 'unavailable' || answer.retry_after_ms === 500)));
});

test('what the viewers of all these tests heard is what asyncapi.yaml says', (t) => {
    const asyncapi = new AsyncApi();
    const kinds = new Set();
    for (const viewer of rig.viewers) {
        for (const message of viewer.first) {
            asyncapi.check('/chat/v1/broadcasts/{broadcast}', message);
            for (const one of message.events ?? [message]) kinds.add(one.code ?? one.type);
        }
    }
    t.diagnostic([...kinds].sort().join(' '));
    for (const kind of ['hello', 'ack', 'comment', 'deleted', 'viewers', 'state', 'notice', 'rate_limited', 'too_long', 'invalid', 'token_elsewhere', 'full', 'banned']) assert.ok(kinds.has(kind), kind);
});

test('SIGTERM sends the viewers away and ends the process', async () => {
    const chat = await rig.chat({ ...env, HANABI_CHAT_DRAIN_SPREAD_MS: '300' });
    await rig.broadcast('drain');
    const viewers = [];
    for (let i = 0; i < 5; i += 1) viewers.push(await rig.viewer(chat, 'drain', { as: `d${i}` }).ready());
    await chat.process.stop();
    assert.deepEqual(await Promise.all(viewers.map((viewer) => viewer.closed)), [1001, 1001, 1001, 1001, 1001]);
    assert.equal(await rig.cli('HGET', `${keys.KEY_CHAT_ROOMS}drain`, 'total'), '0');
    assert.equal(chat.process.exits.at(-1).code, 0);
});
