// Events in the store for analysis: DuckDB counts in the exported files what MySQL counts, wherever archive is killed meanwhile.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ArchiveRig } from '../lib/archive_rig.mjs';
import { Exports } from '../lib/exports.mjs';
import { atEnd, sleep, waitFor } from '../lib/fixture.mjs';
import { keys } from '../lib/redis_client.mjs';

const HOUR_MS = 3600000;
let rig;
let exports;

before(async () => {
    rig = await ArchiveRig.start();
    exports = await Exports.open(rig.storeDir);
    atEnd(() => exports.close());
});

const archive = (env = {}, options = {}) => rig.add({ HANABI_ARCHIVE_EXPORT_INTERVAL_MS: '300', HANABI_ARCHIVE_EXPORT_MAX_LINES: '700', ...env }, options);

/** Everything that MySQL has is in files. */
const caughtUp = (timeoutMs = 30000) => waitFor('all is exported', async () => {
    const moving = await rig.redis.command('ZCARD', keys.KEY_CHAT_MOVING);
    return moving === 0 && (await rig.sql('SELECT (SELECT COUNT(*) FROM export_cursors WHERE is_pending) + (SELECT COUNT(*) FROM exports WHERE NOT is_done)')) === '0';
}, timeoutMs, 100);

const comments = async (where) => Object.fromEntries((await rig.sql(`SELECT broadcast_id, COUNT(*) FROM comments WHERE type = 'comment' AND ${where} GROUP BY broadcast_id`)).split('\n').map((line) => line.split('\t')).map(([id, count]) => [id, Number(count)]));

test('killed behind the plan and behind the files: the same bytes, each comment once, in the hour when it was said', { timeout: 60000 }, async () => {
    const noon = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 48 * HOUR_MS;
    await rig.say('steps', 600, (i) => noon - 300 + i);
    let victim = await archive({ HANABI_ARCHIVE_DIE_AFTER: 'exportplan' }, { restart: false });
    await waitFor('it dies behind the plan', () => victim.exits.length > 0, 15000);
    assert.deepEqual(exports.files(), {}, 'planned, no file yet');
    victim = await archive({ HANABI_ARCHIVE_DIE_AFTER: 'exportput' }, { restart: false });
    await waitFor('it dies behind the files', () => victim.exits.length > 0, 15000);
    const first = exports.files();
    const day = (ms) => new Date(ms).toISOString().slice(0, 10);
    const hour = (ms) => new Date(ms).toISOString().slice(11, 13);
    const folders = [noon - 1, noon].map((ms) => `comment/dt=${day(ms)}/hour=${hour(ms)}`);
    assert.deepEqual(Object.keys(first).map((name) => name.replace(/\/[^/]+$/, '')).sort(), folders.sort());
    const service = await archive();
    await caughtUp();
    const after = exports.files();
    for (const [name, hash] of Object.entries(first)) assert.equal(after[name], hash, `${name} was written again as it was`);
    assert.deepEqual(await exports.map('SELECT broadcast, COUNT(DISTINCT id) FROM $comment GROUP BY 1'), { steps: 600 });
    assert.deepEqual(await exports.query('SELECT COUNT(*) AS n FROM $comment'), [{ n: 600 }]);
    assert.deepEqual(await exports.query("SELECT COUNT(*) AS n FROM $comment WHERE text = 'comment ' || (CAST(split_part(id, '-', 1) AS BIGINT) - " + String(noon - 300) + ") || ' 花火'"), [{ n: 600 }]);
    assert.deepEqual(await exports.misplaced('comment'), []);
    await service.stop();
});

test('10,000 comments in five broadcasts while two processes are killed at random moments: as many as in MySQL', { timeout: 90000 }, async (t) => {
    const services = [await archive(), await archive()];
    const kills = [];
    const killer = (async () => {
        for (let i = 0; i < 8; i += 1) {
            await sleep(200 + Math.random() * 500);
            services[i % 2].kill('SIGKILL');
            kills.push(i % 2);
        }
    })();
    for (let round = 0; round < 20; round += 1) {
        const now = Date.now() + round; // times rise within each broadcast
        for (let b = 0; b < 5; b += 1) await rig.say(`b${b}`, 100, (i) => now + round * 1000 + i);
        await sleep(200);
    }
    await killer;
    await caughtUp();
    const want = await comments("broadcast_id LIKE 'b%'");
    assert.deepEqual(want, { b0: 2000, b1: 2000, b2: 2000, b3: 2000, b4: 2000 });
    assert.deepEqual(await exports.map("SELECT broadcast, COUNT(*) FROM $comment WHERE broadcast LIKE 'b%' GROUP BY 1"), want);
    assert.deepEqual(await exports.map("SELECT broadcast, COUNT(DISTINCT id) FROM $comment WHERE broadcast LIKE 'b%' GROUP BY 1"), want);
    t.diagnostic(`${kills.length} kills, ${Object.keys(exports.files()).length} files`);
    await Promise.all(services.map((service) => service.stop()));
});

test('switched off: nothing is exported, and what waited is when it is switched on', { timeout: 30000 }, async () => {
    const off = await archive({ HANABI_EXPORT: 'false' });
    await rig.say('off', 50, (i) => Date.now() + i);
    await waitFor('it stands in MySQL', async () => (await comments("broadcast_id = 'off'")).off === 50, 10000, 100);
    await waitFor('no series tells of an export', async () => !(await (await fetch(`${off.admin}/metrics`)).text()).includes('hanabi_archive_export'), 5000);
    assert.deepEqual(await exports.map("SELECT broadcast, COUNT(*) FROM $comment WHERE broadcast = 'off' GROUP BY 1"), {});
    await off.stop();
    const on = await archive();
    await caughtUp();
    assert.deepEqual(await exports.map("SELECT broadcast, COUNT(*) FROM $comment WHERE broadcast = 'off' GROUP BY 1"), { off: 50 });
    await on.stop();
});
