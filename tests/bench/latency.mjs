// Delay from camera to page: every frame carries the time at which it was made (32 black or white fields), ffmpeg broadcasts it, Chromium
// plays it on the watch page, and the fields are read back from the <video>. Usage: node tests/bench/latency.mjs [seconds]
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startStack } from '../../deploy/stack/stack.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { launchBrowser } from '../lib/browser.mjs';
import { newBroadcast, sleep, waitFor } from '../lib/fixture.mjs';

const WIDTH = 640;
const HEIGHT = 360;
const RATE = 25;
const BITS = 32;
const FIELD = WIDTH / 8; // 8 columns, 4 rows
const ROW = HEIGHT / 4;
const seconds = Number(process.argv[2] ?? 40);

/** A grey frame whose fields spell the lower 32 bits of the clock. */
function drawClock(frame, ms) {
    for (let bit = 0; bit < BITS; bit += 1) {
        const value = Math.floor(ms / 2 ** bit) % 2 ? 235 : 16;
        const left = (bit % 8) * FIELD;
        const top = Math.floor(bit / 8) * ROW;
        for (let y = top; y < top + ROW; y += 1) frame.fill(value, y * WIDTH + left, y * WIDTH + left + FIELD);
    }
}

const runDir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-bench-latency-'));
const stack = await startStack({ runDir });
const broadcast = await newBroadcast(stack, 'latency');
const ffmpeg = spawnBound('ffmpeg', ['-v', 'error', '-f', 'rawvideo', '-pixel_format', 'gray', '-video_size', `${WIDTH}x${HEIGHT}`, '-framerate', String(RATE), '-use_wallclock_as_timestamps', '1', '-i', '-',
    '-f', 'lavfi', '-re', '-i', 'sine=frequency=440:sample_rate=48000', '-pix_fmt', 'yuv420p', '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-b:v', '800k',
    '-g', String(2 * RATE), '-c:a', 'aac', '-f', 'flv', broadcast.pushUrl], { stdio: ['pipe', 'inherit', 'inherit'] });
const frame = Buffer.alloc(WIDTH * HEIGHT);
const camera = setInterval(() => { drawClock(frame, Date.now()); ffmpeg.stdin.write(frame); }, 1000 / RATE);
const browser = await launchBrowser();
try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await page.goto(`${stack.origin}/watch/${broadcast.id}`);
    const read = () => page.evaluate(({ width, height, field, row }) => {
        const video = document.getElementById('video');
        if (!video || video.readyState < 2 || video.paused) return null;
        const canvas = document.createElement('canvas');
        canvas.width = width;
        canvas.height = height;
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0, width, height);
        const now = Date.now();
        let stamp = 0;
        for (let bit = 0; bit < 32; bit += 1) {
            const [light] = context.getImageData((bit % 8) * field + field / 2, Math.floor(bit / 8) * row + row / 2, 1, 1).data;
            if (light > 128) stamp += 2 ** bit;
        }
        return (now % 2 ** 32) - stamp;
    }, { width: WIDTH, height: HEIGHT, field: FIELD, row: ROW });
    const began = Date.now();
    const first = await waitFor('the first picture', async () => { const delay = await read(); return delay > 0 && delay < 60000 && { delay, after: Date.now() - began }; }, 30000, 50);
    const delays = [];
    const until = Date.now() + seconds * 1000;
    while (Date.now() < until) {
        const delay = await read();
        if (delay > 0 && delay < 60000) delays.push(delay);
        await sleep(200);
    }
    delays.sort((a, b) => a - b);
    const at = (share) => (delays[Math.floor((delays.length - 1) * share)] / 1000).toFixed(2);
    console.log(`${os.cpus()[0].model}, ${os.cpus().length} cores; 640x360, ladder 360p/240p, 2 s segments, everything on one machine`);
    console.log(`first picture ${(first.after / 1000).toFixed(2)} s after the page was opened, ${(first.delay / 1000).toFixed(2)} s behind the camera`);
    console.log(`camera to page over ${seconds} s, ${delays.length} readings: median ${at(0.5)} s, p95 ${at(0.95)} s, worst ${at(1)} s (goal: at most 6 s)`);
} finally {
    clearInterval(camera);
    ffmpeg.kill('SIGKILL');
    await browser.close();
    await stack.stop();
    fs.rmSync(runDir, { recursive: true, force: true });
}
process.exit(0);
