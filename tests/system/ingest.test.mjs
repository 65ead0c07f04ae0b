// ingest with real Redis and MariaDB: what ffmpeg, GStreamer and a scripted client push lands in the ring, who may not publish is told why,
// and nothing that outsiders or a Redis do makes it fall over.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { run, sleep, waitFor } from '../lib/fixture.mjs';
import { IngestRig, keyHash } from '../lib/ingest_rig.mjs';
import { RedisClient, keys } from '../lib/redis_client.mjs';
import { RtmpClient, message, readFlv } from '../lib/rtmp_client.mjs';

let rig, ingest, other, flv;
const AVC_CONFIG = Buffer.from('17000000000164001fffe100046764001f01000268ee', 'hex');

before(async () => {
    rig = await IngestRig.start();
    flv = path.join(rig.dir, 'source.flv');
    await run('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=30', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000', '-t', '6',
        '-c:v', 'libx264', '-preset', 'ultrafast', '-g', '30', '-c:a', 'aac', '-b:a', '64k', '-f', 'flv', flv]);
    [ingest, other] = [await rig.addIngest(), await rig.addIngest()];
});

/** Holds what proto/media_ring.h says of one session's entries. */
function checkRing(entries, { video = true, audio = true } = {}) {
    assert.ok(entries.length > 3, `${entries.length} entries`);
    assert.ok(entries[0].isKey, 'the first entry can be started at');
    for (const entry of entries) {
        if (entry.end) continue;
        const [frames, headers] = [entry.tags.filter((t) => t.type !== 18 && !t.isHeader), entry.tags.filter((t) => t.isHeader)];
        assert.ok(frames.length > 0, 'no entry without a frame');
        assert.ok(entry.tags.every((t, i) => !t.isKeyframe || entry.tags.slice(0, i).every((p) => p.isHeader || p.type === 18)), 'a key frame begins its entry');
        if (video) assert.equal(entry.isKey, frames[0].isKeyframe, 'k: begins with a key frame');
        if (entry.isKey) {
            assert.equal(headers.some((t) => t.type === 9), video, 'AVC sequence header repeated');
            if (audio) assert.ok(headers.some((t) => t.type === 8), 'AAC sequence header repeated');
        }
        // In real time a group spans what arrived within 100 ms; decoding times of sound and picture may interleave by a little more.
        const times = frames.map((t) => t.timestamp);
        assert.ok(Math.max(...times) - Math.min(...times) <= 250, `group of ${Math.max(...times) - Math.min(...times)} ms`);
    }
    const arrived = entries.filter((e) => !e.end).map((e) => e.atMs);
    const gaps = arrived.slice(1).map((at, i) => at - arrived[i]);
    assert.ok(gaps.filter((gap) => gap > 110).length <= gaps.length / 5, `entries every 100 ms or sooner: ${gaps}`);
}

const lasting = (id, count) => waitFor(`${count} entries of ${id}`, async () => { const entries = await rig.ring(id); return entries.length >= count && entries; }, 15000);
const refused = (promise, code) => assert.rejects(promise, (error) => { assert.equal(error.code, code, error.message); return true; });

test('ffmpeg broadcasts', async () => {
    const b = await rig.broadcast();
    await run('ffmpeg', ['-v', 'error', '-re', '-i', flv, '-t', '4', '-c', 'copy', '-f', 'flv', `rtmp://127.0.0.1:${ingest.port}/live/${b.key}`]);
    const entries = await waitFor('the end entry', async () => { const all = await rig.ring(b.id); return all.at(-1)?.end && all; });
    checkRing(entries);
    assert.equal(entries.at(-1).end, 'closed');
    assert.equal(new Set(entries.map((e) => e.session)).size, 1);
    const source = readFlv(flv).filter((t) => t.type === 9 && t.body[1] === 1 && t.timestamp < 3900).map((t) => t.timestamp);
    const arrived = entries.flatMap((e) => e.tags).filter((t) => t.type === 9 && !t.isHeader).map((t) => t.timestamp - 0);
    assert.ok(arrived.length >= source.length - 2, `${arrived.length} of ${source.length} frames`);
    const ttl = await new RedisClientOnce(rig.data.mediaPort).ask('TTL', keys.KEY_MEDIA_RING + b.id);
    const longest = keys.MEDIA_RING_EXPIRE_S;
    assert.ok(ttl > longest - 20 && ttl <= longest, `TTL ${ttl}`);
    const hash = await rig.hash(b.id);
    assert.equal(hash.connected, '0');
});

