// Followers in Chromium: follow, be told on another page, search, and the player in somebody else's page.
import assert from 'node:assert/strict';
import http from 'node:http';
import { before, test } from 'node:test';
import { assertAccessible } from '../lib/accessibility.mjs';
import { launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, freshStack, waitFor } from '../lib/fixture.mjs';
import { RedisClient, goLive } from '../lib/redis_client.mjs';

let stack;
let browser;
let redis;
before(async () => {
    stack = await freshStack({ services: { ingest: 0, transcoder: 0, 'segment-uploader': 0 } });
    browser = await launchBrowser();
    atEnd(() => browser.close());
    redis = new RedisClient(stack.ports.state);
    atEnd(() => redis.close());
});

async function newSession(name) {
    const { json } = await api(stack, 'POST', '/sessions', { body: { name } });
    return { userId: json.user_id, token: json.token, name };
}

async function openPage(t, path, session) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    t.after(() => context.close());
    if (session) await context.addInitScript((kept) => localStorage.setItem('hanabi.session', kept), JSON.stringify(session));
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && errors.push(message.text()));
    await page.goto(path.startsWith('http') ? path : `${stack.origin}${path}`);
    return { page, errors };
}

test('follow on the watch page: the toast and the bell on /, the count in the studio, the search box', { timeout: 60000 }, async (t) => {
    const [idol, fan] = [await newSession('花子 <b>'), await newSession('fan')];
    const make = async (title) => (await api(stack, 'POST', '/broadcasts', { token: idol.token, body: { title } })).json.id;
    const [first, second] = [await make('夏の花火'), await make('冬の花火 <i>')];
    const watch = await openPage(t, `/watch/${first}`, fan);
    const button = watch.page.locator('.about-actions .follow');
    await button.waitFor({ timeout: 5000 });
    await button.click();
    await waitFor('it follows', async () => (await button.getAttribute('aria-pressed')) === 'true', 5000);
    await screenshot(watch.page, 'follow-watch');
    const home = await openPage(t, '/', fan);
    await home.page.locator('#bell').waitFor({ timeout: 5000 });
    await waitFor('the page waits', async () => /hanabi_api_notice_waiters [1-9]/.test(await (await fetch(`${stack.adminUrl('live-api')}/metrics`)).text()), 5000);
    const began = Date.now();
    await goLive(redis, second);
    const toast = home.page.locator(`.toast-live[data-broadcast="${second}"]`);
    await toast.waitFor({ timeout: 10000 });
    t.diagnostic(`the toast stands ${Date.now() - began} ms after the first segment`);
    assert.match(await toast.innerText(), /花子 <b> is on air\s+冬の花火 <i>/);
    await screenshot(home.page, 'follow-toast');
    assert.equal(await home.page.locator('.bell-count').innerText(), '1');
    await home.page.locator('#bell').click();
    await home.page.locator(`.notice-row[data-broadcast="${second}"]`).waitFor({ timeout: 3000 });
    await screenshot(home.page, 'follow-bell');
    await waitFor('it is read', async () => (await api(stack, 'GET', '/notifications', { token: fan.token })).json.unread === 0, 5000);
    await home.page.keyboard.press('Escape');
    await home.page.fill('#search', '冬');
    await home.page.locator(`#found .card[data-id="${second}"]`).waitFor({ timeout: 5000 });
    assert.equal(await home.page.locator('#found .card').count(), 1);
    await screenshot(home.page, 'search');
    await assertAccessible(home.page, 'what a search found');
    const studio = await openPage(t, '/studio', idol);
    await studio.page.locator('#followers', { hasText: '1 follower' }).waitFor({ timeout: 5000 });
    await toast.locator('a').click();
    await home.page.waitForURL(`**/watch/${second}`);
    assert.deepEqual([watch.errors, home.errors, studio.errors], [[], [], []]);
});

test('the player in an iframe of another origin, found through the page itself; a link preview; other pages refuse a frame', { timeout: 60000 }, async (t) => {
    const idol = await newSession('Hanako');
    const { id } = (await api(stack, 'POST', '/broadcasts', { token: idol.token, body: { title: 'Framed 花火' } })).json;
    const html = await (await fetch(`${stack.origin}/watch/${id}`)).text();
    const href = html.match(/<link rel="alternate" type="application\/json\+oembed" href="([^"]+)"/)[1].replaceAll('&amp;', '&');
    const embed = await (await fetch(href)).json();
    assert.equal(embed.title, 'Framed 花火');
    // Who makes link previews is told of the broadcast where a browser gets the page; of one that is not there, or of no page of a broadcast, the page as well.
    const asCrawler = async (path) => (await fetch(`${stack.origin}${path}`, { headers: { 'User-Agent': 'facebookexternalhit/1.1;line-poker/1.0' } })).text();
    for (const page of ['watch', 'archive']) assert.match(await asCrawler(`/${page}/${id}`), new RegExp(`og:title" content="Framed 花火">[^]*og:url" content="${stack.origin}/${page}/${id}"`));
    for (const path of ['/watch/nobody', '/archive/nobody', '/']) assert.match(await asCrawler(path), /<body data-page=/);
    assert.match(html, /<body data-page="watch">/);
    const site = http.createServer((request, response) => {
        response.setHeader('Content-Type', 'text/html; charset=utf-8');
        response.end(`<!doctype html><title>another site</title><body style="background:#eee"><h1>Another site</h1>${request.url === '/watch' ? `<iframe src="${stack.origin}/watch/${id}"></iframe>` : embed.html}`);
    });
    await new Promise((resolve) => { site.listen(0, '127.0.0.1', resolve); });
    atEnd(() => site.close());
    const origin = `http://localhost:${site.address().port}`;
    const { page, errors } = await openPage(t, `${origin}/`);
    const frame = page.frameLocator('iframe');
    await frame.locator('#title', { hasText: 'Framed 花火' }).waitFor({ timeout: 8000 });
    await frame.locator('#overlay[data-kind="scheduled"]').waitFor({ timeout: 8000 });
    await screenshot(page, 'embed');
    assert.deepEqual(errors, []);
    const refused = await openPage(t, `${origin}/watch`);
    await waitFor('the frame is refused', () => refused.errors.some((error) => /frame-ancestors/.test(error)) || refused.page.frames()[1]?.url().startsWith('chrome-error'), 8000);
});
