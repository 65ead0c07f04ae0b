/* /archive/{id}: a recording, and beside it what was said at that moment. A private one comes with ?token=. */
import { getArchive } from './api.js';
import { createChatView } from './chat-view.js';
import { toggleMute } from './controls.js';
import { byId, el, icon, setText } from './dom.js';
import { clock, counted, ownerName, startedAgo } from './format.js';
import { showInMediaSession } from './media-session.js';
import { createRecordingPlayer } from './recording-player.js';
import { createReplay } from './replay.js';

const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const token = new URLSearchParams(location.search).get('token');
const WAIT_MS = 3000;
const FRAME_MS = 250; // the chat looks at the clock of the picture this often
const MOMENTS = 8;

const video = byId('video');
const view = createChatView({ label: 'Chat of the recording' });
byId('chat').append(view.element);
view.setEmptyWords('Nothing was said up to here.');

let archive = null;

const replay = createReplay({
    fetchJson: async (url) => {
        const response = await fetch(url, { credentials: 'omit', signal: AbortSignal.timeout(15000) });
        if (!response.ok) throw new Error(`${response.status}`);
        return response.json();
    },
    show: take,
    reset(events) {
        view.remove(() => true);
        setHearts(null);
        take(events);
        view.toNewest();
    },
});

const player = createRecordingPlayer(video, {
    getUrl: async (fresh) => {
        if (fresh) archive = await getArchive(id, token);
        return archive.playback_url;
    },
    onTrouble: (isTrouble) => { byId('trouble').hidden = !isTrouble; },
});

/* What stands in the list: comments and gifts. Hearts are a number that only the last of them tells. */
function take(events) {
    const hearts = events.findLast((event) => event.type === 'love');
    if (hearts) setHearts(hearts.total);
    view.push(events.filter((event) => event.type === 'comment' || event.type === 'gift'));
    const last = events.at(-1);
    if (last) byId('chat').dataset.lastMs = String(last.media_ms);
}

function setHearts(total) {
    byId('hearts').hidden = total === null;
    if (total !== null) setText(byId('hearts'), `♥ ${total.toLocaleString()}`);
}

function describe() {
    const name = ownerName(archive);
    const title = archive.title || 'Untitled';
    setText(byId('title'), title);
    document.title = `${title} · Hanabi`;
    setText(byId('owner-name'), name);
    setText(byId('avatar'), [...name][0]?.toUpperCase() ?? '');
    byId('owner').hidden = !name;
    setText(byId('since'), startedAgo(archive));
    byId('watched').hidden = !archive.audience?.unique;
    if (archive.audience) {
        setText(byId('watched'), `${counted(archive.audience.unique)} watched`);
        byId('watched').title = `${counted(archive.audience.peak)} at the same moment at most`;
    }
    byId('badge').hidden = false;
    setText(byId('badge'), archive.visibility === 'private' ? 'Private' : 'Recording');
}

function say(words) {
    byId('empty').hidden = !words;
    setText(byId('note'), words);
}

/* Pictures of a few moments, to jump to. */
async function showMoments() {
    const response = archive.storyboard_url ? await fetch(archive.storyboard_url, { credentials: 'omit' }).catch(() => null) : null;
    if (!response?.ok) {
        byId('moments').hidden = true;
        return;
    }
    const { thumbnails } = await response.json();
    const base = new URL(archive.storyboard_url, location.href);
    const chosen = Array.from({ length: Math.min(MOMENTS, thumbnails.length) }, (_, i) => thumbnails[Math.floor((i * thumbnails.length) / Math.min(MOMENTS, thumbnails.length))]);
    byId('moments').replaceChildren(...chosen.map(({ at_ms: atMs, url }) => el('button', {
        class: 'moment', type: 'button', 'data-at-ms': atMs, 'aria-label': `Go to ${clock(atMs)}`,
        onclick: () => { video.currentTime = atMs / 1000; video.play().catch(() => {}); },
    }, el('img', { src: new URL(url, base).href, alt: '', loading: 'lazy', decoding: 'async' }), el('span', {}, clock(atMs)))));
    byId('moments').hidden = chosen.length === 0;
}

function play() {
    video.controls = true;
    byId('unmute').hidden = !video.muted;
    showInMediaSession({ title: archive.title || 'Untitled', artist: ownerName(archive), artwork: archive.thumbnail_url, onPlay: () => video.play().catch(() => {}), onPause: () => video.pause() });
    player.start();
}

function begin() {
    say('');
    document.body.dataset.state = 'ready';
    if (archive.playback_url) play();
    else say('This broadcast never had a picture.');
    replay.open(archive.chat_index_url).then(() => { document.body.dataset.chat = 'ready'; }, () => setTimeout(begin, WAIT_MS));
    showMoments();
    setInterval(() => replay.at(video.currentTime * 1000), FRAME_MS);
    for (const event of ['seeking', 'seeked', 'timeupdate']) video.addEventListener(event, () => replay.at(video.currentTime * 1000));
}

async function look() {
    try {
        archive = await getArchive(id, token);
        describe();
        if (archive.state === 'archived') return begin();
        document.body.dataset.state = 'waiting';
        say(archive.state === 'ended' ? 'The recording is being made. It will show here by itself.' : 'This broadcast is not over yet.');
    } catch (error) {
        if (error.status === 404) {
            document.body.dataset.state = 'missing';
            setText(byId('title'), 'No such recording');
            byId('elsewhere').hidden = false;
            for (const name of ['chat', 'moments', 'owner']) byId(name).hidden = true;
            return say(token ? 'This link is not valid any more.' : 'It was deleted, or it is private.');
        }
        say('The recording cannot be found right now. Trying again by itself…');
    }
    setTimeout(look, WAIT_MS * (0.75 + Math.random() * 0.5));
    return undefined;
}

byId('unmute').append(icon('muted'), 'Tap for sound');
byId('unmute').addEventListener('click', () => toggleMute(video));
video.addEventListener('volumechange', () => { byId('unmute').hidden = !video.muted || !video.controls; });
look();
