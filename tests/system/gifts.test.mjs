// Gifts and wallets: what is bought once is paid once and shown once, whatever dies meanwhile. Real MariaDB and Redis, two live-api, a chat process.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { before, test } from 'node:test';
import { ApiRig, secrets, token } from '../lib/api_rig.mjs';
import { Viewer } from '../lib/chat.mjs';
import { atEnd, sleep, waitFor } from '../lib/fixture.mjs';
import { RedisClient, goLive, keys } from '../lib/redis_client.mjs';

const paymentSecret = 'payment-secret-of-the-tests';
let rig;
let apis;
let chat;
before(async () => {
    rig = await ApiRig.start({ durable: true, env: { 'live-api': { HANABI_PAYMENT_SECRET: paymentSecret } } });
    apis = [rig.api, await rig.addApi()];
    chat = await rig.add('chat', 'HANABI_CHAT_LISTEN', { HANABI_MYSQL_URL: rig.data.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt, HANABI_CHAT_PRESENCE_MS: '200' });
    await rig.ready(chat);
});

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const uuid = () => crypto.randomUUID();

async function user(name, coins = 0) {
    const one = await rig.session(name);
    if (coins) assert.equal((await rig.call('POST', '/wallet/topups', { as: one.token, body: { coins } })).status, 201);
    return { name, id: one.user_id, as: one.token, coins };
}

async function onAir(title = 'on air') {
    const owner = await rig.session('Host');
    const { json } = await rig.call('POST', '/broadcasts', { as: owner.token, body: { title } });
    await goLive(rig.redis, json.id);
    return { id: json.id, owner };
}

async function viewer(id) {
    const one = new Viewer(chat.port, id);
    atEnd(() => one.close());
    return one.ready();
}

const buy = (as, body, api = pick(apis)) => rig.call('POST', '/purchases', { as, api, body: { item_id: 'sparkler', idempotency_key: uuid(), ...body } });
const coinsOf = async (as) => (await rig.call('GET', '/wallet', { as })).json.coins;

/** The gifts in the log of a broadcast, as viewers get them. */
async function logOf(id) {
    const entries = await rig.redis.command('XRANGE', keys.KEY_CHAT_LOG + id, '-', '+');
    return entries.map(([at, fields]) => ({ at, ...JSON.parse(`{${fields[3]}`) })).filter((event) => event.type === 'gift');
}

