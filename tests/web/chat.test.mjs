// The chat's logic with a fake socket and a fake clock: connection, list, decoration. No browser, no server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHAT_SETTINGS, compareIds, createChatConnection, stateAnswer } from '../../services/web/public/assets/js/chat-connection.js';
import { inkOn, isDecoration } from '../../services/web/public/assets/js/chat-decoration.js';
import { createChatList } from '../../services/web/public/assets/js/chat-list.js';

class FakeClock {
    time = 0;
    timers = new Map();
    last = 0;

    setTimeout = (fn, ms) => {
        this.last += 1;
        this.timers.set(this.last, { fn, at: this.time + ms });
        return this.last;
    };

    clearTimeout = (handle) => this.timers.delete(handle);

    run(ms) {
        const end = this.time + ms;
        for (;;) {
            const [due] = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0]);
            if (!due) break;
            this.timers.delete(due[0]);
            this.time = due[1].at;
            due[1].fn();
        }
        this.time = end;
    }
}

class FakeSocket {
    sent = [];
    isClosed = false;

    constructor(path) {
        this.url = new URL(path, 'http://edge');
    }

    get query() { return Object.fromEntries(this.url.searchParams); }

    send(text) { this.sent.push(JSON.parse(text)); }

    close() { this.isClosed = true; }

    says(message) { this.onmessage({ data: JSON.stringify(message) }); }

    ends(code) { this.onclose({ code }); }
}

function rig({ token = 'jwt', random = () => 1 } = {}) {
    const it = { clock: new FakeClock(), sockets: [], events: [], states: [], hellos: [], signedOut: [], token };
    it.connection = createChatConnection({
        id: 'b1',
        openSocket: (path) => {
            it.sockets.push(new FakeSocket(path));
            return it.socket;
        },
        clock: it.clock,
        token: () => it.token,
        random,
        on: {
            events: (events) => it.events.push(...events),
            state: (state, why) => it.states.push([state, why]),
            hello: (hello) => it.hellos.push(hello),
            signedOut: (code) => { it.signedOut.push(code); it.token = null; },
        },
    });
    Object.defineProperty(it, 'socket', { get: () => it.sockets.at(-1) });
    it.open = () => {
        it.connection.start();
        it.socket.says({ type: 'hello', room: 2, role: 'viewer' });
        return it;
    };
    return it;
}

const comment = (id, text = id) => ({ type: 'comment', id, user: { id: 'u', name: 'U' }, text });
const ids = (events) => events.map(({ id }) => id);

test('it connects with the token, is open at the hello, and tells events in order', () => {
    const it = rig().open();
    assert.equal(it.socket.url.pathname, '/chat/v1/broadcasts/b1');
    assert.deepEqual(it.socket.query, { token: 'jwt' });
    assert.deepEqual(it.hellos, [{ room: 2, role: 'viewer' }]);
    it.socket.says({ events: [comment('5-0'), comment('5-1')] });
    assert.deepEqual(ids(it.events), ['5-0', '5-1']);
    assert.deepEqual(it.states.map(([state]) => state), ['connecting', 'open']);
});

test('without a session it reads only', () => {
    const it = rig({ token: null }).open();
    assert.deepEqual(it.socket.query, {});
});

test('after a break it comes back with the last event and its room, and repeats nothing', () => {
    const it = rig().open();
    it.socket.says({ events: [comment('9-0'), comment('10-0'), { type: 'viewers', now: 3 }] });
    it.socket.ends(1006);
    assert.equal(it.connection.state, 'waiting');
    it.clock.run(CHAT_SETTINGS.backoffMs[0]);
    assert.deepEqual(it.socket.query, { token: 'jwt', last: '10-0', room: '2' });
    it.socket.says({ type: 'hello', room: 2, role: 'viewer' });
    it.socket.says({ events: [comment('10-0'), comment('11-0')] });
    assert.deepEqual(ids(it.events.filter(({ id }) => id)), ['9-0', '10-0', '11-0']);
});

test('ids are compared as numbers, and a late one is told but does not move the last', () => {
    assert.ok(compareIds('9-9', '10-0') < 0);
    assert.ok(compareIds('10-2', '10-10') < 0);
    assert.equal(compareIds('7-0', '7-0'), 0);
    const it = rig().open();
    it.socket.says({ events: [comment('10-10')] });
    it.socket.says({ events: [comment('10-9')] });
    assert.deepEqual(ids(it.events), ['10-10', '10-9']);
    assert.equal(it.connection.last, '10-10');
});

test('the broadcaster, who sees all rooms, asks for none', () => {
    const it = rig();
    it.connection.start();
    it.socket.says({ type: 'hello', room: -1, role: 'broadcaster' });
    it.socket.ends(1006);
    it.clock.run(CHAT_SETTINGS.backoffMs[0]);
    assert.deepEqual(it.socket.query, { token: 'jwt' });
});

