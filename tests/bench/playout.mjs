// Playlists of playout channels a second and core: archive alone on core 0, wrk on core 1, beside nginx `return 200` with the same playlist. One
// channel that everybody watches (what the edge's cache lets through is less, here all of it comes), then many channels, each of which has its
// playlist computed once a second. All in one run, rounds in turn; prints medians.
//   node tests/bench/playout.mjs [seconds per round] [rounds] [channels]
import { execFile, spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { mariadbServer, migrate, redisServer } from '../../deploy/stack/servers.mjs';

const run = promisify(execFile);
const seconds = Number(process.argv[2] ?? 4);
const rounds = Number(process.argv[3] ?? 3);
const channels = Number(process.argv[4] ?? 900);
const SEGMENTS = 1800; // an hour of 2 s
const binDir = process.env.HANABI_BIN_DIR ?? path.resolve('build/bin');
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-bench-playout-'));
const children = [];
const start = (command, args, env = {}, input = 'ignore') => {
    const child = spawn(command, args, { stdio: [input, 'ignore', fs.openSync(path.join(dir, 'log'), 'a')], env: { ...process.env, ...env } });
    children.push(child);
    return child;
};

const base64 = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
const token = (sub) => {
    const text = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ sub, name: `Name of ${sub}`, role: 'viewer', exp: Math.floor(Date.now() / 1000) + 3600 })}`;
    return `${text}.${crypto.createHmac('sha256', 'secret').update(text).digest('base64url')}`;
};

/** CPU seconds that a process and its children have used so far. */
function cpuSeconds(pid) {
    const fields = (id) => fs.readFileSync(`/proc/${id}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
    const ids = [pid, ...fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)];
    return ids.reduce((sum, id) => sum + (Number(fields(id)[11]) + Number(fields(id)[12])) / 100, 0);
}

async function load(pid, url, script) {
    const before = cpuSeconds(pid);
    const { stdout } = await run('taskset', ['-c', '1', 'wrk', '-t1', '-c128', `-d${seconds}s`, '--latency', ...(script ? ['-s', script] : []), url]);
    if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
    const cpu = cpuSeconds(pid) - before;
    const [, value, unit] = stdout.match(/99%\s+([\d.]+)(us|ms|s)/);
    return { rate: Number(stdout.match(/Requests\/sec:\s+([\d.]+)/)[1]), core: Number(stdout.match(/(\d+) requests in/)[1]) / cpu, busy: 100 * cpu / seconds, p99: Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit] };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

