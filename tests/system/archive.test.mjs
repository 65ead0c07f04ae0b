// From an ended broadcast to an archive: every comment once at its media time, the same files whatever is killed, and who may see them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { secrets, token } from '../lib/api_rig.mjs';
import { ArchiveRig, makeSegments, mediaOf } from '../lib/archive_rig.mjs';
import { waitFor } from '../lib/fixture.mjs';
import { parseMaster, parseMedia } from '../lib/hls.mjs';
import { keys, scriptText } from '../lib/redis_client.mjs';

const isLong = process.env.HANABI_LONG === 'yes';
let rig;
let service;

before(async () => { rig = await ArchiveRig.start(); });

const call = async (method, pathname, { as, body, origin = service.origin } = {}) => {
    const answer = await fetch(`${origin}${pathname}`, { method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(10000), headers: as ? { Authorization: `Bearer ${as}` } : {} });
    const text = await answer.text();
    let json = null;
    try { json = JSON.parse(text); } catch { /* a playlist */ }
    return { status: answer.status, json, text };
};

/** All events of a replay, and the index held against its files. */
function readReplay(id) {
    const index = rig.index(id);
    const events = [];
    let fromMs = 0;
    for (const entry of index.files) {
        const file = JSON.parse(rig.file(id, `chat/${entry.url}`));
        assert.equal(entry.from_ms, fromMs, 'files follow one another');
        assert.ok(entry.to_ms - entry.from_ms <= 60000 && Math.floor(entry.from_ms / 60000) === Math.floor(Math.max(entry.from_ms, entry.to_ms - 1) / 60000), 'within a minute');
        assert.equal(file.events.length, entry.count);
        for (const event of file.events) assert.ok(event.media_ms >= entry.from_ms && (event.media_ms < entry.to_ms || entry.to_ms === index.duration_ms || (event.media_ms === entry.to_ms && (entry.to_ms % 60000 > 0 || entry.from_ms === entry.to_ms))), `${event.media_ms} in ${JSON.stringify(entry)}`);
        events.push(...file.events);
        fromMs = entry.to_ms;
    }
    assert.equal(fromMs, index.duration_ms);
    return { index, events };
}

test(`${isLong ? '1,000,000' : '100,000'} comments over two drops: each once, at its media time`, { timeout: 240000 }, async (t) => {
    const count = isLong ? 1000000 : 100000;
    const startMs = Date.now() - 900000;
    const segments = makeSegments(startMs, [120, 100, 140], 40000);
    const spanMs = segments.at(-1).wallMs + 2000 - startMs;
    const at = (i) => startMs + (i * spanMs) / count;
    await rig.seedBroadcast('big', segments);
    const ids = await rig.say('big', count, at);
    const began = Date.now();
    service = await rig.add();
    const second = await rig.add();
    await rig.waitArchived('big', 120000);
    const tookMs = Date.now() - began;
    t.diagnostic(`${count} comments from the log in Redis to files that stand, with two processes: ${tookMs} ms`);
    if (isLong) assert.ok(tookMs <= 60000, `${tookMs} ms`);
    await second.stop();
    const { index, events } = readReplay('big');
    assert.equal(index.duration_ms, 720000);
    assert.equal(events.length, count);
    events.forEach((event, i) => {
        if (event.id === ids[i] && event.text === `comment ${i} 花火` && event.media_ms === mediaOf(segments, Math.floor(at(i)))) return;
        assert.fail(`event ${i}: ${JSON.stringify(event)}, expected ${ids[i]} at ${mediaOf(segments, Math.floor(at(i)))}`);
    });
    assert.ok(Math.max(...index.files.map((file) => fs.statSync(path.join(rig.storeDir, 'live/big/chat', file.url)).size)) < 2.3e6);
    t.diagnostic(`${index.files.length} files for 12 minutes`);
});

