// Chromium for tests: a fresh profile each time, nothing in the background, and a way to see whether a picture moves.
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const ARGS = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
];

/* Playwright's browser: newPage({ viewport, reducedMotion, … }) gives a page with a storage of its own; close() leaves nothing behind. */
export async function launchBrowser({ executablePath = process.env.HANABI_CHROMIUM ?? 'chromium' } = {}) {
    return chromium.launch({ executablePath: await findExecutable(executablePath), headless: true, chromiumSandbox: false, args: ARGS });
}

async function findExecutable(name) {
    if (path.isAbsolute(name)) return name;
    for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
        const candidate = path.join(folder, name);
        if (await fs.access(candidate, fs.constants.X_OK).then(() => true, () => false)) return candidate;
    }
    throw new Error(`${name} is not installed (PATH has none)`);
}

/* Whether the video shows another picture `intervalMs` later: both are drawn small and compared pixel by pixel. False also when
 * there is no video or no picture yet, so that tests may poll it. */
export async function framesMove(page, selector = '#video', intervalMs = 400) {
    return page.evaluate(async ([query, wait]) => {
        const capture = () => {
            const video = document.querySelector(query);
            if (!video || video.readyState < 2 || video.videoWidth === 0) return null;
            const canvas = document.createElement('canvas');
            canvas.width = 64;
            canvas.height = 36;
            const context = canvas.getContext('2d', { willReadFrequently: true });
            context.drawImage(video, 0, 0, canvas.width, canvas.height);
            return context.getImageData(0, 0, canvas.width, canvas.height).data;
        };
        const first = capture();
        if (!first) return false;
        await new Promise((resolve) => setTimeout(resolve, wait));
        const second = capture();
        if (!second) return false;
        // Noise of the decoder stays below 8 of 255; a moved picture has many pixels that do not.
        let changed = 0;
        for (let i = 0; i < first.length; i += 4) {
            if (Math.abs(first[i] - second[i]) + Math.abs(first[i + 1] - second[i + 1]) + Math.abs(first[i + 2] - second[i + 2]) > 24) changed += 1;
        }
        return changed >= 8;
    }, [selector, intervalMs]);
}

/* A picture of the page under HANABI_SCREENSHOT_DIR (or the system's temporary folder); returns its path. */
export async function screenshot(page, name, options = {}) {
    const folder = process.env.HANABI_SCREENSHOT_DIR ?? path.join(os.tmpdir(), 'hanabi-screenshots');
    await fs.mkdir(folder, { recursive: true });
    const file = path.join(folder, `${name}.png`);
    await page.screenshot({ path: file, ...options });
    return file;
}
