// What a page does next, with a fake clock: no browser, no server, milliseconds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFollower } from '../../services/web/public/assets/js/follow.js';

/* A clock that moves only when told to; promises settle between timers. */
class FakeClock {
    time = 0;
    timers = new Map();
    last = 0;

    now = () => this.time;

    setTimeout = (fn, ms) => {
        this.last += 1;
        this.timers.set(this.last, { fn, at: this.time + ms });
        return this.last;
    };

    clearTimeout = (handle) => this.timers.delete(handle);

    async run(ms) {
        const end = this.time + ms;
        await settle();
        for (;;) {
            const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
            if (!due) break;
            this.timers.delete(due[0]);
            this.time = Math.max(this.time, due[1].at);
            due[1].fn();
            await settle();
        }
        this.time = end;
    }
}

const settle = async () => {
    for (let i = 0; i < 6; i += 1) await null;
};

/* A page without a page: `answer` is what /status says (or an Error), `done` what the follower ordered, in order, with times. */
function makePage({ random = () => 0.5, answer = { state: 'live', version: 1, retry_after_ms: 1000 } } = {}) {
    const clock = new FakeClock();
    const page = {
        clock,
        answer,
        polls: [],
        done: [],
        phases: [],
        order(name) {
            return page.done.filter((entry) => entry.startsWith(name)).length;
        },
    };
    page.follower = createFollower({
        clock,
        random,
        fetchStatus: async () => {
            page.polls.push(clock.time);
            if (page.answer instanceof Error) throw page.answer;
            return page.answer;
        },
        actions: {
            play: (how) => page.done.push(`play ${how}`),
            halt: () => page.done.push('halt'),
            finish: () => page.done.push('finish'),
            show: (phase) => page.phases.push(phase),
        },
    });
    page.says = (state, retryAfterMs = 1000) => {
        page.answer = { state, version: page.answer.version + 1, retry_after_ms: retryAfterMs };
    };
    /* Time passes with a moving picture, seen every 250 ms as in the page. */
    page.watch = async (ms) => {
        for (let passed = 0; passed < ms; passed += 250) {
            await clock.run(250);
            page.follower.progress(true);
        }
    };
    page.follower.start();
    return page;
}

test('a live broadcast plays at once and is asked about every second or so', async () => {
    const page = makePage({ random: Math.random });
    await page.watch(20000);
    assert.deepEqual(page.done, ['play start']);
    assert.deepEqual(page.phases, ['connecting', 'live']);
    assert.ok(page.polls.length >= 16 && page.polls.length <= 27, `${page.polls.length} polls in 20 s`);
    for (let i = 1; i < page.polls.length; i += 1) assert.ok(page.polls[i] - page.polls[i - 1] <= 1250, 'a suspension shows within 1.25 s');
});

test('/status under load stretches its times: so do the polls of those who watch', async () => {
    const page = makePage({ answer: { state: 'live', version: 1, retry_after_ms: 30000 } });
    await page.watch(20000);
    assert.ok(page.polls.length <= 6, `${page.polls.length} polls in 20 s`);
});

test('a scheduled broadcast begins by itself, after the time that it is told', async () => {
    const page = makePage({ answer: { state: 'scheduled', version: 1, retry_after_ms: 3000 } });
    await page.clock.run(2900);
    assert.equal(page.polls.length, 1, 'retry_after_ms is obeyed');
    page.says('live', 700);
    await page.clock.run(400);
    assert.equal(page.follower.phase, 'returning');
    assert.equal(page.order('play'), 0, 'not before its turn');
    await page.clock.run(700);
    assert.deepEqual(page.done, ['play start']);
    assert.equal(page.follower.phase, 'live');
});

test('suspended: no media request, polls when told, the picture goes on where it stopped', async () => {
    const page = makePage();
    await page.watch(5000);
    page.says('suspended', 5000);
    await page.clock.run(1000);
    assert.equal(page.follower.phase, 'suspended');
    assert.deepEqual(page.done, ['play start', 'halt']);
    const before = page.polls.length;
    await page.clock.run(30000);
    assert.ok(page.polls.length - before >= 5 && page.polls.length - before <= 6, 'every 5 s, a little later and never earlier');
    assert.deepEqual(page.done, ['play start', 'halt']);
    page.says('live', 2500);
    while (page.follower.phase === 'suspended') await page.clock.run(100);
    assert.equal(page.follower.phase, 'returning');
    await page.clock.run(2300);
    assert.equal(page.done.length, 2, 'not before its turn');
    await page.clock.run(300);
    assert.deepEqual(page.done, ['play start', 'halt', 'play resume']);
});

