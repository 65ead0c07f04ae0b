// A stack whose state Redis has a replica and three sentinels, and whose MariaDB has a replica that can be promoted: what a deployment has that must not
// stop when a machine does.
import path from 'node:path';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { mariadbServer, migrate, redisServer, repo } from '../../deploy/stack/servers.mjs';
import { Stack } from '../../deploy/stack/stack.mjs';
import { run, waitFor } from './fixture.mjs';
import { Sentinels } from './sentinels.mjs';

export class FailoverStack extends Stack {
    async startData() {
        await Promise.all([this.startRedis(), this.startMariadb()]);
    }

    async startRedis() {
        this.sentinels = new Sentinels(this.runDir, { durable: true });
        this.servers.mediaRedis = redisServer(this.supervised({ name: 'media-redis', port: this.ports.media, dir: path.join(this.runDir, 'redis-media'), logFile: this.log('redis-media'),
            durable: false }));
        this.servers.mediaRedis.start();
        await Promise.all([this.sentinels.start(), waitForPort(this.ports.media)]);
        this.redisUrl = this.sentinels.url;
    }

    async startMariadb() {
        this.mysqlPorts = [this.ports.mysql, await freePort()];
        await Promise.all([0, 1].map((index) => this.startMariadbServer(index)));
        this.primary = 0;
        this.mysqlUrl = `mysql://hanabi:${this.secrets.mysql}@${this.mysqlPorts.map((port) => `127.0.0.1:${port}`).join()}/hanabi`;
        await this.promote(0, '--first');
        await this.follow(1);
        await migrate(this.mysqlUrl);
    }

    /** The data directory is made when it is missing. */
    async startMariadbServer(index) {
        const name = ['mariadb', 'mariadb2'][index];
        this.servers[name] = await mariadbServer(this.supervised({ name, port: this.mysqlPorts[index], dir: path.join(this.runDir, name), logFile: this.log(name), user: 'hanabi',
            password: this.secrets.mysql, database: 'hanabi', serverId: index + 1, restart: false }));
        this.servers[name].start();
        await waitForPort(this.mysqlPorts[index], 60000);
    }

    /** An empty server becomes a replica of the primary. */
    async follow(index) {
        const at = (one) => `127.0.0.1:${this.mysqlPorts[one]}`;
        await run(path.join(repo, 'deploy/replica'), [at(this.primary), at(index), 'admin'], { env: { ...process.env, MYSQL_PWD: this.secrets.mysql } });
        await waitFor('the replica acknowledges', async () => (await this.adminSql(this.primary, "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")).endsWith('1'), 15000, 50);
    }

    async adminSql(index, text, user = 'admin') {
        return (await run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(this.mysqlPorts[index]), '-u', user, 'hanabi', '-BNe', text],
            { env: { ...process.env, MYSQL_PWD: this.secrets.mysql } })).stdout.trim();
    }

    /** On the primary. */
    sql(text) { return this.adminSql(this.primary, text, 'hanabi'); }

    /** The step of the runbook. */
    async promote(index, ...options) {
        await run(path.join(repo, 'deploy/promote'), [...options, '-h', '127.0.0.1', '-P', String(this.mysqlPorts[index]), '-u', 'admin'], { env: { ...process.env, MYSQL_PWD: this.secrets.mysql } });
        this.primary = index;
    }

    async stop() {
        await super.stop();
        await this.sentinels?.stop();
    }
}
