// Followers and start notices with a real Redis and MariaDB: who gets which notice, exactly once, whatever dies; a million followers are one row.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ApiRig, token } from '../lib/api_rig.mjs';
import { sleep, waitFor } from '../lib/fixture.mjs';
import { goLive } from '../lib/redis_client.mjs';

const long = process.env.HANABI_LONG === 'yes';
let rig;
let owner;
before(async () => {
    rig = await ApiRig.start();
    owner = await rig.session('花子');
});

const follower = (sub) => token({ sub });
const call = (...args) => rig.call(...args);
const follow = async (as, userId = owner.user_id) => assert.equal((await call('PUT', `/follows/${userId}`, { as })).status, 200);
const notices = async (as, query = '') => (await call('GET', `/notifications${query}`, { as })).json;
const create = async (title, as = owner.token) => (await call('POST', '/broadcasts', { as, body: { title } })).json.id;
const about = (list, id) => list.notifications.filter((notice) => notice.broadcast.id === id);

/** A new broadcast on air, its notice written. */
async function start(title, as) {
    const id = await create(title, as);
    const session = await goLive(rig.redis, id);
    await waitFor('the notice', async () => (await rig.sql(`SELECT 1 FROM start_notices WHERE broadcast_id = '${id}'`)).length === 1, 5000);
    return { id, session };
}

test('follow and unfollow: idempotent, counted, listed in pages, refused where it makes no sense', async () => {
    const as = follower('lister');
    const path = `/follows/${owner.user_id}`;
    for (let i = 0; i < 2; i += 1) {
        const answer = await call('PUT', path, { as });
        assert.deepEqual([answer.status, answer.json], [200, { user: { id: owner.user_id, name: '花子' }, following: true, followers: 1 }]);
    }
    assert.equal((await call('GET', path, { as })).json.following, true);
    assert.deepEqual((await call('GET', path)).json, { user: { id: owner.user_id, name: '花子' }, following: false, followers: 1 });
    const others = await Promise.all(Array.from({ length: 4 }, (_, i) => rig.session(`other ${i}`)));
    for (const other of others) { await follow(as, other.user_id); await sleep(2); }
    const seen = [];
    for (let cursor = ''; cursor !== undefined;) {
        const page = (await call('GET', `/follows?limit=2${cursor && `&cursor=${cursor}`}`, { as })).json;
        seen.push(...page.follows.map((one) => one.user.id));
        cursor = page.next;
    }
    assert.deepEqual(seen, [...others.map((other) => other.user_id).reverse(), owner.user_id]);
    for (let i = 0; i < 2; i += 1) assert.deepEqual((await call('DELETE', path, { as })).json, { user: { id: owner.user_id, name: '花子' }, following: false, followers: 0 });
    assert.equal((await call('PUT', path, { as: owner.token })).status, 400);
    for (const method of ['PUT', 'DELETE', 'GET']) assert.equal((await call(method, '/follows/nobody', { as })).json.error.code, 'no_such_user');
    for (const method of ['PUT', 'DELETE']) assert.equal((await call(method, path)).status, 401);
    for (const query of ['?limit=0', '?limit=101', '?cursor=x', '?cursor=5_']) assert.equal((await call('GET', `/follows${query}`, { as })).status, 400, query);
});

test('many follow at once: the count is exact', async () => {
    const crowd = Array.from({ length: 40 }, (_, i) => follower(`crowd-${i}`));
    const star = await rig.session('star');
    await Promise.all(crowd.flatMap((as) => [follow(as, star.user_id), follow(as, star.user_id)]));
    await Promise.all(crowd.slice(0, 15).map((as) => call('DELETE', `/follows/${star.user_id}`, { as })));
    assert.equal((await call('GET', `/follows/${star.user_id}`)).json.followers, 25);
});

