// A real broadcast with a drop in the middle, from the push to its archive in Chromium: seek, and the comments of that moment show.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import WebSocket from 'ws';
import { assertAccessible } from '../lib/accessibility.mjs';
import { framesMove, launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, freshStack, newBroadcast, programmeFile, pushFile, run, sleep, status, waitFor, waitForState } from '../lib/fixture.mjs';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { keys, stateRedis } from '../lib/redis_client.mjs';

let stack;
let browser;
let broadcast;
let archive;
let events;
const said = []; // { text, atMs }

before(async () => {
    const file = await programmeFile(120);
    stack = await freshStack({ graceMs: 20000, env: { archive: { HANABI_ARCHIVE_SETTLE_MS: '500' }, chat: { HANABI_CHAT_RATE_BURST: '1000', HANABI_CHAT_RATE_PER_10S: '1000' } } });
    browser = await launchBrowser();
    atEnd(() => browser.close());
    broadcast = await newBroadcast(stack, 'Fireworks over the river 花火');
    let pusher = pushFile(broadcast.pushUrl, file);
    await waitForState(stack, broadcast.id, 'live');
    const stop = await talk();
    await sleep(3000);
    await give();
    await sleep(6000);
    await pusher.kill();
    await waitForState(stack, broadcast.id, 'suspended');
    await sleep(2500);
    pusher = pushFile(broadcast.pushUrl, file, { seek: 20 });
    await waitForState(stack, broadcast.id, 'live');
    await sleep(9000);
    stop();
    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    await pusher.kill();
    await waitFor('archived', async () => (await status(stack, broadcast.id))?.state === 'archived', 30000, 100);
    archive = (await api(stack, 'GET', `/archives/${broadcast.id}`)).json;
}, { timeout: 120000 });

/** Says a numbered word twice a second; returns what stops it. */
async function talk() {
    const session = (await api(stack, 'POST', '/sessions', { body: { name: 'Tarō 太郎' } })).json;
    const socket = new WebSocket(`${stack.origin.replace('http', 'ws')}/chat/v1/broadcasts/${broadcast.id}?token=${session.token}`);
    await new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject); });
    const timer = setInterval(() => {
        const text = `word ${said.length + 1}`;
        said.push(text);
        api(stack, 'POST', `/broadcasts/${broadcast.id}/loves`, { token: session.token, body: { batch_id: `b${said.length}`, count: 3 } }).catch(() => {});
        socket.send(JSON.stringify({ type: 'comment', ref: text, text }));
    }, 500);
    return () => { clearInterval(timer); setTimeout(() => socket.close(), 500); };
}

/** One gift, in the first session. */
async function give() {
    const { token } = (await api(stack, 'POST', '/sessions', { body: { name: 'Hanako 花子' } })).json;
    const { items } = (await api(stack, 'GET', '/items')).json;
    const item = items.find((one) => one.name === 'Lantern');
    await api(stack, 'POST', '/wallet/topups', { token, body: { coins: 1000 } });
    const bought = await api(stack, 'POST', '/purchases', { token, body: { item_id: item.id, broadcast_id: broadcast.id, idempotency_key: 'live', message: 'きれい！' } });
    assert.equal(bought.status, 201, bought.text);
}

const get = async (url) => {
    const answer = await fetch(new URL(url, stack.origin));
    assert.equal(answer.status, 200, String(url));
    return answer.json();
};

test('the replay holds every comment once; the drop has moved nothing', async (t) => {
    const index = await get(archive.chat_index_url);
    assert.equal(index.duration_ms, archive.duration_ms);
    const files = await Promise.all(index.files.map((entry) => get(new URL(entry.url, new URL(archive.chat_index_url, stack.origin)))));
    events = files.flatMap((one) => one.events);
    assert.deepEqual(events.filter((event) => event.type === 'comment').map((event) => event.text), said);
    const totals = events.filter((event) => event.type === 'love').map((event) => event.total);
    assert.ok(totals.length > 3 && totals.every((total, i) => i === 0 || total > totals[i - 1]), totals.join());
    assert.equal(totals.at(-1), (await api(stack, 'GET', `/broadcasts/${broadcast.id}/loves`)).json.total, 'all hearts');
    // Within a session media goes as the clock does; over the drop the clock goes on alone.
    let jumps = 0;
    for (let i = 1; i < events.length; i += 1) {
        const lag = (events[i].at_ms - events[i - 1].at_ms) - (events[i].media_ms - events[i - 1].media_ms);
        assert.ok(lag >= -60, `event ${i}: media ran ahead by ${-lag} ms`);
        if (lag > 100) jumps += 1;
    }
    t.diagnostic(`${events.length} events, ${archive.duration_ms} ms, the clock went on alone ${jumps} times`);
    assert.ok(jumps >= 1);
});

