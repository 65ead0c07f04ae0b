/* The chat of one broadcast over one websocket at a time: who connects when, with what, and what came of it.
 *
 * It decides and draws nothing: the socket, the clock and the chance are handed in, so that tests run it in milliseconds.
 *
 *     idle -> connecting -> open -> waiting -> connecting …      refused: banned, nothing is tried any more
 *
 *     const connection = createChatConnection({ id, openSocket, clock, token, on: { events, state, error } });
 *     connection.start();
 *     await connection.send('hello');      resolves with the acknowledgement, rejects with a ChatError
 *
 * What has not been answered when a connection breaks is said again on the next one, with the same ref: the server knows
 * it and does not take it twice. Refs begin with something of this page's own, since a person may have several open.
 *
 * openSocket(path)     -> a WebSocket: onmessage, onclose and onerror are set on it, send() and close() are called
 * token()              -> the session's token, or null to read only
 * on.events(events)    new events, each once, in the order of the server
 * on.state(state, why) the connection's state changed; why: { code, message, waitMs } of what ended the one before
 * on.hello(hello)      the room and the role
 * on.signedOut(code)   the token is not taken (any more); it goes on without
 */

export const CHAT_SETTINGS = Object.freeze({
    backoffMs: [500, 20000], // first and longest
    helloMs: 10000, // from the call to the first word
    silenceMs: 90000, // the number of viewers comes every few seconds: one that says nothing for so long is dead
    answerMs: 10000, // for an acknowledgement
    steadyMs: 5000, // open for so long: earlier failures are forgotten
    unknownMs: 10000, // before asking again for a broadcast that nobody knows
    seenIds: 2000,
});

const CLOSE_TOKEN = 4401;
const CLOSE_BANNED = 4403;
const CLOSE_UNKNOWN = 4404;
const LONGEST_TOLD_MS = 120000;

export class ChatError extends Error {
    constructor(ref, code, message, retryAfterMs) {
        super(message);
        this.ref = ref;
        this.code = code;
        this.retryAfterMs = retryAfterMs;
    }
}

/* Ids are two numbers, "ms-sequence". Negative: a is the older one. */
export function compareIds(a, b) {
    const [aMs, aSequence = '0'] = a.split('-');
    const [bMs, bSequence = '0'] = b.split('-');
    return Number(aMs) - Number(bMs) || Number(aSequence) - Number(bSequence);
}

