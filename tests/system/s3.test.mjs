// segment-uploader with a real S3 server (Ceph's gateway): the whole path, and what goes wrong with stores behind HTTP.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { CephGateway, faultyProxy } from '../lib/ceph.mjs';
import { waitFor } from '../lib/fixture.mjs';
import { parseMaster, parseMedia } from '../lib/hls.mjs';
import { FakeTranscoder, UploaderRig } from '../lib/uploader_rig.mjs';

let ceph, proxy, rig;
let counter = 0;
const newBroadcast = () => new FakeTranscoder(rig, `s3-${process.pid}-${counter += 1}`);
const object = (file) => ceph.request('GET', `/videos/some/prefix/${file}`);

async function playlist(id, rendition = '720p') {
    const answer = await object(`live/${id}/${rendition}/index.m3u8`);
    return answer.status === 200 ? parseMedia(answer.text) : null;
}
async function length(id, rendition) { const p = await playlist(id, rendition); return p ? p.mediaSequence + p.segments.length : 0; }

async function assertAllThere(t, count) {
    for (const rendition of ['720p', '360p']) {
        for (let i = 0; i < count; i += 1) {
            const answer = await object(`live/${t.id}/${rendition}/${i}-${t.session}.ts`);
            assert.equal(answer.status, 200);
            assert.ok(answer.text.startsWith(`${t.id}/${rendition}/${i}/`));
        }
        assert.ok((await playlist(t.id, rendition)).segments.every((s) => !s.discontinuity));
    }
}

before(async () => {
    ceph = await CephGateway.start();
    proxy = await faultyProxy(ceph.port);
    rig = await UploaderRig.start({ uploaders: 1, storeUrl: `s3://videos/some/prefix?endpoint=http://127.0.0.1:${proxy.port}&region=us-east-1`,
        env: { HANABI_S3_ACCESS_KEY: ceph.accessKey, HANABI_S3_SECRET_KEY: ceph.secretKey } });
    await waitFor('ready', async () => { const r = await rig.ready(); if (!r.ok) throw new Error(JSON.stringify(r)); return true; }, 15000);
});

test('events are exported to a bucket: the partition is in the name of the object', { timeout: 30000 }, async () => {
    const archive = await rig.addArchive();
    const [id] = await rig.redis.script('chat_append', 'exported', '0', '"type":"comment","user":{"id":"u1","name":"n"},"text":"花火"}');
    const [date, time] = new Date(Number(id.split('-')[0])).toISOString().split('T');
    const name = `export/comment/dt%3D${date}/hour%3D${time.slice(0, 2)}/comments-0000000001.ndjson.gz`;
    await waitFor('the file', async () => (await object(name)).status === 200, 15000, 200);
    await archive.stop();
});

test('the whole path', async () => {
    const t = await newBroadcast().open(), took = [];
    for (let i = 0; i < 10; i += 1) {
        const at = performance.now();
        await t.push({ thumbnail: i === 0 });
        await waitFor(`segment ${i}`, async () => await length(t.id, '360p') === i + 1);
        took.push(performance.now() - at);
        // What the newest playlist names is there.
        const p = await playlist(t.id);
        if (p) assert.equal((await object(`live/${t.id}/720p/${p.segments.at(-1).uri}`)).status, 200);
    }
    took.sort((a, b) => a - b);
    console.log(`entry to playlist on S3: median ${took[5].toFixed(0)} ms`);
    const segment = await object(`live/${t.id}/720p/4-${t.session}.ts`), media = await object(`live/${t.id}/720p/index.m3u8`);
    assert.equal(segment.headers['content-type'], 'video/mp2t');
    assert.equal(segment.headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(media.headers['content-type'], 'application/vnd.apple.mpegurl');
    assert.equal(parseMaster((await object(`live/${t.id}/master.m3u8`)).text).variants.length, 2);
    assert.equal((await object(`live/${t.id}/thumbnail.jpg`)).text, 'JPEG 0');
    await assertAllThere(t, 10);
    await rig.redis.script('broadcast_end', t.id, 'owner');
    await t.final();
    await waitFor('closed', async () => (await playlist(t.id)).endList && (await playlist(t.id, '360p')).endList);
});

test('503 SlowDown for a while: nothing is lost', async () => {
    const t = await newBroadcast().open();
    await t.push();
    await waitFor('published', async () => await length(t.id, '360p') === 1);
    proxy.mode = 'slow';
    for (let i = 1; i < 8; i += 1) await t.push();
    await waitFor('it was slowed down', () => proxy.slowed > 10);
    await waitFor('readyz says so', async () => /503 SlowDown/.test((await rig.ready()).missing?.store));
    assert.ok(await rig.metric('hanabi_uploader_retries_total') > 0);
    proxy.mode = 'pass';
    await waitFor('published', async () => await length(t.id) === 8 && await length(t.id, '360p') === 8, 15000);
    await assertAllThere(t, 8);
    assert.ok((await rig.ready()).ok);
});

test('connections cut in the middle of uploads', async () => {
    const t = await newBroadcast().open();
    proxy.mode = 'cut';
    for (let i = 0; i < 4; i += 1) await t.push();
    await waitFor('cut', () => proxy.cut > 6);
    proxy.mode = 'pass';
    await waitFor('published', async () => await length(t.id) === 4 && await length(t.id, '360p') === 4, 15000);
    await assertAllThere(t, 4);
});

test('the gateway gone for a while', async () => {
    const t = await newBroadcast().open();
    await proxy.away();
    for (let i = 0; i < 5; i += 1) await t.push();
    await waitFor('readyz says so', async () => /no answer/.test((await rig.ready()).missing?.store), 10000);
    await proxy.back();
    await waitFor('published', async () => await length(t.id) === 5 && await length(t.id, '360p') === 5, 15000);
    await assertAllThere(t, 5);
});

test('wrong credentials are a sentence in /readyz and one line in the log', async () => {
    await rig.uploaders[0].stop();
    const wrong = await rig.addUploader({ HANABI_S3_SECRET_KEY: 'not-the-key' });
    const why = await waitFor('refused', async () => { const said = (await rig.ready(wrong)).missing?.store; return said !== 'not tried yet' && said; });
    assert.match(why, /the store refuses our credentials: 403 SignatureDoesNotMatch.*HANABI_S3_SECRET_KEY/);
    const t = await newBroadcast().open();
    for (let i = 0; i < 3; i += 1) await t.push();
    await waitFor('retries', async () => await rig.metric('hanabi_uploader_retries_total', wrong) > 3);
    assert.equal(rig.events(1, 'store.refused').length, 1);
    // The right ones come: what waited is published.
    await wrong.stop();
    rig.uploaders[0].start();
    await waitFor('published', async () => await length(t.id, '360p') === 3, 15000);
    await assertAllThere(t, 3);
});