test('the recording passes the checker of HLS, and ffprobe reads it', { timeout: 60000 }, async (t) => {
    const url = new URL(archive.playback_url, stack.origin).href;
    const monitor = new HlsMonitor(url);
    await monitor.poll();
    assert.deepEqual(await monitor.judge({ ended: true }), []);
    const media = [...monitor.renditions.values()][0].versions[0].playlist;
    assert.ok(media.segments.some((segment) => segment.discontinuity), 'the drop is kept');
    const { stdout } = await run('ffprobe', ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', url]);
    t.diagnostic(`ffprobe: ${stdout.trim()} s, the API: ${archive.duration_ms} ms`);
    assert.ok(Math.abs(Number(stdout) * 1000 - archive.duration_ms) < 500);
});

async function open(t, pathname, viewport) {
    const context = await browser.newContext({ viewport });
    t.after(() => context.close());
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && errors.push(message.text()));
    await page.goto(`${stack.origin}${pathname}`);
    return { page, errors };
}

const words = (page) => page.locator('.chat-log .comment:not(.gift-row) .comment-text').allTextContents();

test('Chromium: open the archive, seek to the middle, the comments of that moment show; MySQL is not asked', { timeout: 60000 }, async (t) => {
    const { page, errors } = await open(t, `/archive/${broadcast.id}`, { width: 1280, height: 800 });
    await waitFor('a moving picture', () => framesMove(page, '#video'), 20000, 100);
    await page.locator('body[data-chat="ready"]').waitFor({ timeout: 5000 });
    await stack.sqlAsRoot("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON");
    const middleMs = Math.floor(archive.duration_ms / 2);
    await page.evaluate((s) => { document.querySelector('#video').pause(); document.querySelector('#video').currentTime = s; }, middleMs / 1000);
    const expected = events.filter((event) => event.type === 'comment' && event.media_ms <= middleMs).map((event) => event.text);
    await waitFor('the comments of the middle', async () => (await words(page)).join() === expected.join(), 10000, 50);
    const hearts = events.findLast((event) => event.type === 'love' && event.media_ms <= middleMs).total;
    assert.equal(await page.locator('#hearts').textContent(), `♥ ${hearts}`);
    assert.ok(archive.audience.unique >= 1, 'Tarō was there');
    assert.equal(await page.locator('#watched').textContent(), `${archive.audience.unique} watched`);
    await screenshot(page, 'archive-middle');
    // Playing on, they come in step with the picture.
    await page.evaluate(() => document.querySelector('#video').play());
    const next = events.filter((event) => event.type === 'comment' && event.media_ms > middleMs + 800)[0];
    await waitFor('the next word', async () => (await words(page)).includes(next.text), 15000, 20);
    const lateMs = await page.evaluate(() => document.querySelector('#video').currentTime * 1000) - next.media_ms;
    assert.ok(lateMs > -50 && lateMs < 1500, `shown ${Math.round(lateMs)} ms after its moment`);
    // Back to the beginning.
    await page.evaluate(() => { document.querySelector('#video').pause(); document.querySelector('#video').currentTime = 1; });
    await waitFor('the beginning', async () => (await words(page)).length === events.filter((event) => event.type === 'comment' && event.media_ms <= 1000).length, 5000, 50);
    const log = await stack.sqlAsRoot('SET GLOBAL general_log = OFF; SELECT argument FROM mysql.general_log');
    const asked = log.split('\n').filter((line) => /\b(comments|archives|segments)\b/.test(line) && /SELECT/.test(line) && !/'deleting'|MIN\(ended_at_ms\)/.test(line));
    assert.deepEqual(asked, []);
    assert.ok(log.length > 100, 'the log was on');
    assert.deepEqual(errors, []);
});