test('a return that shows nothing for three seconds is loaded from scratch', async () => {
    const page = makePage();
    await page.watch(3000);
    page.says('suspended');
    await page.clock.run(3000);
    page.says('live', 0);
    await page.clock.run(1200);
    assert.equal(page.done.at(-1), 'play resume');
    await page.clock.run(5500);
    assert.deepEqual(page.done.slice(2), ['play resume', 'halt', 'play reload']);
    await page.watch(20000);
    assert.equal(page.done.length, 5, 'and then it is left alone');
});

test('suspended again before its turn came: it does not load', async () => {
    const page = makePage();
    await page.watch(2000);
    page.says('suspended');
    await page.clock.run(2000);
    page.says('live', 8000);
    await page.clock.run(2000);
    assert.equal(page.follower.phase, 'returning');
    page.says('suspended');
    await page.clock.run(20000);
    assert.deepEqual(page.done, ['play start', 'halt']);
});

test('trouble with the media is answered by asking /status, never by another media request', async () => {
    const page = makePage();
    await page.watch(3000);
    const polls = page.polls.length;
    page.says('suspended', 4000);
    for (let i = 0; i < 50; i += 1) page.follower.trouble({ httpStatus: 404 });
    await page.clock.run(600);
    assert.equal(page.polls.length, polls + 1, 'fifty errors, one question');
    assert.equal(page.follower.phase, 'suspended');
    await page.clock.run(20000);
    assert.equal(page.order('play'), 1);
});

test('trouble while live: tried again later and later, forgotten after steady playing', async () => {
    const page = makePage();
    await page.watch(6000);
    const at = [];
    for (let i = 0; i < 8; i += 1) {
        const plays = page.order('play');
        page.follower.trouble({ httpStatus: 503 });
        const from = page.clock.time;
        while (page.order('play') === plays) await page.clock.run(50);
        at.push(page.clock.time - from);
    }
    assert.ok(at[0] <= 1300, `the first try comes soon: ${at}`);
    assert.ok(at[7] >= 6000 && at[7] <= 13000, `later ones do not: ${at}`);
    await page.watch(12000);
    const plays = page.order('play');
    page.follower.trouble({ httpStatus: 503 });
    await page.clock.run(1500);
    assert.equal(page.order('play'), plays + 1);
});

test('a refused or expired URL is renewed', async () => {
    for (const httpStatus of [401, 403, 410]) {
        const page = makePage();
        await page.watch(3000);
        page.follower.trouble({ httpStatus });
        await page.clock.run(2000);
        assert.equal(page.done.at(-1), 'play renew', String(httpStatus));
    }
});

test('a picture that stands still without any error is loaded from scratch', async () => {
    const page = makePage();
    await page.watch(10000);
    await page.clock.run(9000);
    assert.deepEqual(page.done, ['play start', 'halt', 'play reload']);
});

test('a viewer who paused is left in peace', async () => {
    const page = makePage();
    await page.watch(5000);
    for (let i = 0; i < 240; i += 1) {
        await page.clock.run(250);
        page.follower.progress(false);
    }
    assert.deepEqual(page.done, ['play start']);
});

test('/status away: what plays goes on playing, questions become rare', async () => {
    const page = makePage();
    await page.watch(3000);
    page.answer = Object.assign(new Error('503'), { status: 503 });
    const polls = page.polls.length;
    await page.watch(120000);
    assert.deepEqual(page.done, ['play start']);
    assert.ok(page.polls.length - polls <= 18, `${page.polls.length - polls} polls in two minutes`);
});

test('/status and the media away: the media is tried, slowly', async () => {
    const page = makePage();
    await page.watch(3000);
    page.answer = new Error('no connection');
    for (let passed = 0; passed < 60000; passed += 500) {
        await page.clock.run(500);
        page.follower.trouble({ httpStatus: 0 });
    }
    const plays = page.order('play') - 1;
    assert.ok(plays >= 2 && plays <= 10, `${plays} tries in a minute`);
});

test('Retry-After of an overloaded /status is obeyed', async () => {
    const page = makePage();
    await page.watch(2000);
    page.answer = Object.assign(new Error('429'), { status: 429, retryAfterMs: 9000 });
    await page.watch(1500);
    const polls = page.polls.length;
    await page.watch(8000);
    assert.equal(page.polls.length, polls);
});

