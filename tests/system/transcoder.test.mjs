// transcoder as whole processes: a ring in real time becomes queued segments, and goes on when a child or a whole transcoder is killed.
// The inputs that must work are in transcoder_inputs.test.mjs.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { measureSync } from '../lib/av_sync.mjs';
import { programmeFile, sleep, waitFor } from '../lib/fixture.mjs';
import { keys } from '../lib/redis_client.mjs';
import { TranscoderRig, joinedBytes, problemsOf } from '../lib/transcoder_rig.mjs';

let rig, file;
const ladder = { HANABI_LADDER: '360p:700,240p:350' };

const isFinal = async (id) => (await rig.queued(id)).some(({ entry }) => entry.final);

async function assertInSync(segments, name) {
    const offsets = await measureSync(joinedBytes(segments, name));
    assert.ok(offsets.length > segments.length, 'flashes were found');
    for (const ms of offsets) assert.ok(Math.abs(ms) <= 40, `sound and picture are apart: ${offsets.map((one) => one.toFixed(0))}`);
}

before(async () => {
    file = await programmeFile(20);
    rig = await TranscoderRig.start({ transcoders: 2, env: ladder });
});

test('a broadcast becomes aligned segments at the pace of its media, and an end marker', async () => {
    const id = 'plain', session = await rig.broadcast(id);
    await rig.feed(id, session, file, { stopAt: 9000 });
    await waitFor('the last segment', async () => (await rig.queued(id)).length === 5, 6000);
    await rig.redis.script('broadcast_end', id, 'owner');
    await waitFor('the end marker', () => isFinal(id), 8000);
    const segments = await rig.segments(id);
    assert.deepEqual(problemsOf(segments), []);
    assert.deepEqual(segments[0].renditions.map((r) => [r.name, r.width, r.height]), [['360p', 640, 360], ['240p', 426, 240]]);
    assert.ok(Math.abs(segments.at(-1).endUs - segments[0].startUs - 9e6) < 100000, 'all of the media');
    for (const one of segments.slice(0, -1)) assert.ok(one.atMs - one.arrived_ms < 1500, `segment ${one.number} came ${one.atMs - one.arrived_ms} ms after its media`);
    assert.ok(segments[0].thumbnail_key || segments[1].thumbnail_key, 'a thumbnail');
    await assertInSync(segments, '360p');
    await waitFor('no child is left', () => rig.transcoders.every((one) => rig.childrenOf(one).length === 0));
    assert.equal(await rig.redis.command('ZSCORE', keys.KEY_STREAMS, id), null);
    assert.equal(await rig.redis.command('EXISTS', keys.KEY_LEASE_TRANSCODER + id), 0);
});

for (const [what, kill] of [
    ['the child', (owner) => process.kill(rig.childrenOf(owner)[0], 'SIGKILL')],
    ['its transcoder', (owner) => owner.kill('SIGKILL')],
    ['its transcoder by SIGTERM', (owner) => owner.kill('SIGTERM')],
]) {
    test(`${what} is killed in mid-broadcast: no hole, no discontinuity`, async () => {
        const id = `kill-${what.replaceAll(/\W/g, '')}`, session = await rig.broadcast(id);
        const fed = rig.feed(id, session, file, { stopAt: 13000 });
        const owner = await waitFor('a child', () => rig.transcoders.find((one) => rig.childrenOf(one).length > 0));
        await waitFor('two segments', async () => (await rig.queued(id)).length >= 2, 8000);
        await sleep(700); // somewhere in the third: any moment will do
        kill(owner);
        await fed;
        await waitFor('all segments', async () => (await rig.queued(id)).length === 7, 8000);
        const segments = await rig.segments(id);
        assert.deepEqual(problemsOf(segments), []);
        assert.deepEqual(segments.map((one) => one.discontinuity), segments.map(() => false));
        assert.ok(segments.at(-1).endUs - segments[0].startUs > 12.8e6, 'no media is missing');
        const gaps = segments.slice(1).map((one, i) => one.atMs - segments[i].atMs);
        assert.ok(Math.max(...gaps) <= 5000, `the longest wait for a segment was ${Math.max(...gaps)} ms`);
        await assertInSync(segments, '240p');
        await rig.redis.script('broadcast_end', id, 'owner');
        await waitFor('the end marker', () => isFinal(id), 10000);
        if (owner.pid === null) await rig.addTranscoder();
        else await waitFor('no child is left', () => rig.childrenOf(owner).length === 0);
    });
}

test('a publisher comes back: a discontinuity, time goes on, the sound stays with the picture', async () => {
    const id = 'again';
    let session = await rig.broadcast(id);
    await rig.feed(id, session, file, { stopAt: 5000 });
    await rig.redis.script('session_close', id, session, 'publisher_gone');
    await waitFor('the rest of the first session', async () => (await rig.queued(id)).length === 3, 5000);
    session = await rig.openSession(id);
    await rig.feed(id, session, file, { stopAt: 5000 });
    await waitFor('the second session', async () => (await rig.queued(id)).length === 6, 6000);
    const segments = await rig.segments(id);
    assert.deepEqual(problemsOf(segments), []);
    assert.deepEqual(segments.map((one) => one.discontinuity), [false, false, false, true, false, false]);
    assert.ok(segments[3].program_date_time_ms > segments[2].program_date_time_ms + 900);
    await assertInSync(segments, '360p');
    await rig.redis.script('broadcast_end', id, 'owner');
    await waitFor('the end marker', () => isFinal(id), 10000);
});

test('the line goes silent without an end: what is open is handed over, and the same session may go on', async () => {
    const id = 'silent', session = await rig.broadcast(id);
    await rig.feed(id, session, file, { stopAt: 5000, end: null });
    await waitFor('the partial segment', async () => (await rig.queued(id)).length === 3, 6000);
    assert.deepEqual(problemsOf(await rig.segments(id)), []);
    await rig.redis.script('broadcast_end', id, 'owner');
    await waitFor('the end marker', () => isFinal(id), 10000);
    const { admin } = rig.transcoders.find((one) => one.pid);
    await waitFor('the metric', async () => /hanabi_transcoder_broadcasts 0/.test(await (await fetch(`${admin}/metrics`)).text()));
});
