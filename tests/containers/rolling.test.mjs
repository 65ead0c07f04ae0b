// Run by tests/compose: an upgrade as the runbook has it, deploy/roll over every service in its order, during a broadcast with an audience.
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { repo } from '../../deploy/stack/servers.mjs';
import { Crowd } from '../lib/crowd.mjs';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { api, newBroadcast, programmeFile, waitFor, waitForState } from '../lib/fixture.mjs';
import { allHealthy, containersOf, encode, run, servers, services, sqlAsRoot, stack } from './lib.mjs';

const order = ['burst-status', 'settings-sync', 'live-api', 'love-counter', 'archive', 'chat', 'segment-uploader', 'transcoder', 'ingest'];

let file;
before(async () => {
    assert.deepEqual([...order].sort(), [...services].sort());
    file = await programmeFile(240, { size: '640x360' });
    await allHealthy([...services, ...servers]);
});

test('deploy/roll over every service during a broadcast: no rule of HLS broken, nothing acknowledged lost', { timeout: 600000 }, async (t) => {
    const broadcast = await newBroadcast(stack, 'Rolling in containers');
    const monitor = new HlsMonitor(broadcast.playback);
    monitor.start();
    const encoder = encode(broadcast, file);
    t.after(async () => { await encoder.stop(); await monitor.stop(); });
    await waitForState(stack, broadcast.id, 'live', 40000);
    const crowd = await Crowd.join(stack, broadcast, 4);
    t.after(() => crowd.close());
    crowd.start();
    for (const service of order) {
        const before = await containersOf(service);
        const began = Date.now();
        await run(path.join(repo, 'deploy/roll'), [service], { env: { ...process.env, DOCKER_COMPOSE: `docker-compose ${process.env.HANABI_COMPOSE}` } });
        const after = await containersOf(service);
        assert.equal(after.length, before.length, `${service}: as many as before`);
        assert.deepEqual(after.filter((id) => before.includes(id)), [], `${service}: all new`);
        await crowd.goesOn(`after ${service}`);
        t.diagnostic(`${service}: ${before.length} replaced in ${((Date.now() - began) / 1000).toFixed(0)} s`);
    }
    await crowd.stop();
    await waitFor('live', async () => (await api(stack, 'GET', `/broadcasts/${broadcast.id}`)).json.state === 'live', 20000);
    assert.deepEqual(await crowd.judge(sqlAsRoot), []);
    t.diagnostic(crowd.summary);
    encoder.isOver = true;
    assert.equal((await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token })).status, 200);
    await waitFor('ENDLIST', () => [...monitor.renditions.values()].every((rendition) => rendition.versions.at(-1).playlist.endList), 15000);
    await monitor.stop();
    t.diagnostic(`the encoder came back ${encoder.comebacks} times; a player with ${monitor.bufferNeeded()} ms in its buffer never stopped`);
    assert.deepEqual(await monitor.judge({ ended: true }), []);
    assert.ok(encoder.comebacks <= 2, 'nothing but its ingest ends a publisher');
    assert.ok(Math.max(0, ...crowd.downs) <= 2000, `chat lines were away for ${crowd.downs} ms`);
});
