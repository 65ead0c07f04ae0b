// The list of inputs of HLS-RULES.md, each through the transcoder's file mode: the same way as a live broadcast, as fast as the machine can.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, after, test } from 'node:test';
import { measureSync } from '../lib/av_sync.mjs';
import { encodeArgs, programme, run } from '../lib/fixture.mjs';
import { joinedBytes, problemsOf, transcodeFile } from '../lib/transcoder_rig.mjs';
import { readFlv } from '../lib/rtmp_client.mjs';

let dir;
before(() => { dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-inputs-')); });
after(() => fs.rmSync(dir, { recursive: true, force: true }));

async function make(name, options = {}, { seconds = 7, filter = [], encode = null } = {}) {
    const file = path.join(dir, `${name}.flv`);
    await run('ffmpeg', ['-v', 'error', '-y', ...programme(options), '-t', String(seconds), ...filter, ...(encode ?? encodeArgs({ gop: 50, ...options })), '-f', 'flv', file]);
    return file;
}

/** The file with each tag's time put through `change(timestamp, tag, index)` (undefined: the tag is left out). */
function retime(file, name, change) {
    const out = [Buffer.from('FLV\x01\x05\0\0\0\x09\0\0\0\0', 'latin1')];
    readFlv(file).forEach((tag, i) => {
        const time = change(tag.timestamp, tag, i);
        if (time === undefined) return;
        const head = Buffer.alloc(11), tail = Buffer.alloc(4), at = time >>> 0;
        head[0] = tag.type;
        head.writeUIntBE(tag.body.length, 1, 3);
        head.writeUIntBE(at & 0xffffff, 4, 3);
        head[7] = at >>> 24;
        tail.writeUInt32BE(11 + tag.body.length);
        out.push(head, tag.body, tail);
    });
    const result = path.join(dir, `${name}.flv`);
    fs.writeFileSync(result, Buffer.concat(out));
    return result;
}

const isMedia = (tag) => tag.type !== 18 && tag.body[1] !== 0;
const total = (segments) => (segments.at(-1).endUs - segments[0].startUs) / 1e6;

async function check(file, { seconds = 7, slack = 0.25, renditions, sync = true, flashes = seconds - 2, withinMs = 25, ...options } = {}) {
    const { segments, figures } = await transcodeFile(file, { env: { HANABI_LADDER: '360p:600,240p:300', ...options.env }, args: options.args });
    assert.deepEqual(problemsOf(segments), []);
    assert.ok(Math.abs(total(segments) - seconds) <= slack, `${total(segments)} s of ${seconds} s came out`);
    if (renditions) assert.deepEqual(segments[0].renditions.map((r) => `${r.name} ${r.width}x${r.height}`), renditions);
    if (sync) {
        const offsets = await measureSync(joinedBytes(segments, segments[0].renditions[0].name));
        assert.ok(offsets.length >= flashes, `${offsets.length} flashes were found`);
        for (const ms of offsets) assert.ok(Math.abs(ms) <= withinMs, `sound and picture are apart: ${offsets.map((one) => one.toFixed(0))}`);
    }
    const bytes = path.join(dir, 'joined.ts');
    for (const { name } of segments[0].renditions) {
        fs.writeFileSync(bytes, joinedBytes(segments.filter((one) => !one.discontinuity || one.number === 0), name));
        const { stderr } = await run('ffmpeg', ['-v', 'warning', '-i', bytes, '-f', 'null', '-']);
        assert.equal(stderr.replaceAll(/.*(Non-monotonous|Packet corrupt).*\n?/gi, ''), '', `${name} decodes without a word`);
    }
    return { segments, figures };
}

test('the plain case; another process every second segment changes nothing', async () => {
    const file = await make('plain', {}, { seconds: 9 });
    await check(file, { seconds: 9, renditions: ['360p 640x360', '240p 426x240'] });
    const { segments } = await check(file, { seconds: 9, args: ['--restart-after', '2'] });
    assert.equal(segments.filter((one) => one.discontinuity).length, 0);
});
test('no audio', async () => {
    const { segments } = await check(await make('mute', { audio: false }), { sync: false });
    assert.match(segments[0].renditions[0].codecs, /^avc1\.[0-9a-f]{6}$/);
});
test('no video (radio), also with restarts', async () => {
    const file = await make('radio', { video: false }, { seconds: 9 });
    for (const args of [[], ['--restart-after', '2']]) {
        const { segments } = await check(file, { seconds: 9, sync: false, renditions: ['audio 0x0'], args });
        assert.equal(segments[0].renditions[0].codecs, 'mp4a.40.2');
        assert.equal(segments.filter((one) => one.discontinuity).length, 0);
    }
});
test('portrait', async () => { await check(await make('portrait', { size: '360x640' }), { renditions: ['360p 360x640', '240p 240x426'] }); });
test('odd sizes', async () => {
    const { segments } = await check(await make('odd', { size: '641x363' }, { encode: [...encodeArgs(), '-pix_fmt', 'yuv444p'] }));
    for (const r of segments[0].renditions) assert.ok(r.width % 2 === 0 && r.height % 2 === 0);
});
test('smaller than every rung: its own size, never upscaled', async () => {
    const { segments } = await check(await make('small', { size: '176x144' }));
    assert.deepEqual(segments[0].renditions.map((r) => [r.width, r.height]), [[176, 144]]);
});
test('variable frame rate', async () => {
    const file = await make('vfr', {}, { filter: ['-vf', "select='not(between(mod(n,50),5,35))+not(mod(n,7))'", '-vsync', 'vfr'] });
    // The first frame of a flash may be one that was left out.
    await check(file, { slack: 0.5, flashes: 3, withinMs: 45 });
});
test('one frame a second: the picture is repeated', async () => {
    const { figures } = await check(await make('slides', { rate: 1 }, { encode: encodeArgs({ gop: 3 }) }), { slack: 1.1, sync: false });
    assert.ok(figures.repeated > 10);
});
test('60 frames a second are halved', async () => {
    const { segments } = await check(await make('fast', { rate: 60 }, { encode: encodeArgs({ gop: 120 }) }));
    assert.equal(segments[0].rate, 30);
});
test('B-frames', async () => {
    const encode = ['-c:v', 'libx264', '-preset', 'fast', '-bf', '3', '-b_strategy', '0', '-g', '60', '-c:a', 'aac'];
    const file = await make('bframes', {}, { encode });
    await check(file);
    await check(file, { args: ['--restart-after', '1'] });
});
for (const [name, gop, seconds] of [['half a second', 12, 7], ['ten seconds', 250, 13]]) {
    test(`GOPs of ${name}, also with restarts`, async () => {
        const file = await make(`gop${gop}`, {}, { seconds, encode: encodeArgs({ gop }) });
        await check(file, { seconds });
        await check(file, { seconds, args: ['--restart-after', '2'] });
    });
}
test('open GOPs', async () => {
    await check(await make('open', {}, { encode: ['-c:v', 'libx264', '-preset', 'veryfast', '-x264-params', 'open-gop=1:keyint=50:bframes=2', '-c:a', 'aac'] }));
});
test('a change of resolution in mid-stream: the ladder stays', async () => {
    const [a, b] = [await make('size-a', { size: '640x360' }, { seconds: 5 }), await make('size-b', { size: '480x640' }, { seconds: 5 })];
    const tags = readFlv(a).at(-1).timestamp + 40;
    const joined = path.join(dir, 'sizes.flv'), later = retime(b, 'size-b-later', (time, tag) => (tag.type === 18 ? undefined : time + tags));
    fs.writeFileSync(joined, Buffer.concat([fs.readFileSync(a), fs.readFileSync(later).subarray(13)]));
    const { segments } = await check(joined, { seconds: 10, flashes: 4, renditions: ['360p 640x360', '240p 426x240'] });
    assert.equal(new Set(segments.map((one) => JSON.stringify(one.renditions.map((r) => r.codecs)))).size, 1, 'codec parameters stay');
});
test('44.1 kHz mono', async () => { await check(await make('mono', { sampleRate: 44100, channels: 'mono' })); });
test('HE-AAC', async () => {
    // Debian has no HE-AAC encoder: a core stream at half the rate with SBR signalled is what a decoder without SBR data sees.
    const file = await make('heaac', { sampleRate: 24000 });
    const out = [fs.readFileSync(file).subarray(0, 13)];
    for (const tag of readFlv(file)) {
        let { body } = tag;
        if (tag.type === 8 && body[1] === 0) body = Buffer.concat([body.subarray(0, 2), Buffer.from([0x2b, 0x11, 0x88, 0x00])]);
        const head = Buffer.alloc(11), tail = Buffer.alloc(4);
        head[0] = tag.type;
        head.writeUIntBE(body.length, 1, 3);
        head.writeUIntBE(tag.timestamp, 4, 3);
        tail.writeUInt32BE(11 + body.length);
        out.push(head, body, tail);
    }
    const changed = path.join(dir, 'heaac-signalled.flv');
    fs.writeFileSync(changed, Buffer.concat(out));
    await check(changed, { slack: 0.4 });
});
test('metadata that lies', async () => {
    const file = await make('liar');
    const bytes = fs.readFileSync(file);
    for (const [name, value] of [['width', 9999], ['height', -1], ['framerate', 1000], ['audiosamplerate', 1]]) {
        const at = bytes.indexOf(Buffer.from([0, name.length, ...Buffer.from(name)]));
        if (at > 0) bytes.writeDoubleBE(value, at + 2 + name.length + 1);
    }
    fs.writeFileSync(file, bytes);
    await check(file, { renditions: ['360p 640x360', '240p 426x240'] });
});
for (const [name, change] of [
    ['wrap at 32 bits', (time) => time + 0xffffffff - 3000],
    ['restart at 0', (time) => (time > 3500 ? time - 3500 : time)],
    ['jump ahead by an hour', (time) => (time > 3500 ? time + 3600000 : time)],
    ['jump back by a minute', (time) => (time > 3500 ? time + 100000 : time + 160000)],
]) {
    test(`timestamps that ${name}`, async () => { await check(retime(await make('time'), `time-${name.replaceAll(' ', '')}`, change)); });
}
test('the picture stops for three seconds while the sound goes on', async () => {
    const { figures } = await check(retime(await make('still', {}, { seconds: 9 }), 'still-cut', (time, tag) => (tag.type === 9 && isMedia(tag) && time > 3000 && time < 6000 ? undefined : time)), { seconds: 9, sync: false });
    assert.ok(figures.repeated >= 5);
});
test('the sound stops for three seconds while the picture goes on', async () => {
    const { figures } = await check(retime(await make('hush', {}, { seconds: 9 }), 'hush-cut', (time, tag) => (tag.type === 8 && isMedia(tag) && time > 3000 && time < 6000 ? undefined : time)), { seconds: 9, sync: false });
    assert.ok(figures.silence_ms > 2500);
});
test('sound comes late: a new plan, behind a discontinuity', async () => {
    const file = await make('late', {}, { seconds: 9 });
    const late = retime(file, 'late-cut', (time, tag) => (tag.type === 8 && (time < 3000) && isMedia(tag) ? undefined : time));
    const { segments } = await transcodeFile(late, { env: { HANABI_LADDER: '240p:300' } });
    assert.deepEqual(problemsOf(segments), []);
    assert.match(segments.at(-1).renditions[0].codecs, /mp4a/);
    assert.equal(segments.filter((one) => one.discontinuity).length, 1);
});
test('two sessions: a discontinuity between them, time goes on', async () => {
    const file = await make('session', {}, { seconds: 5 });
    const { segments } = await check(`${file},${file}`, { seconds: 10, slack: 0.4, sync: false });
    assert.deepEqual(segments.map((one) => one.discontinuity), [false, false, false, true, false, false]);
    for (const part of [segments.slice(0, 3), segments.slice(3)]) {
        for (const ms of await measureSync(joinedBytes(part, '360p'))) assert.ok(Math.abs(ms) <= 40, `${ms} ms apart`);
    }
});
test('pass-through: the source is the top rung, the others are cut where it has key frames, also by a successor', async () => {
    const file = await make('pass', {}, { seconds: 9, encode: ['-c:v', 'libx264', '-preset', 'fast', '-bf', '2', '-g', '50', '-keyint_min', '50', '-sc_threshold', '0', '-pix_fmt', 'yuv420p', '-c:a', 'aac'] });
    for (const args of [[], ['--restart-after', '2']]) {
        const { segments } = await check(file, { seconds: 9, env: { HANABI_PASSTHROUGH: 'auto' }, args, renditions: ['source 640x360', '240p 426x240'] });
        assert.equal(segments.filter((one) => one.discontinuity).length, 0);
    }
});
test('pass-through of GOPs that do not fit: not done', async () => {
    await check(await make('nopass', {}, { encode: encodeArgs({ gop: 75 }) }), { env: { HANABI_PASSTHROUGH: 'auto' }, renditions: ['360p 640x360', '240p 426x240'] });
});
test('pass-through of a source that breaks its promise: encoded from there on, behind a discontinuity', async () => {
    const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '400', '-keyint_min', '1', '-sc_threshold', '0', '-force_key_frames', '0,2,4,9', '-pix_fmt', 'yuv420p', '-c:a', 'aac'];
    const { segments } = await transcodeFile(await make('broken', {}, { seconds: 13, encode }), { env: { HANABI_PASSTHROUGH: 'auto', HANABI_LADDER: '360p:600,240p:300' } });
    assert.deepEqual(problemsOf(segments), []);
    assert.equal(segments.filter((one) => one.discontinuity).length, 1);
    assert.ok(segments.every((one) => one.renditions.map((r) => r.name).join() === 'source,240p'), 'no rendition vanishes');
});
