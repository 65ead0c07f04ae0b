// The demo programme: a generated night sky with a running clock, broadcast over RTMP like anybody's, for as long as the stack runs.
import fs from 'node:fs';
import path from 'node:path';
import { startAudience } from './demo_audience.mjs';
import { spawnBound } from './supervised.mjs';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function api(origin, method, pathname, token, body) {
    const answer = await fetch(`${origin}/api/v1${pathname}`, {
        method, headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) },
        body: body ? JSON.stringify(body) : undefined });
    const json = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${pathname}: ${answer.status} ${json.error?.message ?? ''}`);
    return json;
}

/** ffmpeg's arguments for a picture of fireworks-like colour, a clock burnt in, and a soft chord. */
export function programmeArgs(url) {
    const clock = "drawtext=text='%{localtime\\:%H\\\\\\:%M\\\\\\:%S}':fontsize=72:fontcolor=white:shadowcolor=black:shadowx=2:shadowy=2:x=(w-tw)/2:y=h-150";
    const title = "drawtext=text='Hanabi':fontsize=96:fontcolor=white@0.9:shadowcolor=black:shadowx=3:shadowy=3:x=(w-tw)/2:y=h/2-90";
    return ['-hide_banner', '-loglevel', 'error', '-re',
        '-f', 'lavfi', '-i', 'gradients=s=1280x720:r=30:speed=0.02:n=4:c0=0x0b1026:c1=0x7a1f4b:c2=0xff8a3d:c3=0x1b2a6b,format=yuv420p',
        '-re', '-f', 'lavfi', '-i', 'sine=frequency=330:sample_rate=48000:beep_factor=2,volume=0.08,aformat=channel_layouts=stereo',
        '-vf', `${title},${clock}`, '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-b:v', '2500k', '-g', '60', '-keyint_min', '60',
        '-sc_threshold', '0', '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-b:a', '128k', '-ar', '48000', '-f', 'flv', url];
}

/** Makes a broadcast and keeps pushing to it, with an audience. Returns what was made and a stop function. */
export async function startDemo(stack) {
    const session = await api(stack.origin, 'POST', '/sessions', null, { name: 'Hanabi demo' });
    const broadcast = await api(stack.origin, 'POST', '/broadcasts', session.token, { title: 'Test programme 花火' });
    let stopped = false;
    let child = null;
    const log = fs.openSync(path.join(stack.runDir, 'logs/demo.log'), 'a');
    const push = async () => {
        while (!stopped) {
            child = spawnBound('ffmpeg', programmeArgs(`${broadcast.rtmp_url}/${broadcast.stream_key}`), { stdio: ['ignore', log, log] });
            await new Promise((resolve) => child.once('close', resolve));
            if (!stopped) await sleep(1000);
        }
    };
    const done = push();
    const stopAudience = startAudience(stack.origin, broadcast, (...args) => api(stack.origin, ...args));
    const stop = async () => { stopped = true; child?.kill('SIGKILL'); await Promise.all([done, stopAudience()]); };
    return { broadcast, session, stop };
}

/** Resolves when the broadcast is live. */
export async function waitForLive(origin, id, timeoutMs = 30000) {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
        const answer = await fetch(`${origin}/status/v1/broadcasts/${id}`).catch(() => null);
        if (answer?.ok && (await answer.json()).state === 'live') return;
        if (Date.now() > deadline) throw new Error(`the demo broadcast is not live after ${timeoutMs} ms`);
        await sleep(100);
    }
}