test('Chromium: the gift shows at its moment, not before', { timeout: 60000 }, async (t) => {
    const gifts = events.filter((event) => event.type === 'gift');
    assert.deepEqual(gifts.map((gift) => [gift.user.name, gift.message]), [['Hanako 花子', 'きれい！']]);
    const [gift] = gifts;
    // What was said around it says when it was: within a word's distance, half a second.
    const before = events.findLast((event) => event.type === 'comment' && event.at_ms < gift.at_ms);
    assert.ok(gift.media_ms - before.media_ms >= 0 && gift.media_ms - before.media_ms < 1200, JSON.stringify([before, gift]));
    const { page, errors } = await open(t, `/archive/${broadcast.id}`, { width: 1280, height: 800 });
    await waitFor('a moving picture', () => framesMove(page, '#video'), 20000, 100);
    await page.locator('body[data-chat="ready"]').waitFor({ timeout: 5000 });
    const seek = (ms) => page.evaluate((s) => { document.querySelector('#video').pause(); document.querySelector('#video').currentTime = s; }, ms / 1000);
    const saidBy = (ms) => events.filter((event) => event.type === 'comment' && event.media_ms <= ms).map((event) => event.text).join();
    const row = page.locator('.gift-row', { hasText: /Hanako 花子.*gave Lantern.*きれい！/ });
    await seek(gift.media_ms - 100);
    await waitFor('the moment before', async () => (await words(page)).join() === saidBy(gift.media_ms - 100), 10000, 50);
    assert.equal(await row.count(), 0, 'not before its moment');
    await page.evaluate(() => document.querySelector('#video').play());
    await row.waitFor({ timeout: 5000 });
    const lateMs = await page.evaluate(() => document.querySelector('#video').currentTime * 1000) - gift.media_ms;
    assert.ok(lateMs > -50 && lateMs < 1500, `shown ${Math.round(lateMs)} ms after its moment`);
    await page.evaluate(() => document.querySelector('#video').pause());
    const icon = await row.locator('.gift-icon').boundingBox();
    assert.ok(icon.width < 64 && icon.height < 64, `drawn as in the live chat: ${JSON.stringify(icon)}`);
    await screenshot(page, 'archive-gift');
    await seek(500);
    await waitFor('the beginning', async () => (await words(page)).join() === saidBy(500), 10000, 50);
    assert.equal(await row.count(), 0, 'back before it, it is gone');
    assert.deepEqual(errors, []);
});

test('on a phone, from the front page; the page of the broadcast that is over leads there too', { timeout: 60000 }, async (t) => {
    const { page, errors } = await open(t, '/', { width: 390, height: 844 });
    const card = page.locator('#past .card', { hasText: 'Fireworks over the river' });
    await card.waitFor({ timeout: 10000 });
    await card.locator('a').click();
    await waitFor('a moving picture', () => framesMove(page, '#video'), 20000, 100);
    assert.equal(new URL(page.url()).pathname, `/archive/${broadcast.id}`);
    const moment = page.locator('.moment').nth(2);
    await moment.waitFor({ timeout: 5000 });
    const atMs = Number(await moment.getAttribute('data-at-ms'));
    await moment.click();
    await waitFor('comments', async () => (await words(page)).length >= events.filter((event) => event.type === 'comment' && event.media_ms <= atMs).length, 10000, 50);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await screenshot(page, 'archive-phone');
    await assertAccessible(page, 'a recording on a phone');
    await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    await page.locator('#recording:visible').waitFor({ timeout: 15000 });
    assert.equal(await page.locator('#recording').getAttribute('href'), `/archive/${broadcast.id}`);
    assert.deepEqual(errors, []);
});

test('the studio says what it came to, and leads to the recording', { timeout: 30000 }, async (t) => {
    const { owner } = (await api(stack, 'GET', `/broadcasts/${broadcast.id}`)).json;
    const { page, errors } = await open(t, '/', { width: 1440, height: 1000 });
    await page.evaluate((kept) => localStorage.setItem('hanabi.session', kept), JSON.stringify({ userId: owner.id, token: broadcast.token, name: owner.name }));
    await page.goto(`${stack.origin}/studio#${broadcast.id}`);
    await page.locator('#over-link:visible').waitFor({ timeout: 10000 });
    assert.equal(await page.locator('#over-link').getAttribute('href'), `/archive/${broadcast.id}`);
    const { total } = (await api(stack, 'GET', `/broadcasts/${broadcast.id}/loves`)).json;
    await waitFor('the hearts', async () => (await page.locator('#over-hearts dd').textContent()) === String(total), 5000, 50);
    assert.match(await page.locator('#over-length dd').textContent(), /^0:[2-5]\d$/);
    await screenshot(page, 'studio-over');
    await assertAccessible(page, 'the studio of a broadcast with a recording');
    assert.deepEqual(errors, []);
});

