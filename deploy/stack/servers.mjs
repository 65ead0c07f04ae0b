// The private Redis, MariaDB and nginx of a stack.
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { Supervised } from './supervised.mjs';

const run = promisify(execFile);
export const repo = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** Where a service's program is: what was built last, or HANABI_BIN_DIR (a sanitizer's build, say). */
export const binary = (service) => path.join(path.resolve(process.env.HANABI_BIN_DIR ?? path.join(repo, 'build/bin')), service);

const asRoot = process.getuid() === 0;

const firstThat = (paths) => paths.find((candidate) => fs.existsSync(candidate));
const nginxBinary = () => firstThat(['/usr/sbin/nginx', '/usr/local/sbin/nginx']) ?? 'nginx';
const mariadbBinary = () => firstThat(['/usr/sbin/mariadbd', '/usr/libexec/mariadbd']) ?? 'mariadbd';

/** A Redis of its own; `durable` keeps an append-only file that is on disk before a write is answered (with `everysec` a killed one may lose what
 *  was acknowledged in its last two seconds), so that it comes back with all its data. `tls`: {cert, key, ca}, and nothing without it. */
export function redisServer({ name, port, dir, logFile, durable, maxMemory, tls, ...rest }) {
    fs.mkdirSync(dir, { recursive: true });
    const ports = tls ? ['--port', '0', '--tls-port', String(port), '--tls-cert-file', tls.cert, '--tls-key-file', tls.key, '--tls-ca-cert-file', tls.ca, '--tls-auth-clients', 'no'] : ['--port', String(port)];
    const args = [...ports, '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--daemonize', 'no',
        '--appendonly', durable ? 'yes' : 'no', '--appendfsync', 'always', '--auto-aof-rewrite-min-size', '256mb', '--tcp-backlog', '1024',
        '--maxmemory', maxMemory ?? '0', '--maxmemory-policy', durable ? 'noeviction' : 'volatile-ttl'];
    return new Supervised({ name, command: 'redis-server', args, logFile, ...rest });
}

/** What a MariaDB of a replicated pair is started with, whichever part it has: read-only until it is promoted, and a commit is answered when the
 *  replica has it. */
const replicated = (serverId) => [`--server-id=${serverId}`, '--log-bin=binlog', '--log-slave-updates', '--gtid-strict-mode=ON', '--sync-binlog=1', '--read-only=ON',
    '--rpl-semi-sync-master-enabled=ON', '--rpl-semi-sync-slave-enabled=ON', '--rpl-semi-sync-master-wait-point=AFTER_SYNC', '--rpl-semi-sync-master-timeout=1500'];

/** A MariaDB with one database and one user; the data directory is made when it is missing. `tls`: {cert, key}, and TCP only with it.
 *  `serverId`: of a replicated pair; then there is a user `admin`, too, with the same password, who may promote. */
export async function mariadbServer({ name, port, dir, logFile, user, password, database, tls, serverId = null, ...rest }) {
    const data = path.join(dir, 'data');
    fs.mkdirSync(dir, { recursive: true });
    if (!fs.existsSync(path.join(data, 'mysql'))) {
        await run('mariadb-install-db', ['--no-defaults', `--datadir=${data}`, '--skip-test-db', '--auth-root-authentication-method=normal',
            // Two at once clash over the names of their temporary tables in a shared folder.
            ...(asRoot ? ['--user=root'] : [])], { cwd: dir, env: { ...process.env, TMPDIR: dir } });
    }
    const init = path.join(dir, 'init.sql');
    fs.writeFileSync(init, [
        'SET SESSION sql_log_bin = 0;', // of this server alone: a replica has its own
        `CREATE DATABASE IF NOT EXISTS ${database} CHARACTER SET utf8mb4;`,
        `CREATE USER IF NOT EXISTS '${user}'@'127.0.0.1';`,
        `ALTER USER '${user}'@'127.0.0.1' IDENTIFIED BY '${password}';`,
        `GRANT ALL ON ${database}.* TO '${user}'@'127.0.0.1';`,
        ...(serverId ? [`CREATE OR REPLACE USER 'admin'@'127.0.0.1' IDENTIFIED BY '${password}';`, "GRANT ALL ON *.* TO 'admin'@'127.0.0.1';"] : []),
        "ALTER USER 'root'@'localhost' IDENTIFIED VIA unix_socket;", ''].join('\n'), { mode: 0o600 });
    const args = ['--no-defaults', `--datadir=${data}`, '--bind-address=127.0.0.1', `--port=${port}`, '--socket=mysqld.sock', `--tmpdir=${dir}`,
        `--init-file=${init}`, '--skip-name-resolve', ...(serverId ? replicated(serverId) : ['--skip-log-bin']), '--innodb-buffer-pool-size=128M',
        '--innodb-log-file-size=32M', '--performance-schema=OFF', '--character-set-server=utf8mb4', '--max-connections=500',
        ...(tls ? [`--ssl-cert=${tls.cert}`, `--ssl-key=${tls.key}`, '--require-secure-transport=ON'] : []),
        ...(asRoot ? ['--user=root'] : [])];
    return new Supervised({ name, command: mariadbBinary(), args, logFile, stopMs: 20000, ...rest });
}

