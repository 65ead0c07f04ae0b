// Outgoing webhooks with a real Redis and MariaDB and receivers that answer, fail, hang and redirect.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import { before, test } from 'node:test';
import { ApiRig } from '../lib/api_rig.mjs';
import { atEnd, sleep, waitFor } from '../lib/fixture.mjs';
import { goLive } from '../lib/redis_client.mjs';

let rig;
let receiver;
let owner;
let operator;
const got = []; // {path, headers, body}
const behaviour = {}; // path -> function(response, how often this delivery came)

before(async () => {
    receiver = http.createServer((request, response) => {
        let body = '';
        request.on('data', (data) => { body += data; }).on('end', () => {
            const seen = got.filter((one) => one.path === request.url && one.headers['x-hanabi-delivery'] === request.headers['x-hanabi-delivery']).length;
            got.push({ path: request.url, headers: request.headers, body, at: Date.now() });
            (behaviour[request.url] ?? ((answer) => answer.end()))(response, seen);
        });
    });
    await new Promise((resolve) => { receiver.listen(0, '127.0.0.1', resolve); });
    atEnd(() => { receiver.closeAllConnections(); receiver.close(); });
    rig = await ApiRig.start({ env: { 'live-api': { HANABI_WEBHOOK_PRIVATE: 'true', HANABI_WEBHOOK_TIMEOUT_MS: '700', HANABI_WEBHOOK_RETRY_MS: '60', HANABI_WEBHOOK_ATTEMPTS: '4',
        HANABI_WEBHOOK_QUEUE: '3', HANABI_PUBLIC_URL: 'https://hanabi.example' } } });
    [owner, operator] = [await rig.session('花子'), await rig.session('op', 'operator')];
});

const call = (...args) => rig.call(...args);
const url = (path) => `http://127.0.0.1:${receiver.address().port}${path}`;
const register = async (path, { as = owner.token, ...more } = {}) => {
    const answer = await call('POST', '/webhooks', { as, body: { url: url(path), ...more } });
    assert.equal(answer.status, 201, JSON.stringify(answer.json));
    return answer.json;
};
const remove = (id, as = owner.token) => call('DELETE', `/webhooks/${id}`, { as });
const deliveries = async (id, as = owner.token) => (await call('GET', `/webhooks/${id}/deliveries`, { as })).json.deliveries;
const at = (path) => got.filter((one) => one.path === path);
const start = async (title = 'called', as = owner.token) => {
    const { id } = (await call('POST', '/broadcasts', { as, body: { title } })).json;
    await goLive(rig.redis, id);
    return id;
};

test('live and ended arrive, signed, each with an id; an operator hears of everybody, others of their own only', async () => {
    const own = await register('/own', { secret: 'a secret of sixteen' });
    const all = await register('/all', { as: operator.token, scope: 'all', events: ['broadcast.ended'] });
    const stranger = await rig.session('stranger');
    const other = await register('/other', { as: stranger.token });
    const id = await start('花火');
    await waitFor('live', () => at('/own').length === 1, 5000);
    await call('POST', `/broadcasts/${id}/end`, { as: owner.token });
    await waitFor('ended', () => at('/own').length === 2 && at('/all').length === 1, 5000);
    const [live, ended] = at('/own');
    const said = JSON.parse(live.body);
    assert.deepEqual([said.event, said.broadcast], ['broadcast.live', { id, title: '花火', state: 'live', owner: { id: owner.user_id, name: '花子' }, watch_url: `https://hanabi.example/watch/${id}` }]);
    for (const one of [live, ended]) {
        const signature = crypto.createHmac('sha256', 'a secret of sixteen').update(`${one.headers['x-hanabi-timestamp']}.${one.body}`).digest('hex');
        assert.equal(one.headers['x-hanabi-signature'], `v1=${signature}`);
        assert.equal(one.headers['x-hanabi-event'], JSON.parse(one.body).event);
        assert.ok(Math.abs(Number(one.headers['x-hanabi-timestamp']) - Date.now() / 1000) < 10);
    }
    assert.notEqual(live.headers['x-hanabi-delivery'], ended.headers['x-hanabi-delivery']);
    assert.equal(at('/other').length, 0);
    const [stored] = await rig.sql(`SELECT HEX(secret_sealed), url FROM webhooks WHERE id = '${own.id}'`);
    assert.ok(!Buffer.from(stored[0], 'hex').includes('a secret of'), 'the secret lies sealed');
    await waitFor('both are noted', async () => (await deliveries(own.id)).every((one) => one.state === 'delivered' && one.status === 200), 3000);
    for (const [one, as] of [[own, owner.token], [all, operator.token], [other, stranger.token]]) assert.equal((await remove(one.id, as)).status, 200);
});

