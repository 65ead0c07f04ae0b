// A scripted RTMP publisher that can also misbehave. No dependency.
//
//     const client = await RtmpClient.connect({ port, app: 'live' });
//     await client.publish('key');                                   // rejects with the status' code when refused
//     await client.sendFlv('file.flv', { realtime: true });          // or { tags: readFlv(file) }
//     client.statuses                                                // every onStatus and _error so far: {code, level, description}
//     await client.waitForStatus('NetStream.Publish.BadName');
//     client.close();
//
// Misbehaviour: `RtmpClient.raw()` gives the bare socket; `sendBytes()` puts anything on the line; `message()` builds a message with headers that
// may lie; options `chunkSize`, `handshake: 'digest'`, `extended: 'repeat' | 'omit'`.
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

const HANDSHAKE = 1536;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* ---- AMF0 ---- */

export const amf = {
    string: (text) => { const bytes = Buffer.from(text); return Buffer.concat([Buffer.from([2, bytes.length >> 8, bytes.length & 255]), bytes]); },
    number: (value) => { const out = Buffer.alloc(9); out.writeDoubleBE(value, 1); return out; },
    boolean: (value) => Buffer.from([1, value ? 1 : 0]),
    null: () => Buffer.from([5]),
    object: (members) => Buffer.concat([Buffer.from([3]), ...Object.entries(members).flatMap(([name, value]) => [amf.string(name).subarray(1), amf.value(value)]), Buffer.from([0, 0, 9])]),
    value: (value) => {
        if (value === null || value === undefined) return amf.null();
        if (Buffer.isBuffer(value)) return value;
        return { string: amf.string, number: amf.number, boolean: amf.boolean, object: amf.object }[typeof value](value);
    },
};

/** All values in `bytes`. */
export function amfParse(bytes) {
    let at = 0;
    const text = (size) => { const length = bytes.readUIntBE(at, size); at += size + length; return bytes.toString('utf8', at - length, at); };
    const members = () => {
        const object = {};
        for (;;) {
            const name = text(2);
            if (name === '' && bytes[at] === 9) { at += 1; return object; }
            object[name] = value();
        }
    };
    const value = () => {
        const marker = bytes[at];
        at += 1;
        switch (marker) {
        case 0: at += 8; return bytes.readDoubleBE(at - 8);
        case 1: at += 1; return bytes[at - 1] !== 0;
        case 2: return text(2);
        case 3: return members();
        case 5: case 6: return null;
        case 8: at += 4; return members();
        case 12: return text(4);
        default: throw new Error(`AMF0 marker ${marker}`);
        }
    };
    const values = [];
    while (at < bytes.length) values.push(value());
    return values;
}

/* ---- FLV ---- */

/** Tags of an FLV file: {type, timestamp, body}. */
export function readFlv(file) {
    const bytes = fs.readFileSync(file);
    const tags = [];
    for (let at = bytes.readUInt32BE(5) + 4; at + 11 <= bytes.length;) {
        const size = bytes.readUIntBE(at + 1, 3);
        if (at + 11 + size > bytes.length) break;
        tags.push({ type: bytes[at], timestamp: (bytes.readUIntBE(at + 4, 3) | (bytes[at + 7] << 24)) >>> 0, body: bytes.subarray(at + 11, at + 11 + size) });
        at += 11 + size + 4;
    }
    return tags;
}

/** Tags in the data of a ring entry (no file header); throws when sizes do not add up. */
export function parseTags(bytes) {
    const tags = [];
    for (let at = 0; at < bytes.length;) {
        const size = bytes.readUIntBE(at + 1, 3);
        const end = at + 11 + size;
        if (bytes.readUInt32BE(end) !== 11 + size) throw new Error(`PreviousTagSize at ${end}`);
        const body = bytes.subarray(at + 11, end);
        const isVideo = bytes[at] === 9;
        tags.push({
            type: bytes[at], timestamp: (bytes.readUIntBE(at + 4, 3) | (bytes[at + 7] << 24)) >>> 0, body,
            isHeader: bytes[at] !== 18 && body[1] === 0, isKeyframe: isVideo && body[0] === 0x17 && body[1] === 1,
        });
        at = end + 4;
    }
    return tags;
}

