// A test or a stack that ends in any way, a time limit's or the kernel's, leaves no process behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { repo } from '../../deploy/stack/servers.mjs';
import { waitFor } from '../lib/fixture.mjs';

/** Command lines of what lives in a session; what has ended and waits to be asked for does not. */
function living(session) {
    return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
        try {
            const [state, , , sid] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
            return Number(sid) === session && state !== 'Z' ? [fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0]] : [];
        } catch { return []; }
    });
}

const data = "import { DataServers } from './tests/lib/data_servers.mjs'; await DataServers.start(dir);";
const stack = "import { startStack } from './deploy/stack/stack.mjs'; await startStack({ runDir: dir });";
for (const [what, start, end, expected] of [
    ['is told to end', data, (child) => child.kill('SIGTERM'), ['redis-server', 'mariadbd']],
    ['throws', data, (child) => child.stdin.end(), ['redis-server', 'mariadbd']],
    ['is killed with a whole stack', stack, (child) => child.kill('SIGKILL'), ['redis-server', 'mariadbd', 'nginx: master', 'nginx: worker', 'chat', 'transcoder']],
]) {
    test(`what a process has started ends with it when it ${what}`, { timeout: 60000 }, async (t) => {
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-orphans-'));
        const script = `const dir = ${JSON.stringify(dir)}; ${start} console.log('up'); process.stdin.resume().on('end', () => { throw new Error('on purpose'); });`;
        // A session of its own, so that its descendants are known.
        const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: repo, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
        t.after(() => {
            child.kill('SIGKILL');
            fs.rmSync(dir, { recursive: true, force: true });
        });
        let said = '';
        child.stdout.on('data', (text) => { said += text; });
        child.stderr.on('data', (text) => { said += text; });
        await waitFor('it is up', () => said, 45000);
        assert.equal(said, 'up\n');
        const before = living(child.pid);
        for (const name of expected) assert.ok(before.some((line) => line.includes(name)), `${name} is among ${before}`);
        end(child);
        await waitFor('all have ended', () => living(child.pid).length === 0, 10000).catch(() => assert.deepEqual(living(child.pid), []));
    });
}
