// An audience in the middle of something: viewers with the page's own chat connection, who talk, tap hearts and buy gifts all the time, remember what
// was acknowledged and what they saw, and hold it against MySQL when all is over.
//
//     const crowd = await Crowd.join(stack, broadcast, 6); crowd.start(); … await crowd.stop();
//     assert.deepEqual(await crowd.judge(sql), []);
import { createChatConnection, compareIds } from '../../services/web/public/assets/js/chat-connection.js';
import crypto from 'node:crypto';
import WebSocket from 'ws';
import { api, sleep, waitFor } from './fixture.mjs';

const clock = { now: () => performance.now(), setTimeout: (fn, ms) => setTimeout(fn, ms), clearTimeout: (handle) => clearTimeout(handle) };
const ITEM = { id: 'sparkler', price: 10 };
const COINS = 100000;

/** One person with the page open. */
class Viewer {
    constructor(stack, broadcast, name, session) {
        Object.assign(this, { name, token: session.token, id: session.user_id, events: [], downs: [], wasOpen: false, lostAt: null });
        const origin = stack.origin.replace(/^http/, 'ws');
        this.connection = createChatConnection({
            id: broadcast.id, clock, token: () => this.token,
            openSocket: (path) => { this.socket = new WebSocket(`${origin}${path}`, { perMessageDeflate: false }); return this.socket; },
            on: { events: (events) => this.events.push(...events), state: (state) => this.onState(state) },
        });
        this.connection.start();
    }

    onState(state) {
        if (state === 'open') {
            if (this.lostAt !== null) this.downs.push({ at: this.lostAt, ms: Math.round(performance.now() - this.lostAt) });
            this.lostAt = null;
            this.wasOpen = true;
        } else if (this.wasOpen && state !== 'idle') {
            this.lostAt ??= performance.now();
        }
    }

    /** Ids of what stands in the log, as they came. */
    get ids() { return this.events.filter((event) => event.id).map((event) => event.id); }

    of(type) { return this.events.filter((event) => event.type === type); }
}

export class Crowd {
    static async join(stack, broadcast, count) {
        const crowd = new Crowd();
        Object.assign(crowd, { stack, broadcast, viewers: [], said: new Map(), unsure: new Set(), hearts: 0, batches: 0, bought: new Map(), troubles: {}, waits: {}, isOver: false });
        for (let i = 0; i < count; i += 1) {
            const session = (await api(stack, 'POST', '/sessions', { body: { name: `viewer ${i}` } })).json;
            await api(stack, 'POST', '/wallet/topups', { token: session.token, body: { coins: COINS } });
            crowd.viewers.push(new Viewer(stack, broadcast, `viewer ${i}`, session));
        }
        await waitFor('all are in the chat', () => crowd.viewers.every((viewer) => viewer.connection.state === 'open'), 10000);
        return crowd;
    }

    /** Everybody talks and taps, every second one buys. What was acknowledged counts; what was not is sent again, as the page does. */
    start() {
        const all = this.viewers.flatMap((viewer, i) => [this.talk(viewer), this.tap(viewer), ...(i % 2 ? [] : [this.buy(viewer)])]);
        this.done = Promise.all(all);
    }

    /** No more is begun; what was begun is brought to its end. */
    async stop() {
        this.isOver = true;
        await this.done;
    }

    trouble(what) { this.troubles[what] = (this.troubles[what] ?? 0) + 1; }

    waited(what, since) { this.waits[what] = Math.max(this.waits[what] ?? 0, Math.round(performance.now() - since)); }

    async talk(viewer) {
        for (let i = 0; !this.isOver; i += 1) {
            await sleep(800 + Math.random() * 600);
            if (viewer.connection.state !== 'open') continue;
            const text = `${viewer.name} says ${i} 花火`;
            const began = performance.now();
            await viewer.connection.send(text).then(
                ({ id }) => { this.said.set(text, id); this.waited('comment', began); },
                ({ code }) => { this.unsure.add(text); this.trouble(`comment ${code}`); });
        }
    }

