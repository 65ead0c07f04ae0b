// Run by tests/compose after its stack has been told to store to the S3-compatible container and been given Prometheus: the way of a picture through
// the bucket, a store that dies, and the alerts and dashboards against a real Prometheus that scrapes every container.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { repo } from '../../deploy/stack/servers.mjs';
import { framesMove, launchBrowser, screenshot } from '../lib/browser.mjs';
import { api, atEnd, newBroadcast, programmeFile, pushFile, waitFor, waitForState } from '../lib/fixture.mjs';
import { addressesOf, allHealthy, archived, archivedEvents, ChatViewer, containersOf, crash, docker, isHealthy, newestSegment, openFrom, servers, services, stack } from './lib.mjs';

let file;
before(async () => {
    file = await programmeFile(240, { size: '640x360' });
    await allHealthy([...services, ...servers, 'store', 'prometheus']);
});

/** How many objects of the broadcast the bucket holds, as anybody may list it who reaches its port. */
async function objectsOf(broadcast) {
    const [store] = await containersOf('store');
    const list = await docker('exec', store, 'store-entrypoint', 'list', `live/${broadcast.id}/`);
    return [...list.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key]) => key);
}

test('S3: the picture, a store that is killed, the archive; the folder stays empty', { timeout: 240000 }, async (t) => {
    const browser = await launchBrowser();
    atEnd(() => browser.close());
    const broadcast = await newBroadcast(stack, 'By way of a bucket');
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    const early = await fetch(broadcast.playback);
    assert.equal(early.status, 404, 'nothing there yet is a 404');
    assert.equal((await early.json()).status_url, `/status/v1/broadcasts/${broadcast.id}`);
    await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    await waitFor('moving video', () => framesMove(page, '#video'), 40000, 100);
    const chat = new ChatViewer(broadcast, broadcast.token);
    t.after(() => chat.close());
    await chat.say('r1', 'in the bucket');
    await screenshot(page, 'compose-s3');

    const [store] = await containersOf('store');
    const before = await newestSegment(broadcast);
    await crash(store);
    const killed = Date.now();
    await waitFor('newer segments after the store was killed', async () => await newestSegment(broadcast).catch(() => 0) >= before + 3, 90000, 200);
    t.diagnostic(`store killed: three more segments after ${((Date.now() - killed) / 1000).toFixed(1)} s`);
    await waitFor('the store again', () => isHealthy(store), 60000, 500);
    await waitFor('moving video again', () => framesMove(page, '#video'), 40000, 100);

    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    const archive = await archived(broadcast);
    assert.deepEqual((await archivedEvents(archive)).filter((event) => event.type === 'comment').map((event) => event.text), ['in the bucket']);
    await page.goto(`${stack.origin}/archive/${broadcast.id}`);
    await waitFor('the recording plays', () => framesMove(page, '#video'), 30000, 200);
    const keys = await objectsOf(broadcast);
    assert.ok(keys.some((key) => key.endsWith('/recording.m3u8')) && keys.filter((key) => key.endsWith('.ts')).length >= 4, keys.join(' '));
    for (const id of await containersOf('segment-uploader')) {
        assert.equal(await docker('exec', id, 'sh', '-c', `test -e /var/lib/hanabi/store/live/${broadcast.id} && echo there || true`), '', 'nothing in the folder');
    }
    t.diagnostic(`${keys.length} objects in the bucket`);
});

test('the store is reached by those who store, and by nobody else', async () => {
    const [store] = await containersOf('store');
    const doors = (await addressesOf(store)).map((address) => `${address}:7480`);
    for (const service of services) {
        const [id] = await containersOf(service);
        const open = await openFrom(id, doors);
        assert.equal(open.length > 0, ['segment-uploader', 'archive'].includes(service), `${service}: ${open}`);
    }
});

const prometheus = async (pathname) => {
    const answer = await (await fetch(`http://127.0.0.1:${process.env.HANABI_PROMETHEUS_PORT}/api/v1/${pathname}`)).json();
    assert.equal(answer.status, 'success', `${pathname}: ${answer.error}`);
    return answer.data;
};
const query = async (expression) => (await prometheus(`query?query=${encodeURIComponent(expression)}`)).result;

test('Prometheus: scrapes every container, knows the alerts; every panel shows something during a broadcast', { timeout: 240000 }, async (t) => {
    const containers = (await Promise.all(services.map(containersOf))).flat().length;
    await waitFor('every container scraped', async () => {
        const { activeTargets } = await prometheus('targets?state=active');
        return activeTargets.length === containers && activeTargets.every((target) => target.health === 'up');
    }, 60000, 500);
    const written = [...fs.readFileSync(path.join(repo, 'deploy/prometheus/alerts.yml'), 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    const rules = (await prometheus('rules')).groups.flatMap((group) => group.rules);
    assert.deepEqual(rules.map((rule) => rule.name).sort(), [...written].sort());
    assert.deepEqual(rules.filter((rule) => rule.lastError).map((rule) => `${rule.name}: ${rule.lastError}`), []);

    const broadcast = await newBroadcast(stack, 'Watched by Prometheus');
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    await waitForState(stack, broadcast.id, 'live', 40000);
    const chat = new ChatViewer(broadcast, broadcast.token);
    t.after(() => chat.close());
    await chat.say('r1', 'counted');
    const expressions = fs.readdirSync(path.join(repo, 'deploy/grafana')).filter((name) => name.endsWith('.json'))
        .flatMap((name) => JSON.parse(fs.readFileSync(path.join(repo, 'deploy/grafana', name), 'utf8')).panels.flatMap((panel) => panel.targets.map((target) => [panel.title, target.expr])));
    let empty = [];
    await waitFor('data behind every panel', async () => {
        empty = [];
        for (const [title, expression] of expressions) if ((await query(expression)).length === 0) empty.push(`${title}: ${expression}`);
        return empty.length === 0;
    }, 60000, 2000).catch((error) => assert.fail(`${error.message}\n${empty.join('\n')}`));
    await waitFor('the publisher is counted', async () => (await query('sum(hanabi_ingest_publishers)'))[0].value[1] === '1', 20000, 1000);
    t.diagnostic(`${containers} containers, ${written.length} alerts, ${expressions.length} expressions of the dashboards, each with data`);
    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
});