/** One command on a connection of its own. */
class RedisClientOnce {
    constructor(port) { this.client = new RedisClient(port); }

    async ask(...args) { try { return await this.client.command(...args); } finally { this.client.close(); } }
}

test('GStreamer (rtmp2sink) broadcasts', async () => {
    const b = await rig.broadcast();
    const gst = spawnBound('gst-launch-1.0', ['-q', 'flvmux', 'name=mux', 'streamable=true', '!', 'rtmp2sink', `location=rtmp://127.0.0.1:${ingest.port}/live/${b.key}`,
        'videotestsrc', 'num-buffers=120', 'is-live=true', '!', 'video/x-raw,width=320,height=180,framerate=30/1', '!', 'x264enc', 'speed-preset=ultrafast', 'tune=zerolatency', 'key-int-max=30', '!', 'h264parse', '!', 'mux.',
        'audiotestsrc', 'is-live=true', 'num-buffers=190', '!', 'audio/x-raw,rate=48000,channels=2', '!', 'avenc_aac', '!', 'aacparse', '!', 'mux.'], { stdio: 'ignore' });
    try {
        checkRing(await lasting(b.id, 25));
    } finally { gst.kill(); }
});

for (const [name, options] of Object.entries({
    'plain': {}, 'digest handshake': { handshake: 'digest' }, 'large chunks': { chunkSize: 65536 }, 'commands of AMF3': { amf3: true },
    'app with slash and query': { app: 'live/?user=x' }, 'instance': { app: 'live/_definst_' },
})) {
    test(`the scripted client broadcasts: ${name}`, async () => {
        const b = await rig.broadcast();
        const push = await rig.push(ingest, b, flv, options);
        try { checkRing(await lasting(b.id, 15)); } finally { await push.stop(); }
        if (options.handshake) assert.ok(push.client.digestAnswered);
        const lost = await waitFor('the end entry', async () => (await rig.ring(b.id)).at(-1).end);
        assert.equal(lost, 'publisher_gone');
    });
}

for (const extended of ['repeat', 'omit']) {
    test(`extended timestamps, chunks of type 3: ${extended}`, async () => {
        const b = await rig.broadcast();
        const push = await rig.push(ingest, b, flv, { extended, sendOptions: { offset: 0xfffffc00 } }); // wraps after a second
        try {
            const entries = await lasting(b.id, 25);
            checkRing(entries.filter((e) => e.tags.every((t) => t.timestamp > 0x80000000)));
            const times = entries.flatMap((e) => e.tags).map((t) => t.timestamp);
            assert.ok(times.some((t) => t > 0xfffffc00) && times.some((t) => t < 10000));
        } finally { await push.stop(); }
    });
}

test('publish before createStream is answered, without a type, the key in the app', async () => {
    const b = await rig.broadcast();
    const client = await RtmpClient.connect({ port: ingest.port, app: `live/${b.key}` });
    await client.publish('', { type: null, pipelined: true });
    client.close();
});

test('sound alone can be started at anywhere', async () => {
    const b = await rig.broadcast();
    const push = await rig.push(ingest, b, readFlv(flv).filter((t) => t.type === 8));
    try {
        const entries = await lasting(b.id, 10);
        checkRing(entries, { video: false });
        assert.ok(entries.every((e) => e.isKey));
    } finally { await push.stop(); }
});

