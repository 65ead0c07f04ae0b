/* When to ask for start notices, and which of them are new: pure, so that tests run it with a clock of their own.
 *
 *     const poll = createNoticePoll({ clock, fetchNotices, onList, onNew }); poll.start(); … poll.stop();
 *
 * fetchNotices({ since?, waitS? }) -> an answer of /notifications. The first one fills the list; the next ones wait at the server.
 */
const WAIT_S = 25;
const PAUSE_MS = 3000; // after a notice, at most: pages that were told together do not ask again together
const FIRST_RETRY_MS = 2000;
const LONGEST_RETRY_MS = 60000;
const KEPT = 50;

export function createNoticePoll({ clock, fetchNotices, onList, onNew, random = Math.random }) {
    let latest = null;
    let notices = [];
    let unread = 0;
    let failures = 0;
    let timer = null;
    let round = 0; // a stopped or restarted poll does not take an answer from before

    function take(answer) {
        const first = latest === null;
        const known = new Set(notices.map((notice) => notice.id));
        const fresh = answer.notifications.filter((notice) => !known.has(notice.id));
        notices = [...fresh, ...notices].sort((a, b) => Number(b.id) - Number(a.id)).slice(0, KEPT);
        unread = first ? (answer.unread ?? 0) : unread + fresh.filter((notice) => notice.unread).length;
        latest = Math.max(latest ?? 0, answer.latest);
        if (first || fresh.length > 0) onList(notices, unread);
        if (!first) for (const notice of fresh) onNew(notice);
        return first ? 0 : fresh.length;
    }

    async function ask() {
        const mine = round;
        let delay;
        try {
            const answer = await fetchNotices(latest === null ? {} : { since: latest, waitS: WAIT_S });
            if (mine !== round) return;
            const got = take(answer);
            failures = 0;
            delay = answer.retry_after_ms > 0 ? answer.retry_after_ms * (0.75 + random() * 0.5) : got > 0 ? random() * PAUSE_MS : 0;
        } catch (error) {
            if (mine !== round) return;
            if (error.status === 401) return; // the session is over: nothing to ask any more
            delay = Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS) * (0.5 + random());
            failures += 1;
        }
        timer = clock.setTimeout(ask, delay);
    }

    return {
        start() {
            round += 1;
            clock.clearTimeout(timer);
            ask();
        },
        stop() {
            round += 1;
            clock.clearTimeout(timer);
        },
        read() {
            unread = 0;
            notices = notices.map((notice) => ({ ...notice, unread: false }));
            onList(notices, unread);
            // A notice that was pushed may be later than `latest`, which stays behind until the next answer.
            return notices.length > 0 ? Math.max(latest ?? 0, Number(notices[0].id)) : latest;
        },
    };
}
