// Comment logs on their way from Redis to MySQL: every entry once, whatever is killed meanwhile.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { DataServers } from '../lib/data_servers.mjs';
import { atEnd, checkLogs, removeFolder, sleep, waitFor } from '../lib/fixture.mjs';
import { RedisClient, keys, scriptText } from '../lib/redis_client.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-comments-'));
let data;
const movers = [];
const adminPorts = [];

const sql = (text) => data.sql(text);

before(async () => {
    fs.mkdirSync(path.join(dir, 'store'));
    data = await DataServers.start(dir);
    for (const index of [0, 1]) {
        adminPorts.push(await freePort());
        movers.push(new Supervised({ name: `archive-${index}`, command: binary('archive'), logFile: path.join(dir, `archive-${index}.log`), env: { ...process.env,
            HANABI_REDIS_URL: data.redisUrl, HANABI_MYSQL_URL: data.mysqlUrl, HANABI_INSTANCE: `archive-${index}`, HANABI_ADMIN_LISTEN: `127.0.0.1:${adminPorts[index]}`,
            HANABI_ARCHIVE_LISTEN: '127.0.0.1:0', HANABI_STORE_URL: `file://${dir}/store`, HANABI_JWT_SECRET: 'j', HANABI_HLS_SECRET: 'h', HANABI_SEAL_SECRET: 's',
            HANABI_ARCHIVE_BATCH: '100', HANABI_ARCHIVE_TAIL_ENTRIES: '300', HANABI_ARCHIVE_TAIL_MS: '500' } }));
        movers[index].start();
    }
    atEnd(async () => {
        await Promise.all(movers.map((mover) => mover.stop()));
        await data.stop();
        checkLogs(movers.map((mover) => mover.options.logFile));
        removeFolder(dir);
    });
});

test('20,000 comments while archive, Redis and MariaDB are killed: each acknowledged one is in MySQL once', { timeout: 150000 }, async (t) => {
    const script = scriptText('chat_append');
    const acknowledged = new Map(); // entry -> number of the comment
    let client = null;
    let appended = 0;
    let calls = 0;
    const append = async (broadcast, count) => {
        const args = [];
        const first = appended + 1;
        for (let i = 0; i < count; i += 1) {
            appended += 1;
            args.push(broadcast, String(i % 3), `"type":"comment","user":{"id":"u${appended % 50}","name":"名前 ${appended % 50}"},"text":"comment ${appended} 花火"}`);
        }
        try {
            client ??= new RedisClient(data.redisPort);
            const ids = await client.command('EVAL', script, '0', ...args);
            ids.forEach((id, i) => acknowledged.set(`${broadcast} ${id}`, first + i));
        } catch {
            client?.close();
            client = null;
            await sleep(100);
        }
    };
    const began = Date.now();
    // In this order, at random moments: what coincides differs from run to run.
    const faults = [() => movers[0].kill(), () => data.redis.kill(), () => movers[1].kill(), () => data.mariadb.kill(), () => movers.forEach((mover) => mover.kill()), () => data.redis.kill()]
        .map((fault, i) => [500 + i * 1700 + Math.floor(Math.random() * 1600), fault]);
    t.diagnostic(`killed at ${faults.map(([ms]) => ms).join(', ')} ms`);
    while (acknowledged.size < 20000 || faults.length > 0) {
        calls += 1;
        await append(`b${calls % 4}`, 20);
        if (faults.length > 0 && Date.now() - began > faults[0][0]) faults.shift()[1]();
        await sleep(8);
    }
    t.diagnostic(`${acknowledged.size} comments acknowledged in ${Date.now() - began} ms`);
    const stored = await waitFor('all are in MySQL', async () => {
        const rows = await sql("SELECT CONCAT(broadcast_id, ' ', at_ms, '-', sequence), text FROM comments WHERE broadcast_id LIKE 'b%'");
        const lines = rows.split('\n').map((line) => line.split('\t'));
        const found = new Map(lines);
        const absent = [...acknowledged].filter(([id, number]) => found.get(id) !== `comment ${number} 花火`);
        if (absent.length > 0) throw new Error(`${absent.length} are not, the first is ${absent[0]}`);
        return lines;
    }, 40000, 500);
    // Each call's comments have numbers of their own, and no call is repeated: a text that is there twice was moved twice.
    assert.equal(new Set(stored.map(([, text]) => text)).size, stored.length);
    const extra = stored.filter(([id]) => !acknowledged.has(id)).length;
    t.diagnostic(`${extra} more were carried out without an acknowledgement that arrived`);
    assert.equal(await sql("SELECT COUNT(*) FROM comments WHERE user_id IS NULL OR text IS NULL OR text NOT LIKE 'comment % 花火'"), '0');
    client?.close();
    client = new RedisClient(data.redisPort);
    const length = async (broadcast) => { return Number(await client.command('XLEN', `${keys.KEY_CHAT_LOG}${broadcast}`)); };
    await waitFor('nothing is left to move', async () => { return Number(await client.command('ZCARD', keys.KEY_CHAT_MOVING)) === 0; }, 20000);
    for (let i = 0; i < 4; i += 1) assert.equal(await length(`b${i}`), 300, `the log of b${i} was trimmed to its tail`);
    client.close();
});

test('MariaDB away: the log waits in full, its age rises while it is still appended to, and then it all arrives', { timeout: 60000 }, async () => {
    const client = new RedisClient(data.redisPort);
    const script = scriptText('chat_append');
    const say = (count) => client.command('EVAL', script, '0', ...Array.from({ length: count }, (_, i) => ['w1', '0', `"type":"comment","user":{"id":"u1","name":"n"},"text":"${i}"}`]).flat());
    const oldest = async () => Math.max(...await Promise.all(adminPorts.map(async (port) => {
        const page = await (await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(2000) })).text();
        return Number(/^hanabi_archive_oldest_seconds\{shard="0"\} ([0-9.e+-]+)$/m.exec(page)[1]);
    })));
    await data.mariadb.stop('SIGKILL');
    const began = Date.now();
    await waitFor('the age', async () => { await say(20); return await oldest() > 3; }, 15000, 50);
    assert.ok(await oldest() <= (Date.now() - began) / 1000 + 1);
    const said = Number(await client.command('XLEN', `${keys.KEY_CHAT_LOG}w1`));
    assert.ok(said > 300, `${said} wait, more than the tail`);
    data.mariadb.start();
    await waitFor('all are in MySQL', async () => Number(await sql("SELECT COUNT(*) FROM comments WHERE broadcast_id = 'w1'")) === said, 30000, 100);
    await waitFor('the tail', async () => Number(await client.command('XLEN', `${keys.KEY_CHAT_LOG}w1`)) === 300, 5000);
    await waitFor('no age', async () => await oldest() === 0, 5000);
    client.close?.();
});

test('a deletion marks its row', async () => {
    const client = new RedisClient(data.redisPort);
    const script = scriptText('chat_append');
    const [id] = await client.command('EVAL', script, '0', 'd1', '0', '"type":"comment","user":{"id":"u1","name":"n"},"text":"rude"}');
    await client.command('EVAL', script, '0', 'd1', '', `"type":"deleted","target":"${id}","by":"owner"}`);
    await waitFor('the mark', async () => (await sql("SELECT COUNT(*) FROM comments WHERE broadcast_id = 'd1' AND deleted = 1 AND text = 'rude'")) === '1', 10000, 100);
    assert.equal(await sql("SELECT COUNT(*) FROM comments WHERE broadcast_id = 'd1'"), '2');
    client.close();
});
