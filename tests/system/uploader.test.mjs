// segment-uploader with real Redis and MariaDB; the test plays the transcoder. Times are short, faults are real.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { waitFor } from '../lib/fixture.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';
import { FakeTranscoder, PlaylistWatch, UploaderRig } from '../lib/uploader_rig.mjs';

let rig;
let counter = 0;
const newBroadcast = (options) => new FakeTranscoder(rig, `b${process.pid}-${counter += 1}`, options);
const length = (id, rendition = '720p') => { const p = rig.playlist(id, rendition); return p ? p.mediaSequence + p.segments.length : 0; };
/** Viewers see so many, and Redis knows: whoever is killed now leaves nothing half done. */
const published = (id, count) => waitFor(`${count} published`, async () => length(id) === count && length(id, '360p') === count && await rig.redis.command('XLEN', keys.KEY_SEGMENTS + id) === 0);
const state = (id) => rig.redis.command('HGET', keys.KEY_BROADCAST + id, 'state');
const uploads = (id) => rig.redis.command('ZSCORE', keys.KEY_UPLOADS, id);
const owner = (id) => rig.redis.command('HGET', keys.KEY_LEASE_UPLOADER + id, 'holder');
const closed = (id) => waitFor(`${id} is closed`, () => rig.playlist(id, '720p')?.endList && rig.playlist(id, '360p').endList, 20000);

before(async () => { rig = await UploaderRig.start({ uploaders: 2, env: { HANABI_UPLOADER_FINAL_WAIT_MS: '2500' } }); });

test('segments become playlists, in order, and the broadcast live', async () => {
    const t = await newBroadcast().open(), watch = new PlaylistWatch(rig, t.id), published = [];
    const ears = new RedisClient(rig.data.redisPort);
    await ears.subscribe(keys.CHANNEL_SEGMENT_PUBLISHED, (_, message) => published.push(JSON.parse(message)));
    await t.push({ thumbnail: true });
    await waitFor('live', async () => await state(t.id) === 'live');
    assert.equal(length(t.id), 1);
    const took = [];
    for (let i = 1; i < 12; i += 1) {
        const at = performance.now();
        await t.push({ thumbnail: i === 10, spread: i === 3, discontinuity: i === 6 });
        await waitFor(`segment ${i}`, () => length(t.id, '720p') === i + 1 && length(t.id, '360p') === i + 1, 5000, 1);
        took.push(performance.now() - at);
    }
    took.sort((a, b) => a - b);
    console.log(`entry to playlist: median ${took[5].toFixed(0)} ms, worst ${took.at(-1).toFixed(0)} ms`);
    assert.ok(took[5] < 100, `median ${took[5]} ms`);
    const p = rig.playlist(t.id, '720p'), m = rig.master(t.id);
    assert.equal(p.targetDuration, 2);
    assert.equal(p.segments.length, 8);
    assert.equal(p.mediaSequence, 4);
    assert.equal(p.discontinuitySequence, 0);
    assert.ok(p.independent && !p.endList && p.segments.every((s) => s.pdt));
    assert.deepEqual(p.segments.map((s) => s.discontinuity), [false, false, true, false, false, false, false, false]);
    assert.deepEqual(m.variants.map((v) => v.uri), ['720p/index.m3u8', '360p/index.m3u8']);
    assert.equal(m.variants[0].bandwidth, 240000);
    assert.equal(m.variants[0].codecs, 'avc1.64001f,mp4a.40.2');
    assert.equal(rig.read(`live/${t.id}/720p/3-${t.session}.ts`).length, 60000);
    assert.equal(rig.read(`live/${t.id}/thumbnail.jpg`), 'JPEG 10');
    assert.equal(rig.read(`live/${t.id}/thumbnails/0.jpg`), 'JPEG 0');
    assert.ok(fs.existsSync(path.join(rig.storeDir, `live/${t.id}/720p/0-${t.session}.ts`)), 'what has left the window stays');
    for (const file of ['720p/index.m3u8', '360p/index.m3u8', 'master.m3u8', 'thumbnail.jpg']) assert.ok(rig.purged.includes(`PURGE /purge/live/${t.id}/${file}`), file);
    await waitFor('events', () => published.filter((e) => e.id === t.id).length === 12);
    assert.deepEqual(published.filter((e) => e.id === t.id)[6], { type: 'segment.published', id: t.id, sequence: 6, duration_ms: 2000, discontinuity: true });
    await waitFor('rows', async () => (await rig.sql(`SELECT COUNT(*) FROM segments WHERE broadcast_id='${t.id}'`))[0][0] === '12');
    const [row] = await rig.sql(`SELECT file, discontinuity, duration_us, bytes, thumbnail FROM segments WHERE broadcast_id='${t.id}' AND sequence=10`);
    assert.deepEqual(row, [`10-${t.session}.ts`, '0', '2000000', '{"720p":60000,"360p":20000}', 'thumbnails/10.jpg']);
    await rig.redis.script('broadcast_end', t.id, 'owner');
    await t.final();
    await closed(t.id);
    await waitFor('left the queue', async () => await uploads(t.id) === null);
    assert.deepEqual((await rig.sql(`SELECT name, position, peak_bandwidth FROM renditions WHERE broadcast_id='${t.id}' ORDER BY position`)), [['720p', '0', '240000'], ['360p', '1', '80000']]);
    assert.deepEqual(await watch.stop(), []);
    assert.ok(watch.reads > 50);
    ears.close();
});