test('a gift is bought, paid, shown to a viewer and listed; the same key is the same purchase', async () => {
    const { id, owner } = await onAir();
    const watching = await viewer(id);
    const giver = await user('Hanako', 1000);
    const { json: { items } } = await rig.call('GET', '/items');
    assert.ok(items.length >= 5 && items.every((item) => item.id && item.name && item.price > 0));
    const chime = items.find((item) => item.id === 'wind-chime');
    const body = { item_id: 'wind-chime', broadcast_id: id, idempotency_key: uuid(), message: '頑張って！' };

    const made = await buy(giver.as, body, apis[0]);
    assert.equal(made.status, 201);
    assert.deepEqual(made.json.item, chime);
    assert.equal(await coinsOf(giver.as), 1000 - chime.price);
    const again = await buy(giver.as, body, apis[1]);
    assert.equal(again.status, 200);
    assert.deepEqual(again.json, made.json);
    for (const other of [{ ...body, item_id: 'sparkler' }, { ...body, message: 'other' }, { ...body, message: undefined }, { ...body, broadcast_id: (await onAir()).id }]) {
        const refused = await buy(giver.as, other);
        assert.equal(refused.status, 409);
        assert.equal(refused.json.error.code, 'idempotency_key_used');
    }
    // The key is the buyer's own: somebody else's is another.
    const second = await user('Jiro', 100);
    assert.equal((await buy(second.as, { ...body, message: undefined })).status, 201);

    const [shown] = await waitFor('two gifts', () => watching.of('gift').length === 2 && watching.of('gift'), 5000);
    assert.deepEqual([shown.user, shown.item, shown.message, shown.purchase], [{ id: giver.id, name: 'Hanako' }, chime, '頑張って！', made.json.id]);
    assert.equal(shown.at_ms, Number(shown.id.split('-')[0]));

    const ranking = await rig.call('GET', `/broadcasts/${id}/supporters?limit=1`);
    assert.deepEqual(ranking.json, { coins: 200, ranking: [{ user_id: giver.id, name: 'Hanako', coins: 100, gifts: 1 }].filter((one) => one.user_id === ranking.json.ranking[0].user_id)
        .concat(ranking.json.ranking[0].user_id === second.id ? [{ user_id: second.id, name: 'Jiro', coins: 100, gifts: 1 }] : []) });
    // The owner's list, in pages, and nobody else's.
    const first = await rig.call('GET', `/purchases?broadcast_id=${id}&limit=1`, { as: owner.token });
    const next = await rig.call('GET', `/purchases?broadcast_id=${id}&limit=1&cursor=${first.json.next}`, { as: owner.token });
    assert.deepEqual([first, next].map(({ json }) => json.purchases.length), [1, 1]);
    assert.equal(next.json.next, undefined);
    assert.notEqual(first.json.purchases[0].id, next.json.purchases[0].id);
    assert.equal((await rig.call('GET', `/purchases?broadcast_id=${id}`, { as: giver.as })).status, 403);
    assert.deepEqual((await rig.call('GET', '/purchases', { as: giver.as })).json.purchases.map((one) => one.id), [made.json.id]);
    const ledger = (await rig.call('GET', '/wallet/ledger', { as: giver.as })).json.entries;
    assert.deepEqual(ledger.map(({ kind, coins }) => [kind, coins]), [['purchase', -100], ['topup', 1000]]);
    // Of the two times 100 coins 70 each are the broadcaster's, and nothing is lost on the way.
    assert.deepEqual(await rig.sql(`SELECT SUM(coins) FROM ledger_entries WHERE account = 'revenue:${owner.user_id}'`), [['140']]);
    assert.deepEqual(await rig.sql('SELECT * FROM ledger_faults'), []);
});