    /** The same request until it has an answer that stands. */
    async insist(what, request) {
        const began = performance.now();
        for (;;) {
            const answer = await request().catch((error) => ({ status: error.name }));
            if (answer.status === 200 || answer.status === 201) { this.waited(what, began); return answer; }
            this.trouble(`${what} ${answer.status}`);
            if (performance.now() - began > 60000) throw new Error(`${what}: ${answer.status} ${answer.text ?? ''} for a minute`);
            await sleep(150);
        }
    }

    async tap(viewer) {
        while (!this.isOver) {
            await sleep(300 + Math.random() * 300);
            const body = { batch_id: crypto.randomUUID(), count: 1 + Math.floor(Math.random() * 4) };
            const { json } = await this.insist('love', () => api(this.stack, 'POST', `/broadcasts/${this.broadcast.id}/loves`, { token: viewer.token, body }));
            this.hearts += json.accepted;
            this.batches += 1;
        }
    }

    async buy(viewer) {
        while (!this.isOver) {
            await sleep(600 + Math.random() * 600);
            const body = { item_id: ITEM.id, broadcast_id: this.broadcast.id, idempotency_key: crypto.randomUUID() };
            const { json } = await this.insist('purchase', () => api(this.stack, 'POST', '/purchases', { token: viewer.token, body }));
            this.bought.set(json.id, viewer);
        }
    }

    get downs() { return this.viewers.flatMap((viewer) => viewer.downs.map(({ ms }) => ms)); }

    /** Acknowledged so far, of each kind: to see that all goes on. */
    get counts() { return [this.said.size, this.batches, this.bought.size]; }

    async goesOn(what, timeoutMs = 20000) {
        const before = this.counts;
        await waitFor(`comments, hearts and purchases go on ${what}`, () => this.counts.every((count, i) => count > before[i]), timeoutMs);
    }

    get summary() {
        const worst = Math.max(0, ...this.downs);
        return `${this.said.size} comments, ${this.hearts} hearts in ${this.batches} batches, ${this.bought.size} purchases acknowledged; ${this.downs.length} chat lines changed, the longest ` +
            `was away for ${worst} ms; longest wait for an answer: ${JSON.stringify(this.waits)}; asked again: ${JSON.stringify(this.troubles)}${this.phantoms === undefined ? '' : `; seen and gone with a Redis master: ${this.phantoms}`}`;
    }

    /** What is not as it was acknowledged. `sql(text)` -> MySQL's answer, tab-separated. `phantoms`: somebody may have seen what a Redis master published
     *  and took with it when it died; it was not acknowledged to anybody. */
    async judge(sql, { phantoms = false } = {}) {
        const problems = [];
        const id = this.broadcast.id;
        const lines = async (text) => (await sql(text)).split('\n').filter(Boolean).map((line) => line.split('\t'));
        const inOrder = await waitFor('the whole log in MySQL', async () => {
            const rows = await lines(`SELECT CONCAT(at_ms, '-', sequence), type, COALESCE(text, '') FROM comments WHERE broadcast_id = '${id}' ORDER BY at_ms, sequence`);
            const known = new Set(rows.map(([eventId]) => eventId));
            const missing = [...this.said.values(), ...(phantoms ? [] : this.viewers.flatMap((viewer) => viewer.ids))].filter((one) => !known.has(one));
            if (missing.length > 0) throw new Error(`${missing.length} acknowledged or seen events are not in MySQL, the first is ${missing[0]}`);
            if (rows.filter(([, type]) => type === 'gift').length < this.bought.size) throw new Error('gifts are missing');
            return rows;
        }, 20000, 300).catch((error) => { problems.push(error.message); return []; });
        const texts = inOrder.filter(([, type]) => type === 'comment').map(([, , text]) => text);
        if (new Set(texts).size !== texts.length) problems.push('a comment stands twice');
        for (const text of texts) if (!this.said.has(text) && !this.unsure.has(text)) problems.push(`nobody said ${text}`);
        const ids = inOrder.map(([eventId]) => eventId);
        if (phantoms) this.phantoms = this.forget(new Set(ids));
        await this.judgeViewers(ids, problems);
        await this.judgeHearts(lines, problems);
        await this.judgeGifts(lines, problems);
        return problems;
    }

