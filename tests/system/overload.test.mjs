// A transcoder whose child really gets too little of the machine: it sheds work and skips where anyone can see it, never falls behind without
// bound, and is back at the edge when the machine has time again.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, test } from 'node:test';
import { programmeFile, sleep, waitFor } from '../lib/fixture.mjs';
import { TranscoderRig, problemsOf } from '../lib/transcoder_rig.mjs';

const SHED_LAG_MS = 1000, SKIP_LAG_MS = 4000;
let rig, file;

before(async () => {
    file = await programmeFile(44);
    rig = await TranscoderRig.start({ env: { HANABI_LADDER: '360p:700,240p:350', HANABI_TRANSCODER_SHED_LAG_MS: SHED_LAG_MS, HANABI_TRANSCODER_SKIP_LAG_MS: SKIP_LAG_MS } });
});

/** Milliseconds of CPU that the threads of a process have had. */
function cpuMs(pid) {
    let ns = 0;
    for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
        try {
            ns += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
        } catch { /* it has just ended */ }
    }
    return ns / 1e6;
}

/**
 * The process gets `cores` of CPU only, until the answer is called; that ends with the process running. It is stopped for as long as what it
 * had in a slice allows, so that neither the speed of the machine nor timers that come late give it more.
 */
function throttle(pid, cores) {
    let isOver = false;
    const loop = (async () => {
        while (!isOver) {
            const before = cpuMs(pid);
            process.kill(pid, 'SIGCONT');
            await sleep(4);
            process.kill(pid, 'SIGSTOP');
            await sleep(Math.max(20, (cpuMs(pid) - before) / cores));
        }
        process.kill(pid, 'SIGCONT');
    })();
    return () => { isOver = true; return loop; };
}

const metric = async (name) => Number(new RegExp(`^hanabi_transcoder_${name} (.*)$`, 'm').exec(await (await fetch(`${rig.transcoders[0].admin}/metrics`)).text())[1]);

test('a child with a sixth of the time that it needs sheds and skips, visibly, and is never far behind', { timeout: 90000 }, async (t) => {
    const id = 'overload', session = await rig.broadcast(id);
    const fed = rig.feed(id, session, file, { stopAt: 40000 });
    const [child] = await waitFor('a child', () => { const found = rig.childrenOf(rig.transcoders[0]); return found.length > 0 && found; });
    await waitFor('a segment', async () => (await rig.queued(id)).length >= 1, 8000);
    const before = cpuMs(child);
    await sleep(3000);
    const needed = (cpuMs(child) - before) / 3000;
    const release = throttle(child, needed / 6);
    t.after(release);
    const lags = [];
    const seen = { shed: 0, skips: 0 };
    for (const until = Date.now() + 20000; Date.now() < until; await sleep(500)) {
        lags.push(await metric('lag_seconds'));
        seen.shed = Math.max(seen.shed, await metric('shed_level'));
        seen.skips = await metric('skips_total');
    }
    await release();
    t.diagnostic(`needs ${needed.toFixed(2)} of a core; behind by at most ${Math.max(...lags)} s, shed level ${seen.shed}, ${seen.skips} skips`);
    assert.ok(seen.shed >= 1, 'work was shed');
    assert.ok(seen.skips >= 1, 'media was skipped');
    // It is judged once a second and the flush in front of a skip takes its time at this pace; the ring holds 15 s.
    assert.ok(Math.max(...lags) * 1000 < SKIP_LAG_MS + 8000, `behind by ${Math.max(...lags)} s`);
    assert.match(rig.log(0), /"event":"effort.changed".*"lag_ms":/);
    assert.match(rig.log(0), /"event":"media.skipped".*"lag_ms":/);
    await fed;
    await waitFor('at the edge again', async () => { const { entry, atMs } = (await rig.queued(id)).at(-1); return atMs - entry.arrived_ms < 2500 && Date.now() - atMs < 5000; }, 10000);
    const segments = await rig.segments(id);
    assert.deepEqual(problemsOf(segments), [], 'what did come out keeps the rules');
    assert.ok(segments.some((one) => one.discontinuity), 'a discontinuity where media was skipped');
    await rig.redis.script('broadcast_end', id, 'owner');
    await waitFor('the end marker', async () => (await rig.queued(id)).some(({ entry }) => entry.final), 10000);
});
