/* The chat of a recording, in step with it. Pure: fetching and showing are handed in, so tests run the same code.
 *
 *     const replay = createReplay({ fetchJson, show, reset, onTrouble });
 *     replay.open(indexUrl);
 *     replay.at(mediaMs);        on every timeupdate and seek
 *
 * show(events): these have just been said.   reset(events): the moment has changed; these were said right before it.
 *
 * Only the files around the moment are loaded: those that hold it and the next minute, and on a seek as many before it as
 * it takes to fill the view. A jump back, or ahead by more than JUMP_MS, is a seek.
 */
export const REPLAY_SETTINGS = Object.freeze({ jumpMs: 4000, aheadMs: 60000, recent: 60, keepFiles: 12, retryMs: 3000 });

export function createReplay({ fetchJson, show, reset, onTrouble = () => {}, settings = {}, now = () => performance.now() }) {
    const { jumpMs, aheadMs, recent, keepFiles, retryMs } = { ...REPLAY_SETTINGS, ...settings };
    let base = null;
    let index = null;
    let files = new Map(); // number -> { events } once loaded, { failedAt } when it failed, {} while it is under way; the oldest use first
    let shownMs = null; // everything up to here has been shown; null: nothing has been
    let wantedMs = 0;

    const resolve = (url, from) => new URL(url, new URL(from, globalThis.location?.href ?? 'http://x/')).href;

    async function open(url) {
        base = url;
        index = await fetchJson(url);
        shownMs = null;
        files = new Map();
        at(wantedMs);
    }

    function use(number) {
        const file = files.get(number);
        if (!file || (file.failedAt !== undefined && now() - file.failedAt > retryMs)) return load(number);
        files.delete(number);
        files.set(number, file);
        return file;
    }

    function load(number) {
        const file = index.files[number].count === 0 ? { events: [] } : {};
        files.delete(number);
        files.set(number, file);
        for (const oldest of files.keys()) {
            if (files.size <= keepFiles) break;
            files.delete(oldest);
        }
        if (!file.events) fill(number, file);
        return file;
    }

    async function fill(number, file) {
        try {
            file.events = (await fetchJson(resolve(index.files[number].url, base))).events;
            if (files.get(number) === file) at(wantedMs);
        } catch (error) {
            file.failedAt = now();
            onTrouble(error);
        }
    }

    /* The numbers of the files that hold something in [fromMs, toMs]. A busy minute has several, and one moment may be in two. */
    const holding = (fromMs, toMs) => index.files.flatMap((file, number) => (file.from_ms <= toMs && file.to_ms >= fromMs ? [number] : []));

    /* All events of (afterMs, untilMs]; null while a file of them is on its way. */
    function between(afterMs, untilMs) {
        const parts = holding(Math.max(0, afterMs), untilMs).map((number) => use(number).events);
        if (parts.some((events) => !events)) return null;
        return parts.flat().filter((event) => event.media_ms > afterMs && event.media_ms <= untilMs);
    }

    /* The last ones said up to `untilMs`, at most `recent`: file by file towards the beginning. */
    function lastBefore(untilMs) {
        let events = [];
        for (const number of holding(0, untilMs).reverse()) {
            const file = use(number);
            if (!file.events) return null;
            events = [...file.events.filter((event) => event.media_ms <= untilMs), ...events];
            if (events.length >= recent || number === 0 || untilMs - index.files[number].from_ms > 10 * aheadMs) break;
        }
        return events.slice(-recent);
    }

    function at(mediaMs) {
        wantedMs = Math.floor(mediaMs);
        if (!index) return;
        const isSeek = shownMs === null || wantedMs < shownMs || wantedMs > shownMs + jumpMs;
        const events = isSeek ? lastBefore(wantedMs) : between(shownMs, wantedMs);
        if (events) {
            shownMs = wantedMs;
            if (isSeek) reset(events);
            else if (events.length > 0) show(events);
        }
        for (const number of holding(wantedMs, wantedMs + aheadMs).slice(0, 4)) use(number);
    }

    return {
        open,
        at,
        get loaded() {
            return [...files.keys()].sort((a, b) => a - b);
        },
    };
}