test('failures wait longer and longer, to a bound, spread by chance; five steady seconds begin anew', () => {
    const waits = (random) => {
        const it = rig({ random: () => random });
        it.connection.start();
        return Array.from({ length: 9 }, () => {
            it.socket.ends(1006);
            const { waitMs } = it.states.at(-1)[1];
            it.clock.run(waitMs);
            return waitMs;
        });
    };
    const longest = waits(1);
    assert.deepEqual(longest.slice(0, 4), [500, 1000, 2000, 4000]);
    assert.equal(longest.at(-1), CHAT_SETTINGS.backoffMs[1]);
    assert.deepEqual(waits(0), longest.map((ms) => ms / 2));

    const it = rig();
    it.connection.start();
    it.socket.ends(1006);
    it.clock.run(500);
    it.socket.says({ type: 'hello', room: 0, role: 'viewer' });
    it.clock.run(CHAT_SETTINGS.steadyMs);
    it.socket.ends(1006);
    assert.equal(it.states.at(-1)[1].waitMs, 500);
});

test('a full server is obeyed', () => {
    const it = rig({ random: () => 0 });
    it.connection.start();
    it.socket.says({ type: 'error', code: 'full', message: 'full', retry_after_ms: 3000 });
    it.socket.ends(4503);
    assert.equal(it.states.at(-1)[1].code, 'full');
    it.clock.run(2999);
    assert.equal(it.sockets.length, 1);
    it.clock.run(1);
    assert.equal(it.sockets.length, 2);
});

test('banned is the end of it; an unknown broadcast is asked for seldom', () => {
    const banned = rig().open();
    banned.socket.says({ type: 'error', code: 'banned', message: 'no' });
    banned.socket.ends(4403);
    assert.equal(banned.connection.state, 'refused');
    banned.connection.wake();
    banned.clock.run(3600000);
    assert.equal(banned.sockets.length, 1);

    const unknown = rig({ random: () => 0 });
    unknown.connection.start();
    unknown.socket.ends(4404);
    unknown.clock.run(CHAT_SETTINGS.unknownMs - 1);
    assert.equal(unknown.sockets.length, 1);
});

test('a token that is not taken is given up, and reading goes on', () => {
    const it = rig();
    it.connection.start();
    it.socket.says({ type: 'error', code: 'token_expired', message: 'old' });
    it.socket.ends(4401);
    assert.deepEqual(it.signedOut, ['token_expired']);
    it.clock.run(500);
    assert.deepEqual(it.socket.query, {});
});

test('no hello in time, or silence for long: another socket, and the old one is not heard', () => {
    const it = rig();
    it.connection.start();
    const first = it.socket;
    it.clock.run(CHAT_SETTINGS.helloMs + 500);
    assert.equal(it.sockets.length, 2);
    assert.ok(first.isClosed);
    first.says({ events: [comment('1-0')] });
    first.ends(1006);
    assert.deepEqual(it.events, []);
    it.socket.says({ type: 'hello', room: 0, role: 'viewer' });
    it.clock.run(CHAT_SETTINGS.silenceMs - 1);
    it.socket.says({ events: [{ type: 'viewers', now: 1 }] });
    it.clock.run(CHAT_SETTINGS.silenceMs - 1);
    assert.equal(it.connection.state, 'open');
    it.clock.run(1);
    assert.equal(it.connection.state, 'waiting');
});

test('an acknowledgement and an error reach the one who said it, by ref', async () => {
    const it = rig().open();
    const first = it.connection.send('one');
    const second = it.connection.send('two');
    const [one, two] = it.socket.sent;
    assert.deepEqual(one, { type: 'comment', text: 'one', ref: 'c1000000-1' });
    it.socket.says({ type: 'error', ref: two.ref, code: 'rate_limited', message: 'slowly', retry_after_ms: 900 });
    it.socket.says({ type: 'ack', ref: one.ref, id: '7-0' });
    assert.equal((await first).id, '7-0');
    await assert.rejects(second, { code: 'rate_limited', ref: two.ref, retryAfterMs: 900 });
    const gone = it.connection.remove('7-0');
    assert.deepEqual(it.socket.sent[2], { type: 'delete', id: '7-0', ref: 'c1000000-3' });
    it.connection.stop();
    await assert.rejects(gone, { code: 'disconnected' });
    await assert.rejects(it.connection.send('three'), { code: 'offline' });
});

test('what was not answered when the connection broke is said again with its ref, and no other', async () => {
    const it = rig().open();
    const answered = it.connection.send('answered');
    const first = it.connection.send('first');
    const second = it.connection.send('second');
    it.socket.says({ type: 'ack', ref: it.socket.sent[0].ref, id: '7-0' });
    const [, ...lost] = it.socket.sent;
    it.socket.ends(1006);
    it.clock.run(500);
    assert.deepEqual(it.socket.sent, [], 'not before the hello');
    it.socket.says({ type: 'hello', room: 2, role: 'viewer' });
    assert.deepEqual(it.socket.sent, lost);
    lost.forEach(({ ref }, i) => it.socket.says({ type: 'ack', ref, id: `8-${i}` }));
    assert.deepEqual((await Promise.all([answered, first, second])).map(({ id }) => id), ['7-0', '8-0', '8-1']);
});

test('who is sent away has nothing left to say', async () => {
    const it = rig().open();
    const said = it.connection.send('one');
    it.socket.ends(4403);
    await assert.rejects(said, { code: 'disconnected' });
});

