// What system tests share: a stack of their own, a broadcast, somebody who pushes to it, and waiting by polling.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { promisify } from 'node:util';
import { startStack } from '../../deploy/stack/stack.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';

export const run = promisify(execFile);
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls until `probe` returns something truthy and returns that; throws with `what` after `timeoutMs`. Errors of the probe count as "not yet". */
export async function waitFor(what, probe, timeoutMs = 10000, pollMs = 20) {
    const deadline = Date.now() + timeoutMs;
    let last = null;
    for (;;) {
        try {
            const value = await probe();
            if (value) return value;
            last = null;
        } catch (error) { last = error; }
        if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms${last ? ` (${last.message})` : ''}`);
        await sleep(pollMs);
    }
}

const endings = [];
after(async () => {
    for (const end of endings.reverse()) await end();
    // What a failed test has left running (a poll, a watch) must not keep the process, and with it the whole run, alive.
    setTimeout(() => process.exit(), 3000).unref();
});

/** To be done when the test file is over, the last one first. (An after() inside a before() would run when that before is over.) */
export const atEnd = (end) => { endings.push(end); };

/** A stack in a folder of its own, that goes when the test file is over. Under tests/compose: the one in containers, whatever the options. */
export async function freshStack(options = {}) {
    if (process.env.HANABI_COMPOSE) return (await import('../containers/lib.mjs')).containerStack();
    const runDir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-stack-'));
    const stack = await startStack({ runDir, ...options });
    atEnd(async () => {
        await stack.stop();
        checkLogFolder(path.join(runDir, 'logs'));
        removeFolder(runDir);
    });
    return stack;
}

/** A sanitizer's finding in any of the logs fails the test that caused it. */
export function checkLogs(files) {
    for (const file of files) {
        const text = fs.readFileSync(file, 'utf8');
        const at = text.search(/ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:/);
        if (at >= 0) throw new Error(`${path.basename(file)}: ${text.slice(at, at + 3000)}`);
    }
}

/** The same for all in a folder. */
export const checkLogFolder = (dir) => checkLogs(fs.readdirSync(dir).map((name) => path.join(dir, name)));

/** A folder of a test file's own goes, unless somebody wants to look into it. */
export function removeFolder(dir) {
    if (process.env.HANABI_KEEP_RUN) console.log(`kept: ${dir}`);
    else fs.rmSync(dir, { recursive: true, force: true });
}

export async function api(stack, method, pathname, { token, body, headers } = {}) {
    const answer = await (stack.fetch ?? fetch)(`${stack.origin}/api/v1${pathname}`, {
        method, headers: { ...(body ? { 'Content-Type': 'application/json' } : {}), ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers },
        body: body ? JSON.stringify(body) : undefined, signal: AbortSignal.timeout(15000) });
    const text = await answer.text();
    let json = null;
    try { json = JSON.parse(text); } catch { /* left null: the caller looks at the status */ }
    return { status: answer.status, json, text, headers: answer.headers };
}

/** A new owner and a new broadcast: {id, token, playback, pushUrl, …}. */
export async function newBroadcast(stack, title = 'test') {
    const session = (await api(stack, 'POST', '/sessions', { body: { name: 'tester' } })).json;
    const made = await api(stack, 'POST', '/broadcasts', { token: session.token, body: { title } });
    if (made.status !== 201) throw new Error(`POST /broadcasts: ${made.status} ${made.text}`);
    const { json } = made;
    return { ...json, token: session.token, playback: new URL(json.playback_url, stack.origin).href, pushUrl: `${json.rtmp_url}/${json.stream_key}` };
}

/** The public status, or null while there is none. */
export async function status(stack, id) {
    const answer = await (stack.fetch ?? fetch)(`${stack.origin}/status/v1/broadcasts/${id}`, { signal: AbortSignal.timeout(5000) });
    return answer.ok ? answer.json() : null;
}

/** Waits for a state; returns how long it took in ms. */
export async function waitForState(stack, id, state, timeoutMs = 20000) {
    const began = Date.now();
    await waitFor(`${id} ${state}`, async () => (await status(stack, id))?.state === state, timeoutMs);
    return Date.now() - began;
}

/** Inputs of ffmpeg for a programme that flashes and beeps together once a second. */
export function programme({ size = '640x360', rate = 25, audio = true, video = true, sampleRate = 48000, channels = 'stereo' } = {}) {
    const args = [];
    if (video) args.push('-f', 'lavfi', '-i', `testsrc2=s=${size}:r=${rate},drawbox=c=white:t=fill:enable='lt(mod(t,1),0.06)',format=yuv420p`);
    if (audio) args.push('-f', 'lavfi', '-i', `aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.06)':s=${sampleRate},aformat=channel_layouts=${channels}`);
    return args;
}

