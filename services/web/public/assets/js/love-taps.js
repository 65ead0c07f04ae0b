/* Hearts on their way: taps are added up and sent in batches. Pure (clock, send, ids and randomness are handed in).
 *
 *     const taps = createLoveTaps({ send, token, newId, clock, on: { total, over, refused } });
 *     taps.tap(); taps.hear(total) -> how many of the growth came from others; taps.leave() -> bodies for a beacon
 *
 * A batch keeps its id and count until an answer says what became of it, so it counts once however often it goes out:
 * again after a lost answer, or by a beacon and then by a page that came back after all. The service knows an id for five
 * minutes, so one whose end has been unknown for longer than four is given up: rather none than two.
 */
export const LOVE_SETTINGS = Object.freeze({
    sendEveryMs: 2500,
    batchMost: 1000, // as the service takes them
    keptMost: 5000, // taps without an answer; more are not counted
    backoffMs: [1000, 20000], // first and longest
    unknownMs: 240000,
});

/* send({ batch_id, count }) -> Promise of { accepted, total }, or a rejection with `status`, `code`, `retryAfterMs`.
 * token() -> the session's token or null: without one the taps wait. clock: { now(), setTimeout, clearTimeout }.
 * on.total(shown): the number to show, which only rises; on.over(): nothing is taken any more; on.refused(): the session is not taken. */
export function createLoveTaps({ send, token, newId, clock, on, random = Math.random, settings = {} }) {
    const set = { ...LOVE_SETTINGS, ...settings };
    const batches = []; // { id, count, unknownSince }, the first is the one that is sent
    let pending = 0; // taps in no batch yet
    let known = null; // the highest total that was heard
    let heardBefore = 0; // the highest total that was heard from elsewhere than an answer
    let base = 0; // the highest total when the first of the batches was made, and what of them has counted since
    let shown = 0;
    let credit = 0; // own taps that have not yet been seen in the growth of the total
    let failures = 0;
    let refusedToken = null;
    let sending = false;
    let isOver = false;
    let timer = null;

    const batched = () => batches.reduce((sum, { count }) => sum + count, 0);

    /* What was heard may hold the batches without an answer already: they are added to what was known when they went out. */
    function show() {
        const estimate = Math.max(known ?? 0, base + batched()) + pending;
        if (estimate <= shown) return;
        shown = estimate;
        on.total(shown);
    }

    function seal() {
        if (batches.length === 0) base = known ?? 0;
        while (pending > 0) {
            const count = Math.min(pending, set.batchMost);
            batches.push({ id: newId(), count, unknownSince: null });
            credit += count;
            pending -= count;
        }
    }

    function arm(ms = set.sendEveryMs) {
        if (timer !== null || sending || isOver || (pending === 0 && batches.length === 0)) return;
        timer = clock.setTimeout(() => {
            timer = null;
            flush();
        }, ms);
    }

    /* Takes the first batch away; uncounted of it will not be seen in the total. */
    function finish(uncounted) {
        base += batches.shift().count - uncounted;
        credit = Math.max(0, credit - uncounted);
        failures = 0;
    }

    function stop() {
        isOver = true;
        batches.length = 0;
        pending = 0;
        clock.clearTimeout(timer);
        timer = null;
        on.over();
    }

    function backoffMs(told = 0) {
        const [firstMs, longestMs] = set.backoffMs;
        const step = Math.min(longestMs, firstMs * 2 ** Math.min(failures, 10));
        failures += 1;
        return Math.max(step / 2 + random() * (step / 2), told * (1 + random() * 0.2));
    }

    /* Returns after how long to go on. */
    function onFailure(batch, error, sentWith, sentAt) {
        const { status, code, retryAfterMs } = error;
        if (status === 429) return backoffMs(retryAfterMs); // for certain not counted
        if (!(status >= 400 && status < 500)) {
            batch.unknownSince ??= sentAt;
            return backoffMs(retryAfterMs);
        }
        if (status === 401) {
            refusedToken = sentWith;
            on.refused();
            return set.sendEveryMs;
        }
        if (status === 409 && code === 'over') {
            stop();
            return 0;
        }
        finish(batch.count);
        return set.sendEveryMs;
    }

    async function flush() {
        const bearer = token();
        if (sending || isOver) return;
        if (!bearer || bearer === refusedToken) return arm();
        if (batches.length === 0) seal();
        const [batch] = batches;
        if (!batch) return;
        if (batch.unknownSince !== null && clock.now() - batch.unknownSince > set.unknownMs) {
            finish(batch.count);
            return flush();
        }
        sending = true;
        const sentAt = clock.now();
        let waitMs = batches.length > 1 ? 0 : set.sendEveryMs;
        try {
            const { accepted, total } = await send({ batch_id: batch.id, count: batch.count });
            known = Math.max(known ?? 0, total);
            finish(batch.count - accepted);
        } catch (error) {
            if (!Number.isFinite(error?.status)) throw error;
            waitMs = onFailure(batch, error, bearer, sentAt);
        } finally {
            sending = false;
        }
        show();
        arm(waitMs);
    }

    return {
        /* False: not counted. */
        tap() {
            if (isOver || pending + batched() >= set.keptMost) return false;
            pending += 1;
            show();
            arm();
            return true;
        },
        /* A total from the chat or the API. */
        hear(total) {
            if (!Number.isFinite(total)) return 0;
            const growth = known === null ? 0 : Math.max(0, total - heardBefore);
            heardBefore = Math.max(heardBefore, total);
            known = Math.max(known ?? 0, total);
            if (batches.length === 0) base = known;
            const own = Math.min(growth, credit);
            credit -= own;
            show();
            return growth - own;
        },
        /* Everything without an answer, for a page that may not live long enough to hear one. It stays here as well. */
        leave() {
            const bearer = token();
            if (!bearer || bearer === refusedToken || isOver) return [];
            seal();
            arm();
            for (const batch of batches) batch.unknownSince ??= clock.now();
            return batches.map(({ id, count }) => ({ batch_id: id, count, token: bearer }));
        },
        get unsent() {
            return pending + batched();
        },
        get isOver() {
            return isOver;
        },
    };
}
