// tests/lib/chat_load.c, built when needed: many viewers from one small process.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './fixture.mjs';

const source = path.join(path.dirname(fileURLToPath(import.meta.url)), 'chat_load.c');

/** The program's path; built again when its source has changed. */
export async function chatLoadProgram() {
    const program = path.join(os.tmpdir(), `hanabi-chat-load-${fs.statSync(source).mtimeMs}`);
    if (!fs.existsSync(program)) {
        const partial = `${program}.${process.pid}`;
        await run('cc', ['-O2', '-Wall', '-Wextra', '-D_GNU_SOURCE', '-o', partial, source, '-lcrypto']);
        fs.renameSync(partial, program);
    }
    return program;
}

/**
 * Starts it with the options of its head. `ready` resolves when all have connected, `over` with what it printed at the end.
 * @param {number[]} ports of this machine; viewers are spread over them in turn
 * @param {string[]} [wrap] a command to run it under, such as ['taskset', '-c', '1']
 */
export async function chatLoad(ports, pathname, options, wrap = []) {
    const program = await chatLoadProgram();
    const command = [...wrap, program, ports.map((port) => `127.0.0.1:${port}`).join(), pathname, ...Object.entries(options).map(([name, value]) => `${name}=${value}`)];
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    let complaint = '';
    child.stdout.on('data', (data) => { printed += data; });
    const over = new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code, signal) => {
            if (code === 0) resolve(JSON.parse(printed));
            else reject(new Error(`chat_load: ${signal ?? code} ${complaint}`));
        });
    });
    const ready = new Promise((resolve, reject) => {
        child.stderr.on('data', (data) => {
            complaint += data;
            if (complaint.includes('ready\n')) resolve();
        });
        over.then(resolve, reject);
    });
    ready.catch(() => {}); // whoever only waits for the end hears of it there
    return { ready, over, kill: () => child.kill('SIGKILL') };
}
