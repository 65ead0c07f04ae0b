// Playout channels with two archive processes behind the real edge: real recordings of different ladders, looped; the HLS checker, two instances
// that agree on every second, tokens, and two pages that show the same picture.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { assertAccessible } from '../lib/accessibility.mjs';
import { framesMove, launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, freshStack, programmeFile, run, sleep, waitFor } from '../lib/fixture.mjs';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { parseMaster, parseMedia } from '../lib/hls.mjs';
import { seedRecording, transcode } from '../lib/recordings.mjs';
import { tokenSealer } from '../lib/sealed_token.mjs';

let stack;
let owner;
let other;
const lengths = {};

const recordings = {
    wide: { seconds: 8, programme: { size: '640x360', rate: 25 }, ladder: '360p:700,240p:350' },
    small: { seconds: 6, programme: { size: '426x240', rate: 25 }, ladder: '240p:300' },
    tall: { seconds: 7, programme: { size: '272x480', rate: 30 }, ladder: '272p:400' },
};

const sql = async (text) => {
    const { stdout } = await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(stack.ports.mysql), '-u', 'hanabi', 'hanabi', '-BNe', text], { env: { ...process.env, MYSQL_PWD: stack.secrets.mysql } });
    return stdout.trim();
};
const create = (body, token = owner.token) => api(stack, 'POST', '/channels', { token, body });
const get = async (url, origin = stack.origin) => {
    const answer = await fetch(new URL(url, origin), { signal: AbortSignal.timeout(5000) });
    return { status: answer.status, text: await answer.text(), headers: answer.headers };
};
const instanceOrigin = (index) => `http://127.0.0.1:${stack.servicePorts.archive[index].http}`;

before(async () => {
    stack = await freshStack({ services: { ingest: 0, transcoder: 0, 'segment-uploader': 0, chat: 1, archive: 2 } });
    [owner, other] = [await api(stack, 'POST', '/sessions', { body: { name: 'Aoi 葵' } }), await api(stack, 'POST', '/sessions', { body: { name: 'other' } })].map((made) => made.json);
    for (const [id, { seconds, programme, ladder }] of Object.entries(recordings)) {
        const recording = await transcode(await programmeFile(seconds, programme), { ladder });
        lengths[id] = await seedRecording({ id, owner: owner.user_id, recording, storeDir: stack.storeDir, sql });
        if (id === 'small') await seedRecording({ id: 'secret', owner: owner.user_id, recording, storeDir: stack.storeDir, sql, visibility: 'private' });
        fs.rmSync(recording.dir, { recursive: true });
    }
});

test('made from one\'s own archives and public ones; listed, deleted by its owner only', async () => {
    const items = ['wide', 'small', 'tall'];
    const made = await create({ title: '夏の再放送', items, loop: true, start_at: '2026-01-01T00:00:00+09:00' });
    assert.equal(made.status, 201, made.text);
    const { json } = made;
    assert.deepEqual([json.title, json.items, json.loop, json.start_at_ms, json.end_at_ms], ['夏の再放送', items, true, Date.parse('2025-12-31T15:00:00Z'), null]);
    assert.ok(Math.abs(json.duration_ms - items.reduce((sum, id) => sum + lengths[id] * 1000, 0)) < 5);
    assert.deepEqual((await api(stack, 'GET', `/channels/${json.id}`)).json.playback_url, json.playback_url, 'the same for all within a window');
    assert.equal((await create({ title: 'mine', items: ['secret'] })).status, 201);
    const stolen = await create({ title: 'not mine', items: ['wide', 'secret'] }, other.token);
    assert.deepEqual([stolen.status, stolen.json.error.code], [404, 'no_such_archive']);
    await sql("UPDATE archives SET state = 'making' WHERE broadcast_id = 'tall'");
    assert.equal((await create({ title: 't', items: ['tall'] })).status, 409);
    await sql("UPDATE archives SET state = 'archived' WHERE broadcast_id = 'tall'");
    for (const body of [{ items }, { title: 't' }, { title: 't', items: [] }, { title: 't', items: ['a b'] }, { title: 't', items: Array(51).fill('wide') }, { title: 't', items, loop: 'yes' },
        { title: 't', items, start_at: 'soon' }, { title: 't', items, start_at: 5 }, { title: ' ', items }, { title: 't', items: 'wide' }]) assert.equal((await create(body)).status, 400, JSON.stringify(body));
    assert.equal((await create({ title: 't', items }, undefined)).status, 201);
    assert.equal((await api(stack, 'POST', '/channels', { body: { title: 't', items } })).status, 401);
    const page = (await api(stack, 'GET', '/channels?limit=2')).json;
    assert.deepEqual([page.channels.length, page.channels[1].title], [2, 'mine']);
    assert.deepEqual((await api(stack, 'GET', `/channels?cursor=${page.next}`)).json.channels.map((channel) => channel.title), ['夏の再放送']);
    assert.equal((await api(stack, 'GET', '/channels?owner=me', { token: other.token })).json.channels.length, 0);
    assert.equal((await api(stack, 'DELETE', `/channels/${json.id}`, { token: other.token })).status, 403);
    assert.equal((await api(stack, 'DELETE', `/channels/${json.id}`, { token: owner.token })).status, 200);
    assert.equal((await api(stack, 'GET', `/channels/${json.id}`)).status, 404);
});

