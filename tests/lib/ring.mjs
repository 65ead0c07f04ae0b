// A media ring (proto/media_ring.h) as it lies in Redis: entries with their FLV tags.
import net from 'node:net';
import { keys } from './redis_client.mjs';
import { parseTags } from './rtmp_client.mjs';

/** One RESP2 value of `bytes` at `at`, bulk strings as buffers: [value, next], or null while it is incomplete. */
function parse(bytes, at) {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return null;
    const count = Number(bytes.toString('latin1', at + 1, end));
    let next = end + 2;
    switch (String.fromCharCode(bytes[at])) {
    case '$':
        if (count < 0) return [null, next];
        return bytes.length < next + count + 2 ? null : [bytes.subarray(next, next + count), next + count + 2];
    case '*': {
        const list = [];
        for (let i = 0; i < count; i += 1) {
            const found = parse(bytes, next);
            if (!found) return null;
            list.push(found[0]);
            [, next] = found;
        }
        return [list, next];
    }
    default: return [bytes.toString('latin1', at + 1, end), next];
    }
}

/** All entries: {atMs, session, isKey, hasGap, end, tags}. */
export async function readRing(port, broadcast) {
    const socket = net.connect(port, '127.0.0.1');
    const chunks = [];
    let found = null;
    socket.write(['*4', '$6', 'XRANGE', `$${(keys.KEY_MEDIA_RING + broadcast).length}`, keys.KEY_MEDIA_RING + broadcast, '$1', '-', '$1', '+', ''].join('\r\n'));
    for await (const chunk of socket) {
        chunks.push(chunk);
        found = parse(Buffer.concat(chunks), 0);
        if (found) break;
    }
    socket.destroy();
    if (!found) throw new Error('the media Redis closed the connection');
    if (!Array.isArray(found[0])) throw new Error(found[0]);
    return found[0].map(([id, flat]) => {
        const fields = Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i].toString(), flat[2 * i + 1]]));
        return {
            atMs: Number(id.toString().split('-')[0]), session: Number(fields.s), isKey: fields.k?.toString() === '1', hasGap: fields.g?.toString() === '1',
            end: fields.e?.toString() ?? null, tags: fields.d ? parseTags(fields.d) : [],
        };
    });
}
