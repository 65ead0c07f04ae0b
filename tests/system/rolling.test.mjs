// An upgrade in the middle of a broadcast: every process of every service is told to go (SIGTERM) and started anew, one after the other, while people
// watch, talk, tap and buy. Two of each, as a deployment has.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { recipes } from '../../deploy/stack/services.mjs';
import { Crowd } from '../lib/crowd.mjs';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { api, freshStack, newBroadcast, programmeFile, pushFile, run, sleep, waitFor, waitForState } from '../lib/fixture.mjs';

const DRAIN_WAIT_S = 3;
// As in the runbook: what others lean on first, the doors last.
const order = ['burst-status', 'settings-sync', 'live-api', 'love-counter', 'archive', 'chat', 'segment-uploader', 'transcoder', 'ingest'];

let stack;
let file;
before(async () => {
    assert.deepEqual([...order].sort(), Object.keys(recipes).sort(), 'every service is in the order');
    file = await programmeFile(120);
    stack = await freshStack({ services: Object.fromEntries(order.map((name) => [name, 2])), nginx: { SHUTDOWN_TIMEOUT: '2s' },
        env: { ingest: { HANABI_INGEST_DRAIN_WAIT_S: String(DRAIN_WAIT_S) } } });
});

const sql = async (text) => (await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(stack.ports.mysql), '-u', 'hanabi', 'hanabi', '-BNe', text],
    { env: { ...process.env, MYSQL_PWD: stack.secrets.mysql } })).stdout.trim();

/** An encoder that comes back when its line ends, as OBS does. */
function encode(broadcast) {
    const began = Date.now();
    const encoder = { comebacks: 0, isOver: false, stop: async () => { encoder.isOver = true; await pusher.kill(); await done; } };
    let pusher = pushFile(broadcast.pushUrl, file);
    const done = (async () => {
        for (;;) {
            await pusher.exited;
            await sleep(200);
            if (encoder.isOver) return;
            pusher = pushFile(broadcast.pushUrl, file, { seek: Math.floor((Date.now() - began) / 1000) });
            encoder.comebacks += 1;
        }
    })();
    return encoder;
}

/** SIGTERM, a new one, ready. Returns how long the old one took to go. */
async function replace(name, index) {
    const instance = stack.service(name, index);
    const began = Date.now();
    await instance.stop();
    const took = Date.now() - began;
    assert.deepEqual({ code: instance.exits.at(-1).code, signal: instance.exits.at(-1).signal }, { code: 0, signal: null }, `${name}-${index} drained in ${took} ms`);
    instance.start();
    await waitFor(`${name}-${index} is ready again`, async () => (await fetch(`${stack.adminUrl(name, index)}/readyz`)).ok, 15000, 30);
    return took;
}

test('a rolling restart of every service during a live broadcast', { timeout: 180000 }, async (t) => {
    const broadcast = await newBroadcast(stack, 'Rolling');
    const monitor = new HlsMonitor(broadcast.playback);
    monitor.start();
    const publisher = encode(broadcast);
    t.after(async () => { await publisher.stop(); await monitor.stop(); });
    await waitForState(stack, broadcast.id, 'live', 15000);
    await waitFor('segments', () => monitor.newest()?.segments.length >= 3, 20000);
    const crowd = await Crowd.join(stack, broadcast, 6);
    t.after(() => crowd.close());
    crowd.start();
    const joins = () => [...[...monitor.renditions.values()][0].segments.values()].filter((segment) => segment.discontinuity).length;
    const goesOn = async (what) => {
        const newest = monitor.newest().segments.at(-1).sequence;
        await Promise.all([crowd.goesOn(what), waitFor(`a new segment ${what}`, () => monitor.newest().segments.at(-1).sequence > newest, 15000)]);
    };
    for (const name of order) {
        const tookMs = [];
        for (const index of [0, 1]) {
            const comebacks = publisher.comebacks;
            tookMs.push(await replace(name, index));
            await goesOn(`after ${name}-${index}`);
            if (publisher.comebacks === comebacks) continue;
            assert.equal(name, 'ingest', 'nothing else ends a publisher');
            assert.ok(tookMs.at(-1) >= DRAIN_WAIT_S * 1000, 'its publisher had its time');
            await waitFor('the join', () => joins() === publisher.comebacks, 15000);
            await goesOn('after the join');
        }
        t.diagnostic(`${name}: drained in ${tookMs.join(' and ')} ms`);
    }
    assert.ok(publisher.comebacks >= 1 && publisher.comebacks <= 2, `the encoder came back ${publisher.comebacks} times`);
    // The edge's workers are replaced; the old ones keep their lines for a while, then cut them.
    const lines = crowd.viewers.map((viewer) => viewer.downs.length);
    stack.servers.nginx.kill('SIGHUP');
    await waitFor('all have a line through the new edge', () => crowd.viewers.every((viewer, i) => viewer.downs.length > lines[i]), 10000);
    await goesOn('with a new edge');
    await crowd.stop();
    publisher.isOver = true;
    await waitFor('live', async () => (await api(stack, 'GET', `/broadcasts/${broadcast.id}`)).json.state === 'live', 10000);
    assert.deepEqual(await crowd.judge(sql), []);
    t.diagnostic(crowd.summary);
    assert.equal((await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token })).status, 200);
    await waitFor('ENDLIST', () => [...monitor.renditions.values()].every((rendition) => rendition.versions.at(-1).playlist.endList), 15000);
    await monitor.stop();
    t.diagnostic(`${publisher.comebacks} times the encoder came back; a player with ${monitor.bufferNeeded()} ms in its buffer never stopped`);
    assert.deepEqual(await monitor.judge({ ended: true }), []);
    assert.equal(joins(), publisher.comebacks, 'discontinuities only where the encoder came back');
    assert.ok(Math.max(0, ...crowd.downs) <= 2000, `chat lines were away for ${crowd.downs} ms`);
});
