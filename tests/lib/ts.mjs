// Reads an MPEG-TS segment as strictly as a picky player would: packets, continuity counters, PES times, the first access unit.

const NAL_IDR = 5;
const NAL_SPS = 7;
const NAL_PPS = 8;

function pesTime(buffer, at) {
    return (buffer[at] & 0x0e) * 2 ** 29 + (buffer[at + 1] << 22) + ((buffer[at + 2] & 0xfe) << 14) + (buffer[at + 3] << 7) + (buffer[at + 4] >> 1);
}

/** NAL units of an Annex B access unit: type and bytes. */
export function nalUnits(unit) {
    const found = [];
    let start = -1;
    for (let i = 0; i + 3 <= unit.length; i += 1) {
        if (unit[i] === 0 && unit[i + 1] === 0 && unit[i + 2] === 1) {
            if (start >= 0) found.push(unit.subarray(start, i));
            start = i + 3;
            i += 2;
        }
    }
    if (start >= 0) found.push(unit.subarray(start));
    return found.map((bytes) => ({ type: bytes[0] & 0x1f, bytes }));
}

class BitReader {
    constructor(bytes) {
        const clean = [];
        for (let i = 0; i < bytes.length; i += 1) {
            if (i + 2 < bytes.length && bytes[i] === 0 && bytes[i + 1] === 0 && bytes[i + 2] === 3) { clean.push(0, 0); i += 2; } else clean.push(bytes[i]);
        }
        this.bytes = clean;
        this.at = 0;
    }

    bit() { const value = (this.bytes[this.at >> 3] >> (7 - (this.at & 7))) & 1; this.at += 1; return value; }

    bits(count) { let value = 0; for (let i = 0; i < count; i += 1) value = value * 2 + this.bit(); return value; }

    ue() { let zeros = 0; while (this.bit() === 0 && zeros < 32) zeros += 1; return 2 ** zeros - 1 + this.bits(zeros); }

    se() { const code = this.ue(); return code & 1 ? (code + 1) / 2 : -code / 2; }
}

/** Profile, level and size of an SPS (with its NAL header byte). */
export function parseSps(nal) {
    const bits = new BitReader(nal.subarray(1));
    const profile = bits.bits(8);
    const constraints = bits.bits(8);
    const level = bits.bits(8);
    bits.ue();
    let chroma = 1;
    if ([100, 110, 122, 244, 44, 83, 86, 118, 128].includes(profile)) {
        chroma = bits.ue();
        if (chroma === 3) bits.bit();
        bits.ue(); bits.ue(); bits.bit();
        if (bits.bit()) {
            for (let i = 0; i < (chroma === 3 ? 12 : 8); i += 1) {
                if (!bits.bit()) continue;
                let last = 8;
                let next = 8;
                for (let j = 0; j < (i < 6 ? 16 : 64); j += 1) {
                    if (next !== 0) next = (last + bits.se() + 256) % 256;
                    last = next === 0 ? last : next;
                }
            }
        }
    }
    bits.ue();
    const order = bits.ue();
    if (order === 0) bits.ue();
    else if (order === 1) { bits.bit(); bits.se(); bits.se(); const n = bits.ue(); for (let i = 0; i < n; i += 1) bits.se(); }
    bits.ue(); bits.bit();
    const widthMbs = bits.ue() + 1;
    const heightMaps = bits.ue() + 1;
    const frameOnly = bits.bit();
    if (!frameOnly) bits.bit();
    bits.bit();
    let crop = [0, 0, 0, 0];
    if (bits.bit()) crop = [bits.ue(), bits.ue(), bits.ue(), bits.ue()];
    const cropX = chroma === 0 || chroma === 3 ? 1 : 2;
    const cropY = (chroma === 1 ? 2 : 1) * (2 - frameOnly);
    const hex = (value) => value.toString(16).padStart(2, '0');
    return {
        width: widthMbs * 16 - (crop[0] + crop[1]) * cropX, height: (2 - frameOnly) * heightMaps * 16 - (crop[2] + crop[3]) * cropY,
        codec: `avc1.${hex(profile)}${hex(constraints)}${hex(level)}`,
    };
}

/**
 * @returns {{problems: string[], counters: Map<number, {first: number, last: number}>, video: {units: object[], pid: number}|null,
 *            audio: {units: object[], pid: number}|null, sps: object|null, startsWith: string[]}} times in 90 kHz ticks
 */
