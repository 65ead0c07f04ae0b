// A gift in Chromium: bought on one page, shown on both and in the studio, paid once although the line was bad.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { assertAccessible } from '../lib/accessibility.mjs';
import { launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, freshStack, waitFor } from '../lib/fixture.mjs';
import { RedisClient, goLive } from '../lib/redis_client.mjs';

let stack;
let browser;
before(async () => {
    stack = await freshStack({ services: { ingest: 0, transcoder: 0, 'segment-uploader': 0, chat: 2, 'live-api': 2 } });
    browser = await launchBrowser();
    atEnd(() => browser.close());
});

async function newSession(name) {
    const { json } = await api(stack, 'POST', '/sessions', { body: { name } });
    return { userId: json.user_id, token: json.token, name };
}

async function openPage(t, path, session, viewport = { width: 1280, height: 860 }) {
    const context = await browser.newContext({ viewport });
    t.after(() => context.close());
    await context.addInitScript((kept) => localStorage.setItem('hanabi.session', kept), JSON.stringify(session));
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && errors.push(message.text()));
    await page.goto(`${stack.origin}${path}`);
    await page.locator('#chat[data-state="open"]').waitFor({ timeout: 15000 });
    return { page, errors };
}

test('buy a gift on one page, all pages show it; a lost answer is not paid twice', { timeout: 90000 }, async (t) => {
    const owner = await newSession('Host 花火');
    const { json: { id } } = await api(stack, 'POST', '/broadcasts', { token: owner.token, body: { title: 'Summer night 夏の夜' } });
    const redis = new RedisClient(stack.ports.state);
    t.after(() => redis.close());
    await goLive(redis, id);
    const giver = await openPage(t, `/watch/${id}`, await newSession('Hanako 花子'));
    const other = await openPage(t, `/watch/${id}`, await newSession('Taro'), { width: 390, height: 844 });
    const studio = await openPage(t, `/studio#${id}`, owner, { width: 1440, height: 1000 });
    const { page } = giver;

    await page.locator('#gift-toggle').click();
    await page.locator('#gift-coins', { hasText: '0 coins' }).waitFor({ timeout: 5000 });
    await page.getByRole('radio', { name: 'Wind chime' }).check();
    await page.locator('#gift-send', { hasText: 'Give for 100 coins' }).click();
    await page.locator('#gift-error[data-code="too_few_coins"]').waitFor({ timeout: 5000 });
    await page.locator('#gift-topup').click();
    await page.locator('#gift-coins', { hasText: '1,000 coins' }).waitFor({ timeout: 5000 });
    await page.getByRole('radio', { name: 'Lantern' }).check();
    await page.fill('#gift-message', 'きれい！ <b>bold</b>');
    await screenshot(page, 'gift-panel');
    await assertAccessible(page, 'the gifts, one chosen');
    // The purchase is made, and its answer is lost on the way.
    let lost = 0;
    await page.route('**/api/v1/purchases', async (route) => {
        const answer = await route.fetch();
        if (lost === 0) {
            assert.equal(answer.status(), 201);
            lost += 1;
            return route.abort();
        }
        return route.fulfill({ response: answer });
    });
    await page.locator('#gift-send').click();
    const row = (one) => one.page.locator('.gift-row', { hasText: 'gave Lantern' });
    const banner = (one) => one.page.locator('#gift-banner', { hasText: 'Lantern' });
    await Promise.all([giver, other, studio].map((one) => Promise.all([row(one).waitFor({ timeout: 5000 }), banner(one).waitFor({ timeout: 5000 })])));
    for (const [name, one] of Object.entries({ giver, other, studio })) await screenshot(one.page, `gift-${name}`);
    await page.getByText('You gave Lantern. Thank you!').waitFor({ timeout: 5000 });
    assert.equal(lost, 1);
    for (const one of [giver, other, studio]) {
        assert.equal(await row(one).count(), 1);
        assert.match(await row(one).textContent(), /Hanako 花子.*gave Lantern.*300 coins.*きれい！ <b>bold<\/b>/);
        assert.equal(await row(one).locator('b').count(), 0, 'markup is text');
    }
    // Paid once; the ranking names the giver, also on the other page.
    await page.locator('#gift-toggle').click();
    await page.locator('#gift-coins', { hasText: '700 coins' }).waitFor({ timeout: 5000 });
    await other.page.locator('#gift-toggle').click();
    await other.page.locator('#supporters li', { hasText: /Hanako 花子.*300 coins/ }).waitFor({ timeout: 5000 });
    await screenshot(other.page, 'gift-phone');
    // A second gift moves the ranking of a panel that is open.
    await page.getByRole('radio', { name: 'Sparkler' }).check();
    await page.locator('#gift-send').click();
    await other.page.locator('#supporters li', { hasText: /Hanako 花子.*310 coins/ }).waitFor({ timeout: 8000 });
    await waitFor('the banner goes', async () => !(await giver.page.locator('#gift-banner').isVisible()), 12000, 100);
    // By keyboard alone.
    await page.locator('#gift-toggle').focus();
    await page.keyboard.press('Enter');
    await page.locator('#gifts').waitFor({ timeout: 2000 });
    await page.locator('#gift-message').focus();
    await page.keyboard.press('Escape');
    await page.locator('#gifts').waitFor({ state: 'hidden', timeout: 2000 });
    assert.equal(await page.evaluate(() => document.activeElement.id), 'gift-toggle');
    for (const one of [giver, other, studio]) {
        assert.deepEqual(one.errors, []);
        assert.ok(await one.page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'no sideways scrolling');
    }
});