test('several broadcasts at once, and the owner of half of them killed', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => newBroadcast().open()));
    const watches = all.map((t) => new PlaylistWatch(rig, t.id));
    const rounds = 24;
    for (let i = 0; i < rounds; i += 1) {
        await Promise.all(all.map((t) => t.push({ thumbnail: i % 5 === 0 })));
        if (i === 10) {
            const owners = await Promise.all(all.map((t) => owner(t.id)));
            const victim = owners.filter((o) => o === 'uploader-0').length >= 4 ? 0 : 1;
            console.log(`owners: ${owners.join(' ')}, killing uploader-${victim}`);
            rig.uploaders[victim].kill('SIGKILL');
        }
        await new Promise((resolve) => setTimeout(resolve, 60));
    }
    await Promise.all(all.map((t) => waitFor(`${t.id} complete`, () => length(t.id) === rounds && length(t.id, '360p') === rounds, 20000)));
    for (const [i, t] of all.entries()) {
        assert.deepEqual(await watches[i].stop(), []);
        const names = fs.readdirSync(path.join(rig.storeDir, 'live', t.id, '720p')).filter((n) => n.endsWith('.ts') && !n.startsWith('.'));
        assert.equal(names.length, rounds);
        for (const name of names) assert.ok(fs.readFileSync(path.join(rig.storeDir, 'live', t.id, '720p', name), 'utf8').startsWith(`${t.id}/720p/${name.split('-')[0]}/`), name);
        assert.ok(watches[i].last.get('720p').segments.every((s) => !s.discontinuity));
        await waitFor('rows', async () => (await rig.sql(`SELECT COUNT(*) FROM segments WHERE broadcast_id='${t.id}'`))[0][0] === String(rounds));
    }
    for (const uploader of rig.uploaders) uploader.start();
    await Promise.all(rig.uploaders.map((uploader) => waitFor('back', async () => (await fetch(`${uploader.admin}/healthz`)).ok)));
});

test('the grace ends while nobody transcodes: ENDLIST', async () => {
    const t = await newBroadcast().open({ graceMs: 700 });
    for (let i = 0; i < 3; i += 1) await t.push();
    await published(t.id, 3);
    await rig.redis.script('session_close', t.id, t.session, 'publisher_gone');
    await waitFor('ended', async () => await state(t.id) === 'ended', 5000);
    await closed(t.id);
    await waitFor('left the queue', async () => await uploads(t.id) === null);
    assert.equal(length(t.id), 3);
});

test('killed in the grace: the other one writes ENDLIST', async () => {
    const t = await newBroadcast().open({ graceMs: 1500 });
    await t.push();
    await published(t.id, 1);
    await waitFor('live', async () => await state(t.id) === 'live'); // what never was has no grace
    await rig.redis.script('session_close', t.id, t.session, 'publisher_gone');
    const victim = rig.uploaders[Number((await owner(t.id)).at(-1))];
    victim.kill('SIGKILL');
    await closed(t.id);
    await waitFor('gone', () => victim.pid === null);
    victim.start();
    await waitFor('back', async () => (await fetch(`${victim.admin}/healthz`)).ok);
});

