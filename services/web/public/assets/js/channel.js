/* /channel/{id}: recordings on air by the clock. The page waits for the start, plays what is on air, and says when it is over. */
import { checkPlaylist, getChannel } from './api.js';
import { createChannelPlayer } from './channel-player.js';
import { createControls, toggleMute } from './controls.js';
import { byId, el, setText } from './dom.js';
import { ago, localTime, ownerName } from './format.js';
import { showInMediaSession } from './media-session.js';
import { createOverlay } from './overlay.js';
import { showBadge } from './state-badge.js';
import { stillWords } from './trouble-words.js';

const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const TICK_MS = 250;
const STILL_MS = 700; // no new picture for so long: it stands still
const IDLE_MS = 3000; // controls fade
const EXACT_MS = 400; // so near to what is on air, a seek would cost more than it gives
const BEHIND_MS = 3000; // from here "Live" offers to catch up
const LOST_MS = 8000; // and from here nobody is asked
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30000;
const BADGES = { scheduled: 'Soon', live: 'On air', ended: 'Over' };

const root = byId('stage');
const video = el('video', { id: 'video', playsinline: true, autoplay: true, 'aria-label': 'Picture of the channel' });
video.muted = true;
const overlay = createOverlay({
    onTap: () => setWantsPlay(true),
    messages: { ended: ['This channel is over', 'Thank you for watching.'], missing: ['No such channel', 'The link may be wrong, or the channel was removed.'] },
});
const player = createChannelPlayer(video, { now, onTrouble, onLevels });
const controls = createControls(video, {
    onPlayPause: () => setWantsPlay(!wantsPlay),
    onToLive: toLive,
    onQuality: chooseQuality,
    onStats: () => {},
    onFullscreen: toggleFullscreen,
});
controls.statsButton.remove();
root.replaceChildren(video, overlay.element, controls.unmute, controls.bar);

let channel = null;
let skewMs = 0; // the server's clock minus ours
let state = 'connecting'; // connecting scheduled live ended missing unsupported
let wantsPlay = true;
let refused = false; // the browser wants a tap before it plays
let joining = false; // until the picture has been put to what is on air
let quality = -1;
let retryMs = FIRST_RETRY_MS;
let retry = null;
let movedAt = 0;
let lastTime = 0;
let activeAt = performance.now();
let stillSince = activeAt; // since when there is nothing to see although there should be

function now() {
    return Date.now() + skewMs;
}

// ---- from the address to the picture ----

/* isFresh: the playback URL that we have is no good. */
async function join(isFresh) {
    clearTimeout(retry);
    retry = null;
    try {
        if (isFresh || channel === null) take(await getChannel(id));
        if (channel.end_at_ms !== null && now() >= channel.end_at_ms) return finish();
        if (now() < channel.start_at_ms) return waitForStart();
        await checkPlaylist(channel.playback_url);
    } catch (error) {
        return onRefused(error);
    }
    joining = true;
    onActive();
    enter('live');
    player.play(channel.playback_url);
    return playVideo();
}

function onRefused(error) {
    if (error.code === 'no_such_channel' || error.code === 'archive_gone') {
        if (error.code === 'archive_gone') overlay.tell('missing', ['This channel is off air', 'One of its recordings was removed.']);
        else setText(byId('title'), 'Unknown channel');
        return enter('missing');
    }
    // It counts in whole seconds: the very last one may still be missing.
    if (error.code === 'not_started') return later(Math.max(channel.start_at_ms - now(), 300), false);
    return onTrouble();
}

/* Of several errors with one cause, the first counts. */
function onTrouble() {
    if (retry !== null) return;
    later(retryMs, true);
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
}

function later(ms, isFresh) {
    clearTimeout(retry);
    retry = setTimeout(() => join(isFresh), ms * (0.75 + Math.random() * 0.5));
}

function take(next) {
    channel = next;
    skewMs = channel.now_ms - Date.now();
    const name = ownerName(channel);
    setText(byId('title'), channel.title);
    document.title = `${channel.title} · Hanabi`;
    setText(byId('owner-name'), name);
    setText(byId('avatar'), [...name][0]?.toUpperCase() ?? '');
    byId('owner').hidden = !name;
    showInMediaSession({ title: channel.title, artist: name, onPlay: () => setWantsPlay(true), onPause: () => setWantsPlay(false) });
}

function waitForStart() {
    overlay.tell('scheduled', [channel.title, localTime(channel.start_at_ms)]);
    overlay.count('Begins in', channel.start_at_ms - skewMs);
    enter('scheduled');
}

function finish() {
    clearTimeout(retry);
    video.pause();
    enter('ended');
}

