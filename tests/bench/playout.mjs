// Playlists of playout channels a second and core: archive alone on core 0, wrk on core 1, beside nginx `return 200` with the same playlist. One
// channel that everybody watches (what the edge's cache lets through is less, here all of it comes), then many channels, each of which has its
// playlist computed once a second. All in one run, rounds in turn; prints medians.
//   node tests/bench/playout.mjs [seconds per round] [rounds] [channels]
import fs from 'node:fs';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { signToken } from '../lib/token.mjs';
import { Bench, median } from './rig.mjs';

const seconds = Number(process.argv[2] ?? 4);
const rounds = Number(process.argv[3] ?? 3);
const channels = Number(process.argv[4] ?? 900);
const SEGMENTS = 1800; // an hour of 2 s
const bench = new Bench('playout');
const token = (sub) => signToken({ sub, name: `Name of ${sub}` }, 'secret');
const load = (pid, url, script) => bench.wrk(pid, url, { connections: 128, seconds, script });

let data;
try {
    const [port, nginxPort] = [await freePort(), await freePort()];
    data = await DataServers.start(bench.dir, { durable: false });
    const owners = ['owner', ...Array.from({ length: Math.ceil(channels / 100) }, (_, i) => `owner${i}`)]; // nobody may have more than a hundred
    await data.sql(`INSERT INTO users (id, name, created_at_ms) VALUES ${owners.map((id) => `('${id}', '${id}', 1)`).join(', ')}`);
    const items = ['one', 'two', 'three'];
    for (const id of items) {
        const rows = Array.from({ length: SEGMENTS }, (_, i) => `('${id}',${i},'${i}-1.ts',0,${1e12 + i * 2000},${i * 2e6},2000000,1,'{"720p":1000000,"480p":500000,"360p":300000}',NULL)`);
        await data.sql(`INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms, live_at_ms, ended_at_ms) VALUES ('${id}', 'owner', 't', 'archived', 1, 1, 1, 2);
            INSERT INTO segments VALUES ${rows.join(',')};
            INSERT INTO renditions VALUES ('${id}','720p',0,1280,720,30,'avc1.64001f,mp4a.40.2',3000000,2500000),('${id}','480p',1,854,480,30,'avc1.64001f,mp4a.40.2',1800000,1500000),('${id}','360p',2,640,360,30,'avc1.4d401e,mp4a.40.2',900000,800000);
            INSERT INTO archives (broadcast_id, state, visibility, until_ms, duration_ms, segments, archived_at_ms) VALUES ('${id}', 'archived', 'public', 1, ${SEGMENTS * 2000}, ${SEGMENTS}, 1)`);
    }
    const archive = bench.start(0, binary('archive'), [], { HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_STORE_URL: `file://${bench.dir}`, HANABI_ARCHIVE_LISTEN: `127.0.0.1:${port}`,
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
    fs.writeFileSync(bench.file('many.lua'), `local urls, n = { ${urls.map((url) => `"${url}"`).join(', ')} }, 0\nlocal made = {}\nfor i, url in ipairs(urls) do made[i] = "GET " .. url .. " HTTP/1.1\\r\\nHost: bench\\r\\n\\r\\n" end\nrequest = function() n = n + 1; return made[n % #made + 1] end\n`);
    const nginx = await bench.nginx(nginxPort, 'default_type application/vnd.apple.mpegurl; add_header Cache-Control "public, max-age=1";', playlist);

    for (const [label, script] of [['one channel'], [`${channels} channels`, bench.file('many.lua')]]) {
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
    await data?.stop();
    await bench.end();
}
