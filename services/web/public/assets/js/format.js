/* Times and names as people read them. */
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

export function ago(ms, now = Date.now()) {
    const minutes = Math.round((ms - now) / 60000);
    if (Math.abs(minutes) < 1) return 'just now';
    if (Math.abs(minutes) < 60) return relative.format(minutes, 'minute');
    const hours = Math.round(minutes / 60);
    if (Math.abs(hours) < 36) return relative.format(hours, 'hour');
    return relative.format(Math.round(hours / 24), 'day');
}

export function startedAgo({ state, created_at_ms: createdAtMs, live_at_ms: liveAtMs, ended_at_ms: endedAtMs }) {
    if (endedAtMs && (state === 'ended' || state === 'archived')) return `Ended ${ago(endedAtMs)}`;
    if (liveAtMs) return `Started ${ago(liveAtMs)}`;
    return createdAtMs ? `Created ${ago(createdAtMs)}` : '';
}

/* A moment of a recording: 1:05, 1:02:03 */
export function clock(ms) {
    const s = Math.floor(ms / 1000);
    const two = (n) => String(n).padStart(2, '0');
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

const moment = new Intl.DateTimeFormat('en', { weekday: 'long', month: 'long', day: 'numeric', hour: 'numeric', minute: '2-digit', timeZoneName: 'short' });

const plain = new Intl.NumberFormat('en');

/* 12,345 */
export const counted = (number) => plain.format(number);

/* By the reader's own clock: Saturday, November 28 at 8:00 PM GMT+9 */
export const localTime = (ms) => moment.format(ms);

export const ownerName = (broadcast) => broadcast.owner?.name ?? '';
