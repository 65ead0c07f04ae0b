/* The stage: picture, overlay, controls and statistics of one broadcast, held together.
 *
 *     const stage = createStage(root, { id, getPlaybackUrl, onState });
 *     stage.start(); … stage.destroy();
 *
 * getPlaybackUrl(fresh) -> Promise of the URL; fresh: the one given before was refused.
 * messages, elsewhere: the overlay's words and its way out where they differ, see overlay.js.
 * onState(state): follow.js' phase, with "playing" for live with a moving picture.
 */
import { fetchStatus } from './api.js';
import { createControls, toggleMute } from './controls.js';
import { el } from './dom.js';
import { createFollower } from './follow.js';
import { createOverlay } from './overlay.js';
import { createPlayer } from './player.js';
import { createStats } from './stats.js';
import { showInMediaSession } from './media-session.js';
import { stillWords } from './trouble-words.js';

const TICK_MS = 250;
const STILL_MS = 700; // no new picture for so long: it stands still
const BEHIND_MS = 10000; // delay from which "Live" offers to catch up
const IDLE_MS = 3000; // controls fade

const realClock = {
    now: () => performance.now(),
    setTimeout: (fn, ms) => setTimeout(fn, ms),
    clearTimeout: (handle) => clearTimeout(handle),
};