test('who may not publish is told why', async () => {
    const b = await rig.broadcast();
    await refused(RtmpClient.connect({ port: ingest.port, app: 'nowhere' }), 'NetConnection.Connect.InvalidApp');
    const client = await RtmpClient.connect({ port: ingest.port });
    await refused(client.publish('wrong'), 'NetStream.Publish.BadName');
    await client.waitForClose();
    for (const [body, type, what] of [['12aabbcc', 9, 'video codec'], ['906876633100', 9, 'video codec'], ['2ffffb90', 8, 'audio codec'], ['b200aa', 8, 'audio codec']]) {
        const push = await RtmpClient.connect({ port: ingest.port });
        await push.publish(b.key);
        push.sendTag({ type, timestamp: 0, body: Buffer.from(body, 'hex') });
        const status = await push.waitForStatus('NetStream.Publish.Rejected');
        assert.match(status.description, new RegExp(`Unsupported ${what}`));
        await push.waitForClose();
    }
    // What x264 says of 8192x4320: no transcoder takes it.
    const large = await RtmpClient.connect({ port: ingest.port });
    await large.publish(b.key);
    large.sendTag({ type: 9, timestamp: 0, body: Buffer.from('17000000000142c03effe1001f6742c03ea6110020000876c05a808080a000000300200000030151e100842301000468ce0fc8', 'hex') });
    assert.match((await large.waitForStatus('NetStream.Publish.Rejected')).description, /picture is larger .* lower resolution/);
    await large.waitForClose();
    assert.equal(await rig.metric(ingest, 'hanabi_ingest_closes_total{reason="picture_size"}'), 1);
    await waitFor('the ring says why', async () => (await rig.ring(b.id)).at(-1)?.end === 'picture_size');
    assert.equal(await rig.metric(ingest, 'hanabi_ingest_refused_total{reason="bad_key"}'), 1);
    assert.equal(await rig.metric(ingest, 'hanabi_ingest_closes_total{reason="video_codec"}'), 2);
});

test('a key that only MySQL knows', async () => {
    const b = await rig.broadcast({ where: 'mysql' });
    const push = await rig.push(ingest, b, flv);
    try {
        await lasting(b.id, 5);
        const hash = await rig.hash(b.id);
        assert.equal(hash.owner_name, 'Owner');
        assert.equal(hash.key_hash, keyHash(b.key));
    } finally { await push.stop(); }
});

test('a healthy publisher is not kicked, here or on another ingest', async () => {
    const b = await rig.broadcast();
    const push = await rig.push(ingest, b, flv);
    try {
        for (const where of [ingest, other]) {
            const began = Date.now();
            const rival = await RtmpClient.connect({ port: where.port });
            await refused(rival.publish(b.key), 'NetStream.Publish.BadName');
            assert.match(rival.statuses.at(-1).description, /in use/);
            assert.ok(Date.now() - began < 4000);
        }
        assert.equal(new Set((await rig.ring(b.id)).map((e) => e.session)).size, 1);
        assert.equal(push.client.closed, false);
    } finally { await push.stop(); }
});

for (const where of ['the same', 'another']) {
    test(`a silent publisher is taken over by ${where} ingest`, async () => {
        const b = await rig.broadcast();
        const first = await rig.push(ingest, b, flv);
        await lasting(b.id, 5);
        await first.hush();
        const began = Date.now();
        const second = await rig.push(where === 'another' ? other : ingest, b, flv);
        try {
            assert.ok(Date.now() - began < 2800, `${Date.now() - began} ms`);
            await first.client.waitForClose(2000);
            assert.equal(first.client.statuses.at(-1).code, 'NetStream.Publish.BadName');
            await waitFor('media of the second', async () => new Set((await rig.ring(b.id)).map((e) => e.session)).size === 2);
            const entries = await rig.ring(b.id);
            const session = Math.max(...entries.map((e) => e.session));
            assert.ok(entries.find((e) => e.session === session).isKey);
            await waitFor('goes on', async () => (await rig.ring(b.id)).filter((e) => e.session === session).length > 10);
            assert.equal((await rig.hash(b.id)).connected, '1');
        } finally { await second.stop(); }
    });
}

test('the owner ends the broadcast: the publisher is told', async () => {
    const b = await rig.broadcast();
    const push = await rig.push(ingest, b, flv);
    await lasting(b.id, 3);
    await rig.redis.script('broadcast_end', b.id, 'owner');
    await push.client.waitForStatus('NetStream.Unpublish.Success');
    await push.client.waitForClose();
    await push.stop();
    const again = await RtmpClient.connect({ port: ingest.port });
    await refused(again.publish(b.key), 'NetStream.Publish.BadName').catch(() => assert.match(again.statuses.at(-1).description, /ended|No broadcast/));
});