test('what cannot be: no coins, no item, no broadcast, off air, bad words, no token', async () => {
    const { id, owner } = await onAir();
    const giver = await user('Poor', 9);
    const refusal = async (as, body) => { const { status, json } = await buy(as, { broadcast_id: id, ...body }); return [status, json.error.code]; };
    assert.deepEqual(await refusal(giver.as, {}), [402, 'too_few_coins']);
    assert.deepEqual(await refusal(token({ sub: 'nobody-yet' }), {}), [402, 'too_few_coins']);
    assert.deepEqual(await refusal(giver.as, { item_id: 'castle' }), [404, 'no_such_item']);
    assert.deepEqual(await refusal(giver.as, { broadcast_id: 'nowhere' }), [404, 'no_such_broadcast']);
    assert.deepEqual(await refusal(giver.as, { broadcast_id: '../x' }), [404, 'no_such_broadcast']);
    assert.deepEqual(await refusal(giver.as, { message: 'x'.repeat(201) }), [400, 'too_long']);
    assert.deepEqual(await refusal(giver.as, { message: ' \u3000 ' }), [400, 'invalid_value']);
    assert.deepEqual(await refusal(giver.as, { message: 'a\u0007b' }), [400, 'invalid_value']);
    assert.deepEqual(await refusal(giver.as, { idempotency_key: '' }), [400, 'invalid_value']);
    assert.deepEqual(await refusal(undefined, {}), [401, 'token_missing']);
    const later = (await rig.call('POST', '/broadcasts', { as: owner.token, body: { title: 'later' } })).json.id;
    assert.deepEqual(await refusal(giver.as, { broadcast_id: later }), [409, 'not_on_air']);
    assert.equal(await coinsOf(giver.as), 9);
    for (const coins of [0, -5, 1.5, 1000001, '7', null]) assert.equal((await rig.call('POST', '/wallet/topups', { as: giver.as, body: { coins } })).status, 400);

    // A suspended broadcast still takes gifts; an ended one does not, but still answers for what was bought.
    await rig.call('POST', '/wallet/topups', { as: giver.as, body: { coins: 100 } });
    const body = { broadcast_id: id, idempotency_key: uuid() };
    await rig.redis.script('session_close', id, (await rig.redis.hash(keys.KEY_BROADCAST + id)).session, 'publisher_gone');
    const made = await buy(giver.as, body);
    assert.equal(made.status, 201);
    // What chat does not let somebody say: words, a mute, a block.
    await rig.sql(`INSERT INTO settings VALUES ('words', '${owner.user_id}', '', '{"words":["Spoiler"]}', 900001, 'test', 0)`);
    assert.deepEqual(await refusal(giver.as, { message: 'a sPOILEr!' }), [403, 'blocked']);
    await rig.sql(`INSERT INTO settings VALUES ('mute', '${id}', '${giver.id}', '{"until_ms":0}', 900002, 'test', 0)`);
    assert.deepEqual(await refusal(giver.as, {}), [403, 'muted']);
    await rig.sql("UPDATE settings SET value = NULL WHERE kind = 'mute'");
    await rig.sql(`INSERT INTO settings VALUES ('block', '${owner.user_id}', '${giver.id}', '{}', 900003, 'test', 0)`);
    assert.deepEqual(await refusal(giver.as, {}), [403, 'blocked']);
    assert.equal((await rig.call('POST', `/broadcasts/${id}/end`, { as: owner.token })).status, 200);
    assert.deepEqual(await refusal(giver.as, {}), [409, 'not_on_air']);
    const again = await buy(giver.as, body);
    assert.deepEqual([again.status, again.json], [200, made.json]);
    assert.equal(await coinsOf(giver.as), 99);
});

test('the last coin is spent once, and racing the same key buys once', async () => {
    const { id } = await onAir();
    for (let round = 0; round < 10; round += 1) {
        const racer = await user('Racer', 10);
        const answers = await Promise.all([0, 1, 0, 1].map((index) => buy(racer.as, { broadcast_id: id }, apis[index])));
        assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 402, 402, 402]);
        const twin = await user('Twin', 10);
        const idempotency_key = uuid();
        const same = await Promise.all([0, 1, 0, 1].map((index) => buy(twin.as, { broadcast_id: id, idempotency_key }, apis[index])));
        assert.deepEqual(same.map(({ status }) => status).sort(), [200, 200, 200, 201]);
        assert.equal(new Set(same.map(({ json }) => json.id)).size, 1);
        assert.deepEqual(await Promise.all([coinsOf(racer.as), coinsOf(twin.as)]), [0, 0]);
    }
});

