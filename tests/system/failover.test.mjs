// A machine of the data layer dies during a broadcast: the state Redis' master, then MariaDB's primary. What was acknowledged is there afterwards, all of it
// and once; what viewers saw of it is printed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Crowd } from '../lib/crowd.mjs';
import { FailoverStack } from '../lib/failover_stack.mjs';
import { api, freshStack, newBroadcast, programmeFile, waitFor } from '../lib/fixture.mjs';
import { onAir } from '../lib/on_air.mjs';

const isLong = process.env.HANABI_LONG === 'yes';
let stack;
let file;
before(async () => {
    file = await programmeFile(120);
    stack = await freshStack({ kind: FailoverStack, services: { transcoder: 2, 'segment-uploader': 2, archive: 2, 'live-api': 2 } });
});

test('Sentinel failover and loss of the MariaDB primary during a broadcast', { timeout: 180000 }, async (t) => {
    const { broadcast, monitor } = await onAir(t, stack, file);
    const crowd = await Crowd.join(stack, broadcast, 6);
    t.after(() => crowd.close());
    crowd.start();
    await crowd.goesOn('at first');
    const segmentsGoOn = async () => {
        const newest = monitor.newest().segments.at(-1).sequence;
        await waitFor('new segments', () => monitor.newest().segments.at(-1).sequence >= newest + 2, 20000);
    };
    const outage = async (what) => {
        const began = Date.now();
        const before = crowd.counts;
        const back = await Promise.all(['comments', 'hearts', 'purchases'].map(async (kind, i) => {
            await waitFor(`${kind} after ${what}`, () => crowd.counts[i] > before[i] + 1, 30000);
            return `${kind} ${Date.now() - began} ms`;
        }));
        await segmentsGoOn();
        t.diagnostic(`${what}: acknowledged again: ${back.join(', ')}`);
    };

    const { sentinels } = stack;
    const masters = { 'was killed': (server) => server.kill(), ...(isLong ? { hangs: (server) => server.pause() } : {}) };
    for (const [what, strike] of Object.entries(masters)) {
        await sentinels.whole();
        strike(sentinels.servers[sentinels.master]);
        const elected = sentinels.elected();
        await outage(`the state Redis' master ${what}`);
        await elected;
        // The former one comes back as a replica, and answers wait for it again.
        await sentinels.swapped();
        await waitFor('answers wait for the new replica', async () => /hanabi_redis_unreplicated\{link="chat"\} 0/.test(await (await fetch(`${stack.adminUrl('chat')}/metrics`)).text()), 30000, 200);
    }

    stack.servers.mariadb.kill();
    const promoted = stack.promote(1);
    await outage('MariaDB\'s primary was killed, deploy/promote ran');
    await promoted;
    // The former primary is back, and takes nothing: whoever is on the new one stays, whoever connects anew goes there, too.
    stack.servers.mariadb.start();
    await stack.service('live-api', 0).stop();
    stack.service('live-api', 0).start();
    await stack.ready();
    await crowd.goesOn('beside the former primary');
    assert.equal(await stack.adminSql(0, 'SELECT @@global.read_only'), '1');

    await crowd.stop();
    assert.deepEqual(await crowd.judge((text) => stack.sql(text), { phantoms: true }), []);
    t.diagnostic(crowd.summary);
    assert.deepEqual(crowd.downs, [], 'no chat line broke');
    assert.deepEqual(crowd.viewers[0].of('state').filter(({ state }) => state !== 'live'), [], 'it was live all the time');
    assert.equal((await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token })).status, 200);
    await waitFor('ENDLIST', () => [...monitor.renditions.values()].every((rendition) => rendition.versions.at(-1).playlist.endList), 15000);
    await monitor.stop();
    assert.deepEqual(await monitor.judge({ ended: true }), []);
    assert.deepEqual([...[...monitor.renditions.values()][0].segments.values()].filter((segment) => segment.discontinuity), [], 'no seam');
    const needed = monitor.bufferNeeded();
    t.diagnostic(`video: a player with ${needed} ms in its buffer never stopped`);
    assert.ok(needed < 6000, 'players begin three target durations behind');
});

test('the former primary becomes a replica anew, and can be promoted in its turn', { timeout: 60000 }, async () => {
    await stack.servers.mariadb.stop('SIGKILL');
    await assert.rejects(stack.promote(0), /connect/i, 'a server that is gone');
    fs.rmSync(path.join(stack.runDir, 'mariadb'), { recursive: true });
    await stack.startMariadbServer(0);
    await assert.rejects(stack.promote(0), /follows nobody/, 'an empty server is not taken for a replica');
    await stack.follow(0);
    await assert.rejects(stack.follow(0), /has tables already/);
    const broadcast = await newBroadcast(stack, 'Written when it followed');
    await stack.servers.mariadb2.stop('SIGKILL');
    await stack.promote(0);
    assert.equal(await stack.sql(`SELECT title FROM broadcasts WHERE id = '${broadcast.id}'`), 'Written when it followed');
    await waitFor('the API writes there', async () => (await api(stack, 'POST', '/broadcasts', { token: broadcast.token, body: { title: 'After' } })).status === 201, 15000);
});
