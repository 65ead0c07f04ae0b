// Comments from real viewers through chat and archive into MySQL, while each of the four is killed: every acknowledged one is there once, viewers miss and repeat nothing.
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { ChatRig, secret } from '../lib/chat.mjs';
import { atEnd, sleep, waitFor } from '../lib/fixture.mjs';

const rig = new ChatRig();
let archive;
const chats = [];

before(async () => {
    await rig.start();
    atEnd(() => rig.stop());
    // What Redis has answered survives its SIGKILL.
    await rig.cli('CONFIG', 'SET', 'appendfsync', 'always');
    archive = new Supervised({ name: 'archive', command: binary('archive'), logFile: path.join(rig.dir, 'archive.log'),
        env: { ...process.env, HANABI_REDIS_URL: rig.redisUrl, HANABI_MYSQL_URL: rig.mysqlUrl, HANABI_INSTANCE: 'archive-0', HANABI_ADMIN_LISTEN: `127.0.0.1:${await freePort()}`,
            HANABI_ARCHIVE_LISTEN: `127.0.0.1:${await freePort()}`, HANABI_ARCHIVE_TAIL_MS: '120000', HANABI_STORE_URL: `file://${rig.dir}/store`, HANABI_JWT_SECRET: secret, HANABI_HLS_SECRET: secret,
            HANABI_SEAL_SECRET: secret } });
    archive.start();
    atEnd(() => archive.stop());
    for (let i = 0; i < 2; i += 1) {
        const chat = await rig.chat({ HANABI_CHAT_HISTORY: '2000', HANABI_CHAT_REAP_MS: '1500' });
        chat.process.options.restart = true;
        chat.wasKilled = true;
        chats.push(chat);
    }
});

/** A viewer that comes back by itself, sends again what was not answered, and remembers what it got. */
class Faithful {
    constructor(user, at) {
        Object.assign(this, { user, at, seen: [], acked: new Map(), isOver: false });
        this.done = this.run();
    }

    async connect() {
        for (;;) {
            this.at += 1;
            const viewer = rig.viewer(chats[this.at % 2], 'losses', { as: this.user, last: this.last });
            const onMessage = viewer.onMessage.bind(viewer);
            viewer.onMessage = (message) => {
                onMessage(message);
                for (const event of message.events ?? []) if (event.id) { this.seen.push(event.id); this.last = event.id; }
            };
            const isIn = await viewer.ready().then(() => true, () => false);
            if (isIn) return viewer;
            await viewer.close();
            await sleep(150);
        }
    }

    async run() {
        let viewer = await this.connect();
        for (let i = 0; !this.isOver; i += 1) {
            const text = `${this.user} says ${i} 花火`;
            for (;;) {
                if (viewer.closeCode) viewer = await this.connect();
                viewer.answers.clear();
                viewer.socket.send(JSON.stringify({ type: 'comment', ref: `n${i}`, text }));
                const answer = await waitFor('an answer', () => viewer.answers.get(`n${i}`) ?? viewer.closeCode, 15000, 3);
                if (answer.type === 'ack') { this.acked.set(text, answer.id); break; }
                await sleep(100);
            }
            await sleep(10);
        }
        this.viewer = viewer;
    }
}

test('chat, Redis, archive and MariaDB are killed under load', { timeout: 180000 }, async (t) => {
    await rig.broadcast('losses');
    const viewers = Array.from({ length: 8 }, (_, i) => new Faithful(`v${i}`, i));
    await waitFor('some talk', () => viewers.every((viewer) => viewer.acked.size > 20), 20000);
    const goesOn = async (what) => {
        const counts = viewers.map((viewer) => viewer.acked.size);
        await waitFor(`talk goes on after ${what}`, () => viewers.every((viewer, i) => viewer.acked.size > counts[i] + 40), 30000);
    };
    archive.kill();
    await goesOn('archive');
    await rig.mariadb.stop('SIGKILL');
    await goesOn('MariaDB');
    chats[0].process.kill();
    await goesOn('chat without MariaDB');
    rig.mariadb.start();
    await rig.redis.stop('SIGKILL');
    await sleep(200);
    rig.redis.start();
    await waitForPort(rig.redisPort);
    await goesOn('Redis');
    chats[1].process.kill();
    archive.kill();
    await goesOn('chat and archive');
    for (const viewer of viewers) viewer.isOver = true;
    await Promise.all(viewers.map((viewer) => viewer.done));
    const acknowledged = new Map(viewers.flatMap((viewer) => [...viewer.acked]));
    const rows = await waitFor('all are in MySQL', async () => {
        const lines = (await rig.sql("SELECT text, CONCAT(at_ms, '-', sequence) FROM comments WHERE broadcast_id = 'losses' ORDER BY at_ms, sequence")).split('\n').map((line) => line.split('\t'));
        const found = new Map(lines);
        const absent = [...acknowledged].filter(([text, id]) => found.get(text) !== id);
        if (absent.length > 0) throw new Error(`${absent.length} are not, the first is ${absent[0]}`);
        return lines;
    }, 30000, 500);
    assert.equal(new Set(rows.map(([text]) => text)).size, rows.length, 'each once, those that were sent again too');
    const ids = rows.map(([, id]) => id);
    await waitFor('all have the last', () => viewers.every((viewer) => viewer.last === ids.at(-1)), 10000).catch(() => {});
    for (const viewer of viewers) {
        const from = ids.indexOf(viewer.seen[0]);
        assert.deepEqual(viewer.seen, ids.slice(from), `${viewer.user} misses and repeats nothing`);
    }
    t.diagnostic(`${acknowledged.size} comments acknowledged, ${rows.length} in MySQL; each seen once by 8 viewers`);
});
