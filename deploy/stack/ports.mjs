// Free TCP ports on loopback.
import net from 'node:net';

const given = new Set();

/** A port that was free a moment ago, never the same one twice from this process. */
export async function freePort() {
    for (;;) {
        const port = await new Promise((resolve, reject) => {
            const server = net.createServer();
            server.once('error', reject);
            server.listen(0, '127.0.0.1', () => {
                const { port: got } = server.address();
                server.close(() => resolve(got));
            });
        });
        if (!given.has(port)) {
            given.add(port);
            return port;
        }
    }
}

/** Resolves when something accepts on the port; rejects after `timeoutMs`. */
export async function waitForPort(port, timeoutMs = 15000, host = '127.0.0.1') {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
        const open = await new Promise((resolve) => {
            const socket = net.connect(port, host);
            socket.once('connect', () => { socket.destroy(); resolve(true); });
            socket.once('error', () => resolve(false));
        });
        if (open) return;
        if (Date.now() > deadline) throw new Error(`nothing listens on port ${port} after ${timeoutMs} ms`);
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
}
