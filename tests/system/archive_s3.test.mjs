// archive with a real S3 server (Ceph's gateway, signatures checked): recording and replay come to stand there although it is overloaded and cuts uploads,
// private ones are played from there, and what is deleted leaves nothing.
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { token } from '../lib/api_rig.mjs';
import { ArchiveRig, makeSegments, mediaOf } from '../lib/archive_rig.mjs';
import { CephGateway, faultyProxy } from '../lib/ceph.mjs';
import { run, waitFor } from '../lib/fixture.mjs';
import { parseMaster, parseMedia } from '../lib/hls.mjs';
import { keys } from '../lib/redis_client.mjs';

let ceph;
let proxy;
let rig;
let service;
let segments;
const owner = token({ sub: 'owner' });

const object = (file) => ceph.request('GET', `/videos/some/prefix/live/${file}`);
/** All objects of broadcasts in the bucket, as the gateway's own tool lists them; the export of events writes beside them all the time. */
const objects = async () => JSON.parse((await run('radosgw-admin', ['-c', path.join(ceph.dir, 'ceph.conf'), 'bucket', 'list', '--bucket', 'videos', '--max-entries', '5000'], { maxBuffer: 64 << 20 })).stdout).map((entry) => entry.name)
    .filter((name) => name.startsWith('some/prefix/live/'));
const call = async (method, pathname, { as, body } = {}) => {
    const answer = await fetch(`${service.origin}${pathname}`, { method, body: body && JSON.stringify(body), headers: { ...(body ? { 'Content-Type': 'application/json' } : {}), ...(as ? { Authorization: `Bearer ${as}` } : {}) } });
    const text = await answer.text();
    return { status: answer.status, text, json: /json/.test(answer.headers.get('content-type')) ? JSON.parse(text) : null };
};

/** A broadcast that is over, its segments in the bucket. */
async function seed(id) {
    await rig.seedBroadcast(id, segments);
    const names = ['thumbnail.jpg', 'master.m3u8', '720p/index.m3u8', '360p/index.m3u8', ...segments.flatMap((s, i) => [`720p/${i}-${s.session}.ts`, `360p/${i}-${s.session}.ts`, ...(i % 5 === 0 ? [`thumbnails/${i}.jpg`] : [])])];
    for (let i = 0; i < names.length; i += 20)
        for (const { status } of await Promise.all(names.slice(i, i + 20).map((name) => ceph.request('PUT', `/videos/some/prefix/live/${id}/${name}`)))) assert.equal(status, 200);
    return names.length;
}

before(async () => {
    ceph = await CephGateway.start();
    proxy = await faultyProxy(ceph.port);
    rig = await ArchiveRig.start();
    segments = makeSegments(Date.now() - 600000, [40, 35], 7000);
});

test('made while the store is overloaded, then cuts uploads: every comment once at its media time, private ones play, deleted ones are gone', { timeout: 90000 }, async (t) => {
    const uploaded = await seed('s3');
    await seed('stays');
    const atMs = (i) => segments[0].wallMs + i * 40;
    const ids = await rig.say('s3', 3900, atMs);
    await rig.say('stays', 10, atMs);
    proxy.mode = 'slow';
    service = await rig.add({ HANABI_STORE_URL: `s3://videos/some/prefix?endpoint=http://127.0.0.1:${proxy.port}&region=us-east-1`, HANABI_S3_ACCESS_KEY: ceph.accessKey, HANABI_S3_SECRET_KEY: ceph.secretKey });
    await waitFor('503 SlowDown', () => proxy.slowed > 3, 20000);
    assert.equal(await rig.redis.command('HGET', `${keys.KEY_BROADCAST}s3`, 'state'), 'ended');
    proxy.mode = 'cut';
    await waitFor('cut uploads', () => proxy.cut > 1, 20000);
    proxy.mode = 'pass';
    await Promise.all(['s3', 'stays'].map((id) => rig.waitArchived(id, 30000)));
    t.diagnostic(`archived after ${proxy.slowed} × 503 SlowDown and ${proxy.cut} cut uploads`);

    const recording = await object('s3/720p/recording.m3u8');
    assert.equal(recording.headers['content-type'], 'application/vnd.apple.mpegurl');
    assert.equal(parseMaster((await object('s3/recording.m3u8')).text).variants.length, 2);
    const { segments: listed, endList } = parseMedia(recording.text);
    assert.deepEqual([endList, listed.length, listed.filter((segment) => segment.discontinuity).length], [true, segments.length, 1]);
    const index = await object('s3/chat/index.json');
    assert.match(index.headers['content-type'], /^application\/json/);
    const files = JSON.parse(index.text).files;
    assert.ok(files.length >= 3);
    const events = (await Promise.all(files.map(async ({ url }) => JSON.parse((await object(`s3/chat/${url}`)).text).events))).flat();
    assert.deepEqual(events.map((event) => event.id), ids);
    for (const [i, event] of events.entries()) assert.equal(event.media_ms, mediaOf(segments, Math.floor(atMs(i))), event.id);

    const made = await call('PATCH', '/api/v1/archives/s3', { as: owner, body: { visibility: 'private' } });
    assert.equal(made.status, 200, made.text);
    const master = await call('GET', made.json.playback_url);
    for (const { uri } of parseMaster(master.text).variants) {
        const media = await call('GET', new URL(uri, service.origin + made.json.playback_url).pathname);
        assert.equal(parseMedia(media.text).segments.length, segments.length);
    }

    const before = await objects();
    assert.ok(before.filter((name) => name.startsWith('some/prefix/live/s3/')).length > uploaded);
    assert.equal((await call('DELETE', '/api/v1/archives/s3', { as: owner })).status, 202);
    await rig.sql("UPDATE broadcasts SET state = 'archived' WHERE id IN ('s3', 'stays')"); // as live-api saves it
    await waitFor('the row is gone', async () => (await rig.sql("SELECT COUNT(*) FROM archives WHERE broadcast_id = 's3'")) === '0', 30000, 100);
    const after = await objects();
    assert.deepEqual(after, before.filter((name) => !name.startsWith('some/prefix/live/s3/')), 'its objects are gone, all others stay');
    assert.equal((await call('GET', made.json.playback_url)).status, 404);
});
