// When a page asks for start notices, with a clock of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNoticePoll } from '../../services/web/public/assets/js/notice-poll.js';

const notice = (id, unread = true) => ({ id: String(id), unread, broadcast: { id: `b${id}` }, owner: { name: 'x' } });

function rig(answers) {
    const timers = [];
    const log = { asked: [], lists: [], news: [] };
    const clock = { setTimeout: (fn, ms) => { timers.push({ fn, ms }); return timers.length; }, clearTimeout: (n) => { if (timers[n - 1]) timers[n - 1].fn = null; } };
    const poll = createNoticePoll({
        clock, random: () => 0.5,
        fetchNotices: async (query) => { log.asked.push(query); const next = answers.shift(); if (next instanceof Error) throw next; return { retry_after_ms: 0, unread: 0, ...next }; },
        onList: (list, unread) => log.lists.push([list.map((one) => one.id), unread]), onNew: (one) => log.news.push(one.id) });
    const settle = () => new Promise((resolve) => { setImmediate(resolve); });
    const tick = async () => { const timer = timers.at(-1); timer.fn?.(); await settle(); return timer.ms; };
    return { poll, log, tick, settle, timers };
}

test('the first answer fills the list silently; a later one is new, once, however often it is told', async () => {
    const { poll, log, tick, settle } = rig([{ notifications: [notice(3), notice(2, false)], unread: 1, latest: 3 }, { notifications: [notice(5)], latest: 3 },
        { notifications: [notice(5), notice(4)], latest: 5 }, { notifications: [], latest: 5 }]);
    poll.start();
    await settle();
    assert.deepEqual([log.lists, log.news], [[[['3', '2'], 1]], []]);
    assert.equal(await tick(), 0);
    assert.deepEqual(log.news, ['5']);
    assert.equal(poll.read(), 5, 'one that was pushed is read too, although `latest` is still 3');
    assert.equal(await tick(), 1500, 'pages that were told together do not come back together');
    assert.deepEqual([log.news, log.lists.at(-1)], [['5', '4'], [['5', '4', '3', '2'], 1]]);
    assert.deepEqual(log.asked, [{}, { since: 3, waitS: 25 }, { since: 3, waitS: 25 }]);
    assert.equal(poll.read(), 5);
    assert.equal(log.lists.at(-1)[1], 0);
});

test('errors: later and later; told to wait: as long; the session over: never again; stopped: an old answer is dropped', async () => {
    const failure = Object.assign(new Error(), { status: 503 });
    const { poll, tick, settle, log, timers } = rig([failure, failure, { notifications: [], latest: 0, retry_after_ms: 15000 }, Object.assign(new Error(), { status: 401 }), { notifications: [notice(1)], latest: 1 }]);
    poll.start();
    await settle();
    assert.equal(await tick(), 2000);
    assert.equal(await tick(), 4000);
    const before = timers.length;
    assert.equal(await tick(), 15000);
    assert.equal(timers.length, before, 'nothing is planned after a 401');
    poll.start();
    poll.stop();
    await settle();
    assert.deepEqual(log.lists.map(([list]) => list), [[]], 'only the first answer was taken');
});
