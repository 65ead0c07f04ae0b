// CPU of ingest per publisher, the hand-off to Redis included, beside nginx-rtmp (Debian's module) pure and with HLS, in one run.
// Usage: node tests/bench/ingest.mjs [publishers…]      (default 50 200 500 1500; above 1,000 ours only)
// The server is pinned to one core, the load and Redis to the other; CPU is the kernel's own account of the server's processes.
import { execFile, execFileSync, spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';

const run = promisify(execFile);
const repo = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../..');
const bin = process.env.HANABI_BIN_DIR ?? path.join(repo, 'build/bin');
const counts = process.argv.slice(2).map(Number).filter(Boolean);
const SECONDS = 24;
const MEASURE_FROM = 9; // after the last connect of the largest round
const MEASURE_S = 12;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-bench-ingest-'));
const children = [];
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); fs.rmSync(dir, { recursive: true, force: true }); });

function start(cpu, command, args, env = {}) {
    const log = fs.openSync(path.join(dir, `${path.basename(command)}.log`), 'a');
    const child = spawn('taskset', ['-c', String(cpu), command, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', log, log] });
    children.push(child);
    return child;
}

/** CPU seconds of a process and its children so far, and their resident memory in KiB. */
function usage(pid) {
    const hertz = 100;
    let cpu = 0;
    let rss = 0;
    for (const name of fs.readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
        try {
            const stat = fs.readFileSync(`/proc/${name}/stat`, 'utf8');
            const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
            if (Number(name) !== pid && Number(fields[1]) !== pid) continue;
            cpu += (Number(fields[11]) + Number(fields[12])) / hertz;
            rss += Number(fields[21]) * 4;
        } catch { /* gone meanwhile */ }
    }
    return { cpu, rss };
}

const stopped = (child) => new Promise((resolve) => { child.once('close', resolve); child.kill('SIGTERM'); });

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
        + `${((after.rss - idle.rss) / count).toFixed(0)} KiB each  accepted ${result.publishing} refused ${result.refused} lost ${result.lost}  behind at most ${result.longest_delay_ms} ms`);
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
    const child = start(0, '/usr/sbin/nginx', ['-p', home, '-c', path.join(home, 'nginx.conf')]);
    await waitForPort(port);
    const result = await measure(hls ? 'nginx-rtmp with HLS' : 'nginx-rtmp pure', child.pid, port, count);
    await stopped(child);
    return result;
}

async function ours(count) {
    const [rtmp, state, media] = [await freePort(), await freePort(), await freePort()];
    const redis = [state, media].map((port) => start(1, 'redis-server', ['--port', String(port), '--save', '', '--appendonly', 'no', '--bind', '127.0.0.1']));
    await Promise.all([waitForPort(state), waitForPort(media)]);
    for (let i = 0; i < count; i += 1) {
        const hash = crypto.createHash('sha256').update(`key${i}`).digest('hex');
        execFileSync('redis-cli', ['-p', String(state), 'EVAL', "redis.call('SET', ARGV[1], ARGV[3]) redis.call('HSET', ARGV[2], 'state', 'scheduled', 'version', '1', 'title', 't', 'owner_id', 'o', 'owner_name', 'n', 'key_hash', ARGV[4], 'grace_ms', '60000', 'created_at_ms', '1')",
            '0', `hanabi:stream_key:${hash}`, `hanabi:broadcast:b${i}`, `b${i}`, hash]);
    }
    const child = start(0, path.join(bin, 'ingest'), [], { HANABI_REDIS_URL: `redis://127.0.0.1:${state}`, HANABI_MEDIA_REDIS_URL: `redis://127.0.0.1:${media}`,
        HANABI_MYSQL_URL: 'mysql://none:none@127.0.0.1:1/none', HANABI_RTMP_LISTEN: `127.0.0.1:${rtmp}`, HANABI_ADMIN_LISTEN: '127.0.0.1:0',
        HANABI_INGEST_MAX_CONNECTIONS_PER_ADDRESS: '5000', HANABI_INGEST_MAX_CONNECTIONS: '5000' });
    await waitForPort(rtmp);
    const result = await measure('hanabi ingest', child.pid, rtmp, count);
    await stopped(child);
    await Promise.all(redis.map(stopped));
    return result;
}

console.log(`${os.cpus()[0].model}, ${os.cpus().length} cores; source 720p30, about 2.6 Mbit/s, ${MEASURE_S} s measured`);
await run('gcc', ['-O2', '-D_GNU_SOURCE', '-o', path.join(dir, 'rtmp_load'), path.join(repo, 'tests/bench/rtmp_load.c')]);
await run('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=30,noise=alls=20:allf=t', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000', '-t', String(SECONDS + 4),
    '-c:v', 'libx264', '-preset', 'ultrafast', '-b:v', '2500k', '-minrate', '2500k', '-maxrate', '2500k', '-bufsize', '2500k', '-g', '60', '-c:a', 'aac', '-b:a', '128k', '-f', 'flv', path.join(dir, 'source.flv')]);
for (const count of counts.length ? counts : [50, 200, 500, 1500]) {
    const pure = count <= 1000 ? await nginxRtmp(false, count) : NaN;
    const hls = count <= 1000 ? await nginxRtmp(true, count) : NaN;
    const our = await ours(count);
    if (count <= 1000) console.log(`${''.padEnd(22)} ${String(count).padStart(5)} publishers  ours / nginx-rtmp pure: ${(our / pure).toFixed(2)}   ours / nginx-rtmp with HLS: ${(our / hls).toFixed(2)}\n`);
}
process.exit(0);
