/* Buying a gift once, however often it has to be sent: pure, so that tests run it with a fake network.
 *
 *     const purchaser = createPurchaser({ send, newKey, pause });
 *     await purchaser.buy({ item_id, broadcast_id, message })      the purchase, or the last error
 *
 * A key belongs to what is bought. While no answer has said what became of it, the same purchase goes out with the same
 * key, now and when somebody presses the button again: it cannot be paid twice.
 */
const TRIES = 4;
const FIRST_PAUSE_MS = 500;

/* 0 is no answer at all; behind these it may have been made. */
const isUnknown = ({ status }) => status === 0 || status >= 500 || status === 429;
const sameAs = (body) => JSON.stringify([body.item_id, body.broadcast_id, body.message ?? null]);

/* send(body) -> Promise of the purchase, or a rejection with `status`, `code`, `retryAfterMs`; pause(ms) -> Promise.
 * store: { get(), set(text or null) }, what outlives the page. */
export function createPurchaser({ send, newKey, pause, store }) {
    let open = null; // { what, key } of the purchase whose end is not known

    try {
        open = JSON.parse(store.get() ?? 'null');
    } catch {
        // Not ours.
    }
    const keep = (next) => {
        open = next;
        store.set(next === null ? null : JSON.stringify(next));
    };

    return {
        get isOpen() {
            return open !== null;
        },
        async buy(body) {
            const what = sameAs(body);
            if (open?.what !== what) keep({ what, key: newKey() });
            const { key } = open;
            for (let tries = 1; ; tries += 1) {
                try {
                    const purchase = await send({ ...body, idempotency_key: key });
                    keep(null);
                    return purchase;
                } catch (error) {
                    if (!isUnknown(error)) {
                        keep(null);
                        throw error;
                    }
                    if (tries === TRIES) throw error;
                    await pause(error.retryAfterMs ?? FIRST_PAUSE_MS * 2 ** (tries - 1));
                }
            }
        },
    };
}
