// Hearts in Chromium on the whole stack: hammered on one page, seen on another, counted exactly, also those of a page that closes.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, freshStack, newBroadcast, programmeFile, pushFile, sleep, waitFor, waitForState } from '../lib/fixture.mjs';

let stack;
let browser;
let broadcast;
let pusher;
before(async () => {
    const file = await programmeFile(120);
    stack = await freshStack();
    browser = await launchBrowser();
    atEnd(() => browser.close());
    broadcast = await newBroadcast(stack, 'Hearts over the river 花火');
    pusher = pushFile(broadcast.pushUrl, file);
    atEnd(() => pusher.kill());
    await waitForState(stack, broadcast.id, 'live', 15000);
});

async function openPage(t, name, options) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    t.after(() => context.close());
    if (name) {
        const { json } = await api(stack, 'POST', '/sessions', { body: { name } });
        await context.addInitScript((kept) => localStorage.setItem('hanabi.session', kept), JSON.stringify({ userId: json.user_id, token: json.token, name }));
    }
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && errors.push(message.text()));
    await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    await page.locator('#chat[data-state="open"]').waitFor({ timeout: 15000 });
    await page.locator('#love-button:enabled').waitFor({ timeout: 15000 });
    return { page, errors };
}

const counted = async () => (await api(stack, 'GET', `/broadcasts/${broadcast.id}/loves`)).json.total;
const shown = async ({ page }) => Number(await page.getAttribute('#love-button', 'data-total') ?? 0);
const fitsWidth = ({ page }) => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);

/* Counts the hearts that are put over the picture, and the most at a time. */
const watchHearts = ({ page }) => page.evaluate(() => {
    const field = document.getElementById('love-field');
    window.hearts = { seen: 0, most: 0 };
    new MutationObserver((changes) => {
        for (const { addedNodes } of changes) window.hearts.seen += addedNodes.length;
        window.hearts.most = Math.max(window.hearts.most, field.childElementCount);
    }).observe(field, { childList: true });
});

/* As fast as the browser takes them; a trusted press and release each. */
async function hammer({ page }, times) {
    const { x, y, width, height } = await page.locator('#love-button').boundingBox();
    await page.mouse.move(x + width / 2, y + height / 2);
    for (let i = 0; i < times; i += 1) {
        await page.mouse.down();
        await page.mouse.up();
    }
}

test('hammered on one page, the other counts along; the last taps of a page that closes count too', { timeout: 60000 }, async (t) => {
    const giver = await openPage(t, 'Hanako 花子');
    const other = await openPage(t, 'Taro', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
    const calm = await openPage(t, 'Quiet', { reducedMotion: 'reduce' });
    for (const one of [giver, other, calm]) await watchHearts(one);

    await hammer(giver, 60);
    assert.equal(await shown(giver), 60, 'own taps are shown at once');
    await screenshot(giver.page, 'love-desktop');
    await waitFor('hearts on the other page', () => other.page.evaluate(() => document.getElementById('love-field').childElementCount >= 3), 8000, 20);
    await screenshot(other.page, 'love-phone');
    for (const one of [other, calm]) await waitFor('the total', async () => await shown(one) === 60, 5000);
    assert.equal(await counted(), 60);
    await waitFor('the label', async () => /60 so far/.test(await other.page.getAttribute('#love-button', 'aria-label')), 2000);

    // By keyboard: a key that is held down is one tap; on the page `h`, in a field a letter.
    await giver.page.locator('#love-button').focus();
    for (let i = 0; i < 4; i += 1) await giver.page.keyboard.down('Enter');
    await giver.page.keyboard.up('Enter');
    await giver.page.keyboard.press('Space');
    await giver.page.keyboard.press('h');
    await giver.page.locator('#comment').focus();
    await giver.page.keyboard.type('hhh');
    await other.page.locator('#love-button').tap();
    for (const one of [giver, other, calm]) await waitFor('64', async () => await shown(one) === 64, 8000);
    assert.equal(await counted(), 64);

    // A finger that leaves before all has been sent.
    await hammer(giver, 23);
    assert.ok(await counted() < 87, 'the page still holds some');
    await giver.page.close({ runBeforeUnload: true });
    await waitFor('the last taps', async () => await counted() === 87, 5000);
    await waitFor('the other page', async () => await shown(other) === 87, 5000);
    await sleep(2600); // whatever would count twice would have by now
    assert.equal(await counted(), 87);
    assert.equal(await shown(other), 87);

    const hearts = await other.page.evaluate(() => window.hearts);
    t.diagnostic(`on the other page ${hearts.seen} hearts, at most ${hearts.most} at a time`);
    assert.ok(hearts.seen >= 10 && hearts.most <= 40, JSON.stringify(hearts));
    assert.equal((await calm.page.evaluate(() => window.hearts)).seen, 0, 'no motion for those who want none');
    await waitFor('they go', () => other.page.evaluate(() => document.getElementById('love-field').childElementCount === 0), 5000);
    for (const one of [other, calm]) assert.ok(await fitsWidth(one), 'no sideways scrolling');
    for (const one of [giver, other, calm]) assert.deepEqual(one.errors, []);
});

test('the one on air has the room of the front page', { timeout: 30000 }, async (t) => {
    const { page } = await openPage(t, null);
    await page.goto(`${stack.origin}/`);
    await page.locator(`#live .card[data-id="${broadcast.id}"]`).waitFor({ timeout: 10000 });
    const { width } = await page.locator('#live .card-picture').boundingBox();
    assert.ok(width > 500, `${width}`);
});

test('without a name the taps wait for one; over is over', { timeout: 60000 }, async (t) => {
    const before = await counted();
    const guest = await openPage(t, null, { viewport: { width: 390, height: 844 } });
    await waitFor('the total so far', async () => await shown(guest) === before, 5000);
    await hammer(guest, 5);
    await waitFor('the form for a name', () => guest.page.evaluate(() => document.activeElement.id === 'chat-name'), 3000);
    assert.equal(await shown(guest), before + 5);
    await screenshot(guest.page, 'love-guest');
    assert.ok(await fitsWidth(guest), 'no sideways scrolling');
    assert.equal(await counted(), before);
    await guest.page.fill('#chat-name', 'Newcomer');
    await guest.page.keyboard.press('Enter');
    await waitFor('the waiting taps', async () => await counted() === before + 5, 8000);
    assert.equal(await guest.page.locator('#love-hint').textContent(), '');

    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    await guest.page.locator('#love-button:disabled').waitFor({ timeout: 15000 });
    assert.equal(await shown(guest), before + 5);
    assert.deepEqual(guest.errors, []);
});
