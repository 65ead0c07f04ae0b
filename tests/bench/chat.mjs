// chat beside nchan + Redis (Debian's module of nginx) and Socket.IO + its Redis adapter, in one run: comment deliveries a second on one
// core, delivery time of a comment in a quiet room, memory per idle connection, connects a second. Each server alone on core 0; the load, the
// same for all (lib/chat_load), and Redis on core 1. A delivery is one comment that one viewer has got, counted by the viewer.
//   node tests/bench/chat.mjs [fanout] [quiet] [idle]        (all three when none is named)
// Needs `apt-get install libnginx-mod-nchan`; installs Socket.IO from tests/bench/package-lock.json.
import fs from 'node:fs';
import path from 'node:path';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { ChatRig, secret } from '../lib/chat.mjs';
import { chatLoad } from '../lib/chat_load.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { Bench, pin, run, sleep, usage } from './rig.mjs';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const parts = process.argv.slice(2).length ? process.argv.slice(2) : ['fanout', 'quiet', 'idle'];
const VIEWERS = 2000;
const IDLE = Number(process.env.BENCH_IDLE ?? 15000);
const P99_MS = 250;
const bench = new Bench('chat');
const { dir } = bench;

/** What the kernel holds for sockets, epoll and the rest: slab and socket buffers, in bytes, of the whole machine. */
function kernelBytes() {
    const slab = Number(fs.readFileSync('/proc/meminfo', 'utf8').match(/^Slab:\s+(\d+) kB/m)[1]) * 1024;
    const buffers = Number(fs.readFileSync('/proc/net/sockstat', 'utf8').match(/^TCP:.* mem (\d+)/m)[1]) * 4096;
    return slab + buffers;
}

/** The load against a server, on the other core. */
const load = (server, options) => chatLoad([server.port], server.path, { protocol: server.protocol, ...(server.protocol === 'hanabi' ? { secret } : {}), ...options }, ['taskset', '-c', '1']);

// --- the three servers ---

async function hanabi() {
    const rig = await new ChatRig().start();
    // No limit may decide this: the others have none. Thinning is off (the rig's room budget is 0); frames may be as
    // long as 64 KiB allow, their time is the default's.
    const chat = await rig.chat({ HANABI_CHAT_ROOM_RATE: '1000000', HANABI_CHAT_DUPLICATE_MS: '0', HANABI_CHAT_ROOM_SIZE: '100000', HANABI_CHAT_PRESENCE_MS: '2000',
        HANABI_CHAT_FRAME_EVENTS: '1000' });
    await rig.broadcast('bench');
    await pin(chat.process.pid, 0);
    await pin(rig.redis.pid, 1);
    await pin(rig.mariadb.pid, 1);
    return { name: 'chat', protocol: 'hanabi', port: chat.port, path: '/chat/v1/broadcasts/bench', pid: chat.process.pid, stop: () => rig.stop(),
        rates: [1000, 2000, 3000, 4000, 5000] };
}

/** The same Redis as ours: one that has a write on disk before it answers. */
async function redis() {
    const data = await DataServers.start(fs.mkdtempSync(path.join(dir, 'redis-')), { mysql: false, restart: false });
    await pin(data.redis.pid, 1);
    return data;
}

async function nchan() {
    const bus = await redis();
    const port = await freePort();
    const home = path.join(dir, 'nginx');
    fs.mkdirSync(home, { recursive: true });
    fs.writeFileSync(path.join(home, 'nginx.conf'), `${process.getuid() === 0 ? 'user root;' : ''} daemon off; worker_processes 1; pid ${home}/pid; error_log ${home}/error.log warn;
load_module /usr/lib/nginx/modules/ngx_nchan_module.so; worker_rlimit_nofile 20000; events { worker_connections 18000; }
http { access_log off; client_body_temp_path ${home}/b; proxy_temp_path ${home}/p; fastcgi_temp_path ${home}/f; uwsgi_temp_path ${home}/u; scgi_temp_path ${home}/s;
upstream bus { nchan_redis_server redis://127.0.0.1:${bus.redisPort}; }
server { listen 127.0.0.1:${port} backlog=4096; location = /room { nchan_pubsub websocket; nchan_channel_id room; nchan_redis_pass bus; nchan_subscriber_first_message newest; nchan_message_timeout 5s; } } }`);
    const child = bench.start(0, '/usr/sbin/nginx', ['-e', `${home}/error.log`, '-p', home, '-c', `${home}/nginx.conf`]);
    await waitForPort(port);
    await sleep(500); // until its Redis is connected: there is nothing to ask
    return { name: 'nchan + Redis', protocol: 'nchan', port, path: '/room', pid: child.pid, stop: async () => { await bench.stop(child); await bus.stop(); }, rates: [10, 30, 60, 90] };
}

async function socketio() {
    const bus = await redis();
    const port = await freePort();
    const child = bench.start(0, process.execPath, [path.join(here, 'socketio_server.mjs'), String(port), String(bus.redisPort)]);
    await waitForPort(port, 20000);
    return { name: 'Socket.IO + Redis', protocol: 'socketio', port, path: '/socket.io/?EIO=4&transport=websocket', pid: child.pid, stop: async () => { await bench.stop(child); await bus.stop(); },
        rates: [10, 20, 30] };
}