let redis;
let mariadb;
try {
    const [redisPort, mysqlPort, port, nginxPort] = [await freePort(), await freePort(), await freePort(), await freePort()];
    redis = redisServer({ name: 'redis', port: redisPort, dir: path.join(dir, 'redis'), logFile: path.join(dir, 'redis.log'), durable: false });
    mariadb = await mariadbServer({ name: 'mariadb', port: mysqlPort, dir: path.join(dir, 'mysql'), logFile: path.join(dir, 'mariadb.log'), user: 'hanabi', password: 'pw', database: 'hanabi' });
    redis.start();
    mariadb.start();
    await Promise.all([waitForPort(redisPort), waitForPort(mysqlPort, 60000)]);
    const mysqlUrl = `mysql://hanabi:pw@127.0.0.1:${mysqlPort}/hanabi`;
    await migrate(mysqlUrl);
    const sql = async (text) => {
        const child = start('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(mysqlPort), '-u', 'hanabi', 'hanabi'], { MYSQL_PWD: 'pw' }, 'pipe');
        child.stdin.end(text); // more than fits an argument
        const code = await new Promise((resolve) => child.once('close', resolve));
        if (code !== 0) throw new Error(`mariadb: ${code}`);
    };
    const owners = ['owner', ...Array.from({ length: Math.ceil(channels / 100) }, (_, i) => `owner${i}`)]; // nobody may have more than a hundred
    await sql(`INSERT INTO users (id, name, created_at_ms) VALUES ${owners.map((id) => `('${id}', '${id}', 1)`).join(', ')}`);
    const items = ['one', 'two', 'three'];
    for (const id of items) {
        const rows = Array.from({ length: SEGMENTS }, (_, i) => `('${id}',${i},'${i}-1.ts',0,${1e12 + i * 2000},${i * 2e6},2000000,1,'{"720p":1000000,"480p":500000,"360p":300000}',NULL)`);
        await sql(`INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms, live_at_ms, ended_at_ms) VALUES ('${id}', 'owner', 't', 'archived', 1, 1, 1, 2);
            INSERT INTO segments VALUES ${rows.join(',')};
            INSERT INTO renditions VALUES ('${id}','720p',0,1280,720,30,'avc1.64001f,mp4a.40.2',3000000,2500000),('${id}','480p',1,854,480,30,'avc1.64001f,mp4a.40.2',1800000,1500000),('${id}','360p',2,640,360,30,'avc1.4d401e,mp4a.40.2',900000,800000);
            INSERT INTO archives (broadcast_id, state, visibility, until_ms, duration_ms, segments, archived_at_ms) VALUES ('${id}', 'archived', 'public', 1, ${SEGMENTS * 2000}, ${SEGMENTS}, 1)`);
    }
    const archive = start('taskset', ['-c', '0', path.join(binDir, 'archive')], { HANABI_REDIS_URL: `redis://127.0.0.1:${redisPort}`, HANABI_MYSQL_URL: mysqlUrl, HANABI_STORE_URL: `file://${dir}`, HANABI_ARCHIVE_LISTEN: `127.0.0.1:${port}`,
        HANABI_ADMIN_LISTEN: '127.0.0.1:0', HANABI_JWT_SECRET: 'secret', HANABI_HLS_SECRET: 'secret of paths', HANABI_SEAL_SECRET: 'secret of tokens' });
    await waitForPort(port);
    const origin = `http://127.0.0.1:${port}`;
    const urls = [];
    for (let i = 0; i < channels; i += 1) {
        const answer = await fetch(`${origin}/api/v1/channels`, { method: 'POST', headers: { Authorization: `Bearer ${token(`owner${Math.floor(i / 100)}`)}`, 'Content-Type': 'application/json' },
            body: JSON.stringify({ title: `c${i}`, items, loop: true, start_at: Date.now() - 1000000 - i }) });
        if (answer.status !== 201) throw new Error(await answer.text());
        urls.push((await answer.json()).playback_url.replace('master.m3u8', '720p/index.m3u8'));
    }
    const playlist = await (await fetch(`${origin}${urls[0]}`)).text();
    if (!playlist.startsWith('#EXTM3U')) throw new Error(playlist);
    fs.writeFileSync(path.join(dir, 'many.lua'), `local urls, n = { ${urls.map((url) => `"${url}"`).join(', ')} }, 0\nlocal made = {}\nfor i, url in ipairs(urls) do made[i] = "GET " .. url .. " HTTP/1.1\\r\\nHost: bench\\r\\n\\r\\n" end\nrequest = function() n = n + 1; return made[n % #made + 1] end\n`);
    fs.writeFileSync(path.join(dir, 'nginx.conf'), `daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 60s; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
server { listen 127.0.0.1:${nginxPort}; location / { default_type application/vnd.apple.mpegurl; add_header Cache-Control "public, max-age=1"; return 200 '${playlist}'; } } }`);
    const nginx = start('taskset', ['-c', '0', 'nginx', '-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'nginx.log')]);
    await waitForPort(nginxPort);

    for (const [label, script] of [['one channel'], [`${channels} channels`, path.join(dir, 'many.lua')]]) {
        const [ours, theirs] = [[], []];
        for (let i = 0; i < rounds; i += 1) {
            ours.push(await load(archive.pid, `${origin}${urls[0]}`, script));
            theirs.push(await load(nginx.pid, `http://127.0.0.1:${nginxPort}${urls[0]}`));
        }
        console.log(`${label}, playlists of ${Buffer.byteLength(playlist)} bytes, three recordings of an hour, looped; ${rounds} rounds of ${seconds} s`);
        const row = (what, name, digits, goal) => {
            const [a, b] = [ours, theirs].map((list) => median(list.map((one) => one[name])));
            console.log(`  ${what.padEnd(36)} archive ${a.toFixed(digits)} | nginx return 200 ${b.toFixed(digits)} | ratio ${(a / b).toFixed(2)}${goal}`);
        };
        row('playlists a second, as wrk got them', 'rate', 0, ' (goal: 50,000)');
        row('playlists per second of its core', 'core', 0, ' (goal: 50,000)');
        row('p99 (ms)', 'p99', 2, '');
        row('% of its core that it used', 'busy', 0, '');
    }
} finally {
    for (const child of children.reverse()) child.kill();
    await Promise.all(children.map((child) => child.exitCode !== null || new Promise((resolve) => child.once('close', resolve))));
    await Promise.all([redis?.stop(), mariadb?.stop()]);
    fs.rmSync(dir, { recursive: true, force: true });
}
