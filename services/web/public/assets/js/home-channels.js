/* Playout channels on the front page: what is on air, then what begins next. A service of its own answers for them; without it the shelf stays hidden. */
import { listChannels } from './api.js';
import { byId, el } from './dom.js';
import { localTime, ownerName } from './format.js';

const MOST = 12;
let shown = ''; // what stands in the shelf, so that nothing is drawn anew without need

const isOnAir = (channel) => channel.start_at_ms <= channel.now_ms;

function makeCard(channel) {
    const name = ownerName(channel);
    const begins = isOnAir(channel) ? 'On air by the clock' : `Begins ${localTime(channel.start_at_ms)}`;
    return el(
        'article',
        { class: 'card', 'data-id': channel.id },
        el('div', { class: 'card-picture' }),
        el('span', { class: 'badge', 'data-state': isOnAir(channel) ? 'live' : 'scheduled' }, isOnAir(channel) ? 'On air' : 'Soon'),
        el(
            'div',
            { class: 'card-words' },
            el('span', { class: 'avatar', 'aria-hidden': 'true' }, [...name][0]?.toUpperCase() ?? ''),
            el(
                'div',
                {},
                el('h3', { class: 'card-title' }, el('a', { dir: 'auto', href: `/channel/${encodeURIComponent(channel.id)}` }, channel.title)),
                el('p', { class: 'card-line', dir: 'auto' }, name),
                el('p', { class: 'card-line' }, begins),
            ),
        ),
    );
}

export async function refreshChannels() {
    const { channels } = await listChannels({ limit: 100 }).catch(() => ({ channels: [] }));
    const wanted = channels
        .filter((channel) => channel.end_at_ms === null || channel.end_at_ms > channel.now_ms)
        .sort((a, b) => isOnAir(b) - isOnAir(a) || (isOnAir(a) ? b.start_at_ms - a.start_at_ms : a.start_at_ms - b.start_at_ms))
        .slice(0, MOST);
    const key = wanted.map((channel) => `${channel.id} ${isOnAir(channel)}`).join();
    byId('channels-shelf').hidden = wanted.length === 0;
    if (key !== shown) byId('channels').replaceChildren(...wanted.map(makeCard));
    shown = key;
}
