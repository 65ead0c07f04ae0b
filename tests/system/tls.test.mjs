// TLS on all four links with a private CA (HTTPS and WSS at the edge, RTMPS at ingest, Redis, MariaDB; none of them answers without): a broadcast with
// chat goes over them, whoever is not vouched for is refused and says why, and certificates are replaced under load without a drop.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import tls from 'node:tls';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary, repo } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { bareEnv } from '../lib/config_table.mjs';
import { framesMove, launchBrowser } from '../lib/browser.mjs';
import { Viewer } from '../lib/chat.mjs';
import { HlsMonitor } from '../lib/hls_monitor.mjs';
import { Pusher, api, atEnd, freshStack, newBroadcast, programmeFile, run, sleep, waitFor, waitForState } from '../lib/fixture.mjs';
import { secureFetch } from '../lib/secure_fetch.mjs';

const VIEWERS = 6;
const COMMENT_EVERY_MS = 150;
let stack, dir, ca;

const at = (...names) => path.join(dir, ...names);
const makeCertificates = (folder) => run(path.join(repo, 'deploy/certificates'), [folder, 'localhost', '127.0.0.1']);
const sql = (text) => run('mariadb', ['-S', path.join(stack.runDir, 'mysql/data/mysqld.sock'), '-u', 'root', '-BNe', text]);
const redisCli = (port, ...args) => run('redis-cli', ['--tls', '--cacert', at('good/ca.pem'), '-h', '127.0.0.1', '-p', String(port), ...args]);

/** Where each link is, as `openssl s_client` is told. */
const links = () => ({
    edge: [stack.tls.port], ingest: [stack.tls.rtmpsPort], 'state redis': [stack.ports.state], 'media redis': [stack.ports.media],
    mariadb: [stack.ports.mysql, '-starttls', 'mysql'] });

/** The serial number of the certificate that a new hand-shake gets, checked against the CA and the address. */
async function serialOf([port, ...more]) {
    const { stdout } = await run('sh', ['-c', 'openssl s_client "$@" </dev/null 2>/dev/null | openssl x509 -noout -serial', 'sh', '-connect', `127.0.0.1:${port}`,
        '-CAfile', at('good/ca.pem'), '-verify_return_error', '-verify_ip', '127.0.0.1', ...more]);
    return stdout.trim();
}
const newSerial = async () => (await run('openssl', ['x509', '-in', at('good/cert.pem'), '-noout', '-serial'])).stdout.trim();

function push(broadcast, file, caFile = at('good/ca.pem')) {
    return new Pusher('ffmpeg', ['-hide_banner', '-loglevel', 'warning', '-re', '-i', file, '-c', 'copy', '-f', 'flv', '-tls_verify', '1', '-ca_file', caFile,
        `${stack.secureRtmpUrl}/${broadcast.stream_key}`]);
}

const logsOf = (event) => fs.readdirSync(path.join(stack.runDir, 'logs')).flatMap((file) => fs.readFileSync(path.join(stack.runDir, 'logs', file), 'utf8').split('\n')
    .filter((line) => line.includes(`"event":"${event}"`)).map((line) => `${file}: ${line}`));

before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-tls-'));
    atEnd(() => fs.rmSync(dir, { recursive: true, force: true }));
    await makeCertificates(at('good'));
    await makeCertificates(at('other'));
    ca = fs.readFileSync(at('good/ca.pem'));
    stack = await freshStack({ tls: { cert: at('good/cert.pem'), key: at('good/key.pem'), ca: at('good/ca.pem'), redirect: true, data: true },
        env: { transcoder: { HANABI_LADDER: '240p:350' }, chat: { HANABI_CHAT_RATE_BURST: '1000', HANABI_CHAT_RATE_PER_10S: '1000', HANABI_CHAT_ROOM_BUDGET: '0' } } });
    stack.fetch = secureFetch(ca);
});

