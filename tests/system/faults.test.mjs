// What goes wrong on a Friday night: lines drop, lines go silent, processes die, stores and databases go away.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { freshStack, programmeFile, pushFile, sleep, status, tcpProxy, waitFor, waitForState } from '../lib/fixture.mjs';
import { onAir } from '../lib/on_air.mjs';

const GRACE_MS = 12000;
let stack;
let file;
before(async () => {
    file = await programmeFile(120);
    stack = await freshStack({ graceMs: GRACE_MS, services: { transcoder: 2, 'segment-uploader': 2, ingest: 1 } });
});

const through = (proxy) => (broadcast) => broadcast.pushUrl.replace(/:\d+\//, `:${proxy.port}/`);

/** How the broadcast's picture comes back: pushes again, waits for live, checks that live means "a new segment can be fetched". */
async function pushAgainAndCheck(t, broadcast, monitor) {
    const before = monitor.newest().segments.at(-1).sequence;
    const pusher = pushFile(broadcast.pushUrl, file, { seek: 30 });
    t.after(() => pusher.kill());
    await waitForState(stack, broadcast.id, 'live', 20000);
    const text = fs.readFileSync(path.join(stack.storeDir, `live/${broadcast.id}/360p/index.m3u8`), 'utf8');
    const last = Number(/MEDIA-SEQUENCE:(\d+)/.exec(text)[1]) + text.match(/#EXTINF/g).length - 1;
    assert.ok(last > before, `live with sequence ${last}, and ${before} was the last one before`);
    await waitFor('the playlist goes on', () => monitor.newest().segments.at(-1).sequence >= before + 2, 15000);
    return pusher;
}

const dependenciesDown = async () => { await stack.servers.mariadb.stop('SIGKILL'); await stack.service('live-api').stop('SIGKILL'); };
const dependenciesUp = async () => { stack.servers.mariadb.start(); stack.service('live-api').start(); await stack.ready(60000); };

for (const without of [false, true]) {
    const condition = without ? ', with MariaDB and live-api stopped' : '';
    test(`the pusher is killed${condition}: suspended within 1 s, and the picture comes back`, { timeout: 120000 }, async (t) => {
        const { broadcast, monitor, pusher } = await onAir(t, stack, file);
        if (without) { await dependenciesDown(); t.after(dependenciesUp); }
        await pusher.kill();
        const took = await waitForState(stack, broadcast.id, 'suspended', 5000);
        t.diagnostic(`suspended after ${took} ms`);
        assert.ok(took <= 1000, `${took} ms`);
        await pushAgainAndCheck(t, broadcast, monitor);
        await monitor.stop();
        assert.deepEqual(await monitor.judge(), []);
    });

    test(`the line goes silent without closing${condition}: suspended within 4 s, and the picture comes back`, { timeout: 120000 }, async (t) => {
        const proxy = await tcpProxy(stack.ports.rtmp, (fn) => t.after(fn));
        const { broadcast, monitor } = await onAir(t, stack, file, { url: through(proxy) });
        if (without) { await dependenciesDown(); t.after(dependenciesUp); }
        proxy.blackHole();
        const took = await waitForState(stack, broadcast.id, 'suspended', 8000);
        t.diagnostic(`suspended after ${took} ms`);
        assert.ok(took <= 4000, `${took} ms`);
        await pushAgainAndCheck(t, broadcast, monitor);
        await monitor.stop();
        assert.deepEqual(await monitor.judge(), []);
    });

    test(`the whole ingest process is killed${condition}: suspended within 4 s, and the picture comes back`, { timeout: 120000 }, async (t) => {
        const { broadcast, monitor } = await onAir(t, stack, file);
        if (without) { await dependenciesDown(); t.after(dependenciesUp); }
        stack.service('ingest').kill('SIGKILL');
        const took = await waitForState(stack, broadcast.id, 'suspended', 8000);
        t.diagnostic(`suspended after ${took} ms`);
        assert.ok(took <= 4000, `${took} ms`);
        await pushAgainAndCheck(t, broadcast, monitor);
        await monitor.stop();
        assert.deepEqual(await monitor.judge(), []);
    });
}

for (const victim of [null, 'transcoder', 'segment-uploader', 'ingest']) {
    test(`the grace ends${victim ? ` and ${victim} was killed in that time` : ''}: ENDLIST and ended`, { timeout: 90000 }, async (t) => {
        const { broadcast, monitor, pusher } = await onAir(t, stack, file);
        await pusher.kill();
        const suspendedAt = Date.now();
        await waitForState(stack, broadcast.id, 'suspended', 5000);
        if (victim) for (const instance of stack.instances.get(victim)) instance.kill('SIGKILL');
        await waitForState(stack, broadcast.id, 'ended', GRACE_MS + 8000);
        const took = Date.now() - suspendedAt;
        t.diagnostic(`ended ${took} ms after the drop, grace ${GRACE_MS} ms`);
        assert.ok(took >= GRACE_MS - 500, `ended too early, after ${took} ms`);
        await waitFor('ENDLIST everywhere', () => [...monitor.renditions.values()].every((r) => r.versions.at(-1).playlist.endList), 20000);
        await monitor.stop();
        assert.deepEqual(await monitor.judge({ ended: true }), []);
    });
}

/** pid of the transcoder child that has the broadcast. */
const childOf = async (id) => {
    for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        try {
            if (fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(id) && fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'transcode-child') return Number(pid);
        } catch { /* gone meanwhile */ }
    }
    return null;
};

const parentOf = (pid) => Number(/PPid:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

const kills = {
    'a transcoder child': async (id) => { const pid = await waitFor('the child', () => childOf(id)); process.kill(pid, 'SIGKILL'); },
    'the transcoder that has it': async (id) => { const pid = await waitFor('the child', () => childOf(id)); process.kill(parentOf(pid), 'SIGKILL'); },
    'every segment-uploader in turn': async () => {
        stack.service('segment-uploader', 0).kill('SIGKILL');
        await sleep(3000);
        stack.service('segment-uploader', 1).kill('SIGKILL');
    },
};
for (const [what, kill] of Object.entries(kills)) {
    test(`SIGKILL of ${what} in mid-broadcast: no hole, every rule holds`, { timeout: 90000 }, async (t) => {
        const { broadcast, monitor } = await onAir(t, stack, file);
        const from = Date.now();
        const before = monitor.newest().segments.at(-1).sequence;
        await kill(broadcast.id);
        await waitFor('ten more segments', () => monitor.newest().segments.at(-1).sequence >= before + 10, 40000);
        const times = monitor.renditions.get('360p').versions.map((version) => version.at).filter((at) => at >= from);
        const gaps = times.slice(1).map((at, i) => at - times[i]);
        t.diagnostic(`longest time between two playlists: ${Math.max(...gaps)} ms`);
        assert.equal((await status(stack, broadcast.id)).state, 'live');
        await monitor.stop();
        assert.deepEqual(await monitor.judge(), []);
        const marked = [...monitor.renditions.get('360p').segments.values()].filter((segment) => segment.discontinuity);
        assert.deepEqual(marked.map((segment) => segment.sequence), [], 'a takeover needs no discontinuity');
    });
}