test('a token changed in any byte is refused, at the edge and behind it', { timeout: 60000 }, async () => {
    const { playback_url: url } = (await create({ title: 't', items: ['wide'], start_at: Date.now() - 60000 })).json;
    assert.equal((await get(url)).status, 200);
    const [, , , token] = url.split('/');
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const bytes = Buffer.from(token, 'base64url');
    const changed = [
        ...Array.from(token, (character, i) => token.slice(0, i) + alphabet[(alphabet.indexOf(character) + 1 + (i % 62)) % 64] + token.slice(i + 1)),
        ...Array.from(bytes, (byte, i) => { const other = Buffer.from(bytes); other[i] = byte ^ (1 << (i % 8)); return other.toString('base64url'); }),
    ];
    for (const [i, wrong] of changed.entries()) {
        assert.notEqual(wrong, token);
        for (const origin of [stack.origin, instanceOrigin(i % 2)]) {
            const { status, text } = await get(url.replace(token, wrong), origin);
            assert.deepEqual([status, JSON.parse(text).error.code], [403, 'bad_token'], `change ${i} at ${origin}`);
        }
    }
    for (const broken of [token.slice(1), token.slice(0, -1), `${token}A`, 'x', `${token}%FF`]) assert.ok([400, 403].includes((await get(url.replace(token, broken), instanceOrigin(0))).status));
    assert.equal((await get(url.replace('master.m3u8', '361p/index.m3u8'))).status, 404);
});

test('a token that has expired, or was sealed for something else, is refused at the edge', async () => {
    const { playback_url: url, id } = (await create({ title: 't', items: ['wide'], loop: true, start_at: Date.now() - 60000 })).json;
    const [, , , token] = url.split('/');
    const sealer = await tokenSealer(stack.secrets.seal, 'channel');
    const { payload, expiresS } = sealer.open(token);
    const nowS = Math.floor(Date.now() / 1000);
    assert.ok(expiresS > nowS && sealer.seal(payload, expiresS) === token, 'the test seals as archive does');
    for (const file of ['master.m3u8', '240p/index.m3u8']) {
        const answer = async (other) => {
            const { status, text } = await get(url.replace(token, other).replace('master.m3u8', file));
            return [status, status === 200 ? '' : JSON.parse(text).error.code];
        };
        assert.deepEqual(await answer(token), [200, '']);
        for (const end of [nowS, nowS - 86400, 0, -1]) assert.deepEqual(await answer(sealer.seal(payload, end)), [410, 'expired'], `ended ${end}`);
        // One that is in memory is refused, too, as soon as its second has come.
        const brief = sealer.seal(payload, Math.floor(Date.now() / 1000) + 2);
        assert.deepEqual(await answer(brief), [200, '']);
        await waitFor('its end', async () => (await answer(brief))[0] === 410, 5000, 100);
        const archives = await tokenSealer(stack.secrets.seal, 'archive');
        const strangers = await tokenSealer('another secret', 'channel');
        for (const other of [archives, strangers]) assert.deepEqual(await answer(other.seal(payload, expiresS)), [403, 'bad_token']);
        for (const nonsense of ['', 'x', Buffer.concat([payload, Buffer.from('\n..')]), Buffer.concat([Buffer.from([2]), payload.subarray(1)])])
            assert.deepEqual(await answer(sealer.seal(nonsense, expiresS)), [403, 'bad_token'], `payload ${nonsense}`);
    }
    // What a page does then: it asks for the channel again.
    assert.equal((await get((await api(stack, 'GET', `/channels/${id}`)).json.playback_url)).status, 200);
    const archives = await tokenSealer(stack.secrets.seal, 'archive');
    const expired = await get(`/playout/archives/${archives.seal('secret', nowS - 1)}/recording.m3u8`);
    assert.deepEqual([expired.status, JSON.parse(expired.text).error.code], [410, 'expired']);
});