    /** Takes what is not in the log out of what was seen; returns how many events that were. */
    forget(known) {
        const gone = new Set(this.viewers.flatMap((viewer) => viewer.ids).filter((id) => !known.has(id)));
        for (const viewer of this.viewers) viewer.events = viewer.events.filter((event) => !gone.has(event.id));
        return gone.size;
    }

    /** Everybody saw all of the log from their first event on, in its order, each once. */
    async judgeViewers(ids, problems) {
        for (const viewer of this.viewers) {
            await waitFor('the last event', () => viewer.ids.at(-1) === ids.at(-1), 5000).catch(() => {});
            const seen = viewer.ids;
            const expected = ids.slice(Math.max(0, ids.indexOf(seen[0])));
            const missed = expected.filter((one) => !seen.includes(one));
            const sorted = [...seen].sort(compareIds);
            if (missed.length > 0) problems.push(`${viewer.name} missed ${missed.length} events, the first is ${missed[0]}`);
            if (new Set(seen).size !== seen.length) problems.push(`${viewer.name} saw an event twice`);
            if (sorted.some((one, i) => one !== seen[i])) problems.push(`${viewer.name} saw events out of order`);
        }
    }

    async judgeHearts(lines, problems) {
        const id = this.broadcast.id;
        const read = async () => (await lines(`SELECT total, (SELECT SUM(taps) FROM love_users WHERE broadcast_id = '${id}') FROM loves WHERE broadcast_id = '${id}'`))[0]?.map(Number) ?? [];
        await waitFor('hearts', async () => (await read()).every((value) => value === this.hearts), 15000, 200)
            .catch(async () => problems.push(`${this.hearts} hearts were acknowledged; total and ranking in MySQL: ${await read()}`));
        const shown = (await api(this.stack, 'GET', `/broadcasts/${id}/loves`)).json?.total;
        if (shown !== this.hearts) problems.push(`${this.hearts} hearts were acknowledged, the API says ${shown}`);
    }

    async judgeGifts(lines, problems) {
        const rows = new Set((await lines(`SELECT id FROM purchases WHERE broadcast_id = '${this.broadcast.id}'`)).map(([one]) => one));
        const lost = [...this.bought.keys()].filter((one) => !rows.has(one));
        if (lost.length > 0) problems.push(`${lost.length} acknowledged purchases are lost`);
        if (rows.size !== this.bought.size) problems.push(`${rows.size} purchases in MySQL, ${this.bought.size} acknowledged`);
        const spent = [...this.bought.values()].reduce((sum, viewer) => sum.set(viewer, (sum.get(viewer) ?? 0) + ITEM.price), new Map());
        for (const [viewer, coins] of spent) {
            const left = Number((await lines(`SELECT coins FROM wallets WHERE user_id = '${viewer.id}'`))[0]?.[0]);
            if (left !== COINS - coins) problems.push(`${viewer.name} has ${left} coins instead of ${COINS - coins}`);
        }
        for (const viewer of this.viewers) {
            const gifts = viewer.of('gift').length;
            if (gifts !== this.bought.size) problems.push(`${viewer.name} saw ${gifts} of ${this.bought.size} gifts`);
        }
        const faults = await lines('SELECT fault, id FROM ledger_faults');
        if (faults.length > 0) problems.push(`the ledger does not add up: ${faults[0]}`);
    }

    close() { for (const viewer of this.viewers) viewer.connection.stop(); }
}
