// Taps of a heart on their way: added up, sent in batches, counted once whatever the line does. No browser, no server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLoveTaps, LOVE_SETTINGS } from '../../services/web/public/assets/js/love-taps.js';

class FakeClock {
    time = 0;
    timers = [];

    now = () => this.time;

    setTimeout = (action, ms) => {
        const timer = { at: this.time + ms, action };
        this.timers.push(timer);
        return timer;
    };

    clearTimeout = (timer) => { this.timers = this.timers.filter((one) => one !== timer); };

    /* Answers come between the timers. */
    async pass(ms) {
        const end = this.time + ms;
        for (;;) {
            await new Promise(setImmediate);
            const [next] = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
            if (!next) break;
            this.clearTimeout(next);
            this.time = Math.max(this.time, next.at);
            next.action();
        }
        this.time = end;
    }
}

const failure = (status, code = 'x', retryAfterMs = undefined) => Object.assign(new Error(code), { status, code, retryAfterMs });

/* A service that counts a batch once; `trouble`: for each request in turn an error, or 'lost' for one that is counted and not answered. */
function rig({ trouble = [], token = 'jwt', total = 0, random = () => 1, most = Infinity } = {}) {
    const it = { clock: new FakeClock(), sent: [], shown: [], over: 0, refused: 0, token, total, batches: new Map() };
    let ids = 0;
    it.count = ({ batch_id: id, count }) => {
        if (!it.batches.has(id)) {
            it.batches.set(id, Math.min(count, most));
            it.total += Math.min(count, most);
        }
        return { accepted: it.batches.get(id), total: it.total };
    };
    it.taps = createLoveTaps({
        send: async (batch) => {
            it.sent.push({ ...batch, at: it.clock.time });
            const next = trouble.shift();
            if (next instanceof Error) throw next;
            const answer = it.count(batch);
            if (next === 'lost') throw failure(0);
            if (next instanceof Promise) await next;
            return answer;
        },
        token: () => it.token,
        newId: () => `id-${ids += 1}`,
        clock: it.clock,
        random,
        on: { total: (shown) => it.shown.push(shown), over: () => { it.over += 1; }, refused: () => { it.refused += 1; } },
    });
    it.tap = (times) => { for (let i = 0; i < times; i += 1) it.taps.tap(); };
    return it;
}

test('taps are added up, shown at once, and sent together', async () => {
    const it = rig({ total: 100 });
    it.taps.hear(100);
    it.tap(7);
    assert.equal(it.shown.at(-1), 107);
    await it.clock.pass(2499);
    assert.deepEqual(it.sent, []);
    await it.clock.pass(1);
    assert.deepEqual(it.sent, [{ batch_id: 'id-1', count: 7, at: 2500 }]);
    it.tap(2);
    await it.clock.pass(60000);
    assert.deepEqual(it.sent.map(({ count }) => count), [7, 2]);
    assert.equal(it.shown.at(-1), 109);
    assert.equal(it.taps.unsent, 0);
    assert.equal(it.clock.timers.length, 0, 'nothing to do, no timer');
});

test('a batch holds at most a thousand, and what is kept has an end', async () => {
    const it = rig();
    it.tap(LOVE_SETTINGS.keptMost + 500);
    assert.equal(it.taps.unsent, LOVE_SETTINGS.keptMost);
    await it.clock.pass(2500);
    assert.deepEqual(it.sent.map(({ count }) => count), [1000, 1000, 1000, 1000, 1000]);
    assert.equal(it.total, LOVE_SETTINGS.keptMost);
});

test('a lost answer: the same batch again, counted once, although taps went on', async () => {
    const it = rig({ trouble: ['lost', failure(503, 'unavailable', 4000), failure(500)] });
    it.tap(3);
    await it.clock.pass(2500);
    it.tap(4);
    await it.clock.pass(30000);
    assert.deepEqual(it.sent.map(({ batch_id: id, count, at }) => [id, count, at]), [['id-1', 3, 2500], ['id-1', 3, 3500], ['id-1', 3, 8300], ['id-1', 3, 12300], ['id-2', 4, 14800]]);
    assert.equal(it.total, 7);
    assert.equal(it.shown.at(-1), 7);
});

