// A Redis master, its replica and three sentinels.
import fs from 'node:fs';
import path from 'node:path';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { redisServer } from '../../deploy/stack/servers.mjs';
import { Supervised } from '../../deploy/stack/supervised.mjs';
import { waitFor } from './fixture.mjs';
import { RedisClient } from './redis_client.mjs';

export class Sentinels {
    constructor(dir, { durable = false } = {}) {
        this.dir = fs.mkdtempSync(path.join(dir, 'sentinels-'));
        this.durable = durable;
    }

    async start() {
        this.ports = [await freePort(), await freePort()];
        this.servers = this.ports.map((port, i) => redisServer({ name: `redis-${i}`, port, dir: path.join(this.dir, `redis-${i}`), logFile: path.join(this.dir, `redis-${i}.log`),
            durable: this.durable, restart: false }));
        this.master = 0;
        for (const server of this.servers) server.options.args.push('--repl-diskless-sync-delay', '0');
        this.servers[1].options.args.push('--replicaof', '127.0.0.1', String(this.ports[0]));
        for (const server of this.servers) server.start();
        await Promise.all(this.ports.map((port) => waitForPort(port)));
        this.sentinelPorts = [];
        this.sentinels = [];
        for (let i = 0; i < 3; i += 1) {
            const port = await freePort();
            const file = path.join(this.dir, `sentinel-${i}.conf`);
            fs.writeFileSync(file, `port ${port}\nbind 127.0.0.1\ndir ${this.dir}\nsentinel monitor main 127.0.0.1 ${this.ports[0]} 2\n` +
                'sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 1000\n');
            const sentinel = new Supervised({ name: `sentinel-${i}`, command: 'redis-server', args: [file, '--sentinel'], logFile: path.join(this.dir, `sentinel-${i}.log`), restart: false });
            sentinel.start();
            this.sentinelPorts.push(port);
            this.sentinels.push(sentinel);
        }
        await Promise.all(this.sentinelPorts.map((port) => waitForPort(port)));
        this.clients = this.sentinelPorts.map((port) => new RedisClient(port));
        await this.whole();
        return this;
    }

    async stop() {
        this.clients?.forEach((client) => client.close());
        await Promise.all([...this.sentinels, ...this.servers].map((server) => server.stop('SIGKILL')));
    }

    get url() { return `redis-sentinel://${this.sentinelPorts.map((port) => `127.0.0.1:${port}`).join()}/main`; }

    async field(client, name) {
        const flat = await client.command('SENTINEL', 'MASTER', 'main');
        return flat[flat.indexOf(name) + 1];
    }

    /** All three know one another and the replica, which follows. */
    async whole() {
        await waitFor('the sentinels know all', async () => {
            for (const client of this.clients) {
                if (await this.field(client, 'num-other-sentinels') !== '2' || await this.field(client, 'num-slaves') !== '1' || await this.field(client, 'flags') !== 'master') return false;
                const [flat] = await client.command('SENTINEL', 'REPLICAS', 'main');
                if (flat[flat.indexOf('flags') + 1] !== 'slave') return false;
            }
            return true;
        }, 30000, 100);
        // "Link up" does not say that what is written now is passed on: after a full copy that begins up to a second later.
        const [master, replica] = [this.master, 1 - this.master].map((index) => new RedisClient(this.ports[index]));
        const mark = String(Math.random());
        await master.command('SET', 'mark', mark);
        await waitFor('the replica follows', async () => await replica.command('GET', 'mark') === mark, 10000, 20);
        [master, replica].forEach((client) => client.close());
    }

    /** The former master comes back as a replica. */
    async swapped() {
        const former = this.servers[this.master];
        this.master = 1 - this.master;
        await former.stop('SIGKILL');
        const at = former.options.args.indexOf('--replicaof');
        if (at >= 0) former.options.args.splice(at, 3);
        former.options.args.push('--replicaof', '127.0.0.1', String(this.ports[this.master]));
        former.start();
    }

    /** The time at which a first sentinel names the other server. */
    async elected() {
        const wanted = String(this.ports[1 - this.master]);
        await waitFor('an election', async () => (await Promise.all(this.clients.map((client) => client.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main'))))
            .some(([, port]) => port === wanted), 20000, 10);
        return Date.now();
    }
}
