// What the services stand on goes away: Redis comes back empty, MariaDB and the store are away for a while.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, test } from 'node:test';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { freshStack, programmeFile, run, sleep, status, waitFor, waitForState } from '../lib/fixture.mjs';
import { onAir } from '../lib/on_air.mjs';

let stack;
let file;
before(async () => {
    file = await programmeFile(120);
    stack = await freshStack({ graceMs: 60000 });
});

const readyz = async (service) => {
    const answer = await fetch(`${stack.adminUrl(service)}/readyz`);
    return { status: answer.status, body: await answer.json() };
};

const mysql = async (sql) => (await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(stack.ports.mysql), '-u', 'hanabi', 'hanabi', '-BNe', sql],
    { env: { ...process.env, MYSQL_PWD: stack.secrets.mysql } })).stdout.trim();

for (const which of ['redis', 'mediaRedis']) {
    test(`${which} is killed and comes back empty: the broadcast comes back by itself`, { timeout: 120000 }, async (t) => {
        const { broadcast, monitor } = await onAir(t, stack, file);
        const versionBefore = (await status(stack, broadcast.id)).version;
        // Right behind a new playlist: a segment that was queued and not fetched yet would be lost with Redis, and leave a hole.
        const shown = monitor.newest().segments.at(-1).sequence;
        const before = await waitFor('a new playlist', () => { const newest = monitor.newest().segments.at(-1).sequence; return newest > shown && newest; }, 5000, 50);
        await stack.servers[which].stop('SIGKILL');
        const named = await waitFor('readyz names it', async () => { const r = await readyz('ingest'); return r.status === 503 && r; }, 10000);
        assert.match(JSON.stringify(named.body), /redis/i);
        fs.rmSync(`${stack.runDir}/redis-${which === 'redis' ? 'state' : 'media'}`, { recursive: true });
        fs.mkdirSync(`${stack.runDir}/redis-${which === 'redis' ? 'state' : 'media'}`);
        stack.servers[which].start();
        await waitFor('the playlist goes on', () => monitor.newest().segments.at(-1).sequence >= before + 4, 40000);
        await waitForState(stack, broadcast.id, 'live', 10000);
        assert.ok((await status(stack, broadcast.id)).version >= versionBefore, 'versions never fall');
        await waitFor('all ready again', async () => (await readyz('ingest')).status === 200, 10000);
        await monitor.stop();
        // The transcoder gave the checkpoint back: counters and timestamps go on.
        assert.deepEqual(await monitor.judge(), []);
    });
}

test('MariaDB is away for 30 s: nobody sees it, and its rows are complete afterwards', { timeout: 150000 }, async (t) => {
    const { broadcast, monitor } = await onAir(t, stack, file);
    const from = Date.now();
    await stack.servers.mariadb.stop('SIGKILL');
    const named = await waitFor('readyz names it', async () => { const r = await readyz('segment-uploader'); return r.status === 503 && r; }, 10000);
    assert.match(JSON.stringify(named.body), /mysql|mariadb|database/i);
    await sleep(30000 - (Date.now() - from));
    stack.servers.mariadb.start();
    const to = Date.now();
    await waitFor('all rows are there', async () => {
        const newest = monitor.newest().segments.at(-1).sequence;
        return Number(await mysql(`SELECT COUNT(*) FROM segments WHERE broadcast_id = '${broadcast.id}'`)) >= newest && newest > 15;
    }, 40000, 500);
    const holes = await mysql(`SELECT MAX(sequence) + 1 - COUNT(*) FROM segments WHERE broadcast_id = '${broadcast.id}'`);
    assert.equal(holes, '0');
    await monitor.stop();
    assert.deepEqual(await monitor.judge({ cadence: [[from, to]] }), []);
});

test('the store is away for 60 s: what was made meanwhile is there afterwards, in order', { timeout: 200000 }, async (t) => {
    const { broadcast, monitor } = await onAir(t, stack, file);
    // A file in the place of the broadcast's folder: nothing can be written, as root too.
    const folder = `${stack.storeDir}/live`;
    await monitor.stop();
    const before = monitor.newest().segments.at(-1).sequence;
    fs.renameSync(folder, `${folder}.away`);
    fs.writeFileSync(folder, '');
    const named = await waitFor('readyz names it', async () => { const r = await readyz('segment-uploader'); return r.status === 503 && r; }, 15000);
    assert.match(JSON.stringify(named.body), /store/i);
    await sleep(60000);
    fs.rmSync(folder);
    fs.renameSync(`${folder}.away`, folder);
    const again = new HlsMonitor(broadcast.playback);
    t.after(() => again.stop());
    await waitFor('the playlist has caught up', async () => {
        const text = fs.readFileSync(`${folder}/${broadcast.id}/360p/index.m3u8`, 'utf8');
        return Number(/MEDIA-SEQUENCE:(\d+)/.exec(text)[1]) + text.match(/#EXTINF/g).length - 1 >= before + 30;
    }, 30000);
    again.start();
    await waitFor('a few more segments', () => again.newest()?.segments.length >= 6, 20000);
    const rows = await waitFor('rows', async () => {
        const counted = await mysql(`SELECT MAX(sequence) + 1 - COUNT(*), SUM(discontinuity) FROM segments WHERE broadcast_id = '${broadcast.id}'`);
        return counted.startsWith('0') && counted;
    }, 15000, 300);
    assert.equal(rows, '0\t0', 'no segment is missing and nothing was cut');
    await again.stop();
    assert.deepEqual(await again.judge(), []);
});