test('ended: the rest is played, then it is over and nothing is asked any more', async () => {
    const page = makePage();
    await page.watch(3000);
    page.says('ended');
    await page.clock.run(1500);
    assert.equal(page.follower.phase, 'ending');
    assert.equal(page.done.at(-1), 'finish');
    const polls = page.polls.length;
    page.follower.trouble({ httpStatus: 404 });
    page.follower.wake();
    await page.clock.run(3000);
    page.follower.finished();
    assert.equal(page.follower.phase, 'ended');
    await page.clock.run(600000);
    assert.equal(page.polls.length, polls);
    assert.equal(page.clock.timers.size, 0, 'no timer is left');
});

test('ended: a rest that never ends is cut', async () => {
    const page = makePage();
    await page.watch(3000);
    page.says('ended');
    await page.clock.run(30000);
    assert.deepEqual(page.done.slice(1), ['finish', 'halt']);
    assert.equal(page.follower.phase, 'ended');
});

test('ended or archived before the page was opened: nothing is loaded', async () => {
    for (const state of ['ended', 'archived']) {
        const page = makePage({ answer: { state, version: 1, retry_after_ms: 1000 } });
        await page.clock.run(5000);
        assert.equal(page.follower.phase, 'ended');
        assert.deepEqual(page.done, []);
    }
});

test('an unknown id is asked about rarely; a known one that is missing for a moment goes on', async () => {
    const page = makePage({ answer: { missing: true } });
    await page.clock.run(60000);
    assert.equal(page.follower.phase, 'missing');
    assert.ok(page.polls.length <= 16);
    const known = makePage();
    await known.watch(3000);
    known.answer = { ...known.answer, missing: true };
    await known.watch(30000);
    assert.equal(known.follower.phase, 'live');
    assert.deepEqual(known.done, ['play start']);
});

test('an older version changes nothing', async () => {
    const page = makePage();
    page.answer = { state: 'live', version: 10, retry_after_ms: 1000 };
    await page.watch(3000);
    page.answer = { state: 'suspended', version: 9, retry_after_ms: 1000 };
    await page.watch(5000);
    assert.equal(page.follower.phase, 'live');
    assert.deepEqual(page.done, ['play start']);
});

test('a state heard elsewhere counts as an answer', async () => {
    const page = makePage();
    await page.watch(3000);
    page.says('suspended', 60000);
    page.follower.hear(page.answer);
    assert.equal(page.follower.phase, 'suspended');
});

test('after stop() nothing happens any more', async () => {
    const page = makePage();
    await page.watch(2000);
    page.follower.stop();
    const polls = page.polls.length;
    page.follower.trouble({ httpStatus: 404 });
    await page.clock.run(60000);
    assert.equal(page.polls.length, polls);
    assert.equal(page.clock.timers.size, 0);
});

test('500 pages through an interruption: no media request while it lasts, no second of polls above twice the mean', async () => {
    const clock = new FakeClock();
    const polls = [];
    const plays = [];
    let state = 'live';
    let version = 1;
    const followers = Array.from({ length: 500 }, () => {
        const follower = createFollower({
            clock,
            fetchStatus: async () => {
                polls.push(clock.time);
                // As burst-status does: each is told another time.
                return { state, version, retry_after_ms: state === 'live' ? Math.random() * 4000 : 2000 + Math.random() * 4000 };
            },
            actions: { play: (how) => plays.push({ how, at: clock.time }), halt() {}, finish() {}, show() {} },
        });
        clock.setTimeout(() => follower.start(), Math.random() * 1000);
        return follower;
    });
    await clock.run(3000);
    state = 'suspended';
    version += 1;
    const from = clock.time + 8000; // everybody knows and has been told a time
    for (let i = 0; i < 5; i += 1) {
        followers.forEach((follower) => follower.trouble({ httpStatus: 404 })); // a late 404 for everyone, again and again
        await clock.run(1600);
    }
    const before = plays.length;
    await clock.run(20000);
    assert.equal(plays.length, before, 'no media while suspended');
    const seconds = new Array(20).fill(0);
    for (const at of polls) if (at >= from && at < from + 20000) seconds[Math.floor((at - from) / 1000)] += 1;
    const mean = seconds.reduce((a, b) => a + b) / seconds.length;
    assert.ok(Math.max(...seconds) <= 2 * mean, `${seconds} around ${mean}`);
    const back = clock.time;
    state = 'live';
    version += 1;
    await clock.run(12000);
    const resumed = plays.filter((play) => play.at >= back && play.how === 'resume');
    assert.equal(resumed.length, 500, 'everybody is back');
    const rush = new Array(13).fill(0);
    for (const { at } of resumed) rush[Math.floor((at - back) / 1000)] += 1;
    assert.ok(Math.max(...rush) <= 200, `the return is spread: ${rush}`);
});