test('no answer in time is told', async () => {
    const it = rig().open();
    const said = it.connection.send('one');
    it.clock.run(CHAT_SETTINGS.answerMs);
    await assert.rejects(said, { code: 'unanswered' });
});

test('nonsense is left alone', () => {
    const it = rig().open();
    it.socket.onmessage({ data: 'not json' });
    for (const message of [null, 7, [], { events: [null, 4] }, { type: 'newer' }, { type: 'ack', ref: 'unknown' }]) it.socket.says(message);
    assert.deepEqual(it.events, []);
    assert.equal(it.connection.state, 'open');
});

test('another session goes on in the same room, from the same event, at once', () => {
    const it = rig({ token: null }).open();
    it.socket.says({ events: [comment('4-0')] });
    const old = it.socket;
    it.token = 'new';
    it.connection.renew();
    assert.ok(old.isClosed);
    assert.deepEqual(it.socket.query, { token: 'new', last: '4-0', room: '2' });
});

test('stop leaves no timer behind', () => {
    const it = rig().open();
    it.connection.send('x').catch(() => {});
    it.connection.stop();
    assert.equal(it.clock.timers.size, 0);
});

test('state events reach the follower, spread over a large audience', () => {
    assert.deepEqual(stateAnswer({ state: 'suspended', version: 4 }, 3, () => 0.5), { state: 'suspended', version: 4, retry_after_ms: 2000 });
    assert.equal(stateAnswer({ state: 'live', version: 5 }, 1000000, () => 0.5).retry_after_ms, 20000);
    assert.equal(stateAnswer({ state: 'live', version: 5 }, undefined, () => 0.5).retry_after_ms, 1000);
});

// ---- list ----

const batch = (from, count) => Array.from({ length: count }, (_, i) => comment(`${from + i}-0`));
const numbers = (list) => list.window().map(({ n }) => n);

test('the list and its window stay bounded while comments pour in', () => {
    const list = createChatList({ keep: 100, rows: 20, step: 5 });
    for (let i = 0; i < 1000; i += 1) list.push(batch(i * 10, 10));
    assert.ok(list.size <= 125);
    assert.equal(list.window().length, 20);
    assert.equal(list.window().at(-1).event.id, '9999-0');
    assert.equal(list.unread, 0);
});

test('a reader above keeps the window, counts what is new, and moves by steps', () => {
    const list = createChatList({ keep: 100, rows: 20, step: 5 });
    list.push(batch(0, 60));
    list.hold();
    list.push(batch(60, 7));
    assert.deepEqual([numbers(list)[0], numbers(list).at(-1)], [40, 59]);
    assert.equal(list.unread, 7);
    assert.ok(list.older());
    assert.deepEqual([numbers(list)[0], numbers(list).at(-1)], [35, 54]);
    while (list.older());
    assert.deepEqual([numbers(list)[0], numbers(list).at(-1)], [0, 19]);
    while (list.newer());
    assert.deepEqual([numbers(list)[0], numbers(list).at(-1)], [47, 66]);
    assert.equal(list.unread, 0, 'scrolled to the end: read');
    list.push(batch(67, 1));
    assert.equal(list.unread, 1);
    list.follow();
    assert.equal(numbers(list).at(-1), 67);
});

test('when all that a reader looked at is forgotten, the oldest there is takes its place', () => {
    const list = createChatList({ keep: 100, rows: 20, step: 5 });
    list.push(batch(0, 30));
    list.hold();
    for (let i = 0; i < 50; i += 1) list.push(batch(30 + i * 10, 10));
    assert.equal(list.window().length, 20);
    assert.ok(list.size <= 125);
    assert.ok(numbers(list)[0] > 300);
});

test('what is deleted goes from list and window; the window still moves over the gap', () => {
    const list = createChatList({ keep: 100, rows: 20, step: 5 });
    list.push(batch(0, 50));
    assert.deepEqual(list.remove(({ id }) => id === '45-0'), [45]);
    assert.deepEqual(list.remove(({ id }) => id === 'unknown'), []);
    assert.ok(!numbers(list).includes(45));
    list.remove(() => true);
    assert.deepEqual(list.window(), []);
    assert.equal(list.older(), false);
    assert.equal(list.newer(), false);
    list.push(batch(50, 1));
    assert.deepEqual(numbers(list), [50]);
    assert.deepEqual(ids(list.find(() => true)), ['50-0']);
});

// ---- decoration ----

test('only a whole decoration is one, and the ink can be read on it', () => {
    assert.ok(isDecoration({ background: '#A0b1C2', frame: 'gold' }));
    for (const bad of [undefined, null, {}, { background: 'red', frame: 'gold' }, { background: '#a0b1c2', frame: 'url(x)' }, { background: '#a0b1c2;x', frame: 'none' }]) {
        assert.equal(isDecoration(bad), false);
    }
    assert.equal(inkOn('#ffffff'), 'dark');
    assert.equal(inkOn('#000000'), 'light');
    assert.equal(inkOn('#ffd257'), 'dark');
    assert.equal(inkOn('#123456'), 'light');
});