test('size fields that lie, messages too large, a chunk size of 0', async () => {
    const b = await rig.broadcast();
    const lies = {
        'a NAL unit longer than its frame': { tags: [AVC_CONFIG, Buffer.from('1701000000000000ff6588', 'hex')], code: 'NetStream.Publish.Rejected' },
        'a configuration record that ends early': { tags: [AVC_CONFIG.subarray(0, 14)], code: 'NetStream.Publish.Rejected' },
    };
    for (const { tags, code } of Object.values(lies)) {
        const client = await RtmpClient.connect({ port: ingest.port });
        await client.publish(b.key);
        for (const body of tags) client.sendTag({ type: 9, timestamp: 0, body });
        await client.waitForStatus(code);
        await client.waitForClose();
    }
    for (const [bytes, publishes] of [[message({ type: 9, body: Buffer.alloc(100), length: 0xfffffe }), true], [message({ type: 9, body: Buffer.alloc(100), length: 0x20000 }), false],
        [message({ csid: 2, type: 1, body: Buffer.alloc(4) }), false]]) {
        const client = await RtmpClient.connect({ port: ingest.port });
        if (publishes) await client.publish(b.key);
        client.sendBytes(bytes);
        await client.waitForStatus('NetConnection.Connect.Rejected');
        await client.waitForClose();
    }
});

test('24 half-open, slow, oversized and random clients disturb nothing', { timeout: 60000 }, async () => {
    const b = await rig.broadcast();
    const push = await rig.push(ingest, b, flv);
    await lasting(b.id, 5);
    const before = (await rig.ring(b.id)).length;
    const clients = [];
    let isOver = false;
    for (let i = 0; i < 24; i += 1) {
        const socket = await RtmpClient.raw({ port: ingest.port });
        let closed = false;
        socket.on('close', () => { closed = true; }).resume();
        clients.push({ socket, kind: i % 4, isClosed: () => closed });
        if (i % 4 === 1) { // a byte now and then
            (async () => { for (let n = 0; !closed && !isOver; n += 1) { socket.write(Buffer.from([n === 0 ? 3 : n & 255])); await sleep(100); } })();
        } else if (i % 4 === 2) { // handshake, then as much as fits
            socket.write(Buffer.concat([Buffer.from([3]), Buffer.alloc(3072), message({ type: 20, body: crypto.randomBytes(1 << 20), length: 0xffffff })]));
        } else if (i % 4 === 3) {
            socket.write(crypto.randomBytes(100000));
        } // i % 4 === 0 says nothing
    }
    await waitFor('all are closed', () => clients.every((c) => c.isClosed()), 9000);
    isOver = true;
    const entries = await rig.ring(b.id);
    assert.ok(entries.length > before + 30, `${entries.length - before} entries meanwhile`);
    checkRing(entries);
    assert.equal(push.client.closed, false);
    await push.stop();
});

test('the media Redis is emptied, then restarted: the ring begins anew by itself', { timeout: 60000 }, async () => {
    const b = await rig.broadcast();
    const push = await rig.push(ingest, b, flv);
    try {
        await lasting(b.id, 5);
        await new RedisClientOnce(rig.data.mediaPort).ask('FLUSHALL');
        const emptied = await lasting(b.id, 15);
        assert.equal(emptied[emptied.findIndex((e) => e.isKey)].tags.filter((t) => t.isHeader).length, 2);
        await rig.data.media.stop('SIGKILL');
        await sleep(300);
        rig.data.media.start();
        const entries = await waitFor('entries again', async () => { const all = await rig.ring(b.id); return all.length > 10 && all; }, 10000);
        assert.ok(entries[0].isKey && entries[0].hasGap, 'begins with a key frame and says that something is missing');
        checkRing(entries);
        assert.equal(push.client.closed, false);
    } finally { await push.stop(); }
});

test('the state Redis is restarted empty: the broadcast is restored from memory', { timeout: 60000 }, async () => {
    const b = await rig.broadcast({ where: 'redis' });
    const push = await rig.push(ingest, b, flv);
    try {
        await lasting(b.id, 5);
        const session = Number((await rig.hash(b.id)).session);
        await rig.redis.script('broadcast_live', b.id, session, Date.now());
        await sleep(600); // the event reaches ingest
        await rig.data.redis.stop('SIGKILL');
        rig.data.redis.start();
        await waitFor('Redis is back', async () => { rig.connect(); return (await rig.redis.command('PING')) === 'PONG'; });
        const hash = await waitFor('the hash is back', async () => { const h = await rig.hash(b.id); return h.session && h; }, 8000);
        assert.equal(hash.state, 'suspended');
        assert.equal(hash.title, 'title');
        assert.ok(Number(hash.session) > session);
        await waitFor('the ring goes on under the new number', async () => { const e = (await rig.ring(b.id)).at(-1); return e.session === Number(hash.session); }, 8000);
        assert.equal(push.client.closed, false);
    } finally { await push.stop(); }
});