test('before its start: a clear answer that says when', async () => {
    const startMs = Date.now() + 5000;
    const { playback_url: url, id } = (await create({ title: 'soon', items: ['wide'], start_at: startMs })).json;
    const early = await get(url);
    assert.equal(early.status, 404);
    const body = JSON.parse(early.text);
    assert.deepEqual([body.error.code, body.start_at_ms], ['not_started', startMs]);
    assert.ok(body.retry_after_ms > 1000 && body.retry_after_ms <= 5000 && Number(early.headers.get('retry-after')) <= 6);
    await waitFor('it begins', async () => (await get(url)).status === 200, 9000, 100);
    assert.ok(Date.now() >= startMs - 1000 && Date.now() < startMs + 3500, `${Date.now() - startMs} ms after its start`);
    const media = parseMedia((await get(url.replace('master.m3u8', '240p/index.m3u8'))).text);
    // 8 s in all: all of it at once, and the end.
    assert.ok(media.endList && media.mediaSequence === 0 && media.segments[0].pdt === startMs && !media.segments[0].discontinuity);
    assert.equal((await api(stack, 'GET', `/channels/${id}`)).json.end_at_ms, startMs + Math.floor(lengths.wide * 1000));
});

test('three recordings of different ladders, looped: the checker passes, two instances agree on every second, a restart changes nothing', { timeout: 120000 }, async (t) => {
    const { playback_url: url } = (await create({ title: 'loop', items: ['wide', 'small', 'tall'], loop: true, start_at: Date.now() - 1000000 })).json;
    const monitor = new HlsMonitor(new URL(url, stack.origin).href);
    const master = parseMaster((await get(url)).text);
    assert.deepEqual(master.variants.map((variant) => variant.uri), ['360p/index.m3u8', '272p/index.m3u8', '240p/index.m3u8']);
    monitor.start();
    const texts = [new Map(), new Map()];
    const until = Date.now() + 27000;
    const poll = async (index) => {
        while (Date.now() < until) {
            const before = Math.floor(Date.now() / 1000);
            const { status, text } = await get(url.replace('master.m3u8', '360p/index.m3u8'), instanceOrigin(index)).catch(() => ({ status: 0 }));
            // A second ticked over meanwhile: nobody knows which of the two it was.
            if (status === 200 && before === Math.floor(Date.now() / 1000)) {
                assert.equal(texts[index].get(before) ?? text, text, 'the same all second long');
                texts[index].set(before, text);
            }
            await sleep(60);
        }
    };
    const polls = [poll(0), poll(1)];
    await sleep(8000);
    await stack.service('archive', 1).kill('SIGKILL');
    await Promise.all(polls);
    await monitor.stop();
    const both = [...texts[0].keys()].filter((second) => texts[1].has(second));
    for (const second of both) assert.equal(texts[0].get(second), texts[1].get(second), `second ${second}`);
    t.diagnostic(`${both.length} seconds compared, one instance killed meanwhile`);
    assert.ok(both.length >= 15, `${both.length}`);
    assert.deepEqual(await monitor.judge({ cadence: [[until - 26000, until - 1000]], mixed: true }), []);
    const edge = await get(url.replace('master.m3u8', '360p/index.m3u8'));
    assert.match(edge.headers.get('cache-control'), /max-age=1/);
    assert.ok(parseMedia(edge.text).segments.length >= 6);
});

test('a private recording of one\'s own, on air: the checker passes from the first second to the end', { timeout: 60000 }, async () => {
    const startMs = Date.now() + 2000;
    const { playback_url: url } = (await create({ title: 'mine', items: ['secret', 'wide'], start_at: startMs })).json;
    const monitor = new HlsMonitor(new URL(url, stack.origin).href);
    monitor.start();
    const ended = async () => monitor.newest()?.endList;
    await waitFor('its end', ended, (lengths.small + lengths.wide) * 1000 + 8000, 200);
    await monitor.stop();
    assert.deepEqual(await monitor.judge({ mixed: true, ended: true }), []);
    assert.equal((await api(stack, 'GET', '/archives/secret')).status, 404, 'and nothing else of it is public');
});

