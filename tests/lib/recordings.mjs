// Real recordings without a broadcast: an FLV file through `transcoder file`, its segments in the store and its rows in MySQL, as
// segment-uploader and archive leave them.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { binary } from '../../deploy/stack/servers.mjs';
import { run } from './fixture.mjs';

const quote = (text) => `'${String(text).replaceAll("'", "''")}'`;

/** Segments of an FLV file: [{renditions: [{rendition, width, height, codecs, bytes}], number, start_us, end_us, …}] and the folder. */
export async function transcode(file, { ladder }) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-recording-'));
    await run(binary('transcoder'), ['file', file, dir], { env: { ...process.env, HANABI_LADDER: ladder }, timeout: 120000 });
    const segments = fs.readFileSync(path.join(dir, 'segments.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line));
    return { dir, segments };
}

/** An archive `id` of `owner` from what transcode() gave. `sql`: runs statements. */
export async function seedRecording({ id, owner, recording, storeDir, sql, title = `recording ${id}`, visibility = 'public', wallMs = Date.now() - 3600000 }) {
    const { dir, segments } = recording;
    const names = segments[0].renditions.map((r) => r.rendition);
    for (const name of names) {
        fs.mkdirSync(path.join(storeDir, 'live', id, name), { recursive: true });
        for (const { number } of segments) fs.copyFileSync(path.join(dir, name, `${number}.ts`), path.join(storeDir, 'live', id, name, `${number}-1.ts`));
    }
    const bytesOf = (segment, name) => segment.renditions.find((r) => r.rendition === name).bytes;
    const durationUs = (segment) => segment.end_us - segment.start_us;
    const totalUs = segments.reduce((sum, segment) => sum + durationUs(segment), 0);
    const rows = segments.map((s, i) => `(${quote(id)}, ${i}, ${quote(`${s.number}-1.ts`)}, ${s.discontinuity && i > 0 ? 1 : 0}, ${wallMs + Math.round(s.start_us / 1000)}, ${s.start_us}, ${durationUs(s)}, 1, `
        + `${quote(JSON.stringify(Object.fromEntries(s.renditions.map((r) => [r.rendition, r.bytes]))))}, NULL)`);
    const ladder = segments[0].renditions.map((r, position) => {
        const peak = Math.max(...segments.filter((s) => durationUs(s) >= 1e6).map((s) => bytesOf(s, r.rendition) * 8e6 / durationUs(s)));
        const average = segments.reduce((sum, s) => sum + bytesOf(s, r.rendition) * 8e6, 0) / totalUs;
        return `(${quote(id)}, ${quote(r.rendition)}, ${position}, ${r.width}, ${r.height}, ${segments[0].rate}, ${quote(r.codecs)}, ${Math.round(peak)}, ${Math.round(average)})`;
    });
    await sql(`INSERT IGNORE INTO users (id, name, created_at_ms) VALUES (${quote(owner)}, 'owner', 1);
        INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms, live_at_ms, ended_at_ms) VALUES (${quote(id)}, ${quote(owner)}, ${quote(title)}, 'archived', 1, ${wallMs}, ${wallMs}, ${wallMs + 60000});
        INSERT INTO segments VALUES ${rows.join(',')}; INSERT INTO renditions VALUES ${ladder.join(',')};
        INSERT INTO archives (broadcast_id, state, visibility, until_ms, duration_ms, segments, archived_at_ms) VALUES (${quote(id)}, 'archived', ${quote(visibility)}, 1, ${Math.round(totalUs / 1000)}, ${segments.length}, ${Date.now()})`);
    return totalUs / 1e6;
}