test('plain HTTP says where to go; TLS is of today; WebSockets, Redis and MariaDB are not to be had without', async () => {
    const moved = await fetch(`http://127.0.0.1:${stack.ports.public}/watch/x?y=1`, { redirect: 'manual' });
    assert.equal(moved.status, 308);
    assert.equal(moved.headers.get('location'), `${stack.secureOrigin}/watch/x?y=1`);
    assert.equal((await stack.fetch(`${stack.secureOrigin}/`)).status, 200);

    const handshake = (options) => new Promise((resolve) => {
        const socket = tls.connect({ host: '127.0.0.1', port: stack.tls.port, ca, ...options }, () => { resolve(socket.alpnProtocol || socket.getProtocol()); socket.destroy(); });
        socket.on('error', (error) => resolve(error.code));
    });
    assert.equal(await handshake({ ALPNProtocols: ['h2', 'http/1.1'] }), 'h2');
    assert.equal(await handshake({}), 'TLSv1.3');
    assert.equal(await handshake({ maxVersion: 'TLSv1.2' }), 'TLSv1.2');
    assert.match(await handshake({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }), /^(ERR_SSL|ECONN|EPROTO)/);

    await assert.rejects(run('redis-cli', ['-h', '127.0.0.1', '-p', String(stack.ports.state), 'PING']), 'a Redis that is only to be had in TLS');
    await assert.rejects(run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(stack.ports.mysql), '-u', 'hanabi', '--skip-ssl', 'hanabi', '-e', 'SELECT 1'],
        { env: { ...process.env, MYSQL_PWD: stack.secrets.mysql } }), /secure.transport|Access denied/i);
});

