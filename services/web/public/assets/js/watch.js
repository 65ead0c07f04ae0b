/* /watch/{id}: the stage, the chat, and what is known about the broadcast. */
import { getBroadcast } from './api.js';
import { createChat } from './chat.js';
import { byId, el, icon, setText } from './dom.js';
import { createFollowButton } from './follow-button.js';
import { ownerName, startedAgo } from './format.js';
import { createGifts } from './gifts.js';
import { createGiftBanner } from './gift-view.js';
import { createLove } from './love.js';
import { setUpKeyboard } from './keyboard.js';
import { setUpNotices } from './notices.js';
import { createStage } from './stage.js';
import { showBadge, stateOf } from './state-badge.js';

const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15000;

let broadcast = null;
let retryMs = FIRST_RETRY_MS;

const stage = createStage(byId('stage'), { id, getPlaybackUrl, onState });

async function getPlaybackUrl(fresh) {
    if (fresh || !broadcast?.playback_url) take(await getBroadcast(id));
    return broadcast.playback_url;
}

const follow = createFollowButton();
byId('actions').prepend(follow.element);

function take(next) {
    broadcast = { ...broadcast, ...next };
    const name = ownerName(broadcast);
    const title = broadcast.title || 'Untitled';
    setText(byId('title'), title);
    document.title = `${title} · Hanabi`;
    setText(byId('owner-name'), name);
    setText(byId('avatar'), [...name][0]?.toUpperCase() ?? '');
    byId('owner').hidden = !name;
    if (broadcast.owner?.id) follow.show(broadcast.owner.id, name);
    setText(byId('since'), startedAgo(broadcast));
    const thumbnail = broadcast.state === 'scheduled' ? null : broadcast.thumbnail_url;
    stage.setPoster(thumbnail);
    stage.describe({ title, artist: name, artwork: thumbnail });
}

/* What the page says about the state comes from /status alone, or, where that is silent at first, from the API. */
async function describe() {
    try {
        take(await getBroadcast(id));
        if (document.body.dataset.state === 'connecting') {
            stage.hear({ state: broadcast.state, version: broadcast.version ?? 0, retry_after_ms: undefined });
        }
        return;
    } catch (error) {
        if (error.status === 404) {
            byId('share').hidden = true;
            byId('embed').hidden = true;
            byId('owner').hidden = true;
            return setText(byId('title'), 'Unknown broadcast');
        }
    }
    // The picture does not wait for the words.
    setTimeout(describe, retryMs * (0.5 + Math.random()));
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
}

function onState(state) {
    document.body.dataset.state = state;
    const shown = stateOf(state);
    showBadge(byId('badge'), shown);
    byId('recording').href = `/archive/${encodeURIComponent(id)}`;
    const isOver = shown === 'ended' || shown === 'archived';
    byId('recording').hidden = !isOver;
    if (isOver) chat.close('The broadcast is over, and so is its chat.');
    // Nobody knows the id: no chat either, and nothing to be hearty about.
    byId('chat').hidden = shown === 'missing';
    byId('under-stage').hidden = shown === 'missing';
    love.setState(shown);
    if (broadcast && state === 'live' && broadcast.state === 'scheduled') describe();
}

function setUpCopy(button, iconName, label, done, text) {
    const words = el('span', {}, label);
    button.append(icon(iconName), words);
    button.addEventListener('click', async () => {
        const isCopied = await navigator.clipboard.writeText(text()).then(() => true, () => false);
        setText(words, isCopied ? done : 'Copying is not allowed here');
        button.dataset.copied = isCopied ? 'yes' : 'no';
        setTimeout(() => {
            setText(words, label);
            delete button.dataset.copied;
        }, 2500);
    });
}

setUpCopy(byId('share'), 'share', 'Copy the link', 'Link copied', () => location.href);
setUpCopy(
    byId('embed'),
    'embed',
    'Embed',
    'Code copied',
    () => `<iframe src="${location.origin}/embed/${encodeURIComponent(id)}" width="640" height="360" frameborder="0" allow="autoplay; fullscreen" allowfullscreen></iframe>`,
);

setInterval(() => broadcast && setText(byId('since'), startedAgo(broadcast)), 30000);
const banner = createGiftBanner(byId('stage'));
const love = createLove(byId('love'), { id, stage: byId('stage'), askForName: (why) => chat.askForName(why), onRefused: () => chat.signedOut() });
const chat = createChat(byId('chat'), {
    id,
    onBroadcastState: (answer) => stage.hear(answer),
    gifts: createGifts({ id }),
    onGift: banner.show,
    onLove: love.take,
    onSession: love.onSession,
});
stage.start();
describe();
setUpKeyboard();
setUpNotices();
