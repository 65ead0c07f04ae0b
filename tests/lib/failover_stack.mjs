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
        const names = ['mariadb', 'mariadb2'];
        await Promise.all(this.mysqlPorts.map(async (port, i) => {
            this.servers[names[i]] = await mariadbServer(this.supervised({ name: names[i], port, dir: path.join(this.runDir, names[i]), logFile: this.log(names[i]), user: 'hanabi',
                password: this.secrets.mysql, database: 'hanabi', serverId: i + 1, restart: false }));
            this.servers[names[i]].start();
            await waitForPort(port, 60000);
        }));
        this.primary = 0;
        this.mysqlUrl = `mysql://hanabi:${this.secrets.mysql}@${this.mysqlPorts.map((port) => `127.0.0.1:${port}`).join()}/hanabi`;
        await this.promote(0, '--first');
        await this.adminSql(1, `CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=${this.mysqlPorts[0]}, MASTER_USER='admin', MASTER_PASSWORD='${this.secrets.mysql}',
            MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE`);
        await waitFor('the replica acknowledges', async () => (await this.adminSql(0, "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")).endsWith('1'), 15000, 50);
        await migrate(this.mysqlUrl);
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
