// /status requests a second and p99 of burst-status beside nginx `return 200` with the same body: each server alone on core 0, wrk on
// core 1, rounds in turn, all in one run. Prints ours, nginx's and the ratio, medians over the rounds.
//   node tests/bench/status.mjs [seconds per round] [rounds]
import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { RedisClient, seedBroadcast } from '../lib/redis_client.mjs';

const run = promisify(execFile);
const seconds = Number(process.argv[2] ?? 5);
const rounds = Number(process.argv[3] ?? 3);
const binDir = process.env.HANABI_BIN_DIR ?? path.resolve('build/bin');
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-bench-status-'));
const children = [];
const start = (command, args, env = {}) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', fs.openSync(path.join(dir, 'log'), 'a')], env: { ...process.env, ...env } });
    children.push(child);
    return child;
};

/** CPU seconds that a process and its children have used so far. */
function cpuSeconds(pid) {
    const fields = (id) => fs.readFileSync(`/proc/${id}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
    const ids = [pid, ...fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)];
    return ids.reduce((sum, id) => sum + (Number(fields(id)[11]) + Number(fields(id)[12])) / 100, 0);
}

async function load(server, url, connections, script) {
    const before = cpuSeconds(server.pid);
    const { stdout } = await run('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...(script ? ['-s', script] : []), url]);
    const toMs = { us: 0.001, ms: 1, s: 1000 };
    const [, value, unit] = stdout.match(/99%\s+([\d.]+)(us|ms|s)/);
    if (/Non-2xx/.test(stdout)) throw new Error(stdout);
    const cpu = cpuSeconds(server.pid) - before;
    const requests = Number(stdout.match(/(\d+) requests in/)[1]);
    return { rate: Number(stdout.match(/Requests\/sec:\s+([\d.]+)/)[1]), p99: Number(value) * toMs[unit], cpuUs: cpu * 1e6 / requests, busy: cpu / seconds };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

try {
    const [redisPort, statusPort, nginxPort] = [await freePort(), await freePort(), await freePort()];
    start('redis-server', ['--port', redisPort, '--bind', '127.0.0.1', '--save', '', '--dir', dir]);
    await waitForPort(redisPort);
    const redis = new RedisClient(redisPort);
    for (let i = 0; i < 2000; i += 1) await seedBroadcast(redis, `bench${i}`, { state: i % 2 ? 'suspended' : 'live' });
    const status = start('taskset', ['-c', '0', path.join(binDir, 'burst-status')], { HANABI_REDIS_URL: `redis://127.0.0.1:${redisPort}`, HANABI_STATUS_LISTEN: `127.0.0.1:${statusPort}`, HANABI_ADMIN_LISTEN: '127.0.0.1:0' });
    await waitForPort(statusPort);
    const url = `http://127.0.0.1:${statusPort}/status/v1/broadcasts/bench1`;
    let answer = null;
    for (const deadline = Date.now() + 10000; Date.now() < deadline && !answer?.ok;) answer = await fetch(url);
    const body = await answer.text();

    fs.writeFileSync(path.join(dir, 'nginx.conf'), `daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 60s; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
server { listen 127.0.0.1:${nginxPort}; location / { default_type application/json; add_header Cache-Control no-store; add_header Access-Control-Allow-Origin *; return 200 '${body}'; } } }`);
    const nginx = start('taskset', ['-c', '0', 'nginx', '-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'nginx.log')]);
    await waitForPort(nginxPort);
    const nginxUrl = `http://127.0.0.1:${nginxPort}/status/v1/broadcasts/bench1`;
    // 2,000 different broadcasts: what a hash table costs that one string does not show.
    fs.writeFileSync(path.join(dir, 'many.lua'), 'local n = 0\nrequest = function() n = (n + 7) % 2000; return wrk.format("GET", "/status/v1/broadcasts/bench" .. n) end\n');

    for (const [label, connections, script] of [['64 connections', 64], ['512 connections', 512], ['64 connections, 2,000 broadcasts', 64, path.join(dir, 'many.lua')]]) {
        const ours = [];
        const theirs = [];
        for (let i = 0; i < rounds; i += 1) {
            ours.push(await load(status, url, connections, script));
            theirs.push(await load(nginx, nginxUrl, connections, script));
        }
        const mid = (what) => [median(ours.map(what)), median(theirs.map(what))];
        const [rate, p99, core, busy] = [mid((r) => r.rate), mid((r) => r.p99), mid((r) => 1e6 / r.cpuUs), mid((r) => r.busy * 100)];
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
    for (const child of children.reverse()) child.kill();
    await Promise.all(children.map((child) => child.exitCode !== null || new Promise((resolve) => child.once('close', resolve))));
    fs.rmSync(dir, { recursive: true, force: true });
}
