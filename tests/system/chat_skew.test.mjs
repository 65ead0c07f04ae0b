// A decoration in every chat process at the same moment: 12 real processes, 120 in the long mode, settings changed through settings-sync.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { ChatRig, secret, token } from '../lib/chat.mjs';
import { atEnd, run, waitFor } from '../lib/fixture.mjs';
import { inTime, watchNeighbours } from '../lib/neighbours.mjs';

const isLong = process.env.HANABI_LONG === 'yes';
const processes = isLong ? 120 : 12;
const rounds = isLong ? 60 : 100;
const rig = new ChatRig();
let origin;
const chats = [];

before(async () => {
    await rig.start();
    atEnd(() => rig.stop());
    const port = await freePort();
    const settings = new Supervised({ name: 'settings-sync', command: binary('settings-sync'),
        logFile: path.join(rig.dir, 'settings-sync.log'), restart: false, env: { ...process.env, HANABI_SETTINGS_LISTEN: `127.0.0.1:${port}`, HANABI_SETTINGS_RATE_BURST: '1000',
            HANABI_REDIS_URL: `redis://127.0.0.1:${rig.redisPort}`, HANABI_MYSQL_URL: rig.mysqlUrl, HANABI_JWT_SECRET: secret } });
    settings.start();
    atEnd(() => settings.stop());
    origin = `http://127.0.0.1:${port}`;
    await waitForPort(port);
    for (let i = 0; i < processes; i += 12) chats.push(...await Promise.all(Array.from({ length: 12 }, () => rig.chat({ HANABI_LOG_LEVEL: 'debug' }))));
});

/** What each process says of the settings that it took, by version: when, on the clock that all share. Nobody is asked, so nobody is disturbed. */
function takenAt() {
    const times = new Map(); // version -> [ms…]
    for (const chat of chats) {
        for (const line of fs.readFileSync(chat.log, 'utf8').split('\n')) {
            if (!line.includes('"event":"setting.taken"')) continue;
            const { version, ts } = JSON.parse(line);
            times.set(version, [...(times.get(version) ?? []), Date.parse(ts)]);
        }
    }
    return times;
}

const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

test(`a decoration in ${processes} processes: the first comment after it wears it everywhere`, { timeout: 300000 }, async (t) => {
    await rig.broadcast('skew');
    const viewers = [];
    for (const [i, chat] of chats.entries()) viewers.push(await rig.viewer(chat, 'skew', { as: `v${i}` }).ready());
    const answered = new Map(); // version -> ms
    await run('sync'); // what earlier tests wrote is not this one's to wait for
    const neighbours = watchNeighbours();
    for (let round = 0; round < rounds; round += 1) {
        const from = viewers[round % processes];
        const background = `#${round.toString(16).padStart(6, '0')}`;
        const answer = await fetch(`${origin}/api/v1/settings/decoration`, { method: 'PUT', headers: { Authorization: `Bearer ${token(from.user)}` },
            body: JSON.stringify({ background, frame: 'neon' }) });
        const now = performance.timeOrigin + performance.now();
        assert.equal(answer.status, 200);
        answered.set((await answer.json()).version, now);
        const { id } = await from.say(`round ${round}`);
        await waitFor('the comment everywhere', () => viewers.every((viewer) => viewer.lastId === id), 5000, 2);
        for (const viewer of viewers) assert.deepEqual(viewer.comments.at(-1).user.decoration, { background, frame: 'neon' }, `${viewer.user} sees the first comment decorated`);
    }
    const noise = { processors: neighbours() };
    const times = takenAt();
    const after = [];
    const skews = [];
    for (const [version, at] of answered) {
        const list = times.get(version) ?? [];
        assert.equal(list.length, processes, `version ${version} is in all processes`);
        after.push(...list.map((ms) => Math.max(0, ms - at)));
        skews.push(Math.max(...list) - Math.min(...list));
    }
    after.sort((a, b) => a - b);
    skews.sort((a, b) => a - b);
    const figures = (sorted) => `p50 ${percentile(sorted, 0.5).toFixed(1)} ms, p99 ${percentile(sorted, 0.99).toFixed(1)} ms, longest ${sorted.at(-1).toFixed(1)} ms`;
    await inTime(t, noise, `${processes} processes, ${rounds} changes: after the answer ${figures(after)}; from the first process to the last ${figures(skews)}`,
        { 'in all of them within 50 ms of the answer at p99': percentile(after, 0.99) <= 50 });
});
