// What a stranger does: clone, deploy/up --demo, look at the page, deploy/down.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { framesMove, launchBrowser, screenshot } from '../lib/browser.mjs';
import { run, waitFor } from '../lib/fixture.mjs';
import { repo } from '../../deploy/stack/servers.mjs';

/** Processes whose command line or folder names the run directory. */
function processesOf(runDir) {
    return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid).flatMap((pid) => {
        try {
            const line = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
            const cwd = fs.readlinkSync(`/proc/${pid}/cwd`);
            const environ = fs.readFileSync(`/proc/${pid}/environ`, 'utf8');
            return line.includes(runDir) || cwd.startsWith(runDir) || environ.includes(runDir) ? [`${pid} ${line}`] : [];
        } catch { return []; }
    });
}

test('a fresh clone: deploy/up --demo shows a moving picture, deploy/down leaves nothing running', { timeout: 580000 }, async (t) => {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-clone-'));
    const clone = path.join(home, 'hanabi');
    await run('git', ['clone', '-q', '--no-hardlinks', repo, clone]);
    const env = { ...process.env, HANABI_PORT: String(await freePort()), HANABI_RTMP_PORT: String(await freePort()), HANABI_BIND: '127.0.0.1' };
    delete env.HANABI_BIN_DIR;
    t.after(async () => {
        await run(path.join(clone, 'deploy/down'), [], { env });
        fs.rmSync(home, { recursive: true, force: true });
    });
    const began = Date.now();
    const { stdout } = await run(path.join(clone, 'deploy/up'), ['--demo'], { env, timeout: 540000 });
    t.diagnostic(`deploy/up --demo took ${Math.round((Date.now() - began) / 1000)} s, the build included`);
    const watch = /watch:\s+(\S+)/.exec(stdout)[1];
    assert.match(stdout, new RegExp(`http://127.0.0.1:${env.HANABI_PORT}/`));

    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await page.goto(watch);
    await waitFor('moving video', () => framesMove(page, '#video'), 20000, 100);
    await screenshot(page, 'demo-watch');
    await page.goto(new URL('/', watch).href);
    await page.locator(`a[href="${new URL(watch).pathname}"]`).first().waitFor({ timeout: 10000 });
    await screenshot(page, 'demo-home');

    // A service that dies is started again.
    const state = () => JSON.parse(fs.readFileSync(path.join(clone, 'run/stack.json')));
    const pidOf = (name) => state().processes.find((one) => one.name === name)?.pid;
    const victim = pidOf('burst-status-0');
    assert.ok(fs.readFileSync(`/proc/${victim}/comm`, 'utf8').startsWith('burst-status'), 'a process bears its service\'s name');
    process.kill(victim, 'SIGKILL');
    await waitFor('burst-status again', () => pidOf('burst-status-0') && pidOf('burst-status-0') !== victim, 5000);
    const status = new URL(`/status/v1${new URL(watch).pathname.replace('/watch/', '/broadcasts/')}`, watch).href;
    await waitFor('its answer', async () => (await (await fetch(status)).json()).state === 'live', 10000);

    await run(path.join(clone, 'deploy/down'), [], { env, timeout: 60000 });
    assert.deepEqual(processesOf(clone), []);
    await assert.rejects(fetch(new URL('/', watch)), 'nothing answers any more');
});