test('ended before any segment: nothing to close', async () => {
    const t = await newBroadcast().open();
    await rig.redis.script('broadcast_end', t.id, 'owner');
    await waitFor('queued by the keeper', () => rig.redis.command('EXISTS', keys.KEY_PLAYLIST + t.id));
    await waitFor('left the queue', async () => await uploads(t.id) === null && await owner(t.id) === null);
    assert.equal(rig.read(`live/${t.id}/master.m3u8`), null);
});

test('silence suspends; a new session goes on with the numbers', async () => {
    const t = await newBroadcast().open();
    await t.push();
    await waitFor('live', async () => await state(t.id) === 'live');
    await waitFor('suspended', async () => await state(t.id) === 'suspended', 6000);
    await t.open();
    await t.push({ discontinuity: true });
    await waitFor('live again', async () => await state(t.id) === 'live');
    const p = rig.playlist(t.id, '720p');
    assert.deepEqual(p.segments.map((s) => s.discontinuity), [false, true]);
    assert.deepEqual(p.segments.map((s) => s.uri.split('-')[0]), ['0', '1']);
});

test('lost parts: a discontinuity, and the playlist goes on', async () => {
    const t = await newBroadcast().open();
    await t.push();
    await t.push({ without: ['720p', '360p'] });
    await t.push();
    await t.push({ without: ['720p'] });
    await t.push();
    await published(t.id, 4);
    const p = rig.playlist(t.id, '720p');
    assert.deepEqual(p.segments.map((s) => s.discontinuity), [false, true, true, true]);
    assert.equal(p.segments[2].uri, `../360p/2-${t.session}.ts`);
    assert.equal(rig.playlist(t.id, '360p').segments[2].uri, `2-${t.session}.ts`);
});

test('the store away: nothing is lost, parts outlive their expiry on the spool', async () => {
    const t = await newBroadcast().open(), watch = new PlaylistWatch(rig, t.id);
    await t.push();
    await published(t.id, 1);
    fs.renameSync(rig.storeDir, `${rig.storeDir}.away`);
    for (let i = 0; i < 30; i += 1) await t.push({ partExpireS: 8 });
    await waitFor('readyz names the store', async () => (await rig.ready()).missing?.store && (await rig.ready(rig.uploaders[1])).missing?.store, 10000);
    const spooled = () => { try { return fs.readdirSync(path.join(rig.dir, 'spool', t.id)).filter((n) => n.endsWith('.segment')).length; } catch { return 0; } };
    await waitFor('all of them on the spool', () => spooled() === 30, 15000);
    await waitFor('parts have expired', async () => (await rig.media.command('KEYS', `${keys.KEY_MEDIA_PART}${t.id}:*`)).length <= 2, 15000);
    // The one that holds them dies, too: whoever has the folder goes on.
    const victim = rig.uploaders[Number((await owner(t.id)).at(-1))];
    victim.kill('SIGKILL');
    await waitFor('another owner', async () => { const o = await owner(t.id); return o && o !== `uploader-${rig.uploaders.indexOf(victim)}`; });
    fs.renameSync(`${rig.storeDir}.away`, rig.storeDir);
    await waitFor('all published', () => length(t.id) === 31 && length(t.id, '360p') === 31, 20000);
    assert.deepEqual(await watch.stop(), []);
    for (let i = 0; i < 31; i += 1) assert.ok(rig.read(`live/${t.id}/360p/${i}-${t.session}.ts`).startsWith(`${t.id}/360p/${i}/`), `segment ${i}`);
    assert.ok([...watch.seen.values()].every((s) => !s.discontinuity));
    await waitFor('spool empty', () => spooled() === 0);
    await waitFor('gone', () => victim.pid === null);
    victim.start();
    await waitFor('ready', async () => (await rig.ready(victim)).ok && (await rig.ready()).ok, 15000);
});

