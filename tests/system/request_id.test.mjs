// One request id from the socket to SQL: through the edge, the services' log lines, what they tell each other, and the database's own log.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Viewer } from '../lib/chat.mjs';
import { api, freshStack, newBroadcast, programmeFile, pushFile, run, waitFor } from '../lib/fixture.mjs';

let stack, session;
const ofEdge = /^[0-9a-f]{32}$/;
const sqlLog = () => fs.readFileSync(path.join(stack.runDir, 'sql.log'), 'utf8');
const lines = (name) => fs.readFileSync(stack.log(name), 'utf8').split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
/** The events of an instance's log lines with this id. */
const events = (name, id) => lines(name).filter((line) => line.request_id === id).map((line) => line.event);
const atEdge = async (id) => waitFor(`${id} at the edge`, () => lines('edge.access').find((line) => line.request_id === id), 5000);

before(async () => {
    stack = await freshStack({ services: { transcoder: 0, 'segment-uploader': 0, chat: 2 }, env: { all: { HANABI_LOG_LEVEL: 'debug' } } });
    await run('mariadb', ['-S', path.join(stack.runDir, 'mysql/data/mysqld.sock'), '-u', 'root', '-e',
        `SET GLOBAL general_log_file = '${path.join(stack.runDir, 'sql.log')}', general_log = ON`]);
    session = (await api(stack, 'POST', '/sessions', { body: { name: 'asker' } })).json;
});

test('a setting: edge, settings-sync, its transaction, and every chat process', async (t) => {
    const id = 'follow-this.setting_1';
    const answer = await api(stack, 'PUT', '/settings/decoration', { token: session.token, headers: { 'X-Request-Id': id }, body: { background: '#102030', frame: 'gold' } });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers.get('x-request-id'), id);
    assert.equal((await atEdge(id)).uri, '/api/v1/settings/decoration');
    const said = events('settings-sync-0', id);
    assert.ok(said.includes('setting.changed') && said.filter((event) => event === 'db.statement').length >= 2, said.join());
    for (const chat of ['chat-0', 'chat-1']) await waitFor(chat, () => events(chat, id).includes('setting.taken'), 5000);

    // In the database's own log the request's transaction stands between two marks, on one connection.
    const log = (await waitFor('the database has it', () => sqlLog().includes(`COMMIT /* request_id=${id} */`) && sqlLog())).split('\n').map((line) => line.trim());
    const begin = log.findIndex((line) => line.endsWith(`START TRANSACTION /* request_id=${id} */`)), end = log.findIndex((line) => line.endsWith(`COMMIT /* request_id=${id} */`));
    const connection = log[begin].match(/(\d+) Query/)[1];
    const between = log.slice(begin, end).filter((line) => line.match(/(\d+) (Query|Execute)/)?.[1] === connection);
    assert.ok(between.some((line) => /INSERT INTO settings/.test(line)), between.join('\n'));
    t.diagnostic(`edge 1, settings-sync ${said.length}, chat 1 each, SQL ${between.length + 1} lines`);
});

test('what opens a private recording is in no log of the edge', async () => {
    for (const [id, asked, logged] of [['link-of-a-recording', '/archive/x?from=1&token=sealed.secret&at=2', '/archive/x?from=1&token=-&at=2'], ['asked-for-a-recording', '/api/v1/archives/x?token=sealed.secret', '/api/v1/archives/x?token=-'],
        ['signed-folder', '/hls/1795888800/tCbH_Hdn_PrUzMT-LJ08yQ/live/x/720p/1-1.ts', '/hls/1795888800/-/live/x/720p/1-1.ts']]) {
        await (await fetch(`${stack.origin}${asked}`, { headers: { 'X-Request-Id': id } })).arrayBuffer();
        assert.equal((await atEdge(id)).uri, logged);
    }
});

