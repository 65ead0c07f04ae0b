// Run by tests/compose after deploy/docker/tls.yml has been added to its stack: RTMPS in, HTTPS and WSS out, Redis and MariaDB in TLS only, each with the
// certificate of a private CA that NODE_EXTRA_CA_CERTS names.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { framesMove, launchBrowser } from '../lib/browser.mjs';
import { api, atEnd, newBroadcast, programmeFile, pushFile, waitFor } from '../lib/fixture.mjs';
import { addressesOf, allHealthy, ChatViewer, containersOf, docker, run, servers, services, stack } from './lib.mjs';

let file;
before(async () => {
    file = await programmeFile(240, { size: '640x360' });
    await allHealthy([...services, ...servers]);
});

test('RTMPS, HTTPS and WSS: a moving picture with chat; plain HTTP redirects', { timeout: 120000 }, async (t) => {
    assert.match(stack.origin, /^https:/);
    const browser = await launchBrowser();
    atEnd(() => browser.close());
    const broadcast = await newBroadcast(stack, 'Sealed');
    assert.match(broadcast.pushUrl, /^rtmps:/);
    const pusher = pushFile(broadcast.pushUrl, file);
    t.after(() => pusher.kill());
    // Node has held the certificate against the CA; Chromium has a store of its own.
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    await waitFor('moving video', () => framesMove(page, '#video'), 40000, 100);
    const chat = new ChatViewer(broadcast, broadcast.token);
    t.after(() => chat.close());
    await chat.say('r1', 'sealed');
    await page.getByText('sealed').first().waitFor({ timeout: 10000 });
    const plain = await fetch(`http://127.0.0.1:${process.env.HANABI_PORT}/watch/${broadcast.id}`, { redirect: 'manual' });
    assert.deepEqual([plain.status, new URL(plain.headers.get('location')).protocol], [plain.status, 'https:']);
    assert.ok([301, 308].includes(plain.status), `${plain.status}`);
    await api(stack, 'POST', `/broadcasts/${broadcast.id}/end`, { token: broadcast.token });
});

test('Redis and MariaDB: nobody gets in without TLS', async () => {
    for (const name of ['redis', 'media-redis']) {
        const [id] = await containersOf(name);
        const plain = await run('docker', ['exec', id, 'redis-cli', '-h', '127.0.0.1', 'ping']).catch((error) => error);
        assert.ok(!/PONG|NOAUTH/.test(`${plain.stdout}`), `${name} answers in plain text: ${plain.stdout}`);
    }
    const [mariadb] = await containersOf('mariadb');
    const [address] = await addressesOf(mariadb);
    const plain = await run('docker', ['exec', '-e', `MYSQL_PWD=${process.env.HANABI_MYSQL_PASSWORD}`, mariadb,
        'mariadb', '--no-defaults', '--skip-ssl', '-h', address, '-u', 'hanabi', '-e', 'SELECT 1', 'hanabi']).catch((error) => error);
    assert.match(String(plain.stderr), /ERROR (1045|3159)/);
    const sealed = await docker('exec', '-e', `MYSQL_PWD=${process.env.HANABI_MYSQL_PASSWORD}`, mariadb,
        'mariadb', '--no-defaults', '--ssl', '-h', address, '-u', 'hanabi', '-BNe', "SHOW STATUS LIKE 'Ssl_version'", 'hanabi');
    assert.match(sealed, /TLSv1\.[23]/);
});
