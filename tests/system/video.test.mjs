// The whole video path with two drops: every HLS rule over the run, sound and picture together, other players content.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { measureSync } from '../lib/av_sync.mjs';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { api, freshStack, newBroadcast, programmeFile, pushFile, pushGstreamer, run, sleep, status, waitFor, waitForState } from '../lib/fixture.mjs';

let stack;
before(async () => { stack = await freshStack({ graceMs: 20000 }); });

test('a run with two drops keeps every rule, in step to 40 ms, until ENDLIST', { timeout: 180000 }, async (t) => {
    const file = await programmeFile(120);
    const broadcast = await newBroadcast(stack, 'two drops');
    const monitor = new HlsMonitor(broadcast.playback, { keepBytes: true });
    monitor.start();
    const flowing = [];
    for (const [round, seconds] of [18, 14, 16].entries()) {
        const pusher = pushFile(broadcast.pushUrl, file, { seek: round * 20 });
        t.after(() => pusher.kill());
        const took = await waitForState(stack, broadcast.id, 'live', 15000);
        const from = Date.now();
        t.diagnostic(`round ${round}: live ${took} ms after the push began`);
        await sleep(seconds * 1000);
        flowing.push([from + 1000, Date.now()]);
        await pusher.kill();
        const suspended = await waitForState(stack, broadcast.id, 'suspended', 5000);
        t.diagnostic(`suspended ${suspended} ms after the pusher was killed`);
        assert.ok(suspended <= 1000, `suspended after ${suspended} ms`);
        assert.equal(fs.readFileSync(path.join(stack.storeDir, `live/${broadcast.id}/master.m3u8`), 'utf8').includes('ENDLIST'), false);
    }
    const end = await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    assert.equal(end.status, 200);
    await waitForState(stack, broadcast.id, 'ended', 5000);
    await waitFor('ENDLIST everywhere', () => [...monitor.renditions.values()].every((r) => r.versions.at(-1).playlist.endList), 15000);
    await monitor.stop();
    assert.deepEqual(await monitor.judge({ ended: true, cadence: flowing }), []);
    assert.deepEqual([...monitor.renditions.keys()], ['360p', '240p']);
    const discontinuities = [...monitor.renditions.get('360p').segments.values()].filter((segment) => segment.discontinuity);
    assert.equal(discontinuities.length, 2, 'one discontinuity per reconnect');

    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-play-'));
    t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
    for (const name of monitor.renditions.keys()) {
        const offsets = await measureSync(monitor.concatenated(name));
        t.diagnostic(`${name}: sound minus picture over ${offsets.length} flashes: ${Math.min(...offsets).toFixed(1)} to ${Math.max(...offsets).toFixed(1)} ms`);
        assert.ok(offsets.length > 30, `${offsets.length} flashes found`);
        const off = offsets.filter((ms) => Math.abs(ms) > 40);
        assert.deepEqual(off, [], `${name}: ${off.length} of ${offsets.length} flashes are more than 40 ms off`);
        const url = new URL(`${name}/index.m3u8`, broadcast.playback).href;
        const probe = await run('ffprobe', ['-v', 'error', '-show_entries', 'stream=codec_name', '-of', 'csv=p=0', url]);
        assert.equal(probe.stderr, '', `ffprobe on ${name}`);
        const played = await run('gst-launch-1.0', ['-q', 'playbin', `uri=${url}`, 'video-sink=fakesink sync=false', 'audio-sink=fakesink sync=false'], { timeout: 60000 });
        assert.equal(/ERROR|WARN/.test(played.stderr), false, `gst-launch on ${name}: ${played.stderr}`);
        const decoded = await run('ffmpeg', ['-v', 'warning', '-i', url, '-f', 'null', '-'], { timeout: 60000 });
        assert.doesNotMatch(decoded.stderr, /error|corrupt|missing/i, `ffmpeg on ${name}`);
    }
});

test('GStreamer (rtmp2sink) broadcasts', { timeout: 60000 }, async (t) => {
    const broadcast = await newBroadcast(stack, 'gstreamer');
    const monitor = new HlsMonitor(broadcast.playback);
    monitor.start();
    const pusher = pushGstreamer(broadcast.pushUrl);
    t.after(() => pusher.kill());
    const took = await waitForState(stack, broadcast.id, 'live', 15000);
    t.diagnostic(`live ${took} ms after the push began`);
    await waitFor('six segments', () => monitor.newest()?.segments.length >= 6, 25000);
    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
    await waitFor('ENDLIST', () => monitor.newest()?.endList, 15000);
    await monitor.stop();
    assert.deepEqual(await monitor.judge({ ended: true }), []);
    assert.equal((await status(stack, broadcast.id)).state, 'ended');
});