test('Chromium: a channel that begins in a moment counts down, plays and ends; two pages, opened seconds apart, show the same moment', { timeout: 90000 }, async (t) => {
    const browser = await launchBrowser();
    atEnd(() => browser.close());
    const errors = [];
    const open = async (id, viewport, prepare = () => {}) => {
        const page = await (await browser.newContext({ viewport })).newPage();
        page.on('pageerror', (error) => errors.push(error.message));
        page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && errors.push(message.text()));
        await prepare(page);
        await page.goto(`${stack.origin}/channel/${id}`);
        return page;
    };
    const state = (page) => page.evaluate(() => document.body.dataset.state);
    const behindMs = (page) => page.evaluate(() => (document.body.dataset.behindMs === '' ? NaN : Number(document.body.dataset.behindMs)));
    const inStep = (page) => waitFor('what is on air', async () => Math.abs(await behindMs(page)) < 2000 && framesMove(page), 15000, 100);

    const looped = (await create({ title: '夏の再放送 Summer again', items: ['wide', 'small', 'tall'], loop: true, start_at: Date.now() - 1000000 })).json;
    // The first URL that this page gets is refused: it asks for another.
    let asked = 0;
    const first = await open(looped.id, { width: 1280, height: 800 }, (page) => page.route(`**/api/v1/channels/${looped.id}`, async (route) => {
        asked += 1;
        const response = await route.fetch();
        const body = await response.json();
        if (asked === 1) body.playback_url = body.playback_url.replace('/v1/', '/v1/A');
        await route.fulfill({ response, json: body });
    }));
    await inStep(first);
    assert.equal(asked, 2);
    const opened = Date.now();
    const startMs = Date.now() + 6000;
    const soon = (await create({ title: 'The evening show', items: ['small', 'tall'], start_at: startMs })).json;
    const phone = await open(soon.id, { width: 390, height: 844 });
    await phone.locator('#overlay[data-kind="scheduled"]').waitFor({ timeout: 5000 });
    assert.match(await phone.locator('.overlay-since').textContent(), /^Begins in 0:0[1-6]$/);
    assert.equal(await phone.locator('.overlay-title').textContent(), 'The evening show');
    assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await screenshot(phone, 'channel-countdown');
    await phone.evaluate(() => { window.sameDocument = true; });
    await sleep(Math.max(0, opened + 4000 - Date.now()));
    const second = await open(looped.id, { width: 1280, height: 800 });
    await inStep(second);
    await inStep(first);
    const [a, b] = await Promise.all([behindMs(first), behindMs(second)]);
    t.diagnostic(`${a} and ${b} ms behind the clock`);
    assert.ok(Math.abs(a - b) < 2000, `${a} and ${b} ms behind the clock`);
    await screenshot(second, 'channel-on-air');
    await waitFor('it begins by itself', async () => (await state(phone)) === 'playing' && framesMove(phone), 10000, 50);
    assert.ok(Date.now() - startMs < 5000 && await phone.evaluate(() => window.sameDocument), 'without a reload');
    assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await screenshot(phone, 'channel-phone');
    await first.keyboard.press('k');
    await sleep(3500);
    assert.equal(await first.locator('#to-live').getAttribute('data-behind'), 'yes');
    await first.locator('#to-live').click();
    await inStep(first);
    await waitFor('its end', async () => (await state(phone)) === 'ended', 20000, 100);
    await screenshot(phone, 'channel-ended');
    await assertAccessible(phone, 'a channel that is over');
    // From the front page, too.
    const home = await (await browser.newContext({ viewport: { width: 390, height: 844 } })).newPage();
    home.on('pageerror', (error) => errors.push(error.message));
    await home.goto(`${stack.origin}/`);
    const cards = home.locator('#channels .card');
    await cards.filter({ hasText: '夏の再放送 Summer again' }).locator('.badge', { hasText: 'On air' }).waitFor({ timeout: 10000 });
    assert.equal(await cards.filter({ hasText: 'The evening show' }).count(), 0, 'what is over is not listed');
    assert.ok(await home.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await home.locator('#channels-shelf').scrollIntoViewIfNeeded();
    await screenshot(home, 'home-channels');
    await assertAccessible(home, 'the front page with channels');
    await cards.filter({ hasText: '夏の再放送 Summer again' }).locator('a').click();
    await waitFor('its page', async () => new URL(home.url()).pathname === `/channel/${looped.id}`, 5000);
    await home.close();
    const missing = await open('nosuchchannel', { width: 390, height: 844 });
    await waitFor('the words', async () => (await state(missing)) === 'missing', 5000, 50);
    assert.deepEqual(errors, []);
});
