// The chat of a recording in step with its picture: each event once, only the files around the moment.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createReplay } from '../../services/web/public/assets/js/replay.js';

const MINUTES = 30;

/** A recording of 30 minutes with a comment every second; minute 10 is in two files, minute 20 is empty. */
function recording() {
    const files = new Map();
    const index = { duration_ms: MINUTES * 60000, files: [] };
    const add = (fromMs, toMs, events) => {
        const url = `${index.files.length}.json`;
        index.files.push({ from_ms: fromMs, to_ms: toMs, url, count: events.length });
        files.set(`http://edge/chat/${url}`, { events });
    };
    for (let minute = 0; minute < MINUTES; minute += 1) {
        const all = minute === 20 ? [] : Array.from({ length: 60 }, (_, s) => ({ type: 'comment', id: `${minute}:${s}`, media_ms: minute * 60000 + s * 1000 }));
        if (minute !== 10) add(minute * 60000, (minute + 1) * 60000, all);
        else {
            add(600000, 630000, all.slice(0, 30));
            add(630000, 660000, all.slice(30));
        }
    }
    files.set('http://edge/chat/index.json', index);
    return files;
}

function harness({ fail = () => false, settings } = {}) {
    const files = recording();
    const h = { asked: [], shown: [], resets: [], troubles: 0, nowMs: 0 };
    h.replay = createReplay({
        fetchJson: async (url) => { h.asked.push(url.split('/').pop()); if (fail(url)) throw new Error('away'); return files.get(url); },
        show: (events) => h.shown.push(...events), reset: (events) => { h.resets.push(events); h.shown = []; }, onTrouble: () => { h.troubles += 1; }, now: () => h.nowMs, settings });
    h.settle = () => new Promise((resolve) => { setTimeout(resolve, 0); });
    h.play = async (fromMs, toMs) => { for (let ms = fromMs; ms <= toMs; ms += 250) { h.replay.at(ms); await h.settle(); } };
    return h;
}

test('playing through: each event once and in order, and not before its time', async () => {
    const h = harness();
    await h.replay.open('http://edge/chat/index.json');
    await h.settle();
    await h.play(0, 90000);
    const seen = [...h.resets.flat(), ...h.shown].map((event) => event.media_ms);
    assert.deepEqual(seen, Array.from({ length: 91 }, (_, s) => s * 1000));
    assert.deepEqual(h.asked, ['index.json', '0.json', '1.json', '2.json'], 'the minute and the next, nothing else');
});

test('a seek to the middle: what was said right before it, from the files around it only', async () => {
    const h = harness();
    await h.replay.open('http://edge/chat/index.json');
    await h.play(0, 1000);
    h.asked.length = 0;
    h.replay.at(640500);
    await h.settle();
    await h.settle();
    const last = h.resets.at(-1);
    assert.equal(last.length, 60);
    assert.equal(last.at(-1).id, '10:40');
    assert.equal(last[0].id, '9:41');
    assert.ok(h.asked.length <= 5 && h.asked.every((name) => ['9.json', '10.json', '11.json', '12.json'].includes(name)), h.asked.join());
    await h.play(640750, 642000);
    assert.deepEqual(h.shown.map((event) => event.id), ['10:41', '10:42']);
    h.replay.at(5000); // and back
    await h.settle();
    assert.equal(h.resets.at(-1).at(-1).id, '0:5');
});

test('a file that cannot be had is asked for again, but not in a storm; then nothing is missing', async () => {
    let away = true;
    const h = harness({ fail: (url) => away && url.endsWith('/1.json') });
    await h.replay.open('http://edge/chat/index.json');
    await h.play(0, 62000);
    assert.equal(h.asked.filter((name) => name === '1.json').length, 1);
    assert.equal(h.troubles, 1);
    away = false;
    h.nowMs = 4000;
    h.replay.at(62000);
    await h.settle();
    await h.settle();
    h.replay.at(62500);
    assert.deepEqual([...h.resets.flat(), ...h.shown].map((event) => event.media_ms), Array.from({ length: 63 }, (_, s) => s * 1000));
});

test('memory: a long watch keeps few files', async () => {
    const h = harness({ settings: { keepFiles: 6 } });
    await h.replay.open('http://edge/chat/index.json');
    for (let ms = 0; ms < MINUTES * 60000; ms += 3000) { h.replay.at(ms); await h.settle(); }
    assert.ok(h.replay.loaded.length <= 6, String(h.replay.loaded));
});
