/* A recording in a video element, with hls.js or by the browser itself.
 *
 *     const player = createRecordingPlayer(video, { getUrl, onTrouble });
 *     player.start();
 *
 * getUrl(fresh) -> Promise of the playback URL; fresh: the one before has expired. onTrouble(isTrouble).
 * Unlike a live picture, a recording has nothing to hurry after: on trouble it asks again, later and later, and goes on
 * where it was. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30000;
const HLS_CONFIG = { capLevelToPlayerSize: true, maxBufferLength: 30, maxMaxBufferLength: 60, backBufferLength: 60 };

export function createRecordingPlayer(video, { getUrl, onTrouble }) {
    let hls = null;
    let retryMs = FIRST_RETRY_MS;
    let timer = null;

    function recovered() {
        retryMs = FIRST_RETRY_MS;
        onTrouble(false);
    }

    function retry() {
        onTrouble(true);
        clearTimeout(timer);
        timer = setTimeout(() => start(true), retryMs * (0.75 + Math.random() * 0.5));
        retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
    }

    function onError(data) {
        if (!data.fatal) return;
        if (data.type === globalThis.Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
        else retry();
    }

    async function start(fresh = false) {
        let url;
        try {
            url = await getUrl(fresh);
        } catch {
            return retry();
        }
        const at = video.currentTime;
        hls?.destroy();
        hls = null;
        if (globalThis.Hls?.isSupported()) {
            hls = new globalThis.Hls({ ...HLS_CONFIG, startPosition: at });
            hls.on(globalThis.Hls.Events.ERROR, (_, data) => onError(data));
            hls.on(globalThis.Hls.Events.FRAG_BUFFERED, recovered);
            hls.loadSource(url);
            hls.attachMedia(video);
            return undefined;
        }
        video.src = url;
        video.addEventListener('loadedmetadata', () => { video.currentTime = at; }, { once: true });
        return undefined;
    }

    video.addEventListener('error', () => !hls && video.hasAttribute('src') && retry());
    video.addEventListener('playing', recovered);
    return { start };
}
