// The speed of play against a simulated buffer: two-second segments come in, a picture goes out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPacer } from '../../services/web/public/assets/js/pace.js';

const TICK_MS = 250;

/* Plays `seconds` from `bufferS`; returns what the buffer never fell below in the last ten seconds, and the stalls. */
function play(pacer, { bufferS, seconds }) {
    let stalls = 0;
    let rest = Infinity;
    for (let ms = 0; ms < seconds * 1000; ms += TICK_MS) {
        if (ms > 0 && ms % 2000 === 0) bufferS += 2;
        const rate = pacer.tick(ms, bufferS);
        bufferS -= (rate * TICK_MS) / 1000;
        if (bufferS < 0) {
            bufferS = 0;
            stalls += 1;
        }
        if (ms >= (seconds - 10) * 1000) rest = Math.min(rest, bufferS);
    }
    return { rest, stalls };
}

test('a viewer far behind comes closer, without a stall, and stays', () => {
    const { rest, stalls } = play(createPacer(), { bufferS: 8, seconds: 180 });
    assert.equal(stalls, 0);
    assert.ok(rest > 0.4 && rest < 1.4, `rest ${rest}`);
});

test('one who is close plays at the speed of life', () => {
    const pacer = createPacer();
    for (let ms = 0; ms < 20000; ms += TICK_MS) assert.equal(pacer.tick(ms, 1 + ((20000 - ms) % 2000) / 2000 - 0.2), 1);
});

test('each stall asks for a larger rest', () => {
    const pacer = createPacer();
    pacer.stalled();
    pacer.stalled();
    const { rest } = play(pacer, { bufferS: 8, seconds: 180 });
    assert.ok(rest > 1.3 && rest < 2.5, `rest ${rest}`);
});