test('a payment counts once, and only with a fresh signature of ours', async () => {
    const payer = await user('Payer');
    const send = (body, { at = Math.floor(Date.now() / 1000), secret = paymentSecret, signed = body, headers } = {}) => {
        const raw = JSON.stringify(body);
        const signature = `v1=${crypto.createHmac('sha256', secret).update(`${at}.${JSON.stringify(signed)}`).digest('hex')}`;
        return rig.call('POST', '/payments/webhook', { raw, api: pick(apis), headers: { 'X-Hanabi-Timestamp': String(at), 'X-Hanabi-Signature': signature, ...headers } });
    };
    const body = { payment_id: `pay-${uuid()}`, user_id: payer.id, coins: 500 };
    const codes = async (call) => { const { status, json } = await call; return [status, json.error?.code]; };
    assert.deepEqual(await codes(send(body, { secret: 'another' })), [401, 'signature_invalid']);
    assert.deepEqual(await codes(send(body, { signed: { ...body, coins: 5 } })), [401, 'signature_invalid']);
    assert.deepEqual(await codes(send(body, { headers: { 'X-Hanabi-Signature': '' } })), [401, 'signature_invalid']);
    assert.deepEqual(await codes(send(body, { headers: { 'X-Hanabi-Timestamp': '1' } })), [401, 'signature_invalid']);
    for (const off of [-400, 400]) assert.deepEqual(await codes(send(body, { at: Math.floor(Date.now() / 1000) + off })), [401, 'signature_expired']);
    assert.equal(await coinsOf(payer.as), 0);
    const answers = await Promise.all([send(body), send(body), send(body)]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 201]);
    assert.deepEqual(await codes(send({ ...body, coins: 501 })), [409, 'payment_id_used']);
    assert.deepEqual(await codes(send({ ...body, coins: 0 })), [400, 'invalid_value']);
    assert.equal(await coinsOf(payer.as), 500);
    const strict = await rig.addApi({ HANABI_LOCAL_MODE: 'false' });
    assert.equal((await rig.call('POST', '/wallet/topups', { as: payer.as, api: strict, body: { coins: 1 } })).status, 403);
    assert.equal((await rig.call('POST', '/payments/webhook', { api: strict, body })).status, 401);
    await strict.stop();
});

/** The same as rows that archive has moved. */
async function rowsOf(id) {
    return (await rig.sql(`SELECT JSON_VALUE(event, '$.purchase') FROM comments WHERE broadcast_id = '${id}' AND type = 'gift' AND room IS NULL`)).flat();
}

// Everything that the log, the viewers, the rows and the answers say, held against each other.
async function checkAgreement(broadcasts, givers, answered, viewers) {
    await waitFor('an empty outbox', async () => (await rig.sql('SELECT COUNT(*) FROM outbox'))[0][0] === '0', 20000, 100);
    assert.deepEqual(await rig.sql('SELECT * FROM ledger_faults'), []);
    for (const [index, { id }] of broadcasts.entries()) {
        const bought = answered.filter((one) => one.broadcast_id === id);
        const expected = bought.map((one) => one.id).sort();
        assert.deepEqual((await logOf(id)).map((event) => event.purchase).sort(), expected, 'the log');
        assert.deepEqual((await rig.sql(`SELECT id FROM purchases WHERE broadcast_id = '${id}' ORDER BY id`)).flat(), expected, 'the rows');
        await waitFor('the viewer has all', () => viewers[index].of('gift').length >= expected.length, 10000);
        assert.deepEqual(viewers[index].of('gift').map((event) => event.purchase).sort(), expected, 'what a viewer saw');
        const { json } = await rig.call('GET', `/broadcasts/${id}/supporters?limit=100`);
        for (const giver of givers) {
            const own = bought.filter((one) => one.user_id === giver.id);
            const row = json.ranking.find((one) => one.user_id === giver.id);
            assert.deepEqual([row?.coins ?? 0, row?.gifts ?? 0], [own.reduce((sum, one) => sum + one.price, 0), own.length], 'the ranking');
        }
        assert.deepEqual(json.ranking.map((one) => one.coins), json.ranking.map((one) => one.coins).sort((a, b) => b - a));
        assert.equal(json.coins, bought.reduce((sum, one) => sum + one.price, 0));
    }
    for (const giver of givers) {
        const spent = answered.filter((one) => one.user_id === giver.id).reduce((sum, one) => sum + one.price, 0);
        assert.equal(await coinsOf(giver.as), giver.coins - spent, 'the wallet');
    }
}