export function createStage(root, { id, getPlaybackUrl, onState = () => {}, poster = null, messages = {}, elsewhere }) {
    const video = el('video', { id: 'video', playsinline: true, autoplay: true, 'aria-label': 'Live picture' });
    video.muted = true;
    const still = el('canvas', { class: 'still', 'aria-hidden': 'true', hidden: true });
    const overlay = createOverlay({ onTap: () => setWantsPlay(true), messages, elsewhere });
    const stats = createStats();
    const player = createPlayer(video, { onTrouble, onProgress, onFinished, onLevels });
    const controls = createControls(video, {
        onPlayPause: () => setWantsPlay(!wantsPlay),
        onToLive: toLive,
        onQuality: (height) => chooseQuality(height),
        onStats: toggleStats,
        onFullscreen: toggleFullscreen,
    });
    root.classList.add('stage');
    root.replaceChildren(video, still, overlay.element, controls.unmute, stats.element, controls.bar);

    let url = null;
    let playing = 0; // number of the latest play(); an older one that still waits for its URL gives up
    let phase = 'connecting';
    let state = '';
    let wantsPlay = true;
    let refused = false; // the browser wants a tap before it plays
    let back = false; // after an interruption, until the picture moves
    let quality = -1;
    let movedAt = 0;
    let lastTime = 0;
    let activeAt = performance.now();
    let stillSince = activeAt; // since when there is nothing to see although there should be

    const follower = createFollower({
        clock: realClock,
        fetchStatus: () => fetchStatus(id),
        actions: { play, halt: () => player.halt(), finish: () => player.finish(), show },
    });

    // ---- what follow.js asks for ----

    async function play(how) {
        playing += 1;
        const mine = playing;
        if (how === 'resume') {
            player.resume();
            return playVideo();
        }
        if (how === 'reload' || how === 'renew') keepPicture();
        try {
            if (url === null || how === 'renew') url = await getPlaybackUrl(how === 'renew');
        } catch {
            url = null;
        }
        if (mine !== playing || phase !== 'live') return undefined;
        if (url === null) return follower.trouble({ httpStatus: 0 });
        player.play(url);
        return playVideo();
    }

    function show(next) {
        if (next === 'suspended') {
            back = true;
            overlay.count('Interrupted for', Date.now());
        } else if (next === 'scheduled') overlay.count('Waiting for', Date.now());
        else overlay.count('', null);
        phase = next;
        if (phase === 'ended') video.pause();
        render();
    }

    // ---- what the player reports ----

    function onTrouble(httpStatus) {
        follower.trouble({ httpStatus });
    }

    function onProgress() {
        follower.progress(false);
    }

    function onFinished() {
        follower.finished();
    }

    function onLevels() {
        controls.updateQuality(player.levels(), quality, player.playingHeight);
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

    /* A reload empties the video element; its last picture stays above it until there is a new one. */
    function keepPicture() {
        if (video.readyState < 2 || video.videoWidth === 0) return;
        still.width = video.videoWidth;
        still.height = video.videoHeight;
        still.getContext('2d').drawImage(video, 0, 0);
        still.hidden = false;
    }

    function setWantsPlay(wants) {
        wantsPlay = wants;
        refused = false;
        if (!wants) video.pause();
        else {
            if (player.stats().latencyMs > BEHIND_MS) player.toLiveEdge();
            playVideo();
        }
        render();
    }

    function toLive() {
        player.toLiveEdge();
        setWantsPlay(true);
    }

    function chooseQuality(height) {
        quality = height;
        player.chooseLevel(height);
        onLevels();
    }

    // ---- what one sees ----

    function overlayKind(moving) {
        if (phase === 'live') {
            if (refused) return 'tap';
            if (moving || !wantsPlay) return 'none';
            return back ? 'returning' : 'loading';
        }
        return phase === 'ending' ? 'none' : phase;
    }

    function showOverlay(kind, now) {
        if (kind !== overlay.element.dataset.kind) stillSince = now;
        const words = stillWords(kind, now - stillSince, navigator.onLine);
        if (words) overlay.tell(kind, words);
        overlay.show(kind);
    }

    function render() {
        const now = performance.now();
        const moving = now - movedAt < STILL_MS && movedAt > 0;
        if (moving && phase === 'live') {
            back = false;
            still.hidden = true;
        }
        showOverlay(overlayKind(moving), now);
        root.dataset.picture = moving ? 'moving' : 'still';
        root.dataset.phase = phase;
        root.dataset.idle = moving && wantsPlay && now - activeAt > IDLE_MS ? 'yes' : 'no';
        const inPlay = phase === 'live' || phase === 'ending' || phase === 'suspended' || phase === 'returning';
        controls.bar.hidden = !inPlay;
        const snapshot = player.stats();
        controls.update({
            wantsPlay: wantsPlay && !refused,
            behind: snapshot.latencyMs > BEHIND_MS || !wantsPlay,
            isFullscreen: document.fullscreenElement === root,
            canPlay: phase === 'live',
        });
        stats.update(snapshot);
        if (snapshot.latencyMs !== null) root.dataset.latencyMs = String(Math.round(snapshot.latencyMs));
        root.dataset.height = String(snapshot.height);
        const next = phase === 'live' && moving ? 'playing' : phase;
        if (next === state) return;
        state = next;
        onState(state);
    }

    function tick() {
        player.tick();
        overlay.tick();
        if (video.currentTime !== lastTime && !video.seeking) {
            lastTime = video.currentTime;
            if (video.readyState >= 2) movedAt = performance.now();
            follower.progress(true);
        } else if (!wantsPlay || refused || document.hidden) follower.progress(false);
        render();
    }

    function toggleStats() {
        controls.statsButton.setAttribute('aria-pressed', String(stats.toggle()));
        render();
    }

    function toggleFullscreen() {
        if (document.fullscreenElement) document.exitFullscreen();
        else if (root.requestFullscreen) root.requestFullscreen().catch(() => {});
        else video.webkitEnterFullscreen?.();
    }

    const keys = {
        k: () => setWantsPlay(!wantsPlay),
        m: () => toggleMute(video),
        f: toggleFullscreen,
        i: toggleStats,
        l: toLive,
    };

    function onKey(event) {
        if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, textarea, select, dialog')) return;
        const action = keys[event.key.toLowerCase()];
        if (!action) return;
        action();
        onActive();
        render();
    }

    function onActive() {
        activeAt = performance.now();
        root.dataset.idle = 'no';
    }

    function onWake() {
        if (!document.hidden) follower.wake();
    }

    const listeners = new AbortController();
    const { signal } = listeners;
    let timer = null;

    return {
        start() {
            if (!player) {
                controls.bar.hidden = true;
                controls.unmute.hidden = true;
                return overlay.show('unsupported');
            }
            if (poster) video.poster = poster;
            document.addEventListener('keydown', onKey, { signal });
            document.addEventListener('visibilitychange', onWake, { signal });
            window.addEventListener('online', onWake, { signal });
            for (const name of ['pointermove', 'pointerdown', 'focusin']) root.addEventListener(name, onActive, { signal });
            video.addEventListener('click', onActive, { signal });
            video.addEventListener('volumechange', render, { signal });
            video.addEventListener('ended', onFinished, { signal });
            follower.start();
            timer = setInterval(tick, TICK_MS);
            return undefined;
        },
        /* A state from elsewhere (the API, later the chat connection), in the form of a /status answer. */
        hear: (answer) => follower.hear(answer),
        /* For the lock screen: title, artist, artwork. */
        describe: (what) => showInMediaSession({ ...what, onPlay: () => setWantsPlay(true), onPause: () => setWantsPlay(false) }),
        setPoster(address) {
            if (address && !video.poster) video.poster = address;
        },
        destroy() {
            listeners.abort();
            clearInterval(timer);
            follower.stop();
            player?.destroy();
            root.replaceChildren();
        },
    };
}
