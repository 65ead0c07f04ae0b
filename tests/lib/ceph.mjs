// A real S3 server for tests: Ceph's gateway on one monitor and one memory-backed OSD, all on loopback, in a folder of its own.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { atEnd, run, waitFor } from './fixture.mjs';

const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');
const hmac = (key, data) => crypto.createHmac('sha256', key).update(data).digest();

export class CephGateway {
    accessKey = 'TESTACCESSKEY';
    secretKey = 'test-secret-key';

    static async start() {
        const ceph = new CephGateway();
        ceph.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-ceph-'));
        ceph.children = [];
        atEnd(() => ceph.stop());
        const monPort = await freePort();
        ceph.port = await freePort();
        const fsid = crypto.randomUUID(), conf = path.join(ceph.dir, 'ceph.conf'), at = (name) => path.join(ceph.dir, name);
        for (const folder of ['mon', 'osd', 'rgw']) fs.mkdirSync(at(folder));
        fs.writeFileSync(conf, `[global]
fsid = ${fsid}
mon_host = v2:127.0.0.1:${monPort}/0
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
ms_bind_ipv6 = false
ms_mon_client_mode = crc
run_dir = ${ceph.dir}
admin_socket = ${ceph.dir}/$name.asok
log_file = ${ceph.dir}/$name.log
[mon.a]
mon_data = ${at('mon')}
[osd.0]
osd_data = ${at('osd')}
osd_objectstore = memstore
memstore_device_bytes = 1073741824
[client.rgw.a]
rgw_data = ${at('rgw')}
rgw_frontends = beast endpoint=127.0.0.1:${ceph.port}
rgw_thread_pool_size = 16
`);
        const tool = (name, ...args) => run(name, ['-c', conf, ...args], { timeout: 60000 });
        const daemon = (name, ...args) => {
            const out = fs.openSync(at(`${name}.out`), 'a');
            ceph.children.push(spawnBound(name, ['-c', conf, ...args, '-f'], { stdio: ['ignore', out, out] }));
            fs.closeSync(out);
        };
        await tool('monmaptool', '--create', '--addv', 'a', `[v2:127.0.0.1:${monPort}]`, '--fsid', fsid, at('monmap'));
        await tool('ceph-mon', '--mkfs', '-i', 'a', '--monmap', at('monmap'));
        daemon('ceph-mon', '-i', 'a');
        await waitFor('the monitor', () => tool('ceph', '-s', '--connect-timeout', '5'), 30000);
        const osd = crypto.randomUUID();
        await tool('ceph', 'osd', 'new', osd);
        await tool('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd);
        daemon('ceph-osd', '-i', '0');
        // Makes the pools; a gateway that starts at the same time trips over it.
        await tool('radosgw-admin', 'user', 'create', '--uid', 'test', '--display-name', 'test', '--access-key', ceph.accessKey, '--secret-key', ceph.secretKey);
        daemon('radosgw', '-n', 'client.rgw.a');
        await waitForPort(ceph.port, 30000).catch((error) => { throw new Error(`${error.message}: ${fs.readFileSync(at('radosgw.out'), 'utf8').slice(-2000)}`); });
        await waitFor('a bucket', async () => (await ceph.request('PUT', '/videos')).status === 200, 30000, 200);
        return ceph;
    }

    /** Anybody may get what viewers see by its name, and nothing else: what deploy/README.md asks of a bucket. */
    async letEverybodyRead(bucket) {
        const policy = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${bucket}/live/*` }] };
        const { status, text } = await this.request('PUT', `/${bucket}`, { query: 'policy=', body: JSON.stringify(policy) });
        if (status >= 300) throw new Error(`policy of ${bucket}: ${status} ${text}`);
    }

    /** A signed request straight to the gateway: {status, headers, text}. */
    request(method, pathname, { query = '', body = '' } = {}) {
        const amzDate = new Date().toISOString().replace(/[-:]|\.\d+/g, ''), day = amzDate.slice(0, 8), host = `127.0.0.1:${this.port}`, hash = sha256(body);
        const signed = 'host;x-amz-content-sha256;x-amz-date', scope = `${day}/us-east-1/s3/aws4_request`;
        const canonical = [method, pathname, query, `host:${host}`, `x-amz-content-sha256:${hash}`, `x-amz-date:${amzDate}`, '', signed, hash].join('\n');
        const key = ['us-east-1', 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${this.secretKey}`, day));
        const signature = hmac(key, ['AWS4-HMAC-SHA256', amzDate, scope, sha256(canonical)].join('\n')).toString('hex');
        return new Promise((resolve, reject) => {
            http.request({ host: '127.0.0.1', port: this.port, method, path: query ? `${pathname}?${query}` : pathname, headers: { host, 'content-length': Buffer.byteLength(body), 'x-amz-date': amzDate, 'x-amz-content-sha256': hash,
                authorization: `AWS4-HMAC-SHA256 Credential=${this.accessKey}/${scope}, SignedHeaders=${signed}, Signature=${signature}` } }, (answer) => {
                const parts = [];
                answer.on('data', (data) => parts.push(data)).on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text: Buffer.concat(parts).toString() }));
            }).on('error', reject).end(body);
        });
    }

    async stop() {
        for (const child of this.children.reverse()) {
            if (child.exitCode === null && child.signalCode === null) {
                const gone = new Promise((resolve) => child.once('close', resolve));
                child.kill('SIGKILL');
                await gone;
            }
        }
        fs.rmSync(this.dir, { recursive: true, force: true });
    }
}

/** In front of the gateway: passes requests on, or answers 503 SlowDown, or cuts the connection in the middle of an upload. */
export async function faultyProxy(targetPort) {
    const proxy = { mode: 'pass', slowed: 0, cut: 0, passed: 0 };
    const server = http.createServer((request, response) => {
        if (request.method === 'PUT' && proxy.mode === 'slow') {
            proxy.slowed += 1;
            request.resume().on('end', () => response.writeHead(503, { 'content-type': 'application/xml' }).end('<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>'));
            return;
        }
        if (request.method === 'PUT' && proxy.mode === 'cut' && Number(request.headers['content-length']) > 10000) {
            request.once('data', () => { proxy.cut += 1; request.socket.resetAndDestroy(); });
            return;
        }
        proxy.passed += 1;
        const upstream = http.request({ host: '127.0.0.1', port: targetPort, method: request.method, path: request.url, headers: request.headers }, (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        upstream.on('error', () => response.destroy());
        request.on('error', () => upstream.destroy()).pipe(upstream);
    });
    const listen = (port) => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
    await listen(0);
    proxy.port = server.address().port;
    proxy.away = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
    proxy.back = () => listen(proxy.port);
    atEnd(() => proxy.away());
    return proxy;
}
