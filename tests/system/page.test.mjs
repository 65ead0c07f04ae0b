// The pages in Chromium against the real stack: moving video soon after the push, the overlay at a drop, the picture back without a reload.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { assertAccessible } from '../lib/accessibility.mjs';
import { framesMove, launchBrowser, screenshot } from '../lib/browser.mjs';
import { RtmpClient } from '../lib/rtmp_client.mjs';
import { api, atEnd, freshStack, newBroadcast, programmeFile, pushFile, pushGstreamer, sleep, waitFor, waitForState } from '../lib/fixture.mjs';

let stack;
let browser;
let file;
before(async () => {
    file = await programmeFile(120);
    stack = await freshStack({ graceMs: 20000 });
    browser = await launchBrowser();
    atEnd(() => browser.close());
});

const bodyState = (page) => page.evaluate(() => document.body.dataset.state);

async function openWatch(t, id, size) {
    const page = await browser.newPage({ viewport: size ?? { width: 1280, height: 800 } });
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    t.after(() => page.close());
    await page.goto(`${stack.origin}/watch/${id}`);
    return { page, errors };
}

/** The scripted client has the shape of a Pusher. */
function pushScripted(broadcast) {
    const url = new URL(broadcast.pushUrl);
    const key = url.pathname.split('/').at(-1);
    const running = (async () => {
        const client = await RtmpClient.connect({ port: Number(url.port), app: 'live' });
        await client.publish(key);
        client.sendFlv(file, { realtime: true }).catch(() => {});
        return client;
    })();
    return { kill: async () => (await running).close() };
}

const publishers = {
    'a scripted raw RTMP client': pushScripted,
    ffmpeg: (broadcast) => pushFile(broadcast.pushUrl, file),
    'GStreamer rtmp2sink': (broadcast) => pushGstreamer(broadcast.pushUrl),
};
for (const [name, push] of Object.entries(publishers)) {
    test(`${name} pushes: the page shows moving video within 10 s`, { timeout: 60000 }, async (t) => {
        const broadcast = await newBroadcast(stack, `pushed by ${name}`);
        const { page, errors } = await openWatch(t, broadcast.id);
        const began = Date.now();
        const pusher = push(broadcast);
        t.after(() => pusher.kill());
        await waitFor('moving video', () => framesMove(page, '#video'), 20000, 100);
        const took = Date.now() - began;
        t.diagnostic(`moving ${took} ms after the push began`);
        assert.ok(took <= 10000, `${took} ms`);
        await screenshot(page, `watch-${name.replace(/^a /, '').split(' ')[0].toLowerCase()}`);
        assert.deepEqual(errors, []);
    });
}

test('the pusher is killed with the page open: the page says so within a second or so, and plays on by itself', { timeout: 120000 }, async (t) => {
    const broadcast = await newBroadcast(stack, 'Drops and returns 花火');
    const { page, errors } = await openWatch(t, broadcast.id);
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    await waitFor('moving video', () => framesMove(page, '#video'), 20000, 100);
    await page.evaluate(() => { window.neverReloaded = true; });
    await pusher.kill();
    const killed = Date.now();
    await waitFor('the overlay', async () => (await page.getAttribute('#overlay', 'data-kind')) === 'suspended', 6000, 50);
    t.diagnostic(`the page says suspended ${Date.now() - killed} ms after the kill`);
    await screenshot(page, 'watch-suspended');
    await assertAccessible(page, 'the page of an interrupted broadcast');
    const again = pushFile(broadcast.pushUrl, file, { seek: 40 });
    t.after(() => again.kill());
    await waitForState(stack, broadcast.id, 'live', 15000);
    await waitFor('the overlay goes', async () => (await page.getAttribute('#overlay', 'data-kind')) !== 'suspended', 15000, 50);
    await waitFor('moving video again', () => framesMove(page, '#video'), 15000, 100);
    assert.equal(await page.evaluate(() => window.neverReloaded), true, 'the page was not reloaded');
    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    await waitFor('the page says ended', async () => (await bodyState(page)) === 'ended', 30000, 100);
    assert.deepEqual(errors, []);
});

test('the home page lists what is live, on a phone too; markup in a title stays text', { timeout: 90000 }, async (t) => {
    const title = '<img src=x onerror="window.injected=1"> 花火大会';
    const broadcast = await newBroadcast(stack, title);
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    await waitForState(stack, broadcast.id, 'live', 15000);
    for (const size of [{ width: 1280, height: 800 }, { width: 390, height: 844 }]) {
        const page = await browser.newPage({ viewport: size });
        t.after(() => page.close());
        await page.goto(`${stack.origin}/`);
        await page.getByText(title).first().waitFor({ timeout: 10000 });
        assert.equal(await page.evaluate(() => window.injected), undefined);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'no sideways scrolling');
        await sleep(500);
        await screenshot(page, `home-${size.width}`);
        await assertAccessible(page, `the front page at ${size.width}`);
        await page.locator(`a[href="/watch/${broadcast.id}"]`).first().click();
        await waitFor('moving video', () => framesMove(page, '#video'), 15000, 100);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'no sideways scrolling');
        await screenshot(page, `watch-${size.width}`);
        // Somebody who may write, without scrolling: the picture, and the place to write, below the last comments.
        const { json: { user_id: userId, token } } = await api(stack, 'POST', '/sessions', { body: { name: 'Hanako 花子' } });
        await page.evaluate((kept) => localStorage.setItem('hanabi.session', kept), JSON.stringify({ userId, token, name: 'Hanako 花子' }));
        await page.reload();
        await page.locator('#chat[data-state="open"]').waitFor({ timeout: 15000 });
        await waitFor('moving video', () => framesMove(page, '#video'), 15000, 100);
        await page.locator('#comment').waitFor({ timeout: 5000 });
        for (const selector of ['#video', '#comment', '.chat-log']) {
            const box = await page.locator(selector).boundingBox();
            assert.ok(box.y >= 0 && box.y + box.height <= size.height && box.height > 30, `${selector} on the first screen of ${size.width}x${size.height}: ${JSON.stringify(box)}`);
        }
        assert.equal(await page.evaluate(() => window.scrollY), 0);
        await screenshot(page, `watch-signed-in-${size.width}`);
        await assertAccessible(page, `the watch page at ${size.width}`);
    }
    // An edge that has no playlist: words after a while, and the picture when there is one.
    const page = await browser.newPage();
    t.after(() => page.close());
    await page.route(/\.m3u8/, (route) => route.fulfill({ status: 404, contentType: 'application/json', body: '{}' }));
    await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    await page.locator('#overlay').getByText('Waiting for the picture…').waitFor({ timeout: 12000 });
    await assertAccessible(page, 'a picture that does not come');
    await page.unroute(/\.m3u8/);
    await waitFor('moving video', () => framesMove(page, '#video'), 20000, 100);
    assert.equal(await page.getAttribute('#overlay', 'data-kind'), 'none');
});

test('an address without a page: said in words, with a way on', { timeout: 30000 }, async (t) => {
    const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
    t.after(() => page.close());
    const answer = await page.goto(`${stack.origin}/wathc/mistyped`);
    assert.equal(answer.status(), 404);
    assert.match(answer.headers()['content-security-policy'], /default-src 'self'/);
    await assertAccessible(page, 'not found');
    await screenshot(page, 'not-found');
    await page.click('text=See who is live');
    await page.waitForSelector('body[data-page=home]');
});
