// Comment logs on their way from Redis to MySQL: every entry once, whatever is killed meanwhile.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { mariadbServer, migrate, redisServer, repo } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { RedisClient, keys, scriptText } from '../lib/redis_client.mjs';
import { atEnd, run, sleep, waitFor } from '../lib/fixture.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-comments-'));
const bin = path.join(process.env.HANABI_BIN_DIR ?? path.join(repo, 'build/bin'), 'archive');
let redis;
let redisPort;
let mariadb;
let mysqlPort;
const movers = [];

const sql = async (text) => (await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(mysqlPort), '-u', 'hanabi', 'hanabi', '-BNe', text],
    { env: { ...process.env, MYSQL_PWD: 'pw' }, maxBuffer: 64 << 20 })).stdout.trim();

before(async () => {
    redisPort = await freePort();
    mysqlPort = await freePort();
    redis = redisServer({ name: 'redis', port: redisPort, dir: path.join(dir, 'redis'), logFile: path.join(dir, 'redis.log'), durable: true });
    redis.options.args.splice(redis.options.args.indexOf('everysec'), 1, 'always'); // what is acknowledged survives a SIGKILL
    mariadb = await mariadbServer({ name: 'mariadb', port: mysqlPort, dir: path.join(dir, 'mysql'), logFile: path.join(dir, 'mariadb.log'), user: 'hanabi', password: 'pw', database: 'hanabi' });
    redis.start();
    mariadb.start();
    await Promise.all([waitForPort(redisPort), waitForPort(mysqlPort, 60000)]);
    const mysqlUrl = `mysql://hanabi:pw@127.0.0.1:${mysqlPort}/hanabi`;
    await migrate(mysqlUrl);
    for (const index of [0, 1]) {
        movers.push(new Supervised({ name: `archive-${index}`, command: bin, logFile: path.join(dir, `archive-${index}.log`), env: { ...process.env,
            HANABI_REDIS_URL: `redis://127.0.0.1:${redisPort}`, HANABI_MYSQL_URL: mysqlUrl, HANABI_INSTANCE: `archive-${index}`,
            HANABI_ARCHIVE_BATCH: '100', HANABI_ARCHIVE_TAIL_ENTRIES: '300', HANABI_ARCHIVE_TAIL_MS: '500' } }));
        movers[index].start();
    }
    atEnd(async () => {
        await Promise.all(movers.map((mover) => mover.stop()));
        const logs = [0, 1].map((index) => fs.readFileSync(path.join(dir, `archive-${index}.log`), 'utf8')).join('\n');
        await Promise.all([redis.stop(), mariadb.stop()]);
        if (!process.env.HANABI_KEEP_RUN) fs.rmSync(dir, { recursive: true, force: true });
        assert.doesNotMatch(logs, /Sanitizer|runtime error/, logs.slice(-5000));
    });
});

test('20,000 comments while archive, Redis and MariaDB are killed: each acknowledged one is in MySQL once', { timeout: 150000 }, async (t) => {
    const script = scriptText('chat_append');
    const acknowledged = new Set();
    let client = null;
    let appended = 0;
    const append = async (broadcast, count) => {
        const args = [];
        for (let i = 0; i < count; i += 1) {
            appended += 1;
            args.push(broadcast, String(i % 3), `"type":"comment","user":{"id":"u${appended % 50}","name":"名前 ${appended % 50}"},"text":"comment ${appended} 花火"}`);
        }
        try {
            client ??= new RedisClient(redisPort);
            const ids = await client.command('EVAL', script, '0', ...args);
            for (const id of ids) acknowledged.add(`${broadcast} ${id}`);
        } catch {
            client?.close();
            client = null;
            await sleep(100);
        }
    };
    const began = Date.now();
    const faults = [
        [1500, () => movers[0].kill('SIGKILL')], [3000, () => redis.kill('SIGKILL')], [5000, () => movers[1].kill('SIGKILL')],
        [6500, () => mariadb.kill('SIGKILL')], [8500, () => { movers[0].kill('SIGKILL'); movers[1].kill('SIGKILL'); }], [10000, () => redis.kill('SIGKILL')],
    ];
    while (acknowledged.size < 20000 || faults.length > 0) {
        await append(`b${appended % 4}`, 20);
        if (faults.length > 0 && Date.now() - began > faults[0][0]) faults.shift()[1]();
        await sleep(8);
    }
    t.diagnostic(`${acknowledged.size} comments acknowledged in ${Date.now() - began} ms`);
    const missing = await waitFor('all are in MySQL', async () => {
        const rows = await sql("SELECT CONCAT(broadcast_id, ' ', at_ms, '-', sequence) FROM comments WHERE broadcast_id LIKE 'b%'");
        const found = new Set(rows.split('\n'));
        const absent = [...acknowledged].filter((id) => !found.has(id));
        if (absent.length > 0) throw new Error(`${absent.length} are not, the first is ${absent[0]}`);
        return [...found];
    }, 40000, 500);
    assert.equal(new Set(missing).size, missing.length);
    const extra = missing.filter((id) => !acknowledged.has(id)).length;
    t.diagnostic(`${extra} more were carried out without an acknowledgement that arrived`);
    assert.equal(await sql("SELECT COUNT(*) FROM comments WHERE user_id IS NULL OR text IS NULL OR text NOT LIKE 'comment % 花火'"), '0');
    client?.close();
    client = new RedisClient(redisPort);
    const length = async (broadcast) => { return Number(await client.command('XLEN', `${keys.KEY_CHAT_LOG}${broadcast}`)); };
    await waitFor('nothing is left to move', async () => { return Number(await client.command('ZCARD', keys.KEY_CHAT_MOVING)) === 0; }, 20000);
    for (let i = 0; i < 4; i += 1) assert.ok(await length(`b${i}`) < 5000, `the log of b${i} was trimmed`);
    client.close();
});

test('a deletion marks its row', async () => {
    const client = new RedisClient(redisPort);
    const script = scriptText('chat_append');
    const [id] = await client.command('EVAL', script, '0', 'd1', '0', '"type":"comment","user":{"id":"u1","name":"n"},"text":"rude"}');
    await client.command('EVAL', script, '0', 'd1', '', `"type":"deleted","target":"${id}","by":"owner"}`);
    await waitFor('the mark', async () => (await sql("SELECT COUNT(*) FROM comments WHERE broadcast_id = 'd1' AND deleted = 1 AND text = 'rude'")) === '1', 10000, 100);
    assert.equal(await sql("SELECT COUNT(*) FROM comments WHERE broadcast_id = 'd1'"), '2');
    client.close();
});
