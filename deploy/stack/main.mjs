// The process behind deploy/up: starts a stack, writes <run>/stack.json when it is up, stops everything on SIGTERM.
import fs from 'node:fs';
import path from 'node:path';
import { repo } from './servers.mjs';
import { Stack } from './stack.mjs';
import { startDemo, waitForLive } from './demo.mjs';

const runDir = path.resolve(process.env.HANABI_RUN_DIR ?? path.join(repo, 'run'));
const demo = process.argv.includes('--demo');
const stateFile = path.join(runDir, 'stack.json');
fs.mkdirSync(runDir, { recursive: true });

const port = (name, fallback) => {
    const value = process.env[name] ?? String(fallback);
    if (!/^\d+$/.test(value) || Number(value) < 1 || Number(value) > 65535) {
        console.error(`${name}=${value}: expected a port from 1 to 65535`);
        process.exit(2);
    }
    return Number(value);
};

const host = process.env.HANABI_BIND ?? '0.0.0.0';
const rtmpPort = port('HANABI_RTMP_PORT', 1935);
// Scale a service with HANABI_SCALE_TRANSCODER=2, HANABI_SCALE_SEGMENT_UPLOADER=2, …
const services = Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) => {
    const match = /^HANABI_SCALE_([A-Z_]+)$/.exec(name);
    return match ? [[match[1].toLowerCase().replaceAll('_', '-'), Number(value)]] : [];
}));

// HTTPS, WSS and RTMPS, where there is a certificate.
const certificate = process.env.HANABI_TLS_CERT || process.env.HANABI_TLS_KEY
    ? Object.fromEntries([['cert', 'HANABI_TLS_CERT'], ['key', 'HANABI_TLS_KEY']].map(([what, name]) => {
        const file = path.resolve(process.env[name] || '?');
        if (fs.existsSync(file)) return [what, file];
        console.error(`${name}=${process.env[name] ?? ''}: expected a PEM file (a certificate needs its key, and the other way round)`);
        return process.exit(2);
    })) : null;

const writeState = (stack, extra = {}) => fs.writeFileSync(stateFile, JSON.stringify({
    supervisor: process.pid, processes: stack.all().filter((p) => p.pid).map((p) => ({ name: p.name, pid: p.pid })),
    origin: stack.origin, secure_origin: stack.secureOrigin, rtmp_url: stack.rtmpUrl, ports: stack.ports, service_ports: stack.servicePorts, ...extra }, null, 2));

let extra = { ready: false };
const stack = new Stack({
    runDir, publicHost: host, rtmpHost: host, services, restart: true,
    rtmpUrl: process.env.HANABI_RTMP_URL ?? `rtmp://localhost:${rtmpPort}/live`,
    graceMs: Number(process.env.HANABI_GRACE_MS ?? 60000),
    ports: { public: port('HANABI_PORT', 8080), rtmp: rtmpPort },
    env: { edge: process.env }, // what one client address may do: deploy/nginx/limits
    tls: certificate && { ...certificate, port: port('HANABI_TLS_PORT', 8443), rtmpsPort: port('HANABI_RTMPS_PORT', 1936) },
    onChange: (changed) => writeState(changed, extra),
});

let programme = null;
let stopping = false;
const stop = async (status) => {
    if (stopping) return;
    stopping = true;
    await programme?.stop();
    await stack.stop();
    fs.rmSync(stateFile, { force: true });
    process.exit(status);
};
process.on('SIGTERM', () => stop(0));
process.on('SIGINT', () => stop(0));

try {
    await stack.start();
    if (demo) {
        programme = await startDemo(stack);
        await waitForLive(stack.origin, programme.broadcast.id);
        extra = { demo: programme.broadcast.id };
    }
    extra = { ...extra, ready: true };
    writeState(stack, extra);
} catch (error) {
    console.error(`deploy/up: ${error.message}`);
    await stop(1);
}
