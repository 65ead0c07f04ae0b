// Batches of hearts a second that love-counter answers once Redis has them on its disk, beside nginx `return 200` for the same requests and a plain
// HINCRBY from redis-benchmark on the same Redis. Whoever is measured is alone on core 0 (love-counter, nginx, then Redis for redis-benchmark); wrk,
// and Redis and MariaDB behind love-counter, are on core 1. All in one run, rounds in turn; prints medians.
//   node tests/bench/love.mjs [seconds per round] [rounds]
import fs from 'node:fs';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { RedisClient, keys, seedBroadcast } from '../lib/redis_client.mjs';
import { signToken } from '../lib/token.mjs';
import { Bench, median, pin, run, usage } from './rig.mjs';

const seconds = Number(process.argv[2] ?? 4);
const rounds = Number(process.argv[3] ?? 3);
const connections = 256;
const bench = new Bench('love');
const token = (sub) => signToken({ sub, name: `Name of ${sub}` }, 'secret');

const rateOf = (rate, cpu, count) => ({ rate, core: count / cpu, busy: 100 * cpu / (count / rate) });

const load = (pid, port) => bench.wrk(pid, `http://127.0.0.1:${port}`, { connections, seconds, script: bench.file('taps.lua') });

async function plain(redisPid, port) {
    await pin(redisPid, 0);
    const before = usage(redisPid).cpu;
    const count = 100000 * seconds;
    const { stdout } = await run('taskset', ['-c', '1', 'redis-benchmark', '-p', String(port), '-c', String(connections), '-n', String(count), '--csv', 'HINCRBY', 'bench:plain', 'total', '3']);
    const rate = Number(stdout.trim().split('\n').at(-1).split('","')[1].replace(/"/g, ''));
    const result = rateOf(rate, usage(redisPid).cpu - before, count);
    await pin(redisPid, 1);
    return result;
}

let data;
try {
    const [lovePort, nginxPort] = [await freePort(), await freePort()];
    data = await DataServers.start(bench.dir);
    const { redis, redisPort } = data;
    await Promise.all([pin(redis.pid, 1), pin(data.mariadb.pid, 1)]);
    const client = new RedisClient(redisPort);
    await seedBroadcast(client, 'bench', { state: 'live' });
    const love = bench.start(0, binary('love-counter'), [], { HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_JWT_SECRET: 'secret',
        HANABI_LOVE_LISTEN: `127.0.0.1:${lovePort}`, HANABI_ADMIN_LISTEN: '127.0.0.1:0', HANABI_LOVE_RATE_PER_S: '100000', HANABI_LOVE_BURST: '10000000',
        HANABI_LOVE_BATCHES_PER_S: '100000', HANABI_LOVE_BATCHES_BURST: '10000000' });
    await waitForPort(lovePort);
    const nginx = await bench.nginx(nginxPort, 'default_type application/json;', '{"accepted":3,"total":1234567}');

    // A thousand people who tap; each request a batch of its own. Made beforehand except for its number, so that wrk's core is not the narrow one.
    const tokens = Array.from({ length: 1000 }, (_, i) => token(`user${i}`));
    fs.writeFileSync(bench.file('taps.lua'), `local tokens = { ${tokens.map((text) => `"${text}"`).join(', ')} }
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
        const [before, totalBefore] = [usage(redis.pid).cpu, Number(await client.command('HGET', `${keys.KEY_LOVE}bench`, 'total') ?? 0)];
        results.love.push(await load(love.pid, lovePort));
        const counted = (Number(await client.command('HGET', `${keys.KEY_LOVE}bench`, 'total')) - totalBefore) / 3;
        if (counted < results.love.at(-1).rate * seconds * 0.95) throw new Error(`${counted} batches counted`);
        results.redis.push(rateOf(results.love.at(-1).rate, usage(redis.pid).cpu - before, counted));
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
    await data?.stop();
    await bench.end();
}
