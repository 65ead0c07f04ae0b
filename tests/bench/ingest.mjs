// CPU of ingest per publisher, the hand-off to Redis included, beside nginx-rtmp (Debian's module) pure and with HLS, in one run.
// Usage: node tests/bench/ingest.mjs [publishers…]      (default 50 200 500 1500; above 1,000 ours only)
// The server is pinned to one core, the load and Redis to the other; CPU is the kernel's own account of the server's processes.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary, repo } from '../../deploy/stack/servers.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { RedisClient, seedBroadcast } from '../lib/redis_client.mjs';
import { Bench, pin, run, sleep, usage } from './rig.mjs';

const counts = process.argv.slice(2).map(Number).filter(Boolean);
const SECONDS = 24;
const MEASURE_FROM = 9; // after the last connect of the largest round
const MEASURE_S = 12;
const bench = new Bench('ingest');
const { dir } = bench;

async function measure(name, pid, port, count) {
    const idle = usage(pid);
    const load = run('taskset', ['-c', '1', path.join(dir, 'rtmp_load'), '127.0.0.1', String(port), 'live', path.join(dir, 'source.flv'), String(SECONDS), '-n', String(count), 'key'],
        { maxBuffer: 1 << 20 });
    await sleep(MEASURE_FROM * 1000);
    const before = usage(pid);
    await sleep(MEASURE_S * 1000);
    const after = usage(pid);
    const result = JSON.parse((await load).stdout);
    const ms = ((after.cpu - before.cpu) * 1000) / MEASURE_S / count;
    console.log(`${name.padEnd(22)} ${String(count).padStart(5)} publishers  ${ms.toFixed(3)} ms CPU per publisher-second  `
        + `${((after.rss - idle.rss) / 1024 / count).toFixed(0)} KiB each  accepted ${result.publishing} refused ${result.refused} lost ${result.lost}  behind at most ${result.longest_delay_ms} ms`);
    return ms;
}

async function nginxRtmp(hls, count) {
    const port = await freePort();
    const home = path.join(dir, `nginx-${hls}-${count}`);
    fs.mkdirSync(path.join(home, 'hls'), { recursive: true });
    const user = process.getuid() === 0 ? 'user root;' : '';
    fs.writeFileSync(path.join(home, 'nginx.conf'), `${user} daemon off; worker_processes 1; pid ${home}/pid; error_log ${home}/error.log warn;
        load_module /usr/lib/nginx/modules/ngx_rtmp_module.so; worker_rlimit_nofile 65536; events { worker_connections 8192; }
        rtmp { server { listen 127.0.0.1:${port}; chunk_size 4096; application live { live on; ${hls ? `hls on; hls_path ${home}/hls; hls_fragment 2s; hls_playlist_length 16s;` : ''} } } }`);
    const child = bench.start(0, '/usr/sbin/nginx', ['-p', home, '-c', path.join(home, 'nginx.conf')]);
    await waitForPort(port);
    const result = await measure(hls ? 'nginx-rtmp with HLS' : 'nginx-rtmp pure', child.pid, port, count);
    await bench.stop(child);
    return result;
}

async function ours(count) {
    const data = await DataServers.start(fs.mkdtempSync(path.join(dir, 'redis-')), { durable: false, media: true, mysql: false, restart: false });
    await Promise.all([data.redis, data.media].map((server) => pin(server.pid, 1)));
    const redis = new RedisClient(data.redisPort);
    for (let i = 0; i < count; i += 1) await seedBroadcast(redis, `b${i}`, { keyHash: crypto.createHash('sha256').update(`key${i}`).digest('hex') });
    const rtmp = await freePort();
    const child = bench.start(0, binary('ingest'), [], { HANABI_REDIS_URL: data.redisUrl, HANABI_MEDIA_REDIS_URL: data.mediaUrl,
        HANABI_MYSQL_URL: 'mysql://none:none@127.0.0.1:1/none', HANABI_RTMP_LISTEN: `127.0.0.1:${rtmp}`, HANABI_ADMIN_LISTEN: '127.0.0.1:0',
        HANABI_INGEST_MAX_CONNECTIONS_PER_ADDRESS: '5000', HANABI_INGEST_MAX_CONNECTIONS: '5000' });
    await waitForPort(rtmp);
    const result = await measure('hanabi ingest', child.pid, rtmp, count);
    await bench.stop(child);
    redis.close();
    await data.stop();
    return result;
}

console.log(`${os.cpus()[0].model}, ${os.cpus().length} cores; source 720p30, about 2.6 Mbit/s, ${MEASURE_S} s measured`);
try {
    await run('gcc', ['-O2', '-D_GNU_SOURCE', '-o', path.join(dir, 'rtmp_load'), path.join(repo, 'tests/bench/rtmp_load.c')]);
    await run('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=30,noise=alls=20:allf=t', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000', '-t', String(SECONDS + 4),
        '-c:v', 'libx264', '-preset', 'ultrafast', '-b:v', '2500k', '-minrate', '2500k', '-maxrate', '2500k', '-bufsize', '2500k', '-g', '60', '-c:a', 'aac', '-b:a', '128k', '-f', 'flv', path.join(dir, 'source.flv')]);
    for (const count of counts.length ? counts : [50, 200, 500, 1500]) {
        const pure = count <= 1000 ? await nginxRtmp(false, count) : NaN;
        const hls = count <= 1000 ? await nginxRtmp(true, count) : NaN;
        const our = await ours(count);
        if (count <= 1000) console.log(`${''.padEnd(22)} ${String(count).padStart(5)} publishers  ours / nginx-rtmp pure: ${(our / pure).toFixed(2)}   ours / nginx-rtmp with HLS: ${(our / hls).toFixed(2)}\n`);
    }
} finally {
    await bench.end();
}