test('the back-off is jittered, grows and has an end', async () => {
    const waits = async (random) => {
        const it = rig({ trouble: Array.from({ length: 9 }, () => failure(503)), random });
        it.tap(1);
        await it.clock.pass(200000);
        return it.sent.map(({ at }, i) => at - (it.sent[i - 1]?.at ?? 0));
    };
    assert.deepEqual(await waits(() => 1), [2500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000, 20000]);
    assert.deepEqual((await waits(() => 0)).slice(0, 4), [2500, 500, 1000, 2000]);
});

test('a batch whose end is unknown for longer than the service remembers it is given up', async () => {
    const it = rig({ trouble: Array.from({ length: 100 }, () => failure(0)) });
    it.tap(5);
    await it.clock.pass(LOVE_SETTINGS.unknownMs + 60000);
    assert.ok(it.sent.at(-1).at - it.sent[0].at <= LOVE_SETTINGS.unknownMs);
    assert.equal(it.taps.unsent, 0);
});

test('one that was refused for its rate was not counted: it waits as long as it takes', async () => {
    const it = rig({ trouble: Array.from({ length: 30 }, () => failure(429, 'rate_limited', 20000)), random: () => 0 });
    it.tap(5);
    await it.clock.pass(700000);
    assert.equal(it.total, 5);
    assert.equal(new Set(it.sent.map(({ batch_id: id }) => id)).size, 1);
});

test('a refusal drops the batch and no more than that; over ends it all', async () => {
    const it = rig({ trouble: [failure(400), failure(409, 'not_live'), null, failure(409, 'over')] });
    for (const times of [1, 2, 3]) {
        it.tap(times);
        await it.clock.pass(2500);
    }
    assert.equal(it.total, 3);
    it.tap(4);
    await it.clock.pass(2500);
    assert.equal(it.over, 1);
    assert.equal(it.taps.tap(), false);
    await it.clock.pass(60000);
    assert.equal(it.sent.length, 4);
    assert.deepEqual(it.taps.leave(), []);
});

test('without a name the taps wait; a session that is not taken waits for another', async () => {
    const it = rig({ token: null, trouble: [failure(401)] });
    it.tap(6);
    await it.clock.pass(10000);
    assert.deepEqual([it.sent, it.taps.leave()], [[], []]);
    it.token = 'old';
    await it.clock.pass(10000);
    assert.deepEqual([it.sent.length, it.refused], [1, 1]);
    it.token = 'new';
    await it.clock.pass(2500);
    assert.equal(it.total, 6);
});

test('a page that is left hands out what has no answer, the batch on its way under its own id', async () => {
    let answer;
    const it = rig({ trouble: [new Promise((resolve) => { answer = resolve; })] });
    it.tap(3);
    await it.clock.pass(2500);
    it.tap(1200);
    const bodies = it.taps.leave();
    assert.deepEqual(bodies, [{ batch_id: 'id-1', count: 3, token: 'jwt' }, { batch_id: 'id-2', count: 1000, token: 'jwt' }, { batch_id: 'id-3', count: 200, token: 'jwt' }]);
    bodies.forEach(it.count);
    assert.deepEqual(it.taps.leave(), bodies, 'pagehide follows hidden: the same again');
    // It was only another tab: the page lives on, asks again, and nothing counts twice.
    answer();
    it.tap(1);
    await it.clock.pass(20000);
    assert.equal(it.total, 1204);
    assert.equal(it.taps.unsent, 0);
    assert.equal(it.shown.at(-1), 1204);
});

test('the total only rises, and holds no tap twice while an answer is on its way', async () => {
    let answer;
    const it = rig({ total: 50, trouble: [new Promise((resolve) => { answer = resolve; })] });
    it.taps.hear(50);
    it.tap(10);
    await it.clock.pass(2500);
    assert.equal(it.taps.hear(60), 0, 'the chat was faster, and these are our own');
    assert.equal(it.shown.at(-1), 60);
    answer();
    await it.clock.pass(1);
    assert.equal(it.taps.hear(64), 4, 'of others');
    assert.equal(it.taps.hear(40), 0, 'an old one');
    assert.equal(it.taps.hear(64), 0);
    assert.equal(it.taps.hear('x'), 0);
    assert.ok(it.shown.every((shown, i) => i === 0 || shown > it.shown[i - 1]));
    assert.equal(it.shown.at(-1), 64);
});

test('taps above the cap are not taken for those of others, or the other way round', async () => {
    const it = rig({ most: 4 });
    it.taps.hear(0);
    it.tap(10);
    await it.clock.pass(2500);
    assert.equal(it.taps.hear(4), 0);
    assert.equal(it.taps.hear(7), 3);
});