test('a receiver that fails, hangs or redirects: tried again with the same id, later and later, up to the limit; the others do not wait', { timeout: 30000 }, async () => {
    behaviour['/flaky'] = (answer, seen) => { answer.statusCode = seen < 2 ? 500 : 204; answer.end(); };
    behaviour['/hangs'] = () => {};
    behaviour['/redirects'] = (answer) => { answer.writeHead(302, { Location: url('/target') }).end(); };
    const hooks = {};
    for (const path of ['/flaky', '/hangs', '/redirects', '/good']) hooks[path] = await register(path, { events: ['broadcast.live'] });
    const began = Date.now();
    await start('retried');
    await waitFor('the good one', () => at('/good').length === 1, 5000);
    assert.ok(Date.now() - began < 3000);
    await waitFor('the flaky one', async () => (await deliveries(hooks['/flaky'].id))[0].state === 'delivered', 8000);
    assert.equal(new Set(at('/flaky').map((one) => one.headers['x-hanabi-delivery'])).size, 1);
    assert.equal((await deliveries(hooks['/flaky'].id))[0].attempts, 3);
    for (const path of ['/hangs', '/redirects']) await waitFor(`${path} is given up`, async () => (await deliveries(hooks[path].id))[0].state === 'failed', 12000);
    assert.deepEqual([at('/hangs').length, at('/redirects').length, at('/target').length], [4, 4, 0]);
    const [hung, redirected] = [(await deliveries(hooks['/hangs'].id))[0], (await deliveries(hooks['/redirects'].id))[0]];
    assert.deepEqual([hung.status, redirected.status, redirected.error], [0, 302, 'redirects are not followed']);
    assert.match(hung.error, /time/i);
    for (const hook of Object.values(hooks)) await remove(hook.id);
});

test('the status decides: a long answer, or one that never ends, is delivered once; a long failure is a failure with its status', { timeout: 30000 }, async () => {
    behaviour['/long'] = (answer) => { answer.end(Buffer.alloc(1 << 20, 'x')); };
    behaviour['/endless'] = (answer) => {
        const drip = setInterval(() => answer.write('x'), 50);
        answer.on('close', () => clearInterval(drip));
    };
    behaviour['/long-failure'] = (answer) => { answer.statusCode = 500; answer.end(Buffer.alloc(1 << 20, 'x')); };
    const hooks = {};
    for (const path of ['/long', '/endless', '/long-failure']) hooks[path] = await register(path, { events: ['broadcast.live'] });
    await start('talkative');
    for (const path of ['/long', '/endless']) {
        const done = await waitFor(`${path} is settled`, async () => { const [one] = await deliveries(hooks[path].id); return one?.attempts > 0 && one.state !== 'pending' && one; }, 8000);
        assert.deepEqual([done.state, done.status, done.attempts, done.error], ['delivered', 200, 1, null], path);
    }
    const failed = await waitFor('/long-failure is given up', async () => { const [one] = await deliveries(hooks['/long-failure'].id); return one.state === 'failed' && one; }, 12000);
    assert.deepEqual([failed.status, failed.error], [500, 'the answer was no success']);
    assert.deepEqual(['/long', '/endless', '/long-failure'].map((path) => at(path).length), [1, 1, 4]);
    for (const hook of Object.values(hooks)) await remove(hook.id);
});

test('live-api is killed while it sends: everything arrives, at least once', { timeout: 40000 }, async () => {
    behaviour['/slow'] = (answer) => { setTimeout(() => answer.end(), 100); };
    const hooks = [await register('/slow', { events: ['broadcast.live'] })];
    const ids = [];
    for (let i = 0; i < 3; i += 1) ids.push(await start(`killed ${i}`));
    await waitFor('the first is on its way', () => at('/slow').length > 0, 5000);
    rig.api.kill('SIGKILL');
    await rig.api.stop('SIGKILL');
    rig.api.start();
    await rig.ready(rig.api);
    await waitFor('all arrive', () => new Set(at('/slow').map((one) => JSON.parse(one.body).broadcast.id)).size === 3, 25000);
    for (const hook of hooks) await remove(hook.id);
});

