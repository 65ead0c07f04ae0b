// Batches of hearts a second that love-counter answers once Redis has them on its disk, beside nginx `return 200` for the same requests and a plain
// HINCRBY from redis-benchmark on the same Redis. Whoever is measured is alone on core 0 (love-counter, nginx, then Redis for redis-benchmark); wrk,
// and Redis and MariaDB behind love-counter, are on core 1. All in one run, rounds in turn; prints medians.
//   node tests/bench/love.mjs [seconds per round] [rounds]
import { execFile, spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { mariadbServer, migrate, redisServer } from '../../deploy/stack/servers.mjs';
import { RedisClient, keys, seedBroadcast } from '../lib/redis_client.mjs';

const run = promisify(execFile);
const seconds = Number(process.argv[2] ?? 4);
const rounds = Number(process.argv[3] ?? 3);
const connections = 256;
const binDir = process.env.HANABI_BIN_DIR ?? path.resolve('build/bin');
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-bench-love-'));
const children = [];
const start = (command, args, env = {}) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', fs.openSync(path.join(dir, 'log'), 'a')], env: { ...process.env, ...env } });
    children.push(child);
    return child;
};
const base64 = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
const token = (sub) => {
    const text = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ sub, name: `Name of ${sub}`, role: 'viewer', exp: Math.floor(Date.now() / 1000) + 3600 })}`;
    return `${text}.${crypto.createHmac('sha256', 'secret').update(text).digest('base64url')}`;
};
const pin = (pid, core) => run('taskset', ['-acp', String(core), String(pid)]);

/** CPU seconds that a process and its children have used so far. */
function cpuSeconds(pid) {
    const fields = (id) => fs.readFileSync(`/proc/${id}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
    const ids = [pid, ...fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)];
    return ids.reduce((sum, id) => sum + (Number(fields(id)[11]) + Number(fields(id)[12])) / 100, 0);
}

const rateOf = (rate, cpu, count) => ({ rate, core: count / cpu, busy: 100 * cpu / (count / rate) });

async function load(pid, port) {
    const before = cpuSeconds(pid);
    const { stdout } = await run('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', path.join(dir, 'taps.lua'), `http://127.0.0.1:${port}`]);
    if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
    return rateOf(Number(stdout.match(/Requests\/sec:\s+([\d.]+)/)[1]), cpuSeconds(pid) - before, Number(stdout.match(/(\d+) requests in/)[1]));
}