/* ---- chunks ---- */

/** A message as chunks on chunk stream `csid`. `length` lies about the size when given; `extended` says what chunks of type 3 do with a time beyond 24 bits. */
export function message({ csid = 3, type, streamId = 0, timestamp = 0, body, chunkSize = 128, length = body.length, extended = 'repeat' }) {
    const isExtended = timestamp >= 0xffffff;
    const header = Buffer.alloc(12);
    header[0] = csid;
    header.writeUIntBE(isExtended ? 0xffffff : timestamp, 1, 3);
    header.writeUIntBE(length, 4, 3);
    header[7] = type;
    header.writeUInt32LE(streamId, 8);
    const time = Buffer.alloc(isExtended ? 4 : 0);
    if (isExtended) time.writeUInt32BE(timestamp >>> 0);
    const parts = [header, time];
    for (let at = 0; at < body.length; at += chunkSize) {
        if (at > 0) parts.push(Buffer.from([0xc0 | csid]), extended === 'repeat' ? time : Buffer.alloc(0));
        parts.push(body.subarray(at, at + chunkSize));
    }
    return Buffer.concat(parts);
}

/** The server's chunks, as its messages need them: full headers or continuations on any chunk stream. */
class ChunkReader {
    constructor(onMessage) {
        this.onMessage = onMessage;
        this.bytes = Buffer.alloc(0);
        this.chunkSize = 128;
        this.streams = new Map();
    }

    push(data) {
        this.bytes = Buffer.concat([this.bytes, data]);
        while (this.step());
    }

    step() {
        const { bytes } = this;
        if (bytes.length < 1) return false;
        const format = bytes[0] >> 6;
        const csid = bytes[0] & 63;
        const size = [11, 7, 3, 0][format];
        if (bytes.length < 1 + size) return false;
        const old = this.streams.get(csid) ?? { body: Buffer.alloc(0) };
        const stream = { ...old };
        if (format < 2) { stream.length = bytes.readUIntBE(4, 3); stream.type = bytes[7]; }
        if (format === 0) stream.streamId = bytes.readUInt32LE(8);
        const part = Math.min(this.chunkSize, stream.length - stream.body.length);
        if (bytes.length < 1 + size + part) return false;
        stream.body = Buffer.concat([stream.body, bytes.subarray(1 + size, 1 + size + part)]);
        this.bytes = bytes.subarray(1 + size + part);
        if (stream.body.length === stream.length) {
            if (stream.type === 1) this.chunkSize = stream.body.readUInt32BE(0);
            const { body } = stream;
            stream.body = Buffer.alloc(0);
            this.onMessage({ type: stream.type, streamId: stream.streamId, body });
        }
        this.streams.set(csid, stream);
        return true;
    }
}

/* ---- the digest handshake ---- */

const CLIENT_KEY = 'Genuine Adobe Flash Player 001';
const SERVER_KEY = 'Genuine Adobe Flash Media Server 001';

/** Where the digest of a C1 or S1 lies in layout 0 or 1, and what it should be. */
function digestOf(hello, layout, key) {
    const from = layout === 0 ? 8 : 772;
    const offset = ((hello[from] + hello[from + 1] + hello[from + 2] + hello[from + 3]) % 728) + from + 4;
    const digest = crypto.createHmac('sha256', key).update(hello.subarray(0, offset)).update(hello.subarray(offset + 32)).digest();
    return { offset, digest };
}

/* ---- the client ---- */

export class RtmpClient {
    /** A bare socket to the port, connected. */
    static raw({ port, host = '127.0.0.1', secure = false }) {
        return new Promise((resolve, reject) => {
            const socket = secure ? tls.connect({ port, host, rejectUnauthorized: false }) : net.connect({ port, host });
            socket.once(secure ? 'secureConnect' : 'connect', () => { socket.on('error', () => {}); resolve(socket); });
            socket.once('error', reject);
        });
    }