test('private: the page needs the link', { timeout: 60000 }, async (t) => {
    const changed = await api(stack, 'PATCH', `/archives/${broadcast.id}`, { token: broadcast.token, body: { visibility: 'private' } });
    assert.equal(changed.status, 200);
    const closed = await open(t, `/archive/${broadcast.id}`, { width: 1280, height: 800 });
    await closed.page.locator('body[data-state="missing"]').waitFor({ timeout: 10000 });
    const shared = await open(t, changed.json.share_url, { width: 1280, height: 800 });
    await waitFor('a moving picture', () => framesMove(shared.page, '#video'), 20000, 100);
    await waitFor('comments', async () => (await words(shared.page)).length > 0, 10000, 50);
    assert.match(changed.json.playback_url, /^\/playout\/archives\//);
    const monitor = new HlsMonitor(new URL(changed.json.playback_url, stack.origin).href);
    await monitor.poll();
    assert.deepEqual(await monitor.judge({ ended: true }), [], 'the checker of HLS, by the sealed URL');
    assert.ok([...monitor.renditions.values()][0].segments.size >= 8);
    const seen = (await api(stack, 'GET', `/broadcasts/${broadcast.id}`)).json;
    assert.deepEqual([seen.playback_url, seen.thumbnail_url], [null, null], 'no other way in');
    const listed = (await api(stack, 'GET', '/broadcasts?state=archived')).json.broadcasts.find((one) => one.id === broadcast.id);
    assert.ok(!listed || listed.playback_url === null);
    assert.deepEqual([...closed.errors, ...shared.errors], []);
});

test('what comes long after the end is refused in words, not taken', { timeout: 60000 }, async (t) => {
    const { token } = (await api(stack, 'POST', '/sessions', { body: { name: 'late' } })).json;
    await api(stack, 'POST', '/wallet/topups', { token, body: { coins: 1000 } });
    const [{ id: item }] = (await api(stack, 'GET', '/items')).json.items;
    const before = (await api(stack, 'GET', `/broadcasts/${broadcast.id}/loves`)).json.total;
    const tap = async (batch) => { const { status: code, json } = await api(stack, 'POST', `/broadcasts/${broadcast.id}/loves`, { token, body: { batch_id: batch, count: 1 } }); return [code, json.error?.code]; };
    const give = async (key) => { const { status: code, json } = await api(stack, 'POST', '/purchases', { token, body: { item_id: item, broadcast_id: broadcast.id, idempotency_key: key } }); return [code, json.error?.code]; };
    assert.deepEqual(await tap('l1'), [409, 'over']);
    assert.deepEqual(await give('l1'), [409, 'not_on_air']);
    const socket = new WebSocket(`${stack.origin.replace('http', 'ws')}/chat/v1/broadcasts/${broadcast.id}?token=${token}`);
    t.after(() => socket.close());
    const heard = [];
    socket.on('message', (data) => heard.push(JSON.parse(data)));
    await new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject); });
    await waitFor('a place', async () => heard.length > 0, 5000);
    socket.send(JSON.stringify({ type: 'comment', ref: 'late', text: 'too late' }));
    const answer = await waitFor('an answer', async () => heard.find((message) => message.ref === 'late'), 5000);
    assert.deepEqual([answer.type, answer.code], ['error', 'over']);
    // When Redis has forgotten the broadcast, only MySQL knows that it ever was.
    await stateRedis(stack, 'DEL', `${keys.KEY_BROADCAST}${broadcast.id}`);
    assert.deepEqual(await give('l2'), [409, 'not_on_air']);
    assert.deepEqual(await tap('l2'), [404, 'not_found']);
    assert.equal((await api(stack, 'GET', `/broadcasts/${broadcast.id}/loves`)).json.total, before);
    assert.equal((await api(stack, 'GET', '/wallet', { token })).json.coins, 1000);
});
