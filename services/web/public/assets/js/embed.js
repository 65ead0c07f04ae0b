/* /embed/{id}: the stage alone, for an iframe in any page. No chat, no session, nothing kept in the browser. */
import { getBroadcast } from './api.js';
import { byId, setText } from './dom.js';
import { createStage } from './stage.js';
import { showBadge, stateOf } from './state-badge.js';

const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
let broadcast = null;

const stage = createStage(byId('stage'), {
    id,
    getPlaybackUrl,
    onState,
    // In somebody else's page nothing of ours but the player may be framed.
    elsewhere: { href: `/watch/${encodeURIComponent(id)}`, words: 'Open on Hanabi', target: '_blank' },
});
byId('watch').href = `/watch/${encodeURIComponent(id)}`;

async function load() {
    broadcast = await getBroadcast(id);
    setText(byId('title'), broadcast.title || 'Untitled');
    document.title = `${broadcast.title || 'Untitled'} · Hanabi`;
    if (broadcast.state !== 'scheduled') stage.setPoster(broadcast.thumbnail_url);
}

async function getPlaybackUrl(fresh) {
    if (fresh || !broadcast) await load();
    return broadcast.playback_url;
}

function onState(state) {
    document.body.dataset.state = state;
    showBadge(byId('badge'), stateOf(state));
}

stage.start();
load().catch((error) => setText(byId('title'), error.status === 404 ? 'Unknown broadcast' : 'Hanabi'));
