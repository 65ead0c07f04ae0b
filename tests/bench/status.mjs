// /status requests a second and p99 of burst-status beside nginx `return 200` with the same body: each server alone on core 0, wrk on
// core 1, rounds in turn, all in one run. Prints ours, nginx's and the ratio, medians over the rounds. As many requests as a server takes say how
// many it takes; how long one waits is comparable only where both are asked as often, as when each connection rests between its requests.
//   node tests/bench/status.mjs [seconds per round] [rounds]
import fs from 'node:fs';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { RedisClient, seedBroadcast } from '../lib/redis_client.mjs';
import { Bench, median } from './rig.mjs';

const seconds = Number(process.argv[2] ?? 5);
const rounds = Number(process.argv[3] ?? 3);
const bench = new Bench('status');
let data;

try {
    const [statusPort, nginxPort] = [await freePort(), await freePort()];
    data = await DataServers.start(bench.dir, { durable: false, mysql: false });
    const redis = new RedisClient(data.redisPort);
    for (let i = 0; i < 2000; i += 1) await seedBroadcast(redis, `bench${i}`, { state: i % 2 ? 'suspended' : 'live' });
    const status = bench.start(0, binary('burst-status'), [], { HANABI_REDIS_URL: data.redisUrl, HANABI_STATUS_LISTEN: `127.0.0.1:${statusPort}`, HANABI_ADMIN_LISTEN: '127.0.0.1:0' });
    await waitForPort(statusPort);
    const url = `http://127.0.0.1:${statusPort}/status/v1/broadcasts/bench1`;
    let answer = null;
    for (const deadline = Date.now() + 10000; Date.now() < deadline && !answer?.ok;) answer = await fetch(url);
    const body = await answer.text();

    const nginx = await bench.nginx(nginxPort, 'default_type application/json; add_header Cache-Control no-store; add_header Access-Control-Allow-Origin *;', body);
    const nginxUrl = `http://127.0.0.1:${nginxPort}/status/v1/broadcasts/bench1`;
    // 2,000 different broadcasts: what a hash table costs that one string does not show.
    fs.writeFileSync(bench.file('many.lua'), 'local n = 0\nrequest = function() n = (n + 7) % 2000; return wrk.format("GET", "/status/v1/broadcasts/bench" .. n) end\n');

    fs.writeFileSync(bench.file('resting.lua'), 'function delay() return math.random(1, 5) end\n'); // ms
    for (const [label, connections, script] of [['64 connections', 64], ['64 connections that rest for 1 to 5 ms', 64, bench.file('resting.lua')], ['512 connections', 512], ['64 connections, 2,000 broadcasts', 64, bench.file('many.lua')]]) {
        const ours = [];
        const theirs = [];
        for (let i = 0; i < rounds; i += 1) {
            ours.push(await bench.wrk(status.pid, url, { connections, seconds, script }));
            theirs.push(await bench.wrk(nginx.pid, nginxUrl, { connections, seconds, script }));
        }
        const mid = (what) => [median(ours.map(what)), median(theirs.map(what))];
        const [rate, p99, core, busy] = [mid((r) => r.rate), mid((r) => r.p99), mid((r) => r.core), mid((r) => r.busy)];
        const row = (what, [a, b], digits, goal) => console.log(`  ${what.padEnd(34)} burst-status ${a.toFixed(digits)} | nginx return 200 ${b.toFixed(digits)} | ratio ${(a / b).toFixed(2)}${goal}`);
        console.log(label);
        row('requests a second, as wrk got them', rate, 0, ' (goal > 1)');
        row('p99 (ms)', p99, 2, ' (goal <= 1)');
        // Where wrk's one core is the narrower one, the rates above are wrk's; this is what the server's own core would give.
        row('requests per second of CPU', core, 0, ' (goal > 1)');
        row("% of its core that the server used", busy, 0, '');
    }
    redis.close();
} finally {
    await data?.stop();
    await bench.end();
}