async function plain(redisPid, port) {
    await pin(redisPid, 0);
    const before = cpuSeconds(redisPid);
    const count = 100000 * seconds;
    const { stdout } = await run('taskset', ['-c', '1', 'redis-benchmark', '-p', String(port), '-c', String(connections), '-n', String(count), '--csv', 'HINCRBY', 'bench:plain', 'total', '3']);
    const rate = Number(stdout.trim().split('\n').at(-1).split('","')[1].replace(/"/g, ''));
    const result = rateOf(rate, cpuSeconds(redisPid) - before, count);
    await pin(redisPid, 1);
    return result;
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

let redis;
let mariadb;
try {
    const [redisPort, mysqlPort, lovePort, nginxPort] = [await freePort(), await freePort(), await freePort(), await freePort()];
    redis = redisServer({ name: 'redis', port: redisPort, dir: path.join(dir, 'redis'), logFile: path.join(dir, 'redis.log'), durable: true });
    mariadb = await mariadbServer({ name: 'mariadb', port: mysqlPort, dir: path.join(dir, 'mysql'), logFile: path.join(dir, 'mariadb.log'), user: 'hanabi', password: 'pw', database: 'hanabi' });
    redis.start();
    mariadb.start();
    await Promise.all([waitForPort(redisPort), waitForPort(mysqlPort, 60000)]);
    const mysqlUrl = `mysql://hanabi:pw@127.0.0.1:${mysqlPort}/hanabi`;
    await migrate(mysqlUrl);
    await Promise.all([pin(redis.pid, 1), pin(mariadb.pid, 1)]);
    const client = new RedisClient(redisPort);
    await seedBroadcast(client, 'bench', { state: 'live' });
    const love = start('taskset', ['-c', '0', path.join(binDir, 'love-counter')], { HANABI_REDIS_URL: `redis://127.0.0.1:${redisPort}`, HANABI_MYSQL_URL: mysqlUrl, HANABI_JWT_SECRET: 'secret',
        HANABI_LOVE_LISTEN: `127.0.0.1:${lovePort}`, HANABI_ADMIN_LISTEN: '127.0.0.1:0', HANABI_LOVE_RATE_PER_S: '100000', HANABI_LOVE_BURST: '10000000',
        HANABI_LOVE_BATCHES_PER_S: '100000', HANABI_LOVE_BATCHES_BURST: '10000000' });
    await waitForPort(lovePort);
    fs.writeFileSync(path.join(dir, 'nginx.conf'), `daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 60s; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
server { listen 127.0.0.1:${nginxPort}; location / { default_type application/json; return 200 '{"accepted":3,"total":1234567}'; } } }`);
    const nginx = start('taskset', ['-c', '0', 'nginx', '-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'nginx.log')]);
    await waitForPort(nginxPort);

    // A thousand people who tap; each request a batch of its own. Made beforehand except for its number, so that wrk's core is not the narrow one.
    const tokens = Array.from({ length: 1000 }, (_, i) => token(`user${i}`));
    fs.writeFileSync(path.join(dir, 'taps.lua'), `local tokens = { ${tokens.map((text) => `"${text}"`).join(', ')} }
local front, n = {}, 0
local run = tostring(os.time()) .. tostring(math.random(1000000))
for i, token in ipairs(tokens) do
    front[i] = "POST /api/v1/broadcasts/bench/loves HTTP/1.1\\r\\nHost: bench\\r\\nContent-Type: application/json\\r\\nAuthorization: Bearer " .. token .. "\\r\\nContent-Length: "
end
request = function()
    n = n + 1
    local body = '{"batch_id":"' .. run .. n .. '","count":3}'
    return front[n % #front + 1] .. #body .. "\\r\\n\\r\\n" .. body
end
`);
    const results = { love: [], nginx: [], plain: [], redis: [] };
    for (let i = 0; i < rounds; i += 1) {
        const [before, totalBefore] = [cpuSeconds(redis.pid), Number(await client.command('HGET', `${keys.KEY_LOVE}bench`, 'total') ?? 0)];
        results.love.push(await load(love.pid, lovePort));
        const counted = (Number(await client.command('HGET', `${keys.KEY_LOVE}bench`, 'total')) - totalBefore) / 3;
        if (counted < results.love.at(-1).rate * seconds * 0.95) throw new Error(`${counted} batches counted`);
        results.redis.push(rateOf(results.love.at(-1).rate, cpuSeconds(redis.pid) - before, counted));
        results.nginx.push(await load(nginx.pid, nginxPort));
        results.plain.push(await plain(redis.pid, redisPort));
    }
    const of = (name, what) => median(results[name].map((one) => one[what]));
    const line = (label, what, names) => {
        const [ours, ...peers] = names.map((name) => of(name, what));
        console.log(`  ${label.padEnd(36)} love-counter ${ours.toFixed(0)} | nginx return 200 ${peers[0].toFixed(0)} | HINCRBY ${peers[1].toFixed(0)} | of the smaller ${(ours / Math.min(...peers)).toFixed(2)}`);
    };
    console.log(`${connections} connections, appendfsync always, ${rounds} rounds of ${seconds} s`);
    line('batches a second, as wrk got them', 'rate', ['love', 'nginx', 'plain']);
    line('per second of its own core', 'core', ['love', 'nginx', 'plain']);
    console.log(`  % of its core that each used          love-counter ${of('love', 'busy').toFixed(0)} | nginx ${of('nginx', 'busy').toFixed(0)} | Redis under HINCRBY ${of('plain', 'busy').toFixed(0)}`);
    console.log(`  Redis behind love-counter            ${of('redis', 'core').toFixed(0)} batches per second of its core`);
    client.close();
} finally {
    for (const child of children.reverse()) child.kill();
    await Promise.all(children.map((child) => child.exitCode !== null || new Promise((resolve) => child.once('close', resolve))));
    await Promise.all([redis?.stop(), mariadb?.stop()]);
    fs.rmSync(dir, { recursive: true, force: true });
}