test('clients that resend, while live-api, Redis and MariaDB are killed: all accounts agree', { timeout: 120000 }, async (t) => {
    const broadcasts = [await onAir('one'), await onAir('two')];
    const viewers = await Promise.all(broadcasts.map(({ id }) => viewer(id)));
    const givers = await Promise.all(Array.from({ length: 12 }, (_, n) => user(`Giver ${n}`, 400)));
    const answered = new Map(); // purchase id -> purchase
    let resends = 0;
    let refused = 0;
    let isOver = false;

    // One purchase, sent until it is answered for good, and sometimes once more: always the same purchase.
    async function purchase(giver, body) {
        let known = null;
        for (let tries = 0; tries < 400; tries += 1) {
            const answer = await buy(giver.as, body).catch(() => null);
            if (answer?.status === 402) {
                assert.equal(known, null, 'what was bought stays bought');
                refused += 1;
                return;
            }
            if (answer?.status === 200 || answer?.status === 201) {
                if (known) assert.deepEqual(answer.json, known);
                known = answer.json;
                answered.set(known.id, known);
                if (Math.random() < 0.6) return;
            } else if (answer) assert.equal(answer.status, 503);
            resends += 1;
            await sleep(answer ? 20 : 60);
        }
        throw new Error('never answered');
    }
    const clients = Promise.all(givers.map(async (giver) => {
        for (let n = 0; n < 18; n += 1) {
            await purchase(giver, { broadcast_id: pick(broadcasts).id, item_id: pick(['sparkler', 'sparkler', 'sakura']), idempotency_key: uuid(), ...(n % 3 ? {} : { message: `gift ${n}` }) });
            await sleep(Math.random() * 300);
        }
    })).finally(() => { isOver = true; });

    const kills = { api: 0, redis: 0, mariadb: 0 };
    const began = Date.now();
    for (let round = 0; !isOver || kills.mariadb < 2; round += 1) {
        await sleep(150 + Math.random() * 350);
        if (round % 6 === 2) {
            await rig.data.redis.stop('SIGKILL');
            await sleep(Math.random() * 200);
            rig.data.redis.start();
            kills.redis += 1;
        } else if (round % 6 === 5) {
            await rig.data.mariadb.stop('SIGKILL');
            rig.data.mariadb.start();
            kills.mariadb += 1;
        } else {
            const api = pick(apis);
            await api.stop('SIGKILL');
            api.start();
            kills.api += 1;
        }
        if (Date.now() - began > 60000) break;
    }
    await clients;
    rig.redis.close();
    rig.redis = await waitFor('Redis', async () => { const one = new RedisClient(rig.data.redisPort); await one.command('PING'); return one; }, 10000, 100);
    for (const service of [...apis, chat]) await rig.ready(service, 20000);
    await checkAgreement(broadcasts, givers, [...answered.values()], viewers);
    t.diagnostic(`${answered.size} purchases, ${resends} resends, ${refused} refused; killed: ${JSON.stringify(kills)}`);
    assert.ok(answered.size > 50 && resends > 20);
    // What archive moves to MySQL is the same again.
    const archive = await rig.add('archive', 'HANABI_ARCHIVE_LISTEN', { HANABI_MYSQL_URL: rig.data.mysqlUrl, HANABI_JWT_SECRET: secrets.jwt, HANABI_HLS_SECRET: secrets.hls,
        HANABI_SEAL_SECRET: secrets.seal, HANABI_STORE_URL: `file://${rig.dir}/store` });
    for (const { id } of broadcasts) {
        const expected = [...answered.values()].filter((one) => one.broadcast_id === id).map((one) => one.id).sort();
        await waitFor('all gifts in MySQL', async () => (await rowsOf(id)).length >= expected.length, 10000, 100);
        assert.deepEqual((await rowsOf(id)).sort(), expected);
    }
    await archive.stop();
    const operator = await rig.session('Auditor', 'operator');
    assert.deepEqual((await rig.call('GET', '/ledger/audit', { as: operator.token })).json, { balanced: true, faults: [] });
    assert.equal((await rig.call('GET', '/ledger/audit', { as: givers[0].as })).status, 403);
});