    /** Handshake and connect. Options: port, host, secure, app, tcUrl, chunkSize (of what we send), handshake ('plain' | 'digest'), amf3 (commands as
     *  messages of type 17), extended, connectFields. Rejects with the status' code as `error.code`. */
    static async connect(options) {
        const client = new RtmpClient(options);
        client.socket = await RtmpClient.raw(options);
        client.socket.on('data', (data) => client.#onData(data));
        client.socket.on('close', () => client.#onClose());
        await client.#shakeHands();
        if (client.chunkSize !== 128) client.sendMessage({ csid: 2, type: 1, body: u32(client.chunkSize), chunkSize: 128 });
        const { app, tcUrl = `rtmp://127.0.0.1:${options.port}/${app}`, connectFields = {} } = client.options;
        await client.call('connect', { app, type: 'nonprivate', flashVer: 'FMLE/3.0 (compatible; hanabi test)', tcUrl, ...connectFields });
        return client;
    }

    constructor(options) {
        this.options = { app: 'live', ...options };
        this.chunkSize = this.options.chunkSize ?? 128;
        this.statuses = [];
        this.messages = []; // everything the server sent but commands: {type, streamId, body}
        this.closed = false;
        this.transaction = 0;
        this.waiting = []; // {test, resolve, reject}
        this.reader = null; // null during the handshake
        this.early = Buffer.alloc(0);
    }

    async #shakeHands() {
        const c1 = crypto.randomBytes(HANDSHAKE);
        c1.fill(0, 0, 8);
        const isDigest = this.options.handshake === 'digest';
        if (isDigest) {
            c1.set([0x80, 0, 7, 2], 4);
            const { offset } = digestOf(c1, 1, CLIENT_KEY);
            digestOf(c1, 1, CLIENT_KEY).digest.copy(c1, offset);
        }
        this.socket.write(Buffer.concat([Buffer.from([3]), c1]));
        await this.#until('the handshake', () => this.early.length >= 1 + 2 * HANDSHAKE);
        const s1 = this.early.subarray(1, 1 + HANDSHAKE);
        if (isDigest) {
            const { offset, digest } = digestOf(s1, 1, SERVER_KEY);
            this.digestAnswered = digest.equals(s1.subarray(offset, offset + 32));
        }
        this.socket.write(s1);
        const rest = this.early.subarray(1 + 2 * HANDSHAKE);
        this.reader = new ChunkReader((m) => this.#onMessage(m));
        this.reader.push(rest);
    }

    #onData(data) {
        if (this.reader) this.reader.push(data);
        else this.early = Buffer.concat([this.early, data]);
        this.#wake();
    }

    #onClose() {
        this.closed = true;
        this.#wake();
    }

