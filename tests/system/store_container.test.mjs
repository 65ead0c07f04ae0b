// The store's container (Ceph's gateway behind deploy/docker/store-entrypoint), with folder and ports of this machine: who may read what of it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { repo } from '../../deploy/stack/servers.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { CephGateway } from '../lib/ceph.mjs';
import { atEnd, removeFolder, run, waitFor } from '../lib/fixture.mjs';

const env = { PATH: process.env.PATH, HANABI_S3_ACCESS_KEY: 'STORETESTKEY', HANABI_S3_SECRET_KEY: 'store-test-secret', HANABI_STORE_SIZE: '4G' };

test('without the keys: what viewers see, by its name, and no list; an older bucket that let anybody list is closed at the next start', { timeout: 120000 }, async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-store-'));
    const [port, monitor] = [await freePort(), await freePort()];
    const script = path.join(dir, 'store-entrypoint');
    fs.mkdirSync(path.join(dir, 'tmp'));
    fs.writeFileSync(script, fs.readFileSync(path.join(repo, 'deploy/docker/store-entrypoint'), 'utf8').replaceAll(/\/tmp(?=[/\n])/g, `${dir}/tmp`)
        .replaceAll('/data/', `${dir}/`).replaceAll('7480', String(port)).replaceAll('127.0.0.1:3300', `127.0.0.1:${monitor}`), { mode: 0o755 });
    let child = null;
    const start = async () => {
        const log = path.join(dir, 'log');
        const out = fs.openSync(log, 'w');
        child = spawnBound('bash', [script], { env, stdio: ['ignore', out, out] });
        const gone = new Promise((resolve) => child.once('close', resolve));
        child.stop = async () => { child.kill('SIGTERM'); await gone; };
        fs.closeSync(out);
        await waitFor('the store', () => fs.readFileSync(log, 'utf8').includes('store.ready'), 60000, 100).catch((error) => { throw new Error(`${error.message}: ${fs.readFileSync(log, 'utf8').slice(-2000)}`); });
    };
    atEnd(async () => { await child.stop(); removeFolder(dir); });
    await start();

    const keys = Object.assign(Object.create(CephGateway.prototype), { port, accessKey: env.HANABI_S3_ACCESS_KEY, secretKey: env.HANABI_S3_SECRET_KEY });
    const anybody = async (pathname, method = 'GET') => (await fetch(`http://127.0.0.1:${port}/hanabi${pathname}`, { method })).status;
    for (const name of ['live/b1/720p/0.ts', 'export/audience/a.ndjson.gz']) assert.equal((await keys.request('PUT', `/hanabi/${name}`, { body: 'x' })).status, 200);
    const closed = async () => {
        assert.equal(await anybody('/live/b1/720p/0.ts'), 200);
        for (const pathname of ['', '/', '?max-keys=1', '?list-type=2&prefix=export/', '?prefix=live/', '?versions', '?uploads', '?policy', '/export/audience/a.ndjson.gz', '/live/b1/unknown']) assert.equal(await anybody(pathname), 403, pathname);
        for (const method of ['PUT', 'DELETE']) assert.equal(await anybody('/live/b1/720p/0.ts', method), 403, method);
    };
    await closed();
    await run(script, ['health'], { env });
    assert.match((await run(script, ['list', 'export/'], { env })).stdout, /<Key>export\/audience\/a\.ndjson\.gz<\/Key>/);
    await assert.rejects(run(script, ['health'], { env: { ...env, HANABI_S3_SECRET_KEY: 'another' } }), 'whose keys are not good');

    if (process.env.HANABI_LONG !== 'yes') return; // a gateway that starts again waits half a minute for the one before with each change
    const older = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: ['s3:GetObject', 's3:ListBucket'], Resource: ['arn:aws:s3:::hanabi', 'arn:aws:s3:::hanabi/live/*'] }] };
    assert.equal((await keys.request('PUT', '/hanabi', { query: 'policy=', body: JSON.stringify(older) })).status, 204);
    assert.equal(await anybody('?list-type=2&prefix=export/'), 200);
    await child.stop();
    await start();
    await closed();
});
