// Chat in Chromium: pages side by side on two chat processes, the studio and the operators' page, against the real stack.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import WebSocket from 'ws';
import { assertAccessible } from '../lib/accessibility.mjs';
import { launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, freshStack, sleep, waitFor } from '../lib/fixture.mjs';

let stack;
let browser;
before(async () => {
    stack = await freshStack({ services: { ingest: 0, transcoder: 0, 'segment-uploader': 0, chat: 2 },
        // All that is said reaches the page: it has to bear more than the server would let through.
        env: { chat: { HANABI_CHAT_ROOM_BUDGET: '0', HANABI_CHAT_RATE_BURST: '1000', HANABI_CHAT_RATE_PER_10S: '1000' } } });
    browser = await launchBrowser();
    atEnd(() => browser.close());
});

async function newSession(name, role) {
    const { json } = await api(stack, 'POST', '/sessions', { body: { name, role } });
    return { userId: json.user_id, token: json.token, name };
}

async function ownBroadcast(title) {
    const owner = await newSession('Host 花火');
    const { json } = await api(stack, 'POST', '/broadcasts', { token: owner.token, body: { title } });
    return { id: json.id, owner };
}

/* A page of somebody's own browser, signed in or not; its errors and refused styles or scripts are kept. */
async function openPage(t, path, { session, viewport = { width: 1280, height: 800 } } = {}) {
    const context = await browser.newContext({ viewport });
    t.after(() => context.close());
    if (session) await context.addInitScript((kept) => localStorage.setItem('hanabi.session', kept), JSON.stringify(session));
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && errors.push(message.text()));
    await page.goto(`${stack.origin}${path}`);
    return { page, errors };
}

const chatOpen = (page) => page.locator('#chat[data-state="open"]').waitFor({ timeout: 15000 });

async function watch(t, id, options) {
    const opened = await openPage(t, `/watch/${id}`, options);
    await chatOpen(opened.page);
    return opened;
}

async function say(page, text) {
    await page.fill('#comment', text);
    await page.press('#comment', 'Enter');
}

const comment = (page, text) => page.locator('.chat-log .comment', { hasText: text });
const shows = (page, text) => comment(page, text).waitFor({ timeout: 5000 });

/* How many viewers each chat process has. */
async function connections() {
    return Promise.all([0, 1].map(async (index) => {
        const text = await (await fetch(`${stack.adminUrl('chat', index)}/metrics`)).text();
        return Number(/^hanabi_chat_connections (\d+)/m.exec(text)?.[1]);
    }));
}