// --- what is measured ---

/** Deliveries a second at the highest offered rate at which every comment came, p99 within the bound. */
async function fanout(server) {
    let best = { rate: NaN, perCore: NaN, busy: NaN, p99: NaN };
    let most = 0;
    for (const rate of server.rates) {
        const under = await load(server, { viewers: VIEWERS, posters: 100, rate, warm: 1, seconds: 3, settle: 1 });
        await under.warm;
        const before = usage(server.pid).cpu;
        await under.counted;
        const used = usage(server.pid).cpu - before;
        const got = await under.over;
        const whole = got.comments === got.offered * VIEWERS && got.closed === 0;
        const result = { rate: got.deliveries / got.seconds, perCore: got.deliveries / used, busy: used / got.seconds, p50: got.delivery_ms.p50, p99: got.delivery_ms.p99 };
        console.log(`    ${server.name}: ${rate} comments a second offered: ${Math.round(result.rate)} deliveries a second, p50 ${result.p50} ms, p99 ${result.p99} ms, `
            + `${(got.bytes_counted / got.deliveries).toFixed(0)} bytes each, server ${(result.busy * 100).toFixed(0)} % of its core, load ${(got.cpu_s / got.seconds * 100).toFixed(0)} %`
            + `${whole ? '' : `, ${got.offered * VIEWERS - got.comments} not come a second after the last`}`);
        most = Math.max(most, result.rate);
        if (!whole || result.p99 > P99_MS) break;
        best = result;
    }
    return { ...best, most };
}

/** A comment every 100 ms for 100 viewers. */
async function quiet(server) {
    const got = await (await load(server, { viewers: 100, posters: 100, rate: 10, warm: 1, seconds: 8 })).over;
    return { p50: got.delivery_ms.p50, p99: got.delivery_ms.p99 };
}

/** Memory of the server's process and of its half of the kernel's, and how fast they came. */
async function idle(server) {
    const before = { ...usage(server.pid), kernel: kernelBytes() };
    const under = await load(server, { viewers: IDLE, at_once: 256, connect_rate: 1000000, lead: 1.5, seconds: 2 });
    await under.ready;
    const { cpu } = usage(server.pid);
    await under.warm;
    const after = { ...usage(server.pid), kernel: kernelBytes() };
    const got = await under.over;
    if (got.closed > 0 || got.connected !== IDLE) console.log(`    ${server.name}: only ${got.connected - got.closed} of ${IDLE} connected`);
    return { process: (after.rss - before.rss) / got.connected, kernel: (after.kernel - before.kernel) / got.connected / 2, connects: got.connected / got.connect_s,
        perCore: got.connected / (cpu - before.cpu) };
}

function table(title, results, rows) {
    console.log(title);
    for (const [what, key, digits, goal] of rows) {
        const [ours, ...peers] = results.map(({ name, value }) => ({ name, number: value[key] }));
        console.log(`  ${what.padEnd(44)} ${ours.name} ${ours.number.toFixed(digits)}${peers.map((peer) => ` | ${peer.name} ${peer.number.toFixed(digits)}, ratio ${(ours.number / peer.number).toFixed(2)}`).join('')}${goal ? ` (goal ${goal})` : ''}`);
    }
}

try {
    if (!fs.existsSync(path.join(here, 'node_modules'))) await run('npm', ['ci', '--silent', '--no-audit', '--no-fund'], { cwd: here });
    const results = { fanout: [], quiet: [], idle: [] };
    for (const make of [hanabi, nchan, socketio]) {
        // A server of its own for the memory: what the fan-out leaves in the heap is not a connection's.
        for (const group of [parts.filter((part) => part === 'idle'), parts.filter((part) => part !== 'idle')]) {
            if (group.length === 0) continue;
            const server = await make();
            try {
                for (const part of group) results[part].push({ name: server.name, value: await { fanout, quiet, idle }[part](server) });
            } finally { await server.stop(); }
        }
    }
    if (results.fanout.length) {
        table(`${VIEWERS} viewers in a room, at the highest of the offered rates with every comment delivered and p99 <= ${P99_MS} ms`, results.fanout, [
            ['deliveries a second', 'rate', 0, '>= 2000000'], ['the same, whatever the delay', 'most', 0, ''],
            ['deliveries per second of its CPU', 'perCore', 0, ''], ['share of its core that it used', 'busy', 2, ''], ['p99 (ms)', 'p99', 1, '<= 250']]);
    }
    if (results.quiet.length) {
        table('a quiet room: a comment each 100 ms, 100 viewers', results.quiet, [['p50 (ms)', 'p50', 2, 'no worse than nchan'], ['p99 (ms)', 'p99', 2, '']]);
    }
    if (results.idle.length) {
        table(`${IDLE} idle connections`, results.idle, [['bytes each in the process', 'process', 0, ''], ['bytes each in the kernel', 'kernel', 0, 'both <= 10240'],
            ['connects a second', 'connects', 0, ''], ['connects per second of its CPU', 'perCore', 0, '']]);
    }
} finally {
    await bench.end();
}