const fill = (text, values) => text.replace(/@([A-Z_]+)@/g, (whole, key) => {
    if (!(key in values)) throw new Error(`nginx template: no value for ${whole}`);
    return values[key];
});

/** What the template needs for TLS: {listen, cert, key, redirect}; without `redirect` plain HTTP serves the same. */
const tlsValues = (tls, publicListen, runDir) => ({
    LISTEN: [...(tls?.redirect ? [] : [`listen ${publicListen} backlog=4096;`]), ...(tls ? [`include ${runDir}/nginx/tls.conf;`] : [])].join(' '),
    REDIRECT: tls?.redirect ? `include ${runDir}/nginx/redirect.conf;` : '',
    TLS_LISTEN: tls?.listen ?? '', TLS_CERT: tls?.cert ?? '', TLS_KEY: tls?.key ?? '', TLS_PORT_SUFFIX: tls ? `:${tls.listen.split(':').at(-1)}`.replace(/^:443$/, '') : '' });

/** What one client address may do, and which proxies are believed about whose address it is: values for the template from `env`, as in a container. */
export function edgeValues(env) {
    const values = {};
    for (const line of fs.readFileSync(path.join(repo, 'deploy/nginx/limits'), 'utf8').split('\n')) {
        const [, name, fallback] = /^(HANABI_\w+)\s+(\d+)/.exec(line) ?? [];
        if (!name) continue;
        const value = env[name] || fallback;
        if (!/^[1-9]\d{0,6}$/.test(value)) throw new Error(`${name}=${value}: expected a whole number from 1 to 9999999`);
        values[name.replace(/^HANABI_/, '')] = value;
    }
    const trusted = (env.HANABI_TRUSTED_PROXIES ?? '').split(/\s+/).filter(Boolean);
    const wrong = trusted.find((cidr) => !/^[0-9a-fA-F.:]+(\/\d{1,3})?$/.test(cidr));
    if (wrong) throw new Error(`HANABI_TRUSTED_PROXIES: ${wrong} is neither an address nor a network (10.0.0.0/8)`);
    return { ...values, TRUSTED_PROXIES: trusted.map((cidr) => `${cidr} 1;`).join(' '), REAL_IP: trusted.length === 0 ? '' : `${trusted.map((cidr) => `set_real_ip_from ${cidr};`).join(' ')} real_ip_header X-Forwarded-For; real_ip_recursive on;` };
}

/** nginx with the edge's configuration, rendered from deploy/nginx into the run directory. */
export function nginxServer({ name, runDir, values, env = {}, tls, logFile, ...rest }) {
    const dir = path.join(runDir, 'nginx');
    fs.mkdirSync(dir, { recursive: true });
    const modules = firstThat(['/usr/lib/nginx/modules', '/usr/share/nginx/modules']);
    const hardLimit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim();
    const all = {
        NOFILE: hardLimit === 'unlimited' ? '65536' : String(Math.min(65536, Number(hardLimit))),
        // As root, nginx would run its workers as nobody, who cannot read a folder store that root owns.
        USER_LINE: asRoot ? 'user root;' : '', WORKERS: '2', MODULES_DIR: modules, MIME_TYPES: '/etc/nginx/mime.types',
        PURGE_ALLOW: '', STORE_ORIGIN: 'http://store', STORE_HOST: 'store', STORE_TLS: '', SEGMENT_CACHE: '1h', SHUTDOWN_TIMEOUT: '1h', RUN_DIR: runDir, ...edgeValues(env), ...values,
        ...tlsValues(tls, values.PUBLIC_LISTEN, runDir) };
    for (const file of ['nginx.conf', 'hls.conf', 'proxy.conf', 'tls.conf', 'redirect.conf']) {
        const template = fs.readFileSync(path.join(repo, 'deploy/nginx', `${file}.template`), 'utf8');
        fs.writeFileSync(path.join(dir, file), fill(template, all), { mode: 0o600 });
    }
    execFileSync(nginxBinary(), ['-t', '-q', '-p', dir, '-c', path.join(dir, 'nginx.conf')], { stdio: ['ignore', 'pipe', 'pipe'] });
    return new Supervised({ name, command: nginxBinary(), args: ['-p', dir, '-c', path.join(dir, 'nginx.conf')],
        // The fast way: a graceful stop waits for open WebSockets, and a master killed meanwhile would leave its workers behind.
        logFile, stopSignal: 'SIGTERM', orphanSignal: 'SIGTERM', stopMs: 10000, ...rest });
}

export async function migrate(mysqlUrl) {
    await run(path.join(repo, 'deploy/migrate'), [], { env: { ...process.env, HANABI_MYSQL_URL: mysqlUrl } });
}
