/* Times and names as people read them. */
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/* Accepts ms since 1970 or an ISO date; null when there is none. */
export function timeMs(value) {
    if (value === undefined || value === null || value === '' || value === 0) return null;
    const ms = typeof value === 'number' ? value : Date.parse(value);
    return Number.isFinite(ms) ? ms : null;
}

export function ago(ms, now = Date.now()) {
    const minutes = Math.round((ms - now) / 60000);
    if (Math.abs(minutes) < 1) return 'just now';
    if (Math.abs(minutes) < 60) return relative.format(minutes, 'minute');
    const hours = Math.round(minutes / 60);
    if (Math.abs(hours) < 36) return relative.format(hours, 'hour');
    return relative.format(Math.round(hours / 24), 'day');
}

export function startedAgo(broadcast) {
    const liveAt = timeMs(broadcast.live_at_ms ?? broadcast.live_at);
    const createdAt = timeMs(broadcast.created_at_ms ?? broadcast.created_at);
    const endedAt = timeMs(broadcast.ended_at_ms ?? broadcast.ended_at);
    if (endedAt && (broadcast.state === 'ended' || broadcast.state === 'archived')) return `Ended ${ago(endedAt)}`;
    if (liveAt) return `Started ${ago(liveAt)}`;
    return createdAt ? `Created ${ago(createdAt)}` : '';
}

export const ownerName = (broadcast) => broadcast.owner?.name ?? broadcast.owner_name ?? '';

export const STATE_LABEL = {
    scheduled: 'Soon',
    live: 'Live',
    suspended: 'Interrupted',
    ended: 'Ended',
    archived: 'Ended',
};