export function createChatConnection({ id, openSocket, clock, token = () => null, on, random = Math.random, settings = {} }) {
    const set = { ...CHAT_SETTINGS, ...settings };
    const waiting = new Map(); // ref -> { message, resolve, reject, timer }: said, not answered yet
    const ownRefs = `c${Math.floor(random() * 36 ** 6).toString(36)}`;
    const seen = new Set(); // the ids of the last events, oldest first

    let state = 'idle';
    let socket = null;
    let timer = null; // of the state: hello, silence, or the next attempt
    let steadyTimer = null;
    let failures = 0;
    let last = null;
    let room = null;
    let lastError = null;
    let refs = 0;

    function enter(next, why) {
        if (next === state) return;
        state = next;
        on.state?.(state, why);
    }

    function inTime(ms, what) {
        clock.clearTimeout(timer);
        timer = clock.setTimeout(what, ms);
    }

    /* Half to all of an exponentially growing step, so that a server's whole audience does not come back at once. */
    function backoffMs() {
        const [firstMs, maxMs] = set.backoffMs;
        const step = Math.min(maxMs, firstMs * 2 ** Math.min(failures, 16));
        return step / 2 + random() * (step / 2);
    }

    // ---- connecting ----

    function path() {
        const query = new URLSearchParams();
        if (token()) query.set('token', token());
        if (last) query.set('last', last);
        if (room !== null && room >= 0) query.set('room', String(room));
        const text = query.toString();
        return `/chat/v1/broadcasts/${encodeURIComponent(id)}${text ? `?${text}` : ''}`;
    }

    function connect() {
        lastError = null;
        enter('connecting');
        const mine = openSocket(path());
        socket = mine;
        // A socket that has been given up may still speak: only the present one is heard.
        mine.onmessage = ({ data }) => socket === mine && hear(data);
        mine.onclose = ({ code }) => socket === mine && lost(code);
        mine.onerror = () => {};
        inTime(set.helloMs, () => lost(0));
    }

    function drop() {
        const old = socket;
        socket = null;
        clock.clearTimeout(timer);
        clock.clearTimeout(steadyTimer);
        try {
            old?.close();
        } catch {
            // Not open yet: it is forgotten.
        }
    }

    /* Nobody will answer any more. */
    function giveUp() {
        for (const ref of [...waiting.keys()]) {
            answer(ref, new ChatError(ref, 'disconnected', 'The connection broke before an answer came.'));
        }
    }

    function lost(code) {
        const error = lastError;
        drop();
        if (code === CLOSE_BANNED || code === CLOSE_TOKEN) giveUp();
        if (code === CLOSE_BANNED) return enter('refused', error ?? { code: 'banned' });
        if (code === CLOSE_TOKEN) {
            on.signedOut?.(error?.code ?? 'token_invalid');
            // With a token that is not taken every attempt would end like this one: without, it may read.
            if (token()) return enter('refused', error ?? { code: 'token_invalid' });
        }
        const told = Math.min(error?.retry_after_ms ?? 0, LONGEST_TOLD_MS) * (1 + random() * 0.5);
        const waitMs = Math.max(backoffMs(), told, code === CLOSE_UNKNOWN ? set.unknownMs * (1 + random()) : 0);
        failures += 1;
        enter('waiting', { ...error, waitMs });
        return inTime(waitMs, connect);
    }

    // ---- hearing ----

    function hear(data) {
        let message;
        try {
            message = JSON.parse(data);
        } catch {
            return; // not ours; the silence timer stands
        }
        if (message === null || typeof message !== 'object') return;
        inTime(set.silenceMs, () => lost(0));
        if (Array.isArray(message.events)) takeEvents(message.events);
        else if (message.type === 'hello') hello(message);
        else if (message.type === 'ack') answer(message.ref, null, message);
        else if (message.type === 'error') hearError(message);
    }

    function hello(message) {
        room = Number.isInteger(message.room) ? message.room : null;
        steadyTimer = clock.setTimeout(() => {
            failures = 0;
        }, set.steadyMs);
        enter('open');
        for (const { message: said } of waiting.values()) socket.send(JSON.stringify(said));
        on.hello?.({ room, role: message.role });
    }

    function hearError(message) {
        if (message.ref !== undefined) {
            return answer(message.ref, new ChatError(message.ref, message.code, message.message, message.retry_after_ms));
        }
        lastError = message;
        return undefined;
    }

    /* After a reconnect the server begins behind `last`; what is on the way twice all the same is told once. */
    function takeEvents(events) {
        const fresh = events.filter((event) => {
            if (event === null || typeof event !== 'object') return false;
            if (typeof event.id !== 'string') return true; // of the moment: the newest counts
            if (seen.has(event.id)) return false;
            seen.add(event.id);
            if (last === null || compareIds(event.id, last) > 0) last = event.id;
            return true;
        });
        for (const old of seen) {
            if (seen.size <= set.seenIds) break;
            seen.delete(old);
        }
        if (fresh.length > 0) on.events?.(fresh);
    }

    // ---- saying ----

    function answer(ref, error, ack) {
        const one = waiting.get(ref);
        if (!one) return;
        waiting.delete(ref);
        clock.clearTimeout(one.timer);
        if (error) one.reject(error);
        else one.resolve(ack);
    }

    function say(message) {
        refs += 1;
        const ref = `${ownRefs}-${refs}`;
        const whole = { ...message, ref };
        if (state !== 'open') return Promise.reject(new ChatError(ref, 'offline', 'No connection to the chat right now.'));
        return new Promise((resolve, reject) => {
            const expiry = clock.setTimeout(
                () => answer(ref, new ChatError(ref, 'unanswered', 'No answer came.')),
                set.answerMs,
            );
            waiting.set(ref, { message: whole, resolve, reject, timer: expiry });
            socket.send(JSON.stringify(whole));
        });
    }

    return {
        start() {
            if (state === 'idle') connect();
        },
        stop() {
            drop();
            giveUp();
            enter('idle');
        },
        /* Another session, or none any more: the same room, from the same event on. */
        renew() {
            drop();
            giveUp();
            failures = 0;
            enter('waiting', {});
            connect();
        },
        /* The network is back or the page is looked at: not all of a second later, but soon. */
        wake() {
            if (state === 'waiting') inTime(random() * set.backoffMs[0], connect);
        },
        send: (text) => say({ type: 'comment', text }),
        remove: (eventId) => say({ type: 'delete', id: eventId }),
        get state() {
            return state;
        },
        get last() {
            return last;
        },
    };
}

/* What a state event means to follow.js. When to act on it is spread over the audience: 25 viewers in a millisecond. */
export function stateAnswer({ state, version }, viewersNow, random = Math.random) {
    const spreadMs = Math.max(2000, (Number.isFinite(viewersNow) ? viewersNow : 0) / 25);
    return { state, version: Number.isFinite(version) ? version : 0, retry_after_ms: state === 'live' ? random() * spreadMs : spreadMs };
}
