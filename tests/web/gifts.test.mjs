// Buying a gift over a bad line: one key until it is known what became of the purchase. No browser, no server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPurchaser } from '../../services/web/public/assets/js/gift-purchase.js';

const failure = (status, code = 'x', retryAfterMs = undefined) => Object.assign(new Error(code), { status, code, retryAfterMs });

/* answers: what the network does, one after the other: an error is thrown, anything else is the answer. */
function rig(answers, kept = { text: null }, prefix = 'key') {
    const sent = [];
    const pauses = [];
    let keys = 0;
    const purchaser = createPurchaser({
        send: async (body) => {
            sent.push(body);
            const answer = answers.shift();
            if (answer instanceof Error) throw answer;
            return answer;
        },
        newKey: () => `${prefix}-${keys += 1}`,
        pause: async (ms) => { pauses.push(ms); },
        store: { get: () => kept.text, set: (text) => { kept.text = text; } },
    });
    return { purchaser, sent, pauses, kept, keysOf: () => sent.map((body) => body.idempotency_key) };
}
const fan = { item_id: 'fan', broadcast_id: 'b' };

test('without an answer the same goes out again, with the same key', async () => {
    const { purchaser, keysOf, pauses, kept } = rig([failure(0), failure(503, 'unavailable', 2000), { id: 'p1' }, { id: 'p2' }]);
    assert.deepEqual(await purchaser.buy(fan), { id: 'p1' });
    assert.deepEqual(pauses, [500, 2000]);
    assert.equal(kept.text, null);
    await purchaser.buy(fan);
    assert.deepEqual(keysOf(), ['key-1', 'key-1', 'key-1', 'key-2']);
});

test('the button pressed again after all tries failed is still the same purchase, even after a reload', async () => {
    const kept = { text: null };
    const first = rig(Array.from({ length: 4 }, () => failure(0)), kept);
    await assert.rejects(first.purchaser.buy(fan));
    assert.equal(first.sent.length, 4);
    assert.ok(first.purchaser.isOpen);
    const second = rig([{ id: 'p1' }], kept, 'new');
    await second.purchaser.buy(fan);
    assert.deepEqual(second.keysOf(), ['key-1']);
});

test('a refusal ends it, and something else is another purchase', async () => {
    const { purchaser, keysOf } = rig([failure(402, 'too_few_coins'), { id: 'p1' }, failure(0), failure(0), failure(0), failure(0), { id: 'p2' }]);
    await assert.rejects(purchaser.buy(fan), { code: 'too_few_coins' });
    await purchaser.buy(fan);
    await assert.rejects(purchaser.buy(fan));
    await purchaser.buy({ ...fan, message: 'hello' });
    assert.deepEqual(keysOf(), ['key-1', 'key-2', 'key-3', 'key-3', 'key-3', 'key-3', 'key-4']);
});

test('what is kept from another time and is not ours does no harm', async () => {
    const { purchaser, keysOf } = rig([{ id: 'p1' }], { text: '{broken' });
    await purchaser.buy(fan);
    assert.deepEqual(keysOf(), ['key-1']);
});