test('a process that hung with a gift in its hands wakes when another has delivered it: it is shown once', { timeout: 60000 }, async () => {
    const { id } = await onAir('hung');
    const [hung, other] = apis;
    const waiting = async () => (await rig.sql(`SELECT attempts FROM outbox WHERE subject = '${id}'`)).flat();
    other.pause();
    rig.data.redis.pause();
    await rig.sql(`INSERT INTO outbox (kind, subject, payload, created_at_ms, due_at_ms) VALUES ('gift', '${id}', '{"type":"gift","purchase":"hung"}', 0, 0)`);
    await waitFor('it is taken', async () => (await waiting())[0] === '1', 5000, 5);
    hung.pause();
    rig.data.redis.resume();
    other.resume();
    await waitFor('another delivers it when the lease is over', async () => (await waiting()).length === 0, 20000, 100);
    await waitFor('its id is forgotten', async () => await rig.redis.command('EXISTS', keys.KEY_CHAT_DELIVERED + id) === 0, 2000);
    hung.resume();
    await rig.ready(hung);
    await sleep(500); // the answer that it was waiting for has been there for seconds
    assert.deepEqual((await logOf(id)).map((event) => event.purchase), ['hung']);
});

/** A door to MariaDB for one live-api, which it stops in the moment when that one has leased a gift and only has to hear that this is committed. */
async function doorToMariadb() {
    const door = net.createServer((inside) => {
        const outside = net.connect(rig.data.mysqlPort, '127.0.0.1');
        let hasLeased = false;
        inside.on('data', (bytes) => {
            hasLeased ||= bytes.includes('attempts = attempts + 1');
            if (door.victim && hasLeased && bytes.includes('COMMIT')) {
                door.victim.pause();
                door.victim = null;
            }
            outside.write(bytes);
        });
        outside.on('data', (bytes) => inside.write(bytes));
        for (const [one, other] of [[inside, outside], [outside, inside]]) one.on('close', () => other.destroy()).on('error', () => other.destroy());
    });
    await new Promise((resolve) => { door.listen(0, '127.0.0.1', resolve); });
    atEnd(() => door.close());
    return door;
}

test('a process that slept with a lease in its hands tries when that is long over: the script refuses it, the gift is shown once', { timeout: 60000 }, async () => {
    const { id } = await onAir('slept');
    const door = await doorToMariadb();
    const sleeper = await rig.addApi({ HANABI_MYSQL_URL: rig.data.mysqlUrl.replace(`:${rig.data.mysqlPort}/`, `:${door.address().port}/`) });
    for (const api of apis) api.pause();
    door.victim = sleeper;
    await rig.sql(`INSERT INTO outbox (kind, subject, payload, created_at_ms, due_at_ms) VALUES ('gift', '${id}', '{"type":"gift","purchase":"slept"}', 0, 0)`);
    await waitFor('it has the lease, and sleeps', () => door.victim === null, 5000, 5);
    for (const api of apis) api.resume();
    await waitFor('another delivers it when the lease is over', async () => (await rig.sql(`SELECT 1 FROM outbox WHERE subject = '${id}'`)).length === 0, 20000, 100);
    await waitFor('its id is forgotten', async () => await rig.redis.command('EXISTS', keys.KEY_CHAT_DELIVERED + id) === 0, 2000);
    sleeper.resume();
    const refusals = () => fs.readFileSync(sleeper.logFile, 'utf8').split('\n').filter((line) => line.includes('"gifts.delayed"')).map((line) => JSON.parse(line));
    await waitFor('it has tried', () => refusals().length > 0, 5000, 20);
    assert.deepEqual(refusals().map(({ count, why }) => [count, why]), [[1, 'the lease is over']]);
    assert.equal(await rig.redis.command('EXISTS', keys.KEY_CHAT_DELIVERED + id), 0, 'nothing would have stopped it but the lease');
    assert.deepEqual((await logOf(id)).map((event) => event.purchase), ['slept']);
    await sleeper.stop();
});
