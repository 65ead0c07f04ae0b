/* The comments that a page keeps, and which of them stand in the document. Both are bounded: a page that is open for a
 * day in a busy broadcast is as light as one just opened. No DOM here; chat-view.js draws the window.
 *
 * Every comment has a number, one up for each. The list holds the last `keep` of them; the window [from, to) is what is
 * drawn, at most `rows` of them. While it follows, the window ends at the newest; a reader who scrolled up holds it where
 * it is, however much arrives, and moves it by steps.
 */

export const LIST_SETTINGS = Object.freeze({ keep: 1000, rows: 120, step: 40 });

export function createChatList(settings = {}) {
    const { keep, rows, step } = { ...LIST_SETTINGS, ...settings };
    let items = []; // { n, event }, by n; some numbers may be missing: taken away
    let next = 0; // the number of the comment to come
    let first = 0; // numbers below are forgotten
    let from = 0;
    let to = 0;
    let following = true;
    let readTo = 0; // up to here the reader has seen the end of the list

    /* Trimmed in bulk: a shift for every comment would move the whole array each time. */
    function trim() {
        if (items.length <= keep * 1.25) return;
        items = items.slice(-keep);
        first = items[0].n;
    }

    const indexOf = (n) => {
        let low = 0;
        let high = items.length;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (items[middle].n < n) low = middle + 1;
            else high = middle;
        }
        return low;
    };

    function toEnd() {
        to = next;
        const start = Math.max(0, items.length - rows);
        from = items.length > 0 ? items[start].n : next;
        readTo = next;
    }

    /* All that a reader was looking at is forgotten: on with the oldest there is. */
    function toStart() {
        from = first;
        to = items.length > rows ? items[rows].n : next;
    }

    return {
        /* Takes comments; returns nothing: what to draw is asked for once per frame. */
        push(events) {
            for (const event of events) {
                items.push({ n: next, event });
                next += 1;
            }
            trim();
            if (following) toEnd();
            else if (to <= first) toStart();
        },
        /* Takes away what `matches` says true to; returns the numbers. */
        remove(matches) {
            const gone = items.filter(({ event }) => matches(event)).map(({ n }) => n);
            if (gone.length > 0) {
                const set = new Set(gone);
                items = items.filter(({ n }) => !set.has(n));
            }
            return gone;
        },
        follow() {
            following = true;
            toEnd();
        },
        hold() {
            following = false;
        },
        /* The window moves towards older ones; false: there are none. */
        older() {
            const at = indexOf(from);
            if (at === 0) return false;
            from = items[Math.max(0, at - step)].n;
            const end = indexOf(from) + rows;
            if (end < items.length) to = Math.min(to, items[end].n);
            return true;
        },
        /* Towards newer ones; false: the newest stand there already. */
        newer() {
            const at = indexOf(to);
            if (at >= items.length) return false;
            const end = Math.min(items.length, at + step);
            to = end < items.length ? items[end].n : next;
            const start = Math.max(0, end - rows);
            if (items[start].n > from) from = items[start].n;
            readTo = Math.max(readTo, to);
            return true;
        },
        /* What is drawn: at most `rows` of { n, event }. What a reader looks at may have been forgotten meanwhile. */
        window: () => items.slice(indexOf(from), indexOf(to)),
        find: (matches) => items.filter(({ event }) => matches(event)).map(({ event }) => event),
        get range() {
            return { from: Math.max(from, first), to };
        },
        get unread() {
            return following ? 0 : next - readTo;
        },
        get following() {
            return following;
        },
        get size() {
            return items.length;
        },
    };
}
