// Run by tests/compose against its stack, from outside: what the images hold, the walls between the containers, the pages in Chromium, and a broadcast that
// outlives each container.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { framesMove, launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, newBroadcast, programmeFile, pushFile, sleep, status, waitFor, waitForState } from '../lib/fixture.mjs';
import { addressesOf, allHealthy, archived, archivedEvents, ChatViewer, containersOf, crash, docker, encode, inspect, isHealthy, newestSegment, openFrom, run, servers, services, stack } from './lib.mjs';

const listens = { ingest: 1935, 'burst-status': 8080, 'live-api': 8080, 'settings-sync': 8080, chat: 8080, 'love-counter': 8080, archive: 8080 };

let file;
before(async () => {
    file = await programmeFile(240, { size: '640x360' });
    await allHealthy([...services, ...servers]);
});

test('images: no root, no writable root file system, no compiler', async () => {
    for (const service of services) {
        const [id] = await containersOf(service);
        const found = await inspect(id);
        assert.equal(found.HostConfig.ReadonlyRootfs, true, service);
        assert.equal(await docker('exec', id, 'id', '-u'), '10001', service);
        assert.equal(await docker('exec', id, 'sh', '-c', 'command -v gcc cc make cmake curl wget || true'), '', service);
        await assert.rejects(run('docker', ['exec', id, 'touch', '/usr/local/bin/x']), undefined, service);
    }
});

test('from inside each container: no other service, but Redis, MariaDB and what it stores to', { timeout: 300000 }, async (t) => {
    const where = {};
    for (const name of [...services, 'redis', 'media-redis', 'mariadb']) where[name] = (await Promise.all((await containersOf(name)).map(addressesOf))).flat();
    const databases = { ingest: ['redis', 'media-redis', 'mariadb'], transcoder: ['redis', 'media-redis'], 'segment-uploader': ['redis', 'media-redis', 'mariadb'],
        'burst-status': ['redis'], 'live-api': ['redis', 'mariadb'], 'settings-sync': ['redis', 'mariadb'], chat: ['redis', 'mariadb'], 'love-counter': ['redis', 'mariadb'], archive: ['redis', 'mariadb'] };
    const ports = { redis: 6379, 'media-redis': 6379, mariadb: 3306 };
    let closed = 0;
    for (const from of services) {
        const wanted = databases[from].map((name) => [name, where[name].map((address) => `${address}:${ports[name]}`)]);
        const others = services.filter((other) => other !== from).flatMap((other) => where[other].flatMap((address) => [9090, listens[other]].filter(Boolean).map((port) => `${address}:${port}`)));
        for (const id of await containersOf(from)) {
            const open = await openFrom(id, [...wanted.flatMap(([, doors]) => doors), ...others]);
            for (const [name, doors] of wanted) assert.ok(doors.some((door) => open.includes(door)), `${from} cannot reach ${name}`);
            assert.deepEqual(open.filter((door) => others.includes(door)), [], `${from} reaches other services`);
            closed += others.length;
        }
    }
    t.diagnostic(`${closed} doors between services tried, all closed`);
});

test('the pages in Chromium: a moving picture, chat and hearts on two pages, the archive with its chat', { timeout: 240000 }, async (t) => {
    const browser = await launchBrowser();
    atEnd(() => browser.close());
    const broadcast = await newBroadcast(stack, 'In containers 花火');
    const pages = [];
    for (let i = 0; i < 2; i += 1) {
        const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
        pages.push(page);
        await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    }
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    for (const page of pages) await waitFor('moving video', () => framesMove(page, '#video'), 40000, 100);
    const viewer = new ChatViewer(broadcast, broadcast.token);
    t.after(() => viewer.close());
    await viewer.say('r1', 'seen from a container');
    for (const page of pages) await page.getByText('seen from a container').first().waitFor({ timeout: 10000 });
    const love = await api(stack, 'POST', `/broadcasts/${broadcast.id}/loves`, { token: broadcast.token, body: { batch_id: 'b1', count: 3 } });
    assert.equal(love.status, 200, love.text);
    for (const page of pages) await page.locator('#love-button[data-total="3"]').waitFor({ timeout: 10000 });
    await screenshot(pages[0], 'compose-watch');
    await sleep(6000);
    assert.equal((await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token })).status, 200);
    const events = await archivedEvents(await archived(broadcast));
    assert.deepEqual(events.filter((event) => event.type === 'comment').map((event) => event.text), ['seen from a container']);
    await pages[0].goto(`${stack.origin}/archive/${broadcast.id}`);
    await waitFor('the recording plays', () => framesMove(pages[0], '#video'), 30000, 200);
    await screenshot(pages[0], 'compose-archive');
});

