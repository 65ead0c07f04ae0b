// What benches share: a folder, processes on a core of their own that end with the bench, what they cost by the kernel's account, and nginx
// `return 200` with wrk, the peer and the load of whatever answers HTTP.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { waitForPort } from '../../deploy/stack/ports.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';

export const run = promisify(execFile);
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

/** Puts a process, all its threads, on one core. */
export const pin = (pid, core) => run('taskset', ['-acp', String(core), String(pid)]);

/** CPU seconds so far and resident bytes of a process and its children. */
export function usage(pid) {
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
    const used = { cpu: 0, rss: 0 };
    for (const id of [pid, ...children]) {
        const fields = fs.readFileSync(`/proc/${id}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
        used.cpu += (Number(fields[11]) + Number(fields[12])) / 100;
        used.rss += Number(fields[21]) * 4096;
    }
    return used;
}

export class Bench {
    constructor(name) {
        this.dir = fs.mkdtempSync(path.join(os.tmpdir(), `hanabi-bench-${name}-`));
        this.children = new Set();
    }

    file(name) { return path.join(this.dir, name); }

    /** A process on one core, by taskset, whose pid becomes its own. */
    start(core, command, args = [], env = {}) {
        const log = fs.openSync(this.file(`${path.basename(command)}.log`), 'a');
        const child = spawnBound('taskset', ['-c', String(core), command, ...args], { stdio: ['ignore', log, log], env: { ...process.env, ...env } }, 'SIGTERM'); // nginx takes its workers along
        fs.closeSync(log);
        child.closed = new Promise((resolve) => child.once('close', () => { this.children.delete(child); resolve(); }));
        this.children.add(child);
        return child;
    }

    async stop(child) {
        child.kill();
        await child.closed;
    }

    /** nginx with one worker on core 0 that answers everything with `body`. */
    async nginx(port, headers, body) {
        const { dir } = this;
        fs.writeFileSync(this.file('nginx.conf'), `daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 60s; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
server { listen 127.0.0.1:${port}; location / { ${headers} return 200 '${body}'; } } }`);
        const child = this.start(0, 'nginx', ['-p', dir, '-c', this.file('nginx.conf'), '-e', this.file('nginx.log')]);
        await waitForPort(port);
        return child;
    }

    /** wrk on core 1 against a process on another: answers a second as wrk got them, per second of the server's CPU, % of its core, p99 in ms. */
    async wrk(pid, url, { connections, seconds, script }) {
        const before = usage(pid).cpu;
        const { stdout } = await run('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...(script ? ['-s', script] : []), url]);
        if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
        const cpu = usage(pid).cpu - before;
        const [, value, unit] = stdout.match(/99%\s+([\d.]+)(us|ms|s)/);
        return { rate: Number(stdout.match(/Requests\/sec:\s+([\d.]+)/)[1]), core: Number(stdout.match(/(\d+) requests in/)[1]) / cpu, busy: 100 * cpu / seconds,
            p99: Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit] };
    }

    async end() {
        await Promise.all([...this.children].map((child) => this.stop(child)));
        fs.rmSync(this.dir, { recursive: true, force: true });
    }
}