test('whoever is not vouched for is refused, and the log says why', async (t) => {
    const viewer = new Viewer(stack.tls.port, 'x', { ca: fs.readFileSync(at('other/ca.pem')) });
    await viewer.closed;
    assert.match(viewer.error.message, /certificate/);

    const broadcast = await newBroadcast(stack, 'refused');
    const pusher = push(broadcast, await programmeFile(20, { size: '426x240' }), at('other/ca.pem'));
    assert.notEqual(await pusher.exited, 0);
    assert.match(pusher.stderr, /certificate/i);

    /** settings-sync with other URLs, until its log says `event`: the reason that it gives. */
    const refused = async (event, env) => {
        const logFile = at(`${event}.log`);
        const service = new Supervised({ name: event, command: binary('settings-sync'), logFile, restart: false, env: { ...bareEnv, HANABI_JWT_SECRET: 'x',
            HANABI_SETTINGS_LISTEN: '127.0.0.1:0', HANABI_ADMIN_LISTEN: `127.0.0.1:${await freePort()}`, HANABI_REDIS_URL: stack.redisUrl, HANABI_MYSQL_URL: stack.mysqlUrl, ...env } });
        service.start();
        const line = await waitFor(event, () => fs.readFileSync(logFile, 'utf8').split('\n').find((one) => one.includes(`"event":"${event}"`)));
        await service.stop();
        t.diagnostic(`${event}: ${JSON.parse(line).why}`);
        return JSON.parse(line).why;
    };
    const swap = (url) => url.replace(at('good/ca.pem'), at('other/ca.pem'));
    assert.match(await refused('redis.connect_failed', { HANABI_REDIS_URL: swap(stack.redisUrl) }), /^TLS: the server's certificate is refused: /);
    assert.match(await refused('db.connect_failed', { HANABI_MYSQL_URL: swap(stack.mysqlUrl) }), /certificate/);

    for (const [name, url] of [['HANABI_REDIS_URL', stack.redisUrl], ['HANABI_MYSQL_URL', stack.mysqlUrl]]) {
        const answer = await run(binary('settings-sync'), [], { env: { ...bareEnv, HANABI_JWT_SECRET: 'x', HANABI_REDIS_URL: stack.redisUrl, HANABI_MYSQL_URL: stack.mysqlUrl,
            [name]: url.replace(at('good/ca.pem'), at('missing.pem')) } }).catch((error) => error);
        assert.equal(answer.code, 2);
        assert.equal(answer.stderr.trim().split('\n').length, 1, answer.stderr);
        assert.ok(answer.stderr.startsWith(`settings-sync: ${name}: the CA file ${at('missing.pem')} cannot be used: No such file or directory`), answer.stderr);
    }
});

test('a certificate that cannot be used at the start is a sentence, and the end', async () => {
    fs.writeFileSync(at('empty.pem'), '');
    for (const [file, reason] of [['missing.pem', /missing\.pem: No such file or directory/], ['empty.pem', /empty\.pem: no start line/], ['other/key.pem', /key\.pem: key values mismatch/]]) {
        const isKey = file.endsWith('key.pem');
        const answer = await run(binary('ingest'), [], { env: { ...bareEnv, HANABI_REDIS_URL: stack.redisUrl, HANABI_MYSQL_URL: stack.mysqlUrl, HANABI_ADMIN_LISTEN: '127.0.0.1:0',
            HANABI_RTMP_LISTEN: '127.0.0.1:0', HANABI_RTMPS_LISTEN: '127.0.0.1:0', HANABI_TLS_CERT: isKey ? at('good/cert.pem') : at(file), HANABI_TLS_KEY: isKey ? at(file) : at('good/key.pem') } })
            .catch((error) => error);
        assert.ok(answer.code > 0, `${file}: ${answer.stderr}`);
        assert.match(JSON.parse(answer.stderr.split('\n').find((line) => line.includes('certificate.refused'))).why, reason);
    }
});

/** Viewers who talk all the time; stop() gives what they said and were told. */
async function crowd(broadcast) {
    const viewers = [];
    for (let i = 0; i < VIEWERS; i += 1) {
        const { token } = (await api(stack, 'POST', '/sessions', { body: { name: `viewer ${i}` } })).json;
        viewers.push(await new Viewer(stack.tls.port, broadcast.id, { token, ca }).ready());
    }
    const answers = [];
    let talking = true;
    const talk = (async () => {
        for (let i = 0; talking; i += 1) {
            answers.push(viewers[i % VIEWERS].say(`comment ${i}`));
            await sleep(COMMENT_EVERY_MS);
        }
    })();
    return { viewers, stop: async () => { talking = false; await talk; return Promise.all(answers); } };
}

/** The watch page in Chromium over HTTP/2, its picture moving and its chat open; `sockets` are its WebSockets. (Chromium has no place for a CA of ours: that
 *  is checked by everybody else here.) */
async function watchPage(broadcast) {
    const browser = await launchBrowser();
    atEnd(() => browser.close());
    const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage(), sockets = [];
    page.on('websocket', (socket) => sockets.push(socket));
    await page.goto(`${stack.secureOrigin}/watch/${broadcast.id}`);
    await page.locator('#chat[data-state="open"]').waitFor({ timeout: 15000 });
    await waitFor('a moving picture', () => framesMove(page), 20000);
    const protocols = await page.evaluate(() => [...new Set(performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol))]);
    assert.ok(protocols.includes('h2'), protocols.join());
    return { page, sockets };
}

