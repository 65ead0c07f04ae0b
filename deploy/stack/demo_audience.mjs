// The demo's audience: a few guests who talk, send hearts and now and then a gift, through the public API like anybody's page.
import crypto from 'node:crypto';
import http from 'node:http';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const GUESTS = ['Aoi', 'ハルカ', 'Mateo', 'Yuna'];
const LINES = ['きれい！', 'So beautiful', '花火だー！', 'Hello from Osaka', 'Is this live?', 'It is, look at the clock', 'たまやー', '¡Qué bonito!', 'My first time here',
    '8888888', 'Could watch this all night', 'おつかれさま', 'That orange!', 'こんばんは', 'Hearts for you', 'Who else is on a train?'];

/** A websocket that can send text (RFC 6455: client frames are masked); what comes in is thrown away. Resolves when it is open. */
function openSocket(url) {
    return new Promise((resolve, reject) => {
        const request = http.get(url, { headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': crypto.randomBytes(16).toString('base64') } });
        request.on('upgrade', (answer, socket) => {
            socket.on('error', () => {}).resume();
            resolve({
                get isOpen() { return !socket.destroyed && socket.writable; },
                send(text) {
                    const body = Buffer.from(text);
                    const mask = crypto.randomBytes(4);
                    const head = body.length < 126 ? Buffer.from([0x81, 0x80 | body.length]) : Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 255]);
                    socket.write(Buffer.concat([head, mask, body.map((byte, i) => byte ^ mask[i % 4])]));
                },
                close() { socket.destroy(); },
            });
        }).on('response', (answer) => { answer.resume(); reject(new Error(`websocket: ${answer.statusCode}`)); }).on('error', reject);
    });
}

/** `call(method, path, token, body)` as in demo.mjs. Returns a stop function; errors are nobody's business here. */
export function startAudience(origin, broadcast, call) {
    let stopped = false;
    const sockets = new Set();
    const guest = async (name, index) => {
        const { token } = await call('POST', '/sessions', null, { name });
        await call('POST', '/wallet/topups', token, { coins: 10000 });
        if (index === 1) await fetch(`${origin}/api/v1/settings/decoration`, { method: 'PUT', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }, body: JSON.stringify({ background: '#5b2245', frame: 'sakura' }) });
        const { items } = await call('GET', '/items', null);
        let socket = null;
        for (let turn = 0; !stopped; turn += 1) {
            await sleep(2000 + Math.random() * 6000);
            if (stopped) break;
            try {
                if (!socket?.isOpen) {
                    socket = await openSocket(`${origin}${broadcast.chat_url}?token=${encodeURIComponent(token)}`);
                    sockets.add(socket);
                }
                socket.send(JSON.stringify({ type: 'comment', ref: `d${turn}`, text: LINES[Math.floor(Math.random() * LINES.length)] }));
                await call('POST', `/broadcasts/${broadcast.id}/loves`, token, { batch_id: crypto.randomUUID(), count: 1 + Math.floor(Math.random() * 12) });
                if (turn % 8 === 3 && items.length > 0) {
                    await call('POST', '/purchases', token, { item_id: items[Math.floor(Math.random() * items.length)].id, broadcast_id: broadcast.id, idempotency_key: crypto.randomUUID() });
                }
            } catch { /* the stack is being tried out, or stopped: the next turn tells */ }
        }
    };
    const all = GUESTS.map((name, index) => guest(name, index).catch(() => {}));
    return async () => {
        stopped = true;
        for (const socket of sockets) socket.close();
        await Promise.race([Promise.all(all), sleep(500)]);
    };
}