test('the media Redis is stopped: memory stays bounded, and the media comes back with a gap', { timeout: 90000 }, async () => {
    const b = await rig.broadcast();
    const push = await rig.push(ingest, b, flv);
    await lasting(b.id, 5);
    // Ten more at about 16 Mbit/s each: 20 MB/s that nobody takes.
    const big = readFlv(flv).map((t) => (t.type === 9 && t.body[1] === 1 && !t.isKeyframe ? { ...t, body: padded(t.body, 60000) } : t));
    const heavy = [];
    for (let i = 0; i < 10; i += 1) heavy.push(await rig.push(ingest, await rig.broadcast(), big, { chunkSize: 65536 }));
    await sleep(500);
    const before = rig.rssKib(ingest);
    let most = 0;
    rig.data.media.pause();
    try {
        for (let i = 0; i < 60; i += 1) { await sleep(100); most = Math.max(most, rig.rssKib(ingest)); }
    } finally { rig.data.media.resume(); }
    assert.ok(most - before < 120 * 1024, `grew by ${most - before} KiB`);
    const entries = await waitFor('a gap, then media', async () => {
        const all = await rig.ring(b.id);
        const gap = all.findIndex((e) => e.hasGap);
        return gap >= 0 && all.length > gap + 5 && all.slice(gap);
    }, 15000);
    assert.ok(entries[0].isKey);
    assert.equal(push.client.closed, false);
    await Promise.all([push, ...heavy].map((p) => p.stop()));
});

/** A frame made larger by one more NAL unit (filler data). */
function padded(body, size) {
    const filler = Buffer.alloc(size, 0xff);
    filler.writeUInt32BE(size - 4);
    filler[4] = 12;
    return Buffer.concat([body, filler]);
}

test('RTMPS, and a certificate that is replaced while it runs', async () => {
    const [cert, key] = [path.join(rig.dir, 'cert.pem'), path.join(rig.dir, 'key.pem')];
    const make = (name) => run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', key, '-out', cert]);
    await make('first.test');
    const port = await freePort();
    const secure = await rig.addIngest({ env: { HANABI_RTMPS_LISTEN: `127.0.0.1:${port}`, HANABI_TLS_CERT: cert, HANABI_TLS_KEY: key } });
    const b = await rig.broadcast();
    const push = await rig.push({ port }, b, flv, { secure: true });
    checkRing(await lasting(b.id, 20));
    assert.equal(push.client.socket.getPeerCertificate().subject.CN, 'first.test');
    await make('second.test');
    secure.kill('SIGHUP');
    await waitFor('the new certificate', async () => {
        const socket = await RtmpClient.raw({ port, secure: true });
        const name = socket.getPeerCertificate().subject.CN;
        socket.destroy();
        return name === 'second.test';
    });
    assert.equal(push.client.closed, false);
    await push.stop();
    const c = await rig.broadcast();
    await run('ffmpeg', ['-v', 'error', '-re', '-i', flv, '-t', '2', '-c', 'copy', '-f', 'flv', `rtmps://127.0.0.1:${port}/live/${c.key}`]);
    checkRing(await rig.ring(c.id));
});

