// A drop with 500 players on: what reaches the store, and how the players' questions are spread.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { before, test } from 'node:test';
import { atEnd, freshStack, newBroadcast, programmeFile, pushFile, sleep, waitFor, waitForState } from '../lib/fixture.mjs';
import { SimulatedPlayer } from '../lib/simulated_player.mjs';

const PLAYERS = 500;
const SUSPENDED_S = 20;
let stack;
before(async () => { stack = await freshStack({ graceMs: 60000 }); });

const agent = new http.Agent({ keepAlive: true, maxSockets: 600 });
atEnd(() => agent.destroy());

/** A request like a browser's: kept-alive connections, the body read to its end. */
const request = (url) => new Promise((resolve, reject) => {
    const call = http.get(url, { agent, timeout: 10000 }, (answer) => {
        const chunks = [];
        const isText = /json|mpegurl/.test(answer.headers['content-type'] ?? '');
        answer.on('data', (data) => { if (isText) chunks.push(data); });
        answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString() }));
    });
    call.on('error', reject).on('timeout', () => call.destroy(new Error('timeout')));
});

const storeRequests = () => fs.readFileSync(`${stack.runDir}/logs/store.access.log`, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));

test(`${PLAYERS} players while suspended: at most 2 requests a second reach the store, polls are spread, all come back`, { timeout: 150000 }, async (t) => {
    const file = await programmeFile(120);
    const broadcast = await newBroadcast(stack, 'burst');
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    await waitForState(stack, broadcast.id, 'live', 15000);
    const players = Array.from({ length: PLAYERS }, () => new SimulatedPlayer({
        statusUrl: new URL(broadcast.status_url, stack.origin).href, playbackUrl: broadcast.playback, request }));
    t.after(() => players.forEach((player) => player.stop()));
    for (const player of players) { player.start(); await sleep(4); }
    await waitFor('all play', () => players.every((player) => player.phase === 'live' && player.segments.size > 0), 30000, 100);

    await pusher.kill();
    await waitForState(stack, broadcast.id, 'suspended', 3000);
    // Every player polls once a second while it plays: after two seconds all of them know.
    await waitFor('all know', () => players.every((player) => player.phase === 'suspended'), 5000, 50);
    const from = Date.now();
    const requestsBefore = storeRequests().length;
    await sleep(SUSPENDED_S * 1000);
    const requests = storeRequests().length - requestsBefore;
    t.diagnostic(`store: ${requests} requests in ${SUSPENDED_S} s, all players together`);
    assert.ok(requests <= 2 * SUSPENDED_S, `${requests} requests reached the store`);

    const perSecond = new Array(SUSPENDED_S).fill(0);
    for (const player of players) for (const at of player.polls) if (at >= from && at < from + SUSPENDED_S * 1000) perSecond[Math.floor((at - from) / 1000)] += 1;
    const mean = perSecond.reduce((sum, n) => sum + n, 0) / SUSPENDED_S;
    t.diagnostic(`status polls a second: mean ${mean.toFixed(1)}, most ${Math.max(...perSecond)}, least ${Math.min(...perSecond)}`);
    assert.ok(mean > 10, 'players do ask');
    assert.ok(Math.max(...perSecond) <= 2 * mean, `polls per second: ${perSecond}`);

    const again = pushFile(broadcast.pushUrl, file, { seek: 40 });
    t.after(() => again.kill());
    await waitForState(stack, broadcast.id, 'live', 20000);
    const seen = players.map((player) => player.segments.size);
    await waitFor('all players play on', () => players.every((player, i) => player.phase === 'live' && player.segments.size > seen[i]), 30000, 100);
});