export const encodeArgs = ({ gop = 50, bitrate = '800k', audio = true, video = true, extra = [] } = {}) => [
    ...(video ? ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-b:v', bitrate, '-g', String(gop), '-keyint_min', String(gop), '-sc_threshold', '0'] : []),
    ...(audio ? ['-c:a', 'aac', '-b:a', '96k'] : []), ...extra];

/** An FLV file of the programme, made once per test run and kept in the temp folder, so that pushing it costs nothing but reading. */
export async function programmeFile(seconds, options = {}) {
    const name = `hanabi-programme-${seconds}-${Buffer.from(JSON.stringify(options)).toString('base64url')}.flv`;
    const file = path.join(os.tmpdir(), name);
    if (!fs.existsSync(file)) {
        const partial = `${file}.${process.pid}.flv`;
        await run('ffmpeg', ['-v', 'error', '-y', ...programme(options), '-t', String(seconds), ...encodeArgs(options), '-f', 'flv', partial]);
        fs.renameSync(partial, file);
    }
    return file;
}

/** A publisher process. kill() is SIGKILL: the line drops like a pulled plug whose kernel still says goodbye. */
export class Pusher {
    constructor(command, args) {
        this.stderr = '';
        this.child = spawnBound(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
        this.child.stderr.on('data', (data) => { this.stderr = (this.stderr + data).slice(-20000); });
        this.exited = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
        this.startedAt = Date.now();
    }

    kill(signal = 'SIGKILL') { this.child.kill(signal); return this.exited; }
}

/** ffmpeg, real time, from a file made before (no encoding while the test runs). */
export function pushFile(url, file, { seek = 0 } = {}) {
    return new Pusher('ffmpeg', ['-hide_banner', '-loglevel', 'warning', '-re', ...(seek ? ['-ss', String(seek)] : []), '-i', file, '-c', 'copy', '-f', 'flv', url]);
}

/** GStreamer's rtmp2sink with a live test picture and tone. */
export function pushGstreamer(url) {
    return new Pusher('gst-launch-1.0', ['-q',
        'videotestsrc', 'is-live=true', 'pattern=ball', '!', 'video/x-raw,width=640,height=360,framerate=25/1', '!', 'x264enc', 'tune=zerolatency', 'speed-preset=ultrafast', 'key-int-max=50', 'bitrate=800', '!',
        'video/x-h264,profile=main', '!', 'h264parse', '!', 'queue', '!', 'mux.',
        'audiotestsrc', 'is-live=true', 'wave=ticks', '!', 'audio/x-raw,rate=48000,channels=2', '!', 'avenc_aac', '!', 'aacparse', '!', 'queue', '!', 'mux.',
        'flvmux', 'name=mux', 'streamable=true', '!', 'rtmp2sink', `location=${url}`]);
}

/** A TCP proxy whose line can go silent without closing (black hole) or be cut; swallow(text) does the first to the connections that have sent `text`. */
export async function tcpProxy(targetPort, cleanup) {
    const net = await import('node:net');
    const pairs = new Set();
    const proxy = { silent: false, accepted: 0 };
    const server = net.createServer((client) => {
        proxy.accepted += 1;
        const upstream = net.connect(targetPort, '127.0.0.1');
        const pair = { client, upstream, said: '', isSwallowed: false };
        pairs.add(pair);
        const close = () => { client.destroy(); upstream.destroy(); pairs.delete(pair); };
        client.on('error', close).on('close', () => { if (!proxy.silent) close(); });
        upstream.on('error', close).on('close', () => { if (!proxy.silent) close(); });
        client.on('data', (data) => {
            pair.said = (pair.said + data.toString('latin1')).slice(0, 4096);
            if (!proxy.silent && !pair.isSwallowed) upstream.write(data);
        });
        upstream.on('data', (data) => { if (!proxy.silent && !pair.isSwallowed) client.write(data); });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    proxy.port = server.address().port;
    proxy.blackHole = () => { proxy.silent = true; };
    proxy.swallow = (text) => { for (const pair of pairs) if (pair.said.includes(text)) pair.isSwallowed = true; };
    proxy.cut = () => { for (const { client, upstream } of pairs) { client.destroy(); upstream.destroy(); } pairs.clear(); };
    proxy.close = () => { proxy.cut(); return new Promise((resolve) => server.close(resolve)); };
    cleanup(() => proxy.close());
    return proxy;
}
