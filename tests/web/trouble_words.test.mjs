// What people read when something does not answer, and when the keyboard of a phone is open.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyboard } from '../../services/web/public/assets/js/keyboard.js';
import { errorWords, stillWords } from '../../services/web/public/assets/js/trouble-words.js';

test('a picture that does not come gets words after a while, at once when there is no network, and none where others stand', () => {
    assert.deepEqual(stillWords('loading', 500, true), ['', '']);
    assert.deepEqual(stillWords('connecting', 500, true), ['Connecting…', '']);
    for (const kind of ['loading', 'connecting']) {
        for (const words of stillWords(kind, 4000, true)) assert.ok(words.length > 0, kind);
        assert.match(stillWords(kind, 0, false)[0], /offline/);
    }
    for (const kind of ['none', 'suspended', 'returning', 'ended', 'missing', 'tap']) assert.equal(stillWords(kind, 60000, false), null, kind);
});

test('an error is a sentence for people: no service is named, and when to try again is told', () => {
    const told = 'the service behind this path cannot be reached right now';
    assert.equal(errorWords(503, told, 2000), 'Hanabi cannot be reached right now. Try again in 2 s.');
    assert.equal(errorWords(500, 'redis: timeout'), 'Hanabi cannot be reached right now. Try again in a moment.');
    assert.equal(errorWords(429, 'rate_limited', 7000), 'That was too often. Try again in 7 s.');
    assert.equal(errorWords(429, 'rate_limited', 86400000), 'That was too often. Try again in a moment.');
    assert.equal(errorWords(400, 'the title is too long'), 'The title is too long.');
    assert.equal(errorWords(400, 'Too long!'), 'Too long!');
    assert.equal(errorWords(404, undefined), 'That did not work. Try again.');
});

test('it is the keyboard when somebody writes and half of the window has gone, and not the bar of the browser', () => {
    assert.equal(isKeyboard(430, 844, true), true);
    assert.equal(isKeyboard(430, 844, false), false);
    assert.equal(isKeyboard(750, 844, true), false);
});
