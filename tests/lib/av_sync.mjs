// Measures whether sound and picture stay together: the programme flashes white and beeps at the same moment, once a second; here both
// are found again in the MPEG-TS that came out.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** [{time, value}] from ffmpeg's metadata=print. */
function readings(text, key) {
    const found = [];
    let time = NaN;
    for (const line of text.split('\n')) {
        const at = /pts_time:(-?[0-9.]+)/.exec(line);
        if (at) time = Number(at[1]);
        else if (line.startsWith(`${key}=`)) found.push({ time, value: Number(line.slice(key.length + 1)) });
    }
    return found;
}

/** Times at which the value rises over the threshold. */
const onsets = (list, threshold) => list.filter((one, i) => one.value > threshold && i > 0 && !(list[i - 1].value > threshold)).map((one) => one.time);

/** @returns {Promise<number[]>} for each flash: sound minus picture, in ms */
export async function measureSync(tsBytes) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-sync-'));
    try {
        const file = path.join(dir, 'in.ts');
        fs.writeFileSync(file, tsBytes);
        const options = { maxBuffer: 256 * 1024 * 1024 };
        const video = await run('ffmpeg', ['-v', 'error', '-copyts', '-i', file, '-map', '0:v', '-vf',
            'scale=32:18,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-', '-f', 'null', '-'], options);
        const audio = await run('ffmpeg', ['-v', 'error', '-copyts', '-i', file, '-map', '0:a', '-af',
            'asetnsamples=n=240,astats=metadata=1:reset=1:measure_perchannel=none:measure_overall=RMS_level,ametadata=print:key=lavfi.astats.Overall.RMS_level:file=-', '-f', 'null', '-'], options);
        const flashes = onsets(readings(video.stdout, 'lavfi.signalstats.YAVG'), 190);
        const beeps = onsets(readings(audio.stdout, 'lavfi.astats.Overall.RMS_level').map((one) => ({ ...one, value: Number.isFinite(one.value) ? one.value : -200 })), -35);
        return flashes.map((flash) => {
            const nearest = beeps.reduce((best, beep) => (Math.abs(beep - flash) < Math.abs(best - flash) ? beep : best), Infinity);
            return (nearest - flash) * 1000;
        });
    } finally {
        fs.rmSync(dir, { recursive: true, force: true });
    }
}