    #onMessage(m) {
        if (m.type !== 20) { this.messages.push(m); return; }
        const [command, transaction, object, info] = amfParse(m.body);
        this.lastAnswer = { command, transaction, object, info };
        if (command === 'onStatus' || command === '_error') this.statuses.push({ command, ...info });
        if (command === '_result' || command === '_error') (this.answers ??= new Map()).set(transaction, this.lastAnswer);
    }

    #wake() {
        this.waiting = this.waiting.filter((w) => {
            if (w.test()) { w.resolve(); return false; }
            if (this.closed) { w.reject(this.#error(`${w.what}: the server closed the connection`)); return false; }
            return true;
        });
    }

    #error(text) {
        const last = this.statuses.at(-1);
        return Object.assign(new Error(last ? `${text} (${last.code}: ${last.description})` : text), { code: last?.code });
    }

    /** Resolves when `test` holds; rejects when the line is closed first, or after `timeoutMs`. */
    #until(what, test, timeoutMs = 10000) {
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
                this.waiting = this.waiting.filter((w) => w !== waiter);
                reject(this.#error(`${what}: not within ${timeoutMs} ms`));
            }, timeoutMs);
            const waiter = { what, test, resolve: () => { clearTimeout(timer); resolve(); }, reject: (e) => { clearTimeout(timer); reject(e); } };
            this.waiting.push(waiter);
            this.#wake();
        });
    }

    /** Any bytes. */
    sendBytes(bytes) { this.socket.write(bytes); }

    sendMessage(fields) { this.socket.write(message({ chunkSize: this.chunkSize, extended: this.options.extended, ...fields })); }

    /** A command without waiting for its answer; returns its transaction. */
    sendCommand(name, ...values) {
        this.transaction += 1;
        this.#write(name, this.transaction, values, 0);
        return this.transaction;
    }

    #write(name, transaction, values, streamId) {
        const body = Buffer.concat([amf.string(name), amf.number(transaction), ...values.map(amf.value)]);
        this.sendMessage(this.options.amf3 ? { type: 17, streamId, body: Buffer.concat([Buffer.from([0]), body]) } : { type: 20, streamId, body });
    }

    /** A command and its answer's last value; rejects on _error. */
    async call(name, ...values) {
        const transaction = this.sendCommand(name, ...values);
        await this.#until(name, () => this.answers?.has(transaction));
        const answer = this.answers.get(transaction);
        if (answer.command === '_error') throw this.#error(name);
        return answer.info;
    }

    /** releaseStream, FCPublish, createStream, publish. `pipelined` sends publish without waiting for createStream's answer. */
    async publish(key, { type = 'live', pipelined = false } = {}) {
        this.sendCommand('releaseStream', null, key);
        this.sendCommand('FCPublish', null, key);
        if (pipelined) this.sendCommand('createStream', null);
        const streamId = pipelined ? 0 : await this.call('createStream', null);
        this.streamId = streamId || 1;
        const before = this.statuses.length;
        this.#write('publish', 0, type ? [null, key, type] : [null, key], streamId);
        await this.#until('publish', () => this.statuses.length > before);
        const status = this.statuses[before];
        if (status.code !== 'NetStream.Publish.Start') throw this.#error('publish');
    }

    /** Audio, video or metadata with `timestamp`. */
    sendTag({ type, timestamp, body, ...lies }) {
        const data = type === 18 ? Buffer.concat([amf.string('@setDataFrame'), body]) : body;
        this.sendMessage({ csid: type === 9 ? 6 : type === 8 ? 4 : 5, type, streamId: this.streamId, timestamp, body: data, ...lies });
    }

    /** Tags of a file (or given ones) in real time or at once, from `fromMs` to `toMs`, times moved by `offset`. Sequence headers in front of `fromMs` are sent.
     *  Ends early, without an error, when the line is closed. */
    async sendFlv(fileOrTags, { realtime = true, fromMs = 0, toMs = Infinity, offset = 0, loop = false, stop = () => false } = {}) {
        const tags = typeof fileOrTags === 'string' ? readFlv(fileOrTags) : fileOrTags;
        const duration = tags.at(-1).timestamp + 40;
        const began = Date.now();
        for (let turn = 0; turn === 0 || loop; turn += 1) {
            for (const tag of tags) {
                const isHeader = tag.type === 18 || tag.body[1] === 0;
                if (tag.timestamp > toMs) return;
                if ((tag.timestamp < fromMs && !isHeader) || (turn > 0 && isHeader)) continue;
                const time = Math.max(tag.timestamp, fromMs) + turn * duration;
                const wait = time - fromMs - (Date.now() - began);
                if (realtime && wait > 0) await sleep(wait);
                if (this.closed || stop()) return;
                this.sendTag({ ...tag, timestamp: (time + offset) >>> 0 });
                if (!realtime && this.socket.writableLength > 1 << 20) await this.#drained();
            }
        }
    }

    #drained() {
        return new Promise((resolve) => {
            const done = () => { this.socket.off('drain', done); this.socket.off('close', done); resolve(); };
            this.socket.on('drain', done);
            this.socket.on('close', done);
        });
    }

    /** Waits for a status with this code; returns it. */
    async waitForStatus(code, timeoutMs = 10000) {
        await this.#until(`status ${code}`, () => this.statuses.some((s) => s.code === code), timeoutMs);
        return this.statuses.find((s) => s.code === code);
    }

    async waitForClose(timeoutMs = 10000) { if (!this.closed) await this.#until('the close', () => this.closed, timeoutMs); }

    /** A clean goodbye. */
    unpublish() { this.sendCommand('FCUnpublish', null, 'key'); this.sendCommand('deleteStream', null, this.streamId); }

    close() { this.socket.destroy(); }
}

function u32(value) { const out = Buffer.alloc(4); out.writeUInt32BE(value); return out; }