test('the recording: all segments, the discontinuities and dates kept, ended', async () => {
    const master = parseMaster(rig.file('big', 'recording.m3u8'));
    assert.deepEqual(master.variants.map((variant) => variant.uri), ['720p/recording.m3u8', '360p/recording.m3u8']);
    for (const { uri } of master.variants) {
        const media = parseMedia(rig.file('big', uri));
        assert.ok(media.endList && media.independent && /#EXT-X-PLAYLIST-TYPE:VOD/.test(media.text));
        assert.equal(media.segments.length, 360);
        assert.deepEqual(media.segments.filter((segment) => segment.discontinuity).map((segment) => segment.sequence), [120, 220]);
        assert.ok(media.segments.every((segment) => segment.duration <= media.targetDuration && Number.isFinite(segment.pdt)));
        for (const segment of media.segments) assert.ok(fs.existsSync(path.join(rig.storeDir, 'live/big', path.dirname(uri), segment.uri)));
    }
    const { thumbnails } = JSON.parse(rig.file('big', 'storyboard.json'));
    assert.equal(thumbnails.length, 72);
    assert.deepEqual(thumbnails[1], { at_ms: 10000, url: 'thumbnails/5.jpg' });
});

test('the API: one archive, the list, and nothing of a broadcast that is not there', async () => {
    const one = (await call('GET', '/api/v1/archives/big')).json;
    assert.equal(one.state, 'archived');
    assert.equal(one.duration_ms, 720000);
    assert.match(one.playback_url, /^\/hls\/\d+\/[\w-]+\/live\/big\/recording\.m3u8$/);
    assert.match(one.chat_index_url, /\/live\/big\/chat\/index\.json$/);
    assert.deepEqual(one.owner, { id: 'owner', name: 'Aoi 葵' });
    assert.equal((await call('GET', '/api/v1/archives/nobody')).status, 404);
    const list = (await call('GET', '/api/v1/archives')).json;
    assert.deepEqual(list.archives.map((archive) => archive.id), ['big']);
    assert.equal((await call('GET', '/api/v1/archives?limit=0')).status, 400);
    assert.equal((await call('GET', '/api/v1/archives?owner=me')).status, 401);
});

test('deleted comments are not replayed, and what has not come to MySQL is waited for', async () => {
    const segments = makeSegments(Date.now() - 20000, [5], 0);
    await rig.redis.command('ZADD', keys.KEY_UPLOADS, '1', 'late');
    await rig.redis.command('SET', `${keys.KEY_LOVE}late`, '7');
    await rig.seedBroadcast('late', segments, { endedAtMs: Date.now() });
    const append = scriptText('chat_append');
    const [rude] = await rig.redis.command('EVAL', append, '0', 'late', '0', '"type":"comment","user":{"id":"u1","name":"n"},"text":"rude"}');
    await rig.redis.command('EVAL', append, '0', 'late', '0', '"type":"comment","user":{"id":"u1","name":"n"},"text":"kind"}');
    await rig.redis.command('EVAL', append, '0', 'late', '', `"type":"deleted","target":"${rude}","by":"owner"}`);
    await rig.sql(`UPDATE broadcasts SET ended_at_ms = ${Date.now() + 1} WHERE id = 'late'`);
    await rig.sql("INSERT INTO outbox (kind, subject, payload, created_at_ms, due_at_ms) VALUES ('gift', 'late', '{}', 1, 1)");
    const before = (await call('GET', '/api/v1/archives/late')).json;
    assert.deepEqual([before.state, before.playback_url, before.chat_index_url, before.duration_ms], ['ended', null, null, null]);
    await waitFor('it is old enough', async () => Date.now() - Number(await rig.sql("SELECT ended_at_ms FROM broadcasts WHERE id = 'late'")) > 3000, 5000);
    assert.equal(await rig.redis.command('HGET', `${keys.KEY_BROADCAST}late`, 'state'), 'ended', 'segments are still to come');
    await rig.redis.command('ZREM', keys.KEY_UPLOADS, 'late');
    await waitFor('a look', async () => Number(/hanabi_archive_unarchived_seconds ([\d.e+-]+)/.exec(await (await fetch(`${service.admin}/metrics`)).text())[1]) > 4.5, 5000);
    assert.equal(await rig.redis.command('HGET', `${keys.KEY_BROADCAST}late`, 'state'), 'ended', 'a gift is still to come');
    await rig.sql('DELETE FROM outbox');
    await rig.sql(`INSERT INTO love_ticks VALUES ('late', ${segments[0].wallMs + 500}, 3), ('late', ${segments[1].wallMs + 250}, 7)`);
    const looks = async () => Number(/hanabi_archive_unarchived_seconds ([\d.e+-]+)/.exec(await (await fetch(`${service.admin}/metrics`)).text())[1]);
    const then = await looks();
    await waitFor('two more looks', async () => await looks() > then + 2, 5000);
    assert.equal(await rig.redis.command('HGET', `${keys.KEY_BROADCAST}late`, 'state'), 'ended', 'hearts are still to come');
    await rig.redis.command('DEL', `${keys.KEY_LOVE}late`);
    await rig.waitArchived('late');
    assert.deepEqual(readReplay('late').events.map(({ type, text, total, media_ms: mediaMs }) => [type, text ?? total, mediaMs]), [['love', 3, 500], ['love', 7, 2250], ['comment', 'kind', 10000]]);
});

test('a broadcast that was never on air is archived too, without a picture', async () => {
    await rig.seedBroadcast('never', [], { endedAtMs: Date.now() - 2000 });
    await rig.waitArchived('never');
    const one = (await call('GET', '/api/v1/archives/never')).json;
    assert.deepEqual([one.state, one.playback_url, one.duration_ms], ['archived', null, 0]);
    assert.deepEqual(rig.index('never'), { duration_ms: 0, files: [{ from_ms: 0, to_ms: 0, url: '00000.json', count: 0 }] });
});

test('killed after each step and started again: the same files, byte for byte', { timeout: 120000 }, async () => {
    await service.stop();
    const startMs = Date.now() - 400000;
    const segments = makeSegments(startMs, [50, 30, 40], 9000);
    const seed = async (id) => {
        await rig.seedBroadcast(id, segments, { title: 'killed' });
        await rig.say(id, 3000, (i) => startMs + i * 85);
    };
    const steps = ['none', 'plan', 'recording', 'replay', 'index', 'row', 'say'];
    for (const step of steps) await seed(`kill-${step}`);
    // Each process meets the first that is left, and dies of it; the broadcasts whose turn has not come are hidden meanwhile.
    await rig.sql("UPDATE broadcasts SET state = 'live' WHERE id LIKE 'kill-%'");
    for (const step of steps) {
        await rig.sql(`UPDATE broadcasts SET state = 'ended' WHERE id = 'kill-${step}'`);
        if (step !== 'none') {
            const victim = await rig.add({ HANABI_ARCHIVE_DIE_AFTER: step }, { restart: false });
            await waitFor(`it dies after ${step}`, () => victim.exits.length > 0, 15000);
            assert.equal(victim.exits[0].signal, 'SIGKILL');
            const state = await rig.redis.command('HGET', `${keys.KEY_BROADCAST}kill-${step}`, 'state');
            assert.equal(state, step === 'say' ? 'archived' : 'ended');
        }
        service = await rig.add();
        await rig.waitArchived(`kill-${step}`);
        await service.stop();
        await rig.sql(`UPDATE broadcasts SET state = 'archived' WHERE id = 'kill-${step}'`);
    }
    const want = rig.written('kill-none');
    assert.ok(Object.keys(want).length >= 9, Object.keys(want).join());
    for (const step of steps.slice(1)) assert.deepEqual(rig.written(`kill-${step}`), want, step);
    assert.equal(readReplay('kill-none').events.length, 3000);
});

test('private: gone for everybody but the owner and who has the link', async () => {
    service = await rig.add();
    await waitFor('ready', async () => (await fetch(`${service.admin}/readyz`)).ok);
    const owner = token({ sub: 'owner' });
    const other = token({ sub: 'other' });
    const one = '/api/v1/archives/big';
    assert.equal((await call('PATCH', one, { body: { visibility: 'private' } })).status, 401);
    assert.equal((await call('PATCH', one, { as: other, body: { visibility: 'private' } })).status, 403);
    assert.equal((await call('PATCH', one, { as: owner, body: { visibility: 'secret' } })).status, 400);
    const channels = [];
    for (const as of [owner, other]) channels.push((await call('POST', '/api/v1/channels', { as, body: { title: 'again', items: ['late', 'big'] } })).json);
    const changed = await call('PATCH', one, { as: owner, body: { visibility: 'private' } });
    assert.deepEqual([changed.status, changed.json.visibility], [200, 'private']);
    assert.equal((await call('GET', one)).status, 404);
    assert.equal((await call('GET', one, { as: other })).status, 404);
    assert.ok(!(await call('GET', '/api/v1/archives')).json.archives.some((archive) => archive.id === 'big'));
    // It was public when somebody else put it into a channel: that one has no URL any more, the owner's own has.
    const [mineAgain, theirs] = channels;
    assert.equal((await call('GET', `/api/v1/channels/${mineAgain.id}`)).status, 200);
    assert.equal((await call('GET', `/api/v1/channels/${theirs.id}`)).json.error.code, 'archive_gone');
    assert.deepEqual((await call('GET', '/api/v1/channels')).json.channels.map((channel) => channel.id), [mineAgain.id]);
    assert.deepEqual((await call('GET', '/api/v1/channels?owner=me', { as: other })).json.channels.map((channel) => [channel.id, channel.playback_url]), [[theirs.id, null]]);
    assert.ok((await call('GET', '/api/v1/archives?owner=me', { as: owner })).json.archives.some((archive) => archive.id === 'big'));
    assert.deepEqual((await call('GET', '/api/v1/archives?owner=me', { as: token({ sub: 'OWNER' }) })).json.archives, [], 'somebody else');
    for (const sub of ['owner ', 'ówner']) assert.equal((await call('GET', '/api/v1/archives?owner=me', { as: token({ sub }) })).status, 401);
    const mine = (await call('GET', one, { as: owner })).json;
    const sealed = new URL(mine.share_url, service.origin).searchParams.get('token');
    assert.equal((await call('GET', `${one}?token=${sealed}`)).json.playback_url, mine.playback_url);
    assert.equal((await call('GET', `/api/v1/archives/late?token=${sealed}`)).json.visibility, 'public');

    // What is played asks MySQL for nothing.
    const log = path.join(rig.dir, 'mysql/general.log');
    await rig.rootSql(`SET GLOBAL general_log_file = '${log}'; SET GLOBAL general_log = ON`);
    const master = await call('GET', mine.playback_url);
    assert.equal(master.status, 200);
    for (const { uri } of parseMaster(master.text).variants) {
        const media = await call('GET', new URL(uri, service.origin + mine.playback_url).pathname);
        assert.equal(media.status, 200);
        assert.equal(parseMedia(media.text).segments.length, 360);
        for (const segment of parseMedia(media.text).segments) assert.match(segment.uri, /^(\.\.\/){4}hls\/\d+\/[\w-]+\/live\/big\/(720p|360p)\/\d+-\d\.ts$/);
    }
    await rig.rootSql('SET GLOBAL general_log = OFF');
    const statements = fs.readFileSync(log, 'utf8').split('\n').filter((line) => /Execute|Prepare|Query/.test(line) && !/FROM broadcasts\b|\bexport(s|_cursors)\b|general_log|Query\s+(START|COMMIT|ROLLBACK)/.test(line));
    assert.deepEqual(statements, []);

    for (let i = 0; i < sealed.length; i += 1) {
        const changedToken = sealed.slice(0, i) + (sealed[i] === 'A' ? 'B' : 'A') + sealed.slice(i + 1);
        assert.notEqual((await call('GET', `/playout/archives/${changedToken}/recording.m3u8`)).status, 200, `character ${i}`);
    }
    await call('PATCH', one, { as: owner, body: { visibility: 'public' } });
    assert.equal((await call('GET', one)).status, 200);
    assert.ok(secrets.seal.length > 0);
});

test('deleted while killed again and again: no object and no row is left, and nobody is told of it', { timeout: 60000 }, async () => {
    const owner = token({ sub: 'owner' });
    await service.stop();
    const victim = await rig.add();
    await waitFor('ready', async () => (await fetch(`${victim.admin}/readyz`)).ok);
    const at = victim.origin;
    assert.equal((await call('DELETE', '/api/v1/archives/big', { as: token({ sub: 'other' }), origin: at })).status, 403);
    assert.equal((await call('DELETE', '/api/v1/archives/big', { as: owner, origin: at })).status, 202);
    const left = () => fs.readdirSync(path.join(rig.storeDir, 'live/big'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    for (const share of [0.9, 0.5, 0.1]) {
        const total = left().length;
        await waitFor('some objects are gone', () => left().length < total, 15000, 2);
        victim.kill('SIGKILL');
        if (left().length === 0) break;
        await waitFor(`it is back (${share})`, async () => (await fetch(`${at}/healthz`).catch(() => null)) !== null, 10000);
    }
    await rig.sql("UPDATE broadcasts SET state = 'archived' WHERE id = 'big'"); // as live-api saves it
    await waitFor('the row is gone', async () => (await rig.sql("SELECT COUNT(*) FROM archives WHERE broadcast_id = 'big'")) === '0', 30000, 100);
    assert.deepEqual(left().map((entry) => path.join(entry.path ?? entry.parentPath, entry.name)), []);
    for (const table of ['segments', 'renditions', 'comments']) assert.equal(await rig.sql(`SELECT COUNT(*) FROM ${table} WHERE broadcast_id = 'big'`), '0', table);
    await waitFor('ready', async () => (await fetch(`${victim.admin}/readyz`)).ok);
    assert.equal((await call('GET', '/api/v1/archives/big', { origin: at, as: owner })).status, 404);
    assert.ok(fs.existsSync(path.join(rig.storeDir, 'live/late/chat/index.json')), 'others stay');
    await victim.stop();
});

test('old archives go by themselves, and old comments leave MySQL while the files stay', { timeout: 30000 }, async () => {
    await rig.sql(`UPDATE archives SET archived_at_ms = archived_at_ms - 10 * 86400000 WHERE broadcast_id = 'kill-none'; UPDATE archives SET archived_at_ms = archived_at_ms - 3 * 86400000 WHERE broadcast_id = 'kill-row'`);
    const sweeper = await rig.add({ HANABI_ARCHIVE_MAX_AGE_DAYS: '7', HANABI_ARCHIVE_PRUNE_DAYS: '2' });
    await waitFor('the old one is gone', async () => (await rig.sql("SELECT COUNT(*) FROM archives WHERE broadcast_id = 'kill-none'")) === '0', 15000, 100);
    await waitFor('the comments are gone', async () => (await rig.sql("SELECT pruned FROM archives WHERE broadcast_id = 'kill-row'")) === '1', 15000, 100);
    assert.equal(await rig.sql("SELECT COUNT(*) FROM comments WHERE broadcast_id = 'kill-row'"), '0');
    assert.equal(readReplay('kill-row').events.length, 3000);
    assert.equal(await rig.sql("SELECT COUNT(*) FROM comments WHERE broadcast_id = 'kill-say'"), '3000');
    await sweeper.stop();
});
