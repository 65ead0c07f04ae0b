/* What the studio shows of a broadcast that is over: what it came to, and where its recording is.
 *
 *     const over = createOver({ id }); over.show(broadcast); … over.destroy();
 *
 * The recording takes some seconds to be made, or minutes behind others: it is asked for, later and later, until it stands. */
import { getArchive, getBroadcast, getLoves } from './api.js';
import { byId, setText } from './dom.js';
import { clock, counted } from './format.js';

const FIRST_ASK_MS = 2000;
const LONGEST_ASK_MS = 30000;

/* archive: of the API, null while it is not known. */
export function recordingWords(archive) {
    if (archive?.state !== 'archived') return 'The recording is being made. The link comes here by itself.';
    if (!archive.playback_url) return 'It never had a picture, so there is no recording.';
    return archive.visibility === 'private' ? 'The recording stands. Only you can see it.' : 'The recording stands, with the chat as it was.';
}

export function createOver({ id }) {
    let timer = null;
    let askMs = FIRST_ASK_MS;
    let stopped = false;
    let isFinal = false; // the archive has counted: later visits change nothing any more

    function figure(name, value) {
        const box = byId(`over-${name}`);
        box.hidden = value === null || value === undefined;
        if (!box.hidden) setText(box.querySelector('dd'), value);
    }

    function showFigures({ live_at_ms: from, ended_at_ms: to, audience }) {
        figure('length', from && to ? clock(to - from) : null);
        figure('peak', audience ? counted(audience.peak) : null);
        figure('unique', audience ? counted(audience.unique) : null);
    }

    function showRecording(archive) {
        setText(byId('over-recording'), recordingWords(archive));
        byId('over-link').hidden = archive?.state !== 'archived' || !archive.playback_url;
        byId('over-link').href = `/archive/${encodeURIComponent(id)}`;
    }

    async function ask() {
        try {
            const archive = await getArchive(id);
            if (stopped) return;
            showRecording(archive);
            if (archive.state === 'archived') {
                isFinal = true;
                return showFigures(archive);
            }
        } catch (error) {
            if (stopped) return;
            if (error.status === 404) return setText(byId('over-recording'), 'The recording was deleted.');
            setText(byId('over-recording'), 'It cannot be seen right now how the recording stands. Asking again by itself…');
        }
        timer = setTimeout(ask, askMs * (0.75 + Math.random() * 0.5));
        askMs = Math.min(askMs * 1.5, LONGEST_ASK_MS);
    }

    const fresh = async (what, take) => {
        const answer = await what.catch(() => null); // a figure less, then
        if (answer && !stopped) take(answer);
    };

    return {
        /* broadcast: as known; how long it was and what it came to is asked for once more. */
        show(broadcast) {
            byId('over').hidden = false;
            showFigures(broadcast);
            figure('hearts', null);
            showRecording(null);
            fresh(getBroadcast(id, { asOwner: true }), (newer) => !isFinal && showFigures(newer));
            fresh(getLoves(id), ({ total }) => figure('hearts', counted(total)));
            ask();
        },
        destroy() {
            stopped = true;
            clearTimeout(timer);
            byId('over').hidden = true;
        },
    };
}
