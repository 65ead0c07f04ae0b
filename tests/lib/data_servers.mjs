// A Redis and a MariaDB with the schema, on free ports and in a folder of somebody's own: what tests and benches of single services stand on.
//     const data = await DataServers.start(dir);
//     data.redisUrl, data.mysqlUrl; data.redis.kill(); await data.sql('SELECT 1'); await data.stop();
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, waitForPort } from '../../deploy/stack/ports.mjs';
import { mariadbServer, migrate, redisServer } from '../../deploy/stack/servers.mjs';

const run = promisify(execFile);
const password = 'test-only';

export class DataServers {
    /**
     * `durable`: Redis comes back with its data. `media`: a second Redis, as the video has one. `mysql: false`: Redis alone.
     * `restart: false`: what is killed stays dead until its start() is called.
     */
    static async start(dir, { durable = true, media = false, mysql = true, restart = true, logDir = dir } = {}) {
        const data = new DataServers();
        const startRedis = async (name, isDurable) => {
            const port = await freePort();
            const server = redisServer({ name, port, dir: path.join(dir, name), logFile: path.join(logDir, `${name}.log`), durable: isDurable, restart });
            server.start();
            return [server, port, `redis://127.0.0.1:${port}`];
        };
        fs.mkdirSync(logDir, { recursive: true });
        [data.redis, data.redisPort, data.redisUrl] = await startRedis('redis', durable);
        if (media) [data.media, data.mediaPort, data.mediaUrl] = await startRedis('media', false);
        if (mysql) await data.startMysql({ dir: path.join(dir, 'mysql'), logFile: path.join(logDir, 'mariadb.log'), restart });
        await Promise.all([data.redisPort, data.mediaPort].filter(Boolean).map((port) => waitForPort(port)));
        return data;
    }

    async startMysql(options) {
        this.mysqlPort = await freePort();
        this.mysqlUrl = `mysql://hanabi:${password}@127.0.0.1:${this.mysqlPort}/hanabi`;
        this.mariadb = await mariadbServer({ name: 'mariadb', port: this.mysqlPort, user: 'hanabi', password, database: 'hanabi', ...options });
        this.mariadb.start();
        await waitForPort(this.mysqlPort, 60000);
        await migrate(this.mysqlUrl);
    }

    /** What the client prints: rows in lines, columns between tabs. */
    async sql(text) {
        const child = run('mariadb', ['--protocol=tcp', '-h', '127.0.0.1', '-P', String(this.mysqlPort), '-u', 'hanabi', '-BN', 'hanabi'],
            { env: { ...process.env, MYSQL_PWD: password }, maxBuffer: 256 << 20 });
        child.child.stdin.on('error', () => {}).end(text); // an argument has a limit; what went wrong is in the exit
        return (await child).stdout.trim();
    }

    async rows(text) { return (await this.sql(text)).split('\n').filter(Boolean).map((line) => line.split('\t')); }

    async stop(signal) { await Promise.all([this.redis, this.media, this.mariadb].map((server) => server?.stop(signal))); }
}