function enter(next) {
    state = next;
    if (state !== 'scheduled') overlay.count('', null);
    if (state === 'ended' || state === 'missing') player.stop();
    render();
}

// ---- the picture ----

async function playVideo() {
    if (!wantsPlay) return;
    try {
        await video.play();
        refused = false;
    } catch (error) {
        if (error.name === 'NotAllowedError') refused = true; // anything else is a newer load in its place
    }
    render();
}

function setWantsPlay(wants) {
    wantsPlay = wants;
    refused = false;
    if (!wants) video.pause();
    else {
        if (player.behindMs() > BEHIND_MS) player.toOnAir();
        playVideo();
    }
    render();
}

function toLive() {
    player.toOnAir();
    setWantsPlay(true);
}

function onLevels() {
    controls.updateQuality(player.heights(), quality, player.playingHeight());
}

function chooseQuality(height) {
    quality = height;
    player.choose(height);
    onLevels();
}

/* Joining took its time, or the network did: to where everybody is. */
function keepUp(isMoving) {
    const behind = player.behindMs();
    if (!isMoving || !wantsPlay || behind === null || video.seeking) return;
    if ((joining && Math.abs(behind) > EXACT_MS) || Math.abs(behind) > LOST_MS) player.toOnAir();
    joining = false;
}

// ---- what one sees ----

function overlayKind(isMoving) {
    if (state !== 'live') return state;
    if (refused) return 'tap';
    return isMoving || !wantsPlay ? 'none' : 'loading';
}

function sinceText() {
    if (state === 'scheduled') return localTime(channel.start_at_ms);
    if (state === 'ended') return `Ended ${ago(channel.end_at_ms, now())}`;
    if (state !== 'live') return '';
    return channel.loop ? 'In a loop, for everybody at the same moment' : `Until ${localTime(channel.end_at_ms)}`;
}

function showOverlay(kind) {
    if (kind !== overlay.element.dataset.kind) stillSince = performance.now();
    const words = stillWords(kind, performance.now() - stillSince, navigator.onLine);
    if (words) overlay.tell(kind, words);
    overlay.show(kind);
}

function render() {
    const isMoving = movedAt > 0 && performance.now() - movedAt < STILL_MS;
    const behind = player.behindMs();
    showOverlay(overlayKind(isMoving));
    document.body.dataset.state = state === 'live' && isMoving ? 'playing' : state;
    document.body.dataset.playingDate = String(player.playingMs() ?? '');
    document.body.dataset.behindMs = String(behind === null ? '' : Math.round(behind));
    root.dataset.picture = isMoving ? 'moving' : 'still';
    root.dataset.phase = state;
    root.dataset.idle = isMoving && wantsPlay && performance.now() - activeAt > IDLE_MS ? 'yes' : 'no';
    controls.bar.hidden = state !== 'live';
    controls.update({
        wantsPlay: wantsPlay && !refused,
        behind: behind > BEHIND_MS || !wantsPlay,
        isFullscreen: document.fullscreenElement === root,
        canPlay: state === 'live',
    });
    showBadge(byId('badge'), state, BADGES);
    setText(byId('since'), sinceText());
}

function tick() {
    overlay.tick();
    if (video.currentTime !== lastTime && !video.seeking) {
        lastTime = video.currentTime;
        if (video.readyState >= 2) {
            movedAt = performance.now();
            retryMs = FIRST_RETRY_MS;
            keepUp(true);
        }
    }
    if (state === 'scheduled' && now() >= channel.start_at_ms) {
        enter('live');
        join(false);
    }
    if (state === 'live' && channel.end_at_ms !== null && now() > channel.end_at_ms + STILL_MS && (video.paused || performance.now() - movedAt > STILL_MS)) finish();
    render();
}

function toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (root.requestFullscreen) root.requestFullscreen().catch(() => {});
    else video.webkitEnterFullscreen?.();
}

function onActive() {
    activeAt = performance.now();
    root.dataset.idle = 'no';
}

const keys = { k: () => setWantsPlay(!wantsPlay), m: () => toggleMute(video), f: toggleFullscreen, l: toLive };

document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, textarea, select, dialog')) return;
    const action = state === 'live' && keys[event.key.toLowerCase()];
    if (!action) return;
    action();
    onActive();
    render();
});
for (const name of ['pointermove', 'pointerdown', 'focusin']) root.addEventListener(name, onActive);
video.addEventListener('volumechange', render);
video.addEventListener('ended', () => state === 'live' && channel.end_at_ms !== null && finish());

if (player.isSupported) {
    setInterval(tick, TICK_MS);
    join(false);
} else enter('unsupported');