test('MariaDB away: publishing goes on, rows come later', async () => {
    const t = await newBroadcast().open();
    await rig.data.mariadb.stop('SIGKILL');
    for (let i = 0; i < 20; i += 1) await t.push();
    await published(t.id, 20);
    await waitFor('readyz names it', async () => (await rig.ready()).missing?.mysql);
    // Killed meanwhile: the successor has the rows from the playlist's state.
    const victim = rig.uploaders[Number((await owner(t.id)).at(-1))];
    victim.kill('SIGKILL');
    await waitFor('gone', () => victim.pid === null);
    victim.start();
    await t.push();
    await published(t.id, 21);
    await rig.redis.script('broadcast_end', t.id, 'owner');
    await t.final();
    await closed(t.id);
    assert.notEqual(await uploads(t.id), null, 'stays queued until the rows are saved');
    rig.data.mariadb.start();
    await waitFor('rows', async () => (await rig.sql(`SELECT COUNT(*), COUNT(DISTINCT sequence), MAX(sequence) FROM segments WHERE broadcast_id='${t.id}'`))[0].join() === '21,21,20', 30000);
    await waitFor('left the queue', async () => await uploads(t.id) === null, 15000);
});

test('Redis emptied: the playlist goes on from memory; with all memory gone, from the store', async (context) => {
    const t = await newBroadcast().open(), watch = new PlaylistWatch(rig, t.id);
    rig.data.mariadb.pause(); // no row is written: those of segments outside the live window are in one process' memory alone
    context.after(() => rig.data.mariadb.resume());
    for (let i = 0; i < 10; i += 1) await t.push({ discontinuity: i === 1 });
    await published(t.id, 10);
    const restart = async (empty) => {
        await empty();
        t.number = 0;
        await t.open();
    };
    await restart(() => rig.redis.command('FLUSHALL'));
    await t.push({ discontinuity: true });
    await waitFor('goes on', () => length(t.id) === 11 && length(t.id, '360p') === 11, 15000);
    assert.ok(rig.playlist(t.id, '720p').segments.at(-1).discontinuity);
    rig.data.mariadb.resume();
    const rows = async () => Number((await rig.sql(`SELECT COUNT(*) FROM segments WHERE broadcast_id='${t.id}'`))[0][0]);
    await waitFor('rows', async () => await rows() === 11); // those that MySQL has not taken yet are nowhere but in the memory that goes now

    await restart(async () => {
        for (const uploader of rig.uploaders) uploader.kill('SIGKILL');
        await waitFor('all gone', () => rig.uploaders.every((u) => u.pid === null));
        await rig.redis.command('FLUSHALL');
        for (const uploader of rig.uploaders) uploader.start();
    });
    await t.push();
    await waitFor('goes on again', () => length(t.id) === 12 && length(t.id, '360p') === 12, 15000);
    const p = rig.playlist(t.id, '720p');
    assert.equal(p.segments.length, 8);
    assert.equal(p.discontinuitySequence, 1);
    assert.ok(p.segments.at(-1).discontinuity);
    assert.deepEqual(await watch.stop(), []);
    await waitFor('rows', async () => await rows() === 12);
});

test('a hung owner does not write over its successor', async () => {
    const t = await newBroadcast().open(), watch = new PlaylistWatch(rig, t.id);
    await t.push();
    await published(t.id, 1);
    const hung = rig.uploaders[Number((await owner(t.id)).at(-1))];
    hung.pause();
    for (let i = 0; i < 3; i += 1) await t.push();
    await waitFor('the other goes on', () => length(t.id) === 4, 15000);
    await t.push();
    hung.resume();
    await published(t.id, 5);
    await rig.redis.script('broadcast_end', t.id, 'owner');
    await t.final();
    await closed(t.id);
    assert.deepEqual(await watch.stop(), []);
});

test('SIGTERM gives the broadcasts back at once', async () => {
    const t = await newBroadcast().open();
    await t.push();
    await published(t.id, 1);
    const first = rig.uploaders[Number((await owner(t.id)).at(-1))];
    await first.stop('SIGTERM');
    assert.equal(first.exits.at(-1).code, 0);
    await t.push();
    await waitFor('goes on', () => length(t.id) === 2, 5000);
});