test('a broadcast: live-api, Redis on the way, and SQL; an id of the edge where none is brought, or none that is any good', async () => {
    const made = await api(stack, 'POST', '/broadcasts', { token: session.token, body: { title: 'followed' } });
    assert.equal(made.status, 201);
    const id = made.headers.get('x-request-id');
    assert.match(id, ofEdge);
    assert.equal((await atEdge(id)).status, 201);
    // "broadcast.created" is said when Redis has answered, after MySQL.
    const said = events('live-api-0', id);
    assert.ok(said.includes('broadcast.created') && said.includes('db.statement'), said.join());

    for (const bad of ['short', 'with space in it', '"}{"injected":1', 'x'.repeat(65)]) {
        const answer = await api(stack, 'GET', '/broadcasts?state=live', { headers: { 'X-Request-Id': bad } });
        assert.match(answer.headers.get('x-request-id'), ofEdge);
    }
});

test('a WebSocket: what is said over it, and what the log says of that', async () => {
    const broadcast = await newBroadcast(stack, 'followed chat');
    const id = 'follow-this.socket_1';
    const owner = await new Viewer(stack.ports.public, broadcast.id, { token: broadcast.token, headers: { 'X-Request-Id': id } }).ready();
    const said = await owner.say('hello');
    assert.equal(said.type, 'ack');
    assert.equal((await owner.send({ type: 'delete', id: said.id })).type, 'ack');
    const all = [...lines('chat-0'), ...lines('chat-1')].filter((line) => line.request_id === id);
    assert.ok(all.some((line) => line.event === 'chat.said' && line.id === said.id), JSON.stringify(all));
    assert.ok(all.some((line) => line.event === 'comment.deleted' && line.comment === said.id));
    owner.close();
});

test('the owner ends a broadcast: ingest says which request has sent the publisher away', async (t) => {
    const broadcast = await newBroadcast(stack, 'followed to its end');
    const pusher = pushFile(broadcast.pushUrl, await programmeFile(20, { size: '426x240' }));
    t.after(() => pusher.kill());
    await waitFor('the publisher', () => lines('ingest-0').find((line) => line.event === 'session.opened' && line.broadcast === broadcast.id), 10000);
    const id = 'follow-this.end_1';
    // Scheduled still, since no transcoder makes it live: ended all the same.
    assert.equal((await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token, headers: { 'X-Request-Id': id } })).status, 200);
    assert.ok(events('live-api-0', id).includes('broadcast.ended'));
    await waitFor('ingest', () => lines('ingest-0').find((line) => line.request_id === id && line.broadcast === broadcast.id), 5000);
    t.diagnostic(events('ingest-0', id).join());
});

test('a service that is away: the edge\'s own answer has the id, too', async () => {
    await stack.service('settings-sync').stop();
    const answer = await api(stack, 'GET', '/settings', { token: session.token, headers: { 'X-Request-Id': 'follow-this.away_1' } });
    assert.equal(answer.status, 503);
    assert.equal(answer.headers.get('x-request-id'), 'follow-this.away_1');

    // What nginx says about it holds the request, so it says nothing where that would be a viewer's token.
    for (const index of [0, 1]) await stack.service('chat', index).stop();
    assert.equal((await fetch(`${stack.origin}/chat/v1/broadcasts/x?token=${session.token}`)).status, 503);
    await waitFor('nginx has said something', () => fs.readFileSync(stack.log('nginx.error'), 'utf8').includes('/api/v1/settings'), 5000);
    assert.ok(!fs.readFileSync(stack.log('nginx.error'), 'utf8').includes(session.token));
});

test('lines that no request has caused carry none, and nobody carries two', () => {
    const all = ['live-api-0', 'settings-sync-0', 'chat-0', 'chat-1'].flatMap((name) => fs.readFileSync(stack.log(name), 'utf8').split('\n')).filter((line) => line.startsWith('{'));
    assert.ok(all.filter((line) => line.includes('"event":"service.started"')).every((line) => !line.includes('"request_id"')));
    assert.deepEqual(all.filter((line) => line.split('"request_id"').length > 2), []);
});
