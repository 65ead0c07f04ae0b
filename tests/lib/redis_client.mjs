// A small Redis client for tests: commands, scripts of proto/lua by name, subscriptions. No dependency.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const proto = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../proto');

/** The macros of proto's headers by name: keys.KEY_BROADCAST is 'hanabi:broadcast:'. Nothing in the tests spells a key. */
export const keys = {};
for (const header of ['keys.h', 'broadcast.h', 'media_ring.h']) {
    for (const [, name, text, number] of fs.readFileSync(path.join(proto, header), 'utf8').matchAll(/^#define +([A-Z_]+) +(?:"([^"]*)"|([0-9]+))/gm)) {
        keys[name] = text ?? number;
    }
}

/** A script's text as the C build makes it: includes put in, `$NAME` replaced. */
export function scriptText(name) {
    const read = (file) => fs.readFileSync(path.join(proto, 'lua', `${file}.lua`), 'utf8');
    const text = read(name).replace(/^-- include: ([a-z_]+)$/m, (_, include) => read(`include_${include}`));
    return text.replace(/\$([A-Z_]+)/g, (whole, macro) => {
        if (!(macro in keys)) throw new Error(`${name}: no macro ${whole}`);
        return keys[macro];
    });
}

/** One RESP2 value from `text` (latin1) at `at`: [value, next], or null while it is incomplete. */
function parse(text, at) {
    const end = text.indexOf('\r\n', at);
    if (end < 0) return null;
    const rest = text.slice(at + 1, end);
    let next = end + 2;
    switch (text[at]) {
    case '+': return [rest, next];
    case '-': return [new Error(rest), next];
    case ':': return [Number(rest), next];
    case '$': {
        const length = Number(rest);
        if (length < 0) return [null, next];
        if (text.length < next + length + 2) return null;
        return [Buffer.from(text.slice(next, next + length), 'latin1').toString('utf8'), next + length + 2];
    }
    default: {
        if (Number(rest) < 0) return [null, next];
        const list = [];
        for (let i = 0; i < Number(rest); i += 1) {
            const found = parse(text, next);
            if (!found) return null;
            list.push(found[0]);
            [, next] = found;
        }
        return [list, next];
    }
    }
}

export class RedisClient {
    constructor(port) {
        this.waiting = [];
        this.onMessage = null;
        this.text = '';
        this.socket = net.connect(port, '127.0.0.1');
        this.socket.setNoDelay(true);
        this.socket.on('data', (data) => this.read(data)).on('error', () => {}).on('close', () => {
            for (const { reject } of this.waiting.splice(0)) reject(new Error('redis: connection closed'));
        });
    }

    read(data) {
        this.text += data.toString('latin1');
        let at = 0;
        for (let found = parse(this.text, at); found; found = parse(this.text, at)) {
            const [value] = found;
            [, at] = found;
            if (Array.isArray(value) && value[0] === 'message') this.onMessage?.(value[1], value[2]);
            else {
                const { resolve, reject } = this.waiting.shift();
                if (value instanceof Error) reject(value); else resolve(value);
            }
        }
        this.text = this.text.slice(at);
    }

    command(...args) {
        const parts = args.map((arg) => Buffer.from(String(arg)));
        const head = Buffer.from(`*${parts.length}\r\n`);
        return new Promise((resolve, reject) => {
            if (this.socket.destroyed) { reject(new Error('redis: connection closed')); return; }
            this.waiting.push({ resolve, reject });
            this.socket.write(Buffer.concat([head, ...parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from('\r\n')])]));
        });
    }

    script(name, ...args) { return this.command('EVAL', scriptText(name), 0, ...args); }

    /** A hash as an object; {} when there is none. */
    async hash(key) {
        const flat = await this.command('HGETALL', key);
        return Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]));
    }

    subscribe(channel, onMessage) {
        this.onMessage = onMessage;
        return this.command('SUBSCRIBE', channel);
    }

    close() { this.socket.destroy(); }
}

/** Makes a broadcast as live-api would; `live` takes it on air with a session. */
export async function seedBroadcast(redis, id, { state = 'scheduled', title = 'seeded', owner = 'owner', graceMs = 60000, keyHash = '' } = {}) {
    await redis.script('broadcast_create', id, 'scheduled', title, owner, owner, keyHash, graceMs, 0, 0, 'created');
    if (state === 'scheduled') return null;
    const session = await goLive(redis, id);
    if (state === 'suspended') await redis.script('session_close', id, session, 'publisher_gone');
    if (state === 'ended') await redis.script('broadcast_end', id, 'owner');
    return session;
}

/** A publisher comes and its first segment can be fetched; returns the session. */
export async function goLive(redis, id) {
    const [answer, session] = await redis.script('session_open', id, 'ingest-test');
    if (answer !== 'ok') throw new Error(`session_open: ${answer}`);
    await redis.script('broadcast_live', id, session, Date.now());
    return session;
}

/** One command to the Redis of the state, whether the stack runs here or in containers. */
export async function stateRedis(stack, ...command) {
    if (stack.redis) return stack.redis(...command);
    const client = new RedisClient(stack.ports.state);
    try {
        return await client.command(...command);
    } finally {
        client.close();
    }
}
