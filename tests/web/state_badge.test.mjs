// The badge that says how a broadcast stands, on all pages alike; and what the studio says of a recording.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { showBadge, stateOf, STATE_WORDS } from '../../services/web/public/assets/js/state-badge.js';
import { recordingWords } from '../../services/web/public/assets/js/studio-over.js';

const element = () => ({ dataset: {}, hidden: false, textContent: '' });

test('a phase of the player is a state that a reader knows; what has no word shows no badge', () => {
    assert.deepEqual(['playing', 'ending', 'returning', 'scheduled', 'archived'].map(stateOf), ['live', 'live', 'suspended', 'scheduled', 'archived']);
    const badge = element();
    showBadge(badge, stateOf('returning'));
    assert.deepEqual(badge, { dataset: { state: 'suspended' }, hidden: false, textContent: STATE_WORDS.suspended });
    showBadge(badge, stateOf('connecting'));
    assert.deepEqual(badge, { dataset: { state: 'connecting' }, hidden: true, textContent: '' });
    showBadge(badge, 'live', { live: 'On air' });
    assert.deepEqual(badge, { dataset: { state: 'live' }, hidden: false, textContent: 'On air' });
    showBadge(badge, 'constructor');
    assert.equal(badge.hidden, true);
});

test('no other module spells the words or the phases', () => {
    const folder = fileURLToPath(new URL('../../services/web/public/assets/js/', import.meta.url));
    for (const file of fs.readdirSync(folder)) {
        if (file === 'state-badge.js') continue;
        assert.doesNotMatch(fs.readFileSync(`${folder}${file}`, 'utf8'), /STATE_LABEL|badge\.dataset\.state|'Interrupted'|playing: 'live'/, file);
    }
});

test('of a recording: being made, there, only for its owner, never a picture', () => {
    const words = (archive) => recordingWords(archive).split(/[.,]/)[0];
    assert.equal(words(null), 'The recording is being made');
    assert.equal(words({ state: 'ended', playback_url: '/x' }), 'The recording is being made');
    assert.equal(words({ state: 'archived', playback_url: null }), 'It never had a picture');
    assert.equal(words({ state: 'archived', playback_url: '/x', visibility: 'public' }), 'The recording stands');
    assert.match(recordingWords({ state: 'archived', playback_url: '/x', visibility: 'private' }), /Only you/);
});
