// The chat that one writes with Socket.IO and its Redis adapter: a room, comments broadcast to it through Redis. A peer of ours in chat.mjs.
//   node socketio_server.mjs PORT REDIS_PORT
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const [port, redisPort] = process.argv.slice(2).map(Number);
const publisher = createClient({ url: `redis://127.0.0.1:${redisPort}` });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);
const http = createServer();
// The load answers no pings: none come while it runs.
const server = new Server(http, { transports: ['websocket'], perMessageDeflate: false, serveClient: false, pingInterval: 600000, adapter: createAdapter(publisher, subscriber) });
let count = 0;

server.on('connection', (socket) => {
    const id = `u${count++}`;
    socket.join('room');
    socket.on('comment', (text) => {
        const now = Date.now();
        server.to('room').emit('comment', { type: 'comment', id: `${now}-0`, user: { id, name: id }, text, at_ms: now });
    });
});
http.listen({ port, host: '127.0.0.1', backlog: 4096 });