test('certificates of all links are replaced under load: new hand-shakes get the new ones, nothing drops', { timeout: 120000 }, async (t) => {
    const broadcast = await newBroadcast(stack, 'swap');
    assert.ok(broadcast.playback.startsWith('https://'));
    const monitor = new HlsMonitor(broadcast.playback, { fetch: stack.fetch });
    monitor.start();
    const pusher = push(broadcast, await programmeFile(60, { size: '426x240' }));
    t.after(() => pusher.kill());
    await waitForState(stack, broadcast.id, 'live', 20000);
    const { viewers, stop } = await crowd(broadcast);
    const { page, sockets } = await watchPage(broadcast);
    await waitFor('segments', () => monitor.newest()?.segments.length >= 3, 20000);
    const from = Date.now(), lostBefore = logsOf('redis.lost').length + logsOf('db.lost').length;

    const old = await newSerial();
    for (const [name, link] of Object.entries(links())) assert.equal(await serialOf(link), old, name);
    await makeCertificates(at('good'));
    const swapped = Date.now();
    for (const port of [stack.ports.state, stack.ports.media]) await redisCli(port, 'CONFIG', 'SET', 'tls-cert-file', at('good/cert.pem'), 'tls-key-file', at('good/key.pem'));
    await sql('FLUSH SSL');
    const fresh = await newSerial();
    assert.notEqual(fresh, old);
    for (const [name, link] of Object.entries(links())) {
        await waitFor(`the new certificate of ${name}`, async () => await serialOf(link) === fresh, 12000, 200);
        t.diagnostic(`${name}: new certificate ${Date.now() - swapped} ms after it was put in place`);
    }
    await sleep(8000);

    const answers = await stop(), to = Date.now();
    await waitFor('the last comments', () => viewers.every((viewer) => viewer.comments.length >= answers.length), 5000);
    await monitor.stop();
    assert.deepEqual(await monitor.judge({ cadence: [[from, to]] }), []);
    assert.equal(pusher.child.exitCode, null, 'the publisher is still there');
    assert.deepEqual(viewers.map((viewer) => viewer.closeCode), viewers.map(() => undefined), 'chat sockets that were closed');
    assert.deepEqual(answers.filter((answer) => answer.type !== 'ack'), []);
    const said = answers.map((answer) => answer.id).sort();
    for (const viewer of viewers) assert.deepEqual(viewer.comments.map((comment) => comment.id).sort(), said, 'each acknowledged comment once, at every viewer');
    assert.equal(logsOf('redis.lost').length + logsOf('db.lost').length, lostBefore);
    assert.equal(logsOf('certificate.refused').length, 0);
    assert.ok(await framesMove(page), 'the picture in the browser moves');
    assert.deepEqual(sockets.map((socket) => [new URL(socket.url()).protocol, socket.isClosed()]), [['wss:', false]], 'the page has the WebSocket that it had');
    t.diagnostic(`${answers.length} comments by ${VIEWERS} viewers acknowledged, delivered to each exactly once; ${monitor.newest().mediaSequence + monitor.newest().segments.length} segments without a finding`);
    viewers.forEach((viewer) => viewer.close());
});

test('the CA itself is replaced: services read the new file when they connect anew', { timeout: 60000 }, async () => {
    // Both for a while, as one does; then certificates of the new one, then lines that break.
    await makeCertificates(at('next'));
    const both = `${fs.readFileSync(at('good/ca.pem'))}${fs.readFileSync(at('next/ca.pem'))}`;
    fs.writeFileSync(at('good/ca.pem'), both);
    for (const port of [stack.ports.state, stack.ports.media]) {
        await redisCli(port, 'CONFIG', 'SET', 'tls-cert-file', at('next/cert.pem'), 'tls-key-file', at('next/key.pem'), 'tls-ca-cert-file', at('next/ca.pem'));
    }
    for (const name of ['cert', 'key']) fs.copyFileSync(at(`next/${name}.pem`), at(`good/${name}.pem`));
    await sql('FLUSH SSL');
    const connects = () => logsOf('redis.connected').length;
    const before = connects();
    for (const port of [stack.ports.state, stack.ports.media]) for (const type of ['normal', 'pubsub']) await redisCli(port, 'CLIENT', 'KILL', 'TYPE', type);
    const { stdout } = await sql("SELECT id FROM information_schema.processlist WHERE user = 'hanabi'");
    for (const id of stdout.trim().split('\n')) await sql(`KILL CONNECTION ${id}`).catch(() => {}); // it may be gone by itself
    await waitFor('they come back', () => connects() >= before + 9, 10000);
    await stack.ready();
    ca = Buffer.from(both);
    stack.fetch = secureFetch(ca);
    await waitFor('the edge has it', async () => (await serialOf(links().edge)) === await newSerial(), 10000, 200);
    assert.equal((await api(stack, 'POST', '/sessions', { body: { name: 'after' } })).status, 201);
});