test('the first live is a notice for every follower of that moment; a resume is none', async () => {
    const [early, late] = [follower('early'), follower('late')];
    await follow(early);
    const { id, session } = await start('花火 <1>');
    await follow(late);
    const [notice] = about(await notices(early), id);
    assert.deepEqual([notice.type, notice.broadcast, notice.owner, notice.unread, notice.watch_url],
        ['broadcast.live', { id, title: '花火 <1>', state: 'live' }, { id: owner.user_id, name: '花子' }, true, `/watch/${id}`]);
    assert.deepEqual(about(await notices(late), id), []);
    assert.deepEqual((await notices(follower('nobody'))).notifications, []);
    await rig.redis.script('session_close', id, session, 'publisher_gone');
    await goLive(rig.redis, id);
    const { id: second } = await start('second');
    assert.deepEqual((await notices(early)).notifications.map((one) => one.broadcast.id), [second, id]);
    assert.equal((await notices(early)).unread, 2);
    const page = await notices(early, '?limit=1');
    assert.deepEqual((await notices(early, `?limit=1&cursor=${page.next}`)).notifications.map((one) => one.broadcast.id), [id]);
    assert.equal((await call('POST', '/notifications/read', { as: early, body: { up_to: Number(notice.id) } })).json.unread, 1);
    assert.deepEqual((await notices(early, '?unread=true')).notifications.map((one) => one.broadcast.id), [second]);
    assert.equal((await call('POST', '/notifications/read', { as: early, body: { up_to: Number.MAX_SAFE_INTEGER } })).json.unread, 0);
    const { id: third } = await start('third');
    assert.equal((await notices(early)).unread, 1, 'nobody can have read what does not exist yet');
    assert.deepEqual((await notices(early, `?since=${page.latest}`)).notifications.map((one) => one.broadcast.id), [third]);
    for (const query of ['?limit=x', '?since=-1', '?wait_s=5', '?since=1&wait_s=31', '?unread=maybe', '?cursor=0'])
        assert.equal((await call('GET', `/notifications${query}`, { as: early })).status, 400, query);
    assert.equal((await call('GET', '/notifications')).status, 401);
    assert.equal((await call('POST', '/notifications/read', { as: early, body: {} })).status, 400);
});

test('unfollowing takes the notices of that user along, read or not; following again begins anew and brings none back', async () => {
    const as = follower('fickle');
    const star = await rig.session('another star');
    await follow(as);
    await follow(as, star.user_id);
    const { id } = await start('before');
    const { id: others } = await start('of the star', star.token);
    const seen = async () => { const list = await notices(as); return [list.notifications.map((notice) => notice.broadcast.id), list.unread]; };
    assert.deepEqual(await seen(), [[others, id], 2]);
    const { latest } = await notices(as);
    assert.equal((await call('DELETE', `/follows/${owner.user_id}`, { as })).status, 200);
    assert.deepEqual(await seen(), [[others], 1], 'the number and the list agree');
    await start('while nobody followed');
    assert.deepEqual((await notices(as, `?since=${latest}`)).notifications, []);
    await sleep(2);
    await follow(as);
    assert.deepEqual(await seen(), [[others], 1]);
    const { id: again } = await start('after');
    assert.deepEqual(await seen(), [[again, others], 2]);
    assert.deepEqual((await notices(as, `?since=${latest}`)).notifications.map((notice) => notice.broadcast.id), [again]);
});

test('an open page is told at once, the page of somebody else is not, and one that missed it finds it', { timeout: 30000 }, async (t) => {
    const as = follower('open-page');
    await follow(as);
    const { latest } = await notices(as);
    const waiting = notices(as, `?since=${latest}&wait_s=20`);
    let strangerAnswered = false;
    const stranger = notices(follower('stranger'), `?since=${latest}&wait_s=3`).then((answer) => { strangerAnswered = true; return answer; });
    await waitFor('both wait', async () => /hanabi_api_notice_waiters 2/.test(await (await fetch(`${rig.api.admin}/metrics`)).text()), 3000);
    const began = Date.now();
    const { id } = await start('now');
    const answer = await waiting;
    t.diagnostic(`answered ${Date.now() - began} ms after the broadcast was made`);
    assert.deepEqual([answer.notifications.length, answer.notifications[0].broadcast.id], [1, id]);
    assert.equal(strangerAnswered, false);
    assert.deepEqual((await notices(as, `?since=${latest}&wait_s=20`)).notifications.map((one) => one.broadcast.id), [id], 'asked too late: still there');
    assert.deepEqual((await stranger).notifications, []);
});

test('as many may wait as configured, the next is told to come back later; SIGTERM lets all go', { timeout: 30000 }, async () => {
    const api = await rig.addApi({ HANABI_NOTICE_WAITERS: '2' });
    const ask = (sub) => call('GET', '/notifications?since=99999&wait_s=20', { as: follower(sub), api });
    const waiting = [ask('w1'), ask('w2')];
    await waitFor('two wait', async () => /hanabi_api_notice_waiters 2/.test(await (await fetch(`${api.admin}/metrics`)).text()), 3000);
    const third = await ask('w3');
    assert.deepEqual([third.status, third.json.notifications, third.json.retry_after_ms], [200, [], 15000]);
    const began = Date.now();
    await api.stop();
    for (const answer of await Promise.all(waiting)) assert.equal(answer.status, 200);
    assert.ok(Date.now() - began < 8000, 'the drain did not wait for them');
});