test('two pages on two chat processes: comments, decorations, markup as text, notices', { timeout: 90000 }, async (t) => {
    const { id } = await ownBroadcast('Side by side');
    // A name is asked for, and then one may write.
    const right = await watch(t, id);
    assert.equal(await right.page.locator('#comment-form').isVisible(), false, 'read only without a name');
    await right.page.fill('#chat-name', 'Tarō');
    await right.page.press('#chat-name', 'Enter');
    await right.page.locator('#comment').waitFor({ timeout: 5000 });
    await chatOpen(right.page);
    await waitFor('one connection in all', async () => (await connections()).sort().join() === '0,1', 5000);
    const left = await watch(t, id, { session: await newSession('Hanako') });
    await waitFor('one viewer on each process', async () => (await connections()).join() === '1,1', 5000);

    await say(right.page, 'konbanwa');
    await Promise.all([shows(left.page, 'konbanwa'), shows(right.page, 'konbanwa')]);

    // A decoration chosen on one page: the very next comment wears it on both.
    await left.page.getByRole('button', { name: 'Decoration' }).click();
    await left.page.locator('#decoration-colour').fill('#123456');
    await left.page.getByRole('radio', { name: 'Neon' }).check();
    await screenshot(left.page, 'chat-picker');
    await left.page.getByRole('button', { name: 'Wear it' }).click();
    await left.page.getByText('Your next comment wears it.').waitFor({ timeout: 5000 });
    await say(left.page, 'how lovely');
    for (const { page } of [left, right]) {
        await shows(page, 'how lovely');
        const look = await comment(page, 'how lovely').evaluate((row) => [getComputedStyle(row).backgroundColor, row.className]);
        assert.equal(look[0], 'rgb(18, 52, 86)');
        assert.match(look[1], /frame-neon/);
    }

    for (const [name, { page }] of [['left', left], ['right', right]]) await screenshot(page, `chat-decorated-${name}`);

    // Markup is text.
    const markup = '<img src=x onerror="window.injected=1"><b>bold</b>';
    await say(left.page, markup);
    for (const { page } of [left, right]) {
        await shows(page, markup);
        assert.equal(await comment(page, markup).locator('.comment-text').evaluate((text) => text.childElementCount), 0);
        assert.equal(await page.evaluate(() => window.injected), undefined);
    }
    await left.page.locator('#chat-viewers', { hasText: '2 watching' }).waitFor({ timeout: 10000 });

    // A notice from the operators' page, and its line in the log.
    const cms = await openPage(t, '/cms');
    await cms.page.fill('#operator-name', 'Operator Aoi');
    await cms.page.press('#operator-name', 'Enter');
    await cms.page.fill('#notice-text', 'Maintenance at 03:00 <i>JST</i>');
    await cms.page.getByRole('button', { name: 'Send to everybody' }).click();
    for (const { page } of [left, right]) {
        await page.locator('#notice', { hasText: 'Maintenance at 03:00 <i>JST</i>' }).waitFor({ timeout: 5000 });
    }
    await cms.page.locator('#log tr', { hasText: 'Maintenance at 03:00 <i>JST</i>' }).waitFor({ timeout: 5000 });
    await screenshot(cms.page, 'cms');
    await assertAccessible(cms.page, 'the operators page');
    await cms.page.setViewportSize({ width: 390, height: 844 });
    assert.ok(await cms.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out on a phone');
    await screenshot(left.page, 'chat-left');
    await screenshot(right.page, 'chat-right');
    for (const { errors } of [left, right, cms]) assert.deepEqual(errors, []);
});

test('the broadcaster deletes, blocks and bans in the studio; viewers see it at once', { timeout: 90000 }, async (t) => {
    const { id, owner } = await ownBroadcast('Moderated');
    const studio = await openPage(t, `/studio#${id}`, { session: owner, viewport: { width: 1440, height: 1000 } });
    await studio.page.locator('#chat[data-role="broadcaster"]').waitFor({ timeout: 15000 });
    // The place to write is in sight without scrolling, whatever stands beside it.
    for (const size of [{ width: 1280, height: 720 }, { width: 1440, height: 1000 }]) {
        await studio.page.setViewportSize(size);
        const box = await studio.page.locator('#comment').boundingBox();
        assert.ok(box.y > 0 && box.y + box.height <= size.height, `the chat line at ${size.width}x${size.height}: ${JSON.stringify(box)}`);
    }
    const guest = await watch(t, id, { session: await newSession('Guest') });
    const rude = await watch(t, id, { session: await newSession('Rude') });
    const figures = () => studio.page.locator('#audience > div:visible dd').allTextContents();
    await waitFor('the studio counts the two of them', async () => { assert.equal((await figures()).join(), '2,2,2'); return true; }, 10000, 100);
    const act = async (text, name) => {
        await comment(studio.page, text).getByRole('button').click();
        if (name === 'Delete') await screenshot(studio.page, 'studio-moderation');
        await studio.page.locator('.moderation').getByRole('button', { name, exact: true }).click();
    };
    const goes = (page, text) => comment(page, text).waitFor({ state: 'detached', timeout: 5000 });

    await say(rude.page, 'first rudeness');
    await say(guest.page, 'a kind word');
    await Promise.all([shows(studio.page, 'first rudeness'), shows(studio.page, 'a kind word'), shows(guest.page, 'first rudeness')]);
    await act('first rudeness', 'Delete');
    await Promise.all([goes(studio.page, 'first rudeness'), goes(guest.page, 'first rudeness'), goes(rude.page, 'first rudeness')]);

    // A block hides what was said, and what would be said.
    await say(rude.page, 'second rudeness');
    await Promise.all([shows(studio.page, 'second rudeness'), shows(guest.page, 'second rudeness')]);
    await act('second rudeness', 'Block');
    await Promise.all([goes(studio.page, 'second rudeness'), goes(guest.page, 'second rudeness')]);
    await say(rude.page, 'third rudeness');
    const error = rude.page.locator('#comment-error[data-code="blocked"]');
    await error.waitFor({ timeout: 5000 });
    assert.match(await error.getAttribute('data-ref'), /^c[0-9a-z]+-\d+$/);
    assert.equal(await rude.page.inputValue('#comment'), 'third rudeness', 'what was written is not lost');
    await screenshot(rude.page, 'chat-refused');
    await assertAccessible(rude.page, 'a comment that is refused');
    await assertAccessible(studio.page, 'the studio with moderation');
    assert.equal(await comment(guest.page, 'third rudeness').count(), 0);
    await studio.page.locator('.moderation').getByRole('button', { name: 'Unblock' }).click();
    await studio.page.getByText('No longer blocked.').waitFor({ timeout: 5000 });
    await say(rude.page, 'sorry');
    await shows(guest.page, 'sorry');

    // A mute refuses, a ban ends the connection.
    await shows(studio.page, 'sorry');
    await act('sorry', 'Mute 10 min');
    await studio.page.getByText('Muted for ten minutes.').waitFor({ timeout: 5000 });
    await say(rude.page, 'not heard');
    await rude.page.locator('#comment-error[data-code="muted"]').waitFor({ timeout: 5000 });
    await studio.page.locator('.moderation').getByRole('button', { name: 'Ban', exact: true }).click();
    await rude.page.locator('#chat[data-state="refused"]').waitFor({ timeout: 5000 });
    await rude.page.locator('#comment').waitFor({ state: 'hidden', timeout: 5000 });
    await shows(guest.page, 'a kind word');

    // What it came to stays when it is over, and when the page is opened anew.
    await screenshot(studio.page, 'studio-audience');
    await studio.page.locator('#end').click();
    await studio.page.locator('#confirm-yes').click();
    const over = () => studio.page.locator('#over .figures > div:visible dd').allTextContents();
    await waitFor('who watched', async () => (await over()).join() === '2,2,0', 10000, 100);
    assert.equal((await figures()).join(), '', 'told once');
    assert.equal(await studio.page.locator('#stage, #chat-viewers, #comment, #chat-name').locator('visible=true').count(), 0, 'nothing that is over');
    await studio.page.locator('#chat-closed').waitFor({ timeout: 5000 });
    await screenshot(studio.page, 'studio-audience-over');
    await assertAccessible(studio.page, 'the studio after the end');
    await studio.page.reload();
    await waitFor('who watched, from the API', async () => (await over()).join() === '2,2,0', 10000, 100);
    await studio.page.getByText('It never had a picture').waitFor({ timeout: 15000 });
    await studio.page.locator('#over-new').click();
    assert.equal(await studio.page.evaluate(() => document.activeElement.id), 'broadcast-title');
    for (const { errors } of [studio, guest, rude]) assert.deepEqual(errors, []);
});

const reads = (page, text) => page.locator('#overlay').getByText(text).waitFor({ timeout: 12000 });
const inside = async (page, selector) => {
    const box = await page.locator(selector).boundingBox();
    const { height } = page.viewportSize();
    assert.ok(box && box.y >= 0 && box.y + box.height <= height, `${selector} in ${height}: ${JSON.stringify(box)}`);
};

test('what is over, unknown or out of reach: the page says so, and offers nothing that cannot be done', { timeout: 90000 }, async (t) => {
    const { id, owner } = await ownBroadcast('Soon over 花火');
    const viewer = { session: await newSession('Hanako'), viewport: { width: 390, height: 844 } };
    const { page, errors } = await watch(t, id, viewer);
    await waitFor('the lock screen', () => page.evaluate(() => navigator.mediaSession.metadata?.title === 'Soon over 花火'), 5000);

    // What comes later finds its place kept.
    const shift = await page.evaluate(() => new Promise((resolve) => {
        new PerformanceObserver((list) => resolve(list.getEntries().reduce((sum, { value }) => sum + value, 0))).observe({ type: 'layout-shift', buffered: true });
        setTimeout(() => resolve(0), 500);
    }));
    assert.ok(shift < 0.05, `things moved: ${shift}`);
    // A tablet held upright has the line on its first screen, too.
    await page.setViewportSize({ width: 768, height: 1024 });
    await inside(page, '#comment');
    await page.setViewportSize(viewer.viewport);
    // The keyboard of the phone leaves the picture and the line.
    await page.focus('#comment');
    await page.setViewportSize({ width: 390, height: 430 });
    await page.locator('body[data-keyboard="open"]').waitFor({ timeout: 5000 });
    for (const selector of ['#stage', '#comment']) await inside(page, selector);
    assert.equal(await page.locator('.site').isVisible(), false);
    await screenshot(page, 'watch-keyboard');
    await page.setViewportSize({ width: 390, height: 844 });
    await page.evaluate(() => document.activeElement.blur());
    await page.locator('body[data-keyboard="closed"]').waitFor({ timeout: 5000 });
    await inside(page, '#comment');

    await page.context().setOffline(true);
    await page.getByText('You are offline. The chat comes back by itself.').waitFor({ timeout: 5000 });
    await page.context().setOffline(false);
    await api(stack, 'POST', `/broadcasts/${id}/end`, { token: owner.token });
    await page.locator('#chat-closed').waitFor({ timeout: 15000 });
    await page.context().setOffline(true);
    assert.equal(await page.locator('.chat-state').textContent(), '', 'a chat that is over has no line to miss');
    await page.context().setOffline(false);
    await page.locator('#recording').waitFor({ timeout: 5000 });
    assert.equal(await page.locator('#comment, #chat-name, #chat-viewers').locator('visible=true').count(), 0, 'nobody can write');
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await screenshot(page, 'watch-over-phone');
    await assertAccessible(page, 'a broadcast that is over, on a phone');

    const unknown = await openPage(t, '/watch/nobody-knows-it', viewer);
    await reads(unknown.page, 'No such broadcast');
    await unknown.page.locator('#chat').waitFor({ state: 'hidden', timeout: 5000 });
    assert.equal(await unknown.page.locator('#under-stage').isVisible(), false);
    const recording = await openPage(t, '/archive/nobody-knows-it', viewer);
    await recording.page.locator('#elsewhere').waitFor({ timeout: 5000 });
    assert.equal(await recording.page.locator('#video').evaluate((video) => video.controls), false, 'no player without a recording');
    await assertAccessible(recording.page, 'a recording that is not there');

    // In somebody else's page, the way out is a page of its own: nothing else of ours may be framed.
    const embed = await openPage(t, `/embed/${id}`);
    const way = embed.page.locator('.overlay-more');
    await way.waitFor({ timeout: 10000 });
    assert.deepEqual([await way.getAttribute('href'), await way.getAttribute('target')], [`/watch/${id}`, '_blank']);

    const context = await browser.newContext();
    t.after(() => context.close());
    await context.route(/\/(api|status)\//, (route) => route.fulfill({ status: 503, contentType: 'application/json', headers: { 'Retry-After': '2' }, body: '{"error":{"code":"unavailable","message":"no upstream"}}' }));
    await context.addInitScript((kept) => localStorage.setItem('hanabi.session', kept), JSON.stringify(owner));
    const away = await context.newPage();
    // Another one: of the first, the chat may tell at any moment that its recording stands.
    await away.goto(`${stack.origin}/watch/${(await ownBroadcast('Out of reach')).id}`);
    await reads(away, 'Still connecting…');
    await screenshot(away, 'watch-out-of-reach');
    await away.goto(`${stack.origin}/studio#${id}`);
    await away.locator('#own-empty', { hasText: 'Hanabi cannot be reached right now.' }).waitFor({ timeout: 5000 });
    await context.unroute(/\/(api|status)\//);
    await away.locator('#over').waitFor({ timeout: 15000 });
    for (const opened of [{ errors }, unknown, recording, embed]) assert.deepEqual(opened.errors, []);
});

test('thousands of comments a minute: the page stays light and smooth, a reader above keeps the place', { timeout: 90000 }, async (t) => {
    const { id } = await ownBroadcast('Waterfall');
    const { page, errors } = await watch(t, id, { session: await newSession('Reader'), viewport: { width: 390, height: 844 } });
    const tokens = await Promise.all(Array.from({ length: 60 }, async (_, n) => (await newSession(`Fan ${n}`)).token));
    const sockets = tokens.map((token) => new WebSocket(`${stack.origin.replace('http', 'ws')}/chat/v1/broadcasts/${id}?token=${token}`));
    t.after(() => sockets.forEach((socket) => socket.close()));
    await Promise.all(sockets.map((socket) => new Promise((resolve) => { socket.onmessage = resolve; })));
    // Longest time between two frames, as the page itself sees it.
    await page.evaluate(() => {
        window.gaps = [];
        let last = performance.now();
        const tick = (now) => { window.gaps.push(now - last); last = now; requestAnimationFrame(tick); };
        requestAnimationFrame(tick);
    });
    let said = 0;
    const speak = () => sockets.forEach((socket) => socket.send(JSON.stringify({ type: 'comment', ref: `f${said}`, text: `firework ${said += 1}` })));
    const drawn = () => page.evaluate(() => {
        const log = document.querySelector('.chat-log');
        const all = [...log.children];
        return { rows: all.length, newest: Number(all.at(-1)?.dataset.n ?? -1), gap: log.scrollHeight - log.scrollTop - log.clientHeight, top: log.scrollTop };
    });
    const began = Date.now();
    for (let round = 0; round < 20; round += 1) {
        speak();
        await sleep(200); // the pace of the flood: 300 a second
    }
    const flood = await waitFor('all comments', async () => { const now = await drawn(); return now.newest === said - 1 && now; }, 8000);
    const perMinute = Math.round(said / ((Date.now() - began) / 60000));
    assert.ok(flood.rows <= 120, `${flood.rows} rows in the document`);
    assert.ok(flood.gap < 4, 'it follows the newest');
    const gaps = (await page.evaluate(() => window.gaps.slice(2))).sort((a, b) => a - b);
    assert.ok(gaps[gaps.length >> 1] < 34, 'at least 30 frames a second');
    t.diagnostic(`${said} comments at ${perMinute} a minute, ${gaps.length} frames: p50 ${gaps[gaps.length >> 1].toFixed(1)} ms, p99 ${gaps[Math.floor(gaps.length * 0.99)].toFixed(1)} ms`);

    await page.locator('.chat-log').evaluate((log) => { log.scrollTop -= 1200; });
    const more = page.locator('.chat-more');
    await more.waitFor({ timeout: 5000 });
    const firstSeen = () => page.evaluate(() => {
        const log = document.querySelector('.chat-log');
        return [...log.children].find((row) => row.offsetTop >= log.scrollTop)?.dataset.id;
    });
    const place = await firstSeen();
    speak();
    await page.locator('.chat-more', { hasText: '60 new comments' }).waitFor({ timeout: 5000 });
    assert.equal(await firstSeen(), place, 'what arrives does not move what is read');
    await screenshot(page, 'chat-phone');
    await more.click();
    await waitFor('the newest again', async () => (await drawn()).gap < 4 && !(await more.isVisible()), 5000);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'no sideways scrolling');
    assert.deepEqual(errors, []);
});

test('what happens to the broadcast shows at once, whatever /status says', { timeout: 60000 }, async (t) => {
    const { id, owner } = await ownBroadcast('Over soon');
    const { page } = await watch(t, id);
    await page.locator('body[data-state="scheduled"]').waitFor({ timeout: 5000 });
    await page.route('**/status/**', (route) => route.abort());
    await api(stack, 'POST', `/broadcasts/${id}/end`, { token: owner.token });
    const asked = Date.now();
    await page.locator('body[data-state="ended"]').waitFor({ timeout: 5000 });
    t.diagnostic(`shown ${Date.now() - asked} ms after the answer`);
});

test('a chat process is killed: its viewers come back by themselves and miss and repeat nothing', { timeout: 60000 }, async (t) => {
    const { id } = await ownBroadcast('Survivors');
    const pages = [await watch(t, id, { session: await newSession('One') }), await watch(t, id, { session: await newSession('Two') })];
    await say(pages[0].page, 'before');
    for (const { page } of pages) await shows(page, 'before');
    await stack.service('chat', 0).kill('SIGKILL');
    let said = 0;
    for (const { page } of pages) {
        await chatOpen(page);
        // The process that is coming up again refuses at first.
        await waitFor('a comment is taken', async () => {
            await say(page, `after ${said}`);
            await shows(page, `after ${said}`);
            return true;
        }, 20000, 300);
        said += 1;
    }
    for (const { page } of pages) {
        for (const text of ['before', 'after 0', 'after 1']) {
            await shows(page, text);
            assert.equal(await comment(page, text).count(), 1, text);
        }
    }
});