test('the queue is bounded, and what only fails is disabled', { timeout: 30000 }, async () => {
    behaviour['/down'] = (answer) => { answer.statusCode = 503; answer.end(); };
    const hook = await register('/down', { events: ['broadcast.live'] });
    await rig.sql(`UPDATE webhooks SET busy_until_ms = 99999999999999 WHERE id = '${hook.id}'`);
    for (let i = 0; i < 5; i += 1) await start(`queued ${i}`);
    const mine = async () => (await call('GET', '/webhooks', { as: owner.token })).json.webhooks.find((one) => one.id === hook.id);
    await waitFor('three wait, two were dropped', async () => { const one = await mine(); return one.pending === 3 && one.dropped === 2; }, 5000);
    await rig.sql(`UPDATE webhooks SET busy_until_ms = 0, failing_since_ms = 1 WHERE id = '${hook.id}'`);
    await waitFor('it is disabled', async () => (await mine()).disabled_at_ms > 0, 5000);
    await waitFor('nothing waits any more', async () => (await mine()).pending === 0, 3000);
    const count = at('/down').length;
    await start('after');
    await sleep(1200);
    assert.equal(at('/down').length, count);
    await remove(hook.id);
});

test('addresses that only we can reach are refused: as literals at once, as names at the delivery', { timeout: 20000 }, async () => {
    rig.env['live-api'].HANABI_WEBHOOK_PRIVATE = 'false';
    const strict = await rig.addApi();
    const post = (target, body = {}) => call('POST', '/webhooks', { as: owner.token, api: strict, body: { url: target, ...body } });
    for (const target of ['http://127.0.0.1/', 'http://127.1/', 'http://0x7f000001/', 'http://2130706433/', 'http://10.0.0.1/', 'http://192.168.1.1/', 'http://172.16.0.1/', 'http://169.254.169.254/latest', 'http://0.0.0.0/',
        'http://[::1]/', 'http://[::ffff:10.0.0.1]/', 'http://[fe80::1]/', 'http://[fc00::1]/', 'http://localhost/', 'ftp://example.com/', 'file:///etc/passwd', 'http://user:pass@example.com/', 'nonsense', '', `https://e.com/${'x'.repeat(600)}`])
        assert.equal((await post(target)).status, 400, target);
    assert.equal((await post('https://example.com/', { secret: 'short' })).status, 400);
    assert.equal((await post('https://example.com/', { events: ['x'] })).status, 400);
    assert.equal((await post('https://example.com/', { scope: 'all' })).status, 403);
    // A name that leads to loopback: taken by the open one, and refused by the strict one when it would connect.
    const hook = await register('/inside', { events: ['broadcast.live'] });
    await rig.sql(`UPDATE webhooks SET url = REPLACE(url, '127.0.0.1', 'localhost') WHERE id = '${hook.id}'`);
    await rig.api.stop();
    await call('POST', '/broadcasts', { as: owner.token, api: strict, body: { title: 'inside' } }).then(({ json }) => goLive(rig.redis, json.id));
    await waitFor('it has been tried', async () => (await call('GET', `/webhooks/${hook.id}/deliveries`, { as: owner.token, api: strict })).json.deliveries[0]?.error, 8000);
    const [delivery] = (await call('GET', `/webhooks/${hook.id}/deliveries`, { as: owner.token, api: strict })).json.deliveries;
    assert.deepEqual([delivery.status, delivery.error, at('/inside').length], [0, 'its address is not public', 0]);
    rig.api = strict;
});

test('the API: own ones only, a limit, and what there is not', async () => {
    const stranger = await rig.session('stranger');
    const ids = [];
    for (let i = 0; i < 10; i += 1) ids.push((await call('POST', '/webhooks', { as: stranger.token, body: { url: 'https://example.com/hook' } })).json);
    assert.match(ids[0].secret, /^[0-9a-f]{32}$/);
    assert.equal((await call('POST', '/webhooks', { as: stranger.token, body: { url: 'https://example.com/hook' } })).status, 409);
    const { webhooks } = (await call('GET', '/webhooks', { as: stranger.token })).json;
    assert.deepEqual([webhooks.length, webhooks[0].secret, webhooks[0].events], [10, undefined, ['broadcast.live', 'broadcast.ended', 'broadcast.archived']]);
    for (const path of [`/webhooks/${ids[0].id}`, '/webhooks/nobody']) assert.equal((await call('DELETE', path, { as: owner.token })).status, 404);
    assert.equal((await call('GET', `/webhooks/${ids[0].id}/deliveries`, { as: owner.token })).status, 404);
    for (const [method, path] of [['GET', '/webhooks'], ['POST', '/webhooks'], ['DELETE', '/webhooks/x'], ['GET', '/webhooks/x/deliveries']]) assert.equal((await call(method, path)).status, 401);
});