export function parseSegment(bytes) {
    const problems = [];
    const counters = new Map();
    const streams = new Map(); // pid -> {kind, open, units}
    const order = [];
    let pmtPid = -1;
    if (bytes.length === 0 || bytes.length % 188 !== 0) problems.push(`length ${bytes.length} is not a multiple of 188`);

    const finish = (stream) => {
        if (!stream.open) return;
        const data = Buffer.concat(stream.open.chunks);
        stream.open = null;
        if (data.length < 14 || data[0] !== 0 || data[1] !== 0 || data[2] !== 1) { problems.push(`PES of ${stream.kind} without start code`); return; }
        const flags = data[7] >> 6;
        if (flags === 0) { problems.push(`PES of ${stream.kind} without PTS`); return; }
        const pts = pesTime(data, 9);
        const declared = data.readUInt16BE(4);
        if (declared !== 0 && declared !== data.length - 6) problems.push(`PES of ${stream.kind}: length ${declared}, really ${data.length - 6}`);
        stream.units.push({ pts, dts: flags === 3 ? pesTime(data, 14) : pts, data: data.subarray(9 + data[8]) });
    };

    for (let at = 0; at + 188 <= bytes.length; at += 188) {
        const packet = bytes.subarray(at, at + 188);
        if (packet[0] !== 0x47) { problems.push(`no sync byte at ${at}`); break; }
        const pid = ((packet[1] & 0x1f) << 8) | packet[2];
        const start = (packet[1] & 0x40) !== 0;
        const adaptation = (packet[3] & 0x20) !== 0;
        const payload = (packet[3] & 0x10) !== 0;
        const counter = packet[3] & 0x0f;
        if (pid === 0x1fff) continue;
        if (payload) {
            const seen = counters.get(pid);
            if (seen && counter !== ((seen.last + 1) & 15)) problems.push(`pid ${pid}: counter ${counter} after ${seen.last} at packet ${at / 188}`);
            counters.set(pid, { first: seen?.first ?? counter, last: counter });
        }
        if (!payload) continue;
        const from = 4 + (adaptation ? 1 + packet[4] : 0);
        const data = packet.subarray(from);
        if (pid === 0) {
            if (order.length < 3) order.push('PAT');
            const table = data.subarray(1 + data[0]);
            pmtPid = ((table[10] & 0x1f) << 8) | table[11];
        } else if (pid === pmtPid) {
            if (order.length < 3) order.push('PMT');
            const table = data.subarray(1 + data[0]);
            const end = 3 + (((table[1] & 0x0f) << 8) | table[2]) - 4;
            let i = 12 + (((table[10] & 0x0f) << 8) | table[11]);
            while (i < end) {
                const streamPid = ((table[i + 1] & 0x1f) << 8) | table[i + 2];
                const kind = { 0x1b: 'video', 0x0f: 'audio' }[table[i]] ?? `type ${table[i]}`;
                if (!streams.has(streamPid)) streams.set(streamPid, { kind, pid: streamPid, open: null, units: [] });
                i += 5 + (((table[i + 3] & 0x0f) << 8) | table[i + 4]);
            }
        } else {
            const stream = streams.get(pid);
            if (!stream) { problems.push(`pid ${pid} is in no PMT`); continue; }
            if (start) {
                finish(stream);
                if (order.length < 3) order.push(stream.kind);
                stream.open = { chunks: [] };
            }
            if (stream.open) stream.open.chunks.push(Buffer.from(data));
            else problems.push(`pid ${pid}: the segment begins in the middle of a PES packet`);
        }
    }
    for (const stream of streams.values()) finish(stream);
    const of = (kind) => [...streams.values()].find((stream) => stream.kind === kind && stream.units.length > 0) ?? null;
    const video = of('video');
    const audio = of('audio');
    let sps = null;
    if (order[0] !== 'PAT' || order[1] !== 'PMT') problems.push(`begins with ${order.join(', ')} instead of PAT, PMT`);
    if (video) {
        const first = nalUnits(video.units[0].data);
        const types = first.map((nal) => nal.type);
        if (!types.includes(NAL_IDR)) problems.push(`the first access unit is no IDR (NAL types ${types})`);
        if (types.indexOf(NAL_SPS) < 0 || types.indexOf(NAL_SPS) > types.indexOf(NAL_IDR)) problems.push('no SPS in front of the first IDR');
        if (types.indexOf(NAL_PPS) < 0 || types.indexOf(NAL_PPS) > types.indexOf(NAL_IDR)) problems.push('no PPS in front of the first IDR');
        const spsNal = first.find((nal) => nal.type === NAL_SPS);
        if (spsNal) sps = parseSps(spsNal.bytes);
        for (let i = 1; i < video.units.length; i += 1) {
            if (video.units[i].dts <= video.units[i - 1].dts) problems.push(`video dts does not rise at access unit ${i}`);
        }
    }
    return { problems, counters, video, audio, sps };
}

/** Times of the AAC frames in ADTS packets of the audio PES units: [{pts, samples, rate}], pts in 90 kHz ticks. */
export function adtsFrames(audio) {
    const rates = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];
    const frames = [];
    for (const unit of audio?.units ?? []) {
        let at = 0;
        let count = 0;
        while (at + 7 <= unit.data.length) {
            const d = unit.data;
            if (d[at] !== 0xff || (d[at + 1] & 0xf0) !== 0xf0) break;
            const rate = rates[(d[at + 2] >> 2) & 15];
            frames.push({ pts: unit.pts + (count * 1024 * 90000) / rate, samples: 1024, rate });
            at += ((d[at + 3] & 3) << 11) | (d[at + 4] << 3) | (d[at + 5] >> 5);
            count += 1;
        }
    }
    return frames;
}