test('of one user so many wait: one more, and the oldest is told to come back later; nobody else is', { timeout: 30000 }, async () => {
    const api = await rig.addApi({ HANABI_NOTICE_WAITERS_PER_USER: '2' });
    const answered = [];
    const ask = (sub, name) => call('GET', '/notifications?since=99999&wait_s=20', { as: follower(sub), api }).then(({ status, json }) => { answered.push([name, status, json.notifications, json.retry_after_ms]); });
    const metric = async (line) => (await (await fetch(`${api.admin}/metrics`)).text()).split('\n').includes(line);
    const all = [];
    for (const [sub, name] of [['greedy', 'g1'], ['calm', 'c1'], ['greedy', 'g2']]) {
        all.push(ask(sub, name));
        await waitFor(`${name} waits`, () => metric(`hanabi_api_notice_waiters ${all.length}`), 3000);
    }
    for (const expected of ['g1', 'g2']) {
        all.push(ask('greedy', 'later'));
        await waitFor(expected, () => answered.some(([name]) => name === expected), 3000);
        assert.deepEqual(answered.at(-1), [expected, 200, [], 15000]);
    }
    assert.equal(answered.length, 2);
    assert.ok(await metric('hanabi_api_notice_waiters 3') && await metric('hanabi_api_notice_waits_cut_total{why="user"} 2'));
    await api.stop();
    await Promise.all(all);
});

test('live-api is killed while broadcasts start: every follower has every notice exactly once', { timeout: 60000 }, async () => {
    const fans = Array.from({ length: 3 }, (_, i) => follower(`fan-${i}`));
    for (const as of fans) await follow(as);
    const ids = [];
    for (let i = 0; i < 24; i += 1) ids.push(await create(`kill ${i}`));
    const spare = await rig.addApi(); // two of them save, announce and die in turn
    for (const [i, id] of ids.entries()) {
        await goLive(rig.redis, id);
        if (i % 6 !== 5) continue;
        await sleep(Math.random() * 12);
        const victim = i % 12 === 5 ? rig.api : spare;
        victim.kill('SIGKILL');
        await victim.stop('SIGKILL');
        victim.start();
        await rig.ready(victim);
    }
    await waitFor('all are announced', async () => (await rig.sql("SELECT COUNT(*) FROM broadcasts WHERE title LIKE 'kill %' AND announced_at_ms IS NOT NULL"))[0][0] === '24', 15000);
    for (const as of fans) {
        const got = (await notices(as, '?limit=100')).notifications.map((one) => one.broadcast.id).filter((id) => ids.includes(id));
        assert.deepEqual(got.sort(), [...ids].sort());
    }
    await waitFor('the outbox is empty', async () => (await rig.sql("SELECT COUNT(*) FROM outbox WHERE kind = 'announce'"))[0][0] === '0', 15000);
    await spare.stop();
});

test(`${long ? '1,000,000' : '20,000'} followers: all have the notice at once, and the API answers meanwhile`, { timeout: 300000 }, async (t) => {
    const count = long ? 1000000 : 20000;
    const star = await rig.session('idol');
    await rig.sql(`INSERT INTO follows (follower_id, user_id, followed_at_ms) SELECT CONCAT('mass-', seq), '${star.user_id}', 1 FROM seq_1_to_${count};
        INSERT INTO follow_counts VALUES ('${star.user_id}', ${count});`);
    const id = await create('a million', star.token);
    const pages = Array.from({ length: 200 }, (_, i) => 1 + Math.floor((i * count) / 200));
    const { latest } = await notices(follower('mass-1'));
    const pushed = pages.map((n) => notices(follower(`mass-${n}`), `?since=${latest}&wait_s=30`).then((answer) => [answer, Date.now()]));
    await waitFor('all pages wait', async () => /hanabi_api_notice_waiters 200/.test(await (await fetch(`${rig.api.admin}/metrics`)).text()), 10000);
    let slowest = 0;
    let stop = false;
    const prober = (async () => {
        while (!stop) {
            const began = Date.now();
            assert.equal((await call('GET', `/broadcasts/${id}`)).status, 200);
            slowest = Math.max(slowest, Date.now() - began);
            await sleep(5);
        }
    })();
    const began = Date.now();
    await goLive(rig.redis, id);
    await waitFor('the last follower has it', async () => about(await notices(follower(`mass-${count}`)), id).length === 1, 30000);
    const enqueued = Date.now() - began;
    const answers = await Promise.all(pushed);
    for (const [answer] of answers) assert.equal(about(answer, id).length, 1);
    const lastPush = Math.max(...answers.map(([, at]) => at)) - began;
    for (let i = 0; i < 50; i += 1) assert.equal(about(await notices(follower(`mass-${1 + Math.floor(Math.random() * count)}`)), id).length, 1);
    stop = true;
    await prober;
    t.diagnostic(`${count} followers: enqueued for all after ${enqueued} ms, 200 open pages told after ${lastPush} ms, slowest other answer ${slowest} ms`);
    assert.ok(enqueued < 30000 && lastPush < 30000 && slowest < 2000);
});