test('each container killed in turn during a broadcast: the picture comes back, nothing acknowledged is lost', { timeout: 900000 }, async (t) => {
    const broadcast = await newBroadcast(stack, 'Unkillable');
    const { item, coins } = await rich(broadcast);
    const encoder = encode(broadcast, file);
    t.after(() => encoder.stop());
    await waitForState(stack, broadcast.id, 'live', 40000);
    const chat = new ChatViewer(broadcast, broadcast.token);
    t.after(() => chat.close());
    const said = [];
    let loves = 0;
    let bought = 0;
    /* Tries until it is acknowledged, the same each time. */
    const insist = (what, pathname, body, good) => waitFor(what, async () => good.includes((await api(stack, 'POST', pathname, { token: broadcast.token, body })).status), 60000, 300);
    for (const service of [...services, ...servers]) {
        const [id] = await containersOf(service);
        const before = await newestSegment(broadcast);
        chat.longestGapMs = 0;
        await crash(id);
        const killed = Date.now();
        const word = `while ${service} is dead`;
        await Promise.all([chat.say(`k-${service}`, word),
            insist(`love ${service}`, `/broadcasts/${broadcast.id}/loves`, { batch_id: `k-${service}`, count: 2 }, [200]),
            insist(`gift ${service}`, '/purchases', { item_id: item.id, broadcast_id: broadcast.id, idempotency_key: `k-${service}` }, [200, 201])]);
        said.push(word);
        loves += 2;
        bought += 1;
        const answered = Date.now() - killed;
        await waitFor(`a newer segment after ${service} was killed`, async () => await newestSegment(broadcast) >= before + 2, 90000, 200);
        const picture = Date.now() - killed;
        await waitFor(`${service} again`, () => isHealthy(id), 60000, 500);
        t.diagnostic(`${service} killed: all acknowledged after ${(answered / 1000).toFixed(1)} s, two more segments after ${(picture / 1000).toFixed(1)} s, chat line down for ${chat.longestGapMs} ms`);
    }
    await waitFor('live', async () => (await status(stack, broadcast.id))?.state === 'live', 40000, 200);
    await waitFor('every acknowledged comment', () => said.every((word) => chat.texts.includes(word)), 10000);
    assert.equal(new Set(chat.ids).size, chat.ids.length, 'each once');
    await waitFor('every gift', () => chat.gifts.length >= bought, 40000, 200);
    assert.equal(chat.gifts.length, bought, 'each gift is shown once');
    await waitFor('the hearts', async () => (await api(stack, 'GET', `/broadcasts/${broadcast.id}/loves`)).json?.total === loves, 20000, 300);
    assert.equal((await api(stack, 'GET', '/wallet', { token: broadcast.token })).json.coins, coins - bought * item.price);
    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    const events = await archivedEvents(await archived(broadcast));
    const texts = events.filter((event) => event.type === 'comment').map((event) => event.text);
    assert.deepEqual([...texts].sort(), [...said].sort(), 'the archive holds each acknowledged comment once');
    assert.equal(events.filter((event) => event.type === 'gift').length, bought, 'and each gift');
    t.diagnostic(`${said.length} comments, ${loves} hearts, ${bought} gifts acknowledged while something was dead: all there, each once`);
});

/** Coins enough for a gift per kill, and the cheapest item. */
async function rich(broadcast) {
    const { items } = (await api(stack, 'GET', '/items')).json;
    const item = items.reduce((cheap, other) => (other.price < cheap.price ? other : cheap));
    const answer = await api(stack, 'POST', '/wallet/topups', { token: broadcast.token, body: { coins: item.price * 30 } });
    assert.equal(answer.status, 201, answer.text);
    return { item, coins: answer.json.coins };
}
