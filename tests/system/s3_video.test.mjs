// The whole way of a picture with an S3 store (Ceph's gateway, signatures checked) in the folder's place: ffmpeg, ingest, transcoder, uploader, bucket, edge,
// player; through a store that is overloaded and one that cuts uploads; and the archive afterwards. (What the uploader alone does: s3.test.mjs.)
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, test } from 'node:test';
import { CephGateway, faultyProxy } from '../lib/ceph.mjs';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { api, freshStack, newBroadcast, programmeFile, pushFile, sleep, waitFor, waitForState } from '../lib/fixture.mjs';

let ceph, proxy, stack;

before(async () => {
    ceph = await CephGateway.start();
    await ceph.letEverybodyRead('videos');
    for (const [folder, status] of [['live', 200], ['export', 403]]) {
        assert.equal((await ceph.request('PUT', `/videos/${folder}/object`, { body: 'x' })).status, 200);
        assert.equal((await fetch(`http://127.0.0.1:${ceph.port}/videos/${folder}/object`)).status, status, folder);
    }
    for (const list of ['', '?list-type=2&prefix=export/', '?prefix=live/&delimiter=/', '?versions', '?uploads', '/live/not-there'])
        assert.equal((await fetch(`http://127.0.0.1:${ceph.port}/videos${list}`)).status, 403, `nobody without credentials learns names: ${list}`);
    proxy = await faultyProxy(ceph.port);
    const store = { HANABI_STORE_URL: `s3://videos?endpoint=http://127.0.0.1:${proxy.port}&region=us-east-1`, HANABI_S3_ACCESS_KEY: ceph.accessKey, HANABI_S3_SECRET_KEY: ceph.secretKey };
    stack = await freshStack({ env: { transcoder: { HANABI_LADDER: '240p:350' }, 'segment-uploader': store, archive: { ...store, HANABI_ARCHIVE_SETTLE_MS: '500' } },
        nginx: { STORE_SERVERS: `server 127.0.0.1:${ceph.port};`, STORE_ORIGIN: 'http://store/videos', STORE_HOST: `127.0.0.1:${ceph.port}` } });
});

test('on air from a bucket: a pause of the store and cut uploads break no rule; then the archive', { timeout: 150000 }, async (t) => {
    const file = await programmeFile(60, { size: '426x240' });
    const broadcast = await newBroadcast(stack, 'from a bucket');
    const early = await fetch(broadcast.playback);
    assert.equal(early.status, 404);
    assert.equal((await early.json()).status_url, broadcast.status_url);
    const monitor = new HlsMonitor(broadcast.playback);
    monitor.start();
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(async () => { await pusher.kill(); await monitor.stop(); });
    const next = () => { const newest = monitor.newest(); return newest ? newest.mediaSequence + newest.segments.length : 0; };
    const goesOn = async (what, segments) => { const from = next(); await waitFor(what, () => next() >= from + segments, 25000); };
    await waitForState(stack, broadcast.id, 'live', 20000);
    await goesOn('segments', 3);

    proxy.mode = 'slow';
    await waitFor('503 SlowDown', () => proxy.slowed > 3, 10000);
    await sleep(2500);
    proxy.mode = 'pass';
    await goesOn('segments after SlowDown', 3);
    proxy.mode = 'cut';
    await waitFor('cut uploads', () => proxy.cut > 3, 15000);
    proxy.mode = 'pass';
    await goesOn('segments after cut uploads', 3);

    await pusher.kill();
    assert.equal((await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token })).status, 200);
    await waitFor('ENDLIST', () => monitor.newest().endList, 15000);
    await monitor.stop();
    assert.deepEqual(await monitor.judge({ ended: true }), []);
    t.diagnostic(`${next()} segments through ${proxy.slowed} × 503 SlowDown and ${proxy.cut} cut uploads, no finding`);

    const archive = await waitFor('the archive', async () => { const { json } = await api(stack, 'GET', `/archives/${broadcast.id}`); return json?.state === 'archived' && json; }, 30000, 200);
    const replay = new HlsMonitor(new URL(archive.playback_url, stack.origin).href);
    await replay.poll();
    assert.deepEqual(replay.problems, []);
    assert.equal(replay.newest().segments.length, next(), 'the recording has every segment');
    const index = await (await fetch(new URL(archive.chat_index_url, stack.origin))).json();
    assert.ok(index.duration_ms > 10000);
    assert.equal(fs.readdirSync(stack.storeDir).length, 0, 'nothing was written to the folder');
});
