// tests/lib/chat_load, built when needed: many viewers from one small process.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { run } from './fixture.mjs';

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), 'chat_load');

/** The program's path; built again when one of its sources has changed. */
export async function chatLoadProgram() {
    const sources = fs.readdirSync(folder).map((name) => path.join(folder, name));
    const program = path.join(os.tmpdir(), `hanabi-chat-load-${Math.max(...sources.map((source) => fs.statSync(source).mtimeMs))}`);
    if (!fs.existsSync(program)) {
        const partial = `${program}.${process.pid}`;
        await run('cc', ['-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-D_GNU_SOURCE', '-o', partial, ...sources.filter((source) => source.endsWith('.c')), '-lcrypto']);
        fs.renameSync(partial, program);
    }
    return program;
}

/**
 * Starts it with the options of load.h. `ready` resolves when all have connected, `warm` when what is counted begins, `counted` with its last
 * comment, `over` with what it printed at the end.
 * @param {number[]} ports of this machine; viewers are spread over them in turn
 * @param {string[]} [wrap] a command to run it under, such as ['taskset', '-c', '1']
 */
export async function chatLoad(ports, pathname, options, wrap = []) {
    const program = await chatLoadProgram();
    const command = [...wrap, program, ports.map((port) => `127.0.0.1:${port}`).join(), pathname, ...Object.entries(options).map(([name, value]) => `${name}=${value}`)];
    const child = spawnBound(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    let said = '';
    child.stdout.on('data', (data) => { printed += data; });
    child.stderr.on('data', (data) => { said += data; });
    const over = new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code, signal) => {
            if (code === 0) resolve(JSON.parse(printed));
            else reject(new Error(`chat_load: ${signal ?? code} ${said}`));
        });
    });
    const heard = (word) => {
        const promise = new Promise((resolve, reject) => {
            child.stderr.on('data', () => { if (said.includes(`${word}\n`)) resolve(); });
            over.then(resolve, reject);
        });
        promise.catch(() => {}); // whoever only waits for the end hears of it there
        return promise;
    };
    return { ready: heard('ready'), warm: heard('warm'), counted: heard('counted'), over, kill: () => child.kill('SIGKILL') };
}
