// The ladder on one core: `transcoder file` beside ffmpeg with the same ladder and x264 options, in turn, in one run; quality by SSIM.
// Usage: node tests/bench/ladder.mjs [rounds]
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { binary } from '../../deploy/stack/servers.mjs';
import { median, run } from './rig.mjs';

const rounds = Number(process.argv[2] ?? 3);
const SECONDS = 30;
const ladder = [['720p', 1280, 720, 2500], ['480p', 854, 480, 1200], ['360p', 640, 360, 700], ['240p', 426, 240, 350]];
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-bench-ladder-'));
process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
const source = path.join(dir, 'source.flv');

/** User and system time of a command on core 0, in seconds, by the kernel's account. */
async function cpuOf(command, args, env = {}) {
    const { stderr } = await run('taskset', ['-c', '0', 'bash', '-c', 'TIMEFORMAT="cpu %U %S"; time "$0" "$@"', command, ...args],
        { env: { ...process.env, ...env }, maxBuffer: 64 << 20 });
    const [, user, system] = /cpu ([0-9.]+) ([0-9.]+)/.exec(stderr);
    return Number(user) + Number(system);
}

const ours = (name, env = {}) => {
    const out = path.join(dir, name);
    fs.rmSync(out, { recursive: true, force: true });
    return cpuOf(binary('transcoder'), ['file', source, out], { HANABI_LADDER: ladder.map(([n, , , kbps]) => `${n}:${kbps}`).join(','), ...env });
};

const x264 = (kbps) => ['-c:v', 'libx264', '-preset', 'veryfast', '-b:v', `${kbps}k`, '-maxrate', `${kbps}k`, '-bufsize', `${kbps}k`, '-bf', '0', '-threads', '1',
    '-profile:v', 'high', '-x264-params', process.env.HANABI_BENCH_X264 ?? 'scenecut=0:open-gop=0:keyint=infinite:rc-lookahead=5:weightp=1:sync-lookahead=0:sliced-threads=0:threads=1',
    '-force_key_frames', 'expr:gte(t,n_forced*2)'];
const theirs = () => cpuOf('ffmpeg', ['-v', 'error', '-y', '-threads', '1', '-filter_complex_threads', '1', '-i', source, '-filter_complex',
    `[0:v]split=4[v0][s1][s2][s3];${ladder.slice(1).map(([, w, h], i) => `[s${i + 1}]scale=${w}:${h}[v${i + 1}]`).join(';')}`,
    ...ladder.flatMap(([name, , , kbps], i) => ['-map', `[v${i}]`, ...(i === 0 ? ['-map', '0:a', '-c:a', 'aac', '-b:a', '128k'] : []), ...x264(kbps), '-f', 'mpegts', path.join(dir, `ffmpeg-${name}.ts`)])]);

/** SSIM of a rendition against the source scaled to its size (bicubic). */
async function ssim(file, width, height) {
    const { stderr } = await run('ffmpeg', ['-hide_banner', '-i', file, '-i', source, '-lavfi', `[0:v]settb=AVTB,setpts=N[a];[1:v]scale=${width}:${height}:flags=bicubic,settb=AVTB,setpts=N[b];[a][b]ssim`, '-f', 'null', '-'], { maxBuffer: 64 << 20 });
    return Number(/SSIM .*All:([0-9.]+)/.exec(stderr)[1]);
}

const join = (folder) => {
    const file = `${folder}.ts`;
    const names = fs.readdirSync(folder).filter((name) => name.endsWith('.ts')).sort((a, b) => parseInt(a, 10) - parseInt(b, 10));
    fs.writeFileSync(file, Buffer.concat(names.map((name) => fs.readFileSync(path.join(folder, name)))));
    return file;
};

console.log(`${os.cpus()[0].model}, ${os.cpus().length} cores, one used; 720p30, ${SECONDS} s of moving test picture with noise; ladder ${ladder.map(([n]) => n).join('/')}`);
await run('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=30,noise=alls=12:allf=t', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000', '-t', String(SECONDS),
    '-c:v', 'libx264', '-preset', 'veryfast', '-b:v', '4000k', '-g', '60', '-keyint_min', '60', '-sc_threshold', '0', '-bf', '0', '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-b:a', '128k', '-f', 'flv', source]);
const ratios = [];
const passed = [];
for (let round = 1; round <= rounds; round += 1) {
    const a = await ours('ours');
    const b = await theirs();
    const c = await ours('passthrough', { HANABI_PASSTHROUGH: 'auto' });
    ratios.push(b / a);
    passed.push(b / c);
    console.log(`round ${round}: ours ${a.toFixed(2)} s CPU (${(SECONDS / a).toFixed(2)}x real time)  ffmpeg ${b.toFixed(2)} s (${(SECONDS / b).toFixed(2)}x)  ratio ${(b / a).toFixed(2)}   `
        + `with pass-through ${c.toFixed(2)} s (${(SECONDS / c).toFixed(2)}x)  ratio ${(b / c).toFixed(2)}`);
}
console.log(`median: ${median(ratios).toFixed(2)} times as many ladders per core as ffmpeg re-encoding all (goal 1.1), ${median(passed).toFixed(2)} with pass-through (goal 2)`);
for (const [name, width, height] of ladder) {
    const a = await ssim(join(path.join(dir, 'ours', name)), width, height);
    const b = await ssim(path.join(dir, `ffmpeg-${name}.ts`), width, height);
    const size = (file) => ((fs.statSync(file).size * 8) / SECONDS / 1000).toFixed(0);
    console.log(`${name}: SSIM ours ${a.toFixed(4)} at ${size(`${path.join(dir, 'ours', name)}.ts`)} kbit/s, ffmpeg ${b.toFixed(4)} at ${size(path.join(dir, `ffmpeg-${name}.ts`))} kbit/s`);
}