test('limits: bitrate, key frames, connections per address, silence', { timeout: 60000 }, async () => {
    const strict = await rig.addIngest({ env: { HANABI_INGEST_MAX_BITRATE_KBPS: '2000', HANABI_INGEST_KEYFRAME_MS: '2000', HANABI_INGEST_IDLE_MS: '3000',
        HANABI_INGEST_MAX_CONNECTIONS_PER_ADDRESS: '3', HANABI_INGEST_HANDSHAKE_MS: '1000' } });
    const narrow = await rig.addIngest({ env: { HANABI_INGEST_MAX_PICTURE_SAMPLES: '61439' } }); // the file's are 320x192 as coded
    const wide = await rig.push(narrow, await rig.broadcast(), flv);
    assert.match((await wide.client.waitForStatus('NetStream.Publish.Rejected')).description, /lower resolution/);
    await wide.stop();
    assert.match(fs.readFileSync(rig.log(narrow.name), 'utf8'), /"event":"connection.closed","reason":"picture_size"/);
    const big = readFlv(flv).map((t) => (t.type === 9 && t.body[1] === 1 ? { ...t, body: padded(t.body, 20000) } : t));
    const fast = await rig.push(strict, await rig.broadcast(), big);
    assert.match((await fast.client.waitForStatus('NetStream.Publish.Rejected')).description, /bitrate/);
    await fast.stop();
    const noKeys = readFlv(flv).filter((t) => t.type !== 9 || t.body[1] === 0 || t.timestamp < 100 || t.body[0] !== 0x17);
    const keyless = await rig.push(strict, await rig.broadcast(), noKeys);
    assert.match((await keyless.client.waitForStatus('NetStream.Publish.Rejected')).description, /key frame/);
    await keyless.stop();
    const silent = await rig.push(strict, await rig.broadcast(), flv);
    await sleep(300);
    await silent.hush();
    await silent.client.waitForStatus('NetConnection.Connect.IdleTimeOut');
    await silent.stop();
    const sockets = await Promise.all(Array.from({ length: 5 }, () => RtmpClient.raw({ port: strict.port })));
    const closed = sockets.map(() => false);
    sockets.forEach((socket, i) => socket.on('close', () => { closed[i] = true; }).resume());
    await waitFor('two too many', () => closed.filter(Boolean).length === 2, 800);
    await waitFor('no handshake in time', () => closed.every(Boolean), 3000);
});

test('MySQL away: an unknown key is told to try again, a known one goes on', { timeout: 60000 }, async () => {
    const b = await rig.broadcast();
    await rig.data.mariadb.stop();
    const push = await rig.push(ingest, b, flv);
    await lasting(b.id, 5);
    const client = await RtmpClient.connect({ port: ingest.port });
    await refused(client.publish('nobody-knows'), 'NetStream.Publish.Failed');
    assert.match(client.statuses.at(-1).description, /try again/);
    await push.stop();
    rig.data.mariadb.start();
    await waitFor('MySQL is back', async () => (await fetch(`${ingest.admin}/readyz`)).ok, 20000);
});

test('two processes share a port; SIGTERM tells publishers to come again', { timeout: 60000 }, async () => {
    const first = await rig.addIngest();
    const b = await rig.broadcast();
    const push = await rig.push(first, b, flv);
    await lasting(b.id, 5);
    const second = await rig.addIngest({ port: first.port });
    first.kill('SIGTERM');
    await push.client.waitForStatus('NetConnection.Connect.Closed');
    await push.stop();
    const again = await rig.push(second, b, flv);
    await waitFor('media by the other process', async () => new Set((await rig.ring(b.id)).map((e) => e.session)).size === 2);
    assert.ok((await rig.ring(b.id)).some((e) => e.end === 'draining'));
    await again.stop();
    await waitFor('the first has gone', () => first.exits.length === 1);
    assert.equal(first.exits[0].code, 0);
});

test('SIGTERM with a drain wait: who publishes goes on, nobody new comes in, and the process ends when the last has gone', { timeout: 60000 }, async () => {
    const ingest = await rig.addIngest({ env: { HANABI_INGEST_DRAIN_WAIT_S: '600', HANABI_DRAIN_MS: '700000' } });
    const b = await rig.broadcast();
    const push = await rig.push(ingest, b, flv);
    await lasting(b.id, 5);
    ingest.kill('SIGTERM');
    await waitFor('the door is shut', () => RtmpClient.connect({ port: ingest.port }).then(async (client) => { await client.close(); return false; }, () => true));
    const before = (await rig.ring(b.id)).length;
    await waitFor('more media', async () => (await rig.ring(b.id)).length > before + 5);
    assert.equal(ingest.exits.length, 0);
    await push.stop();
    await waitFor('it has ended', () => ingest.exits.length === 1);
    assert.equal(ingest.exits[0].code, 0);
});
