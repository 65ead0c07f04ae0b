/* The badge that says how a broadcast stands: the words for it, and what the phases of a player mean to somebody who reads it.
 *
 *     showBadge(byId('badge'), stateOf(phase));
 *
 * The state stands in data-state, so that style and tests read one word. A state without a word hides the badge. */
import { setText } from './dom.js';

export const STATE_WORDS = Object.freeze({
    scheduled: 'Soon',
    live: 'Live',
    suspended: 'Interrupted',
    ended: 'Ended',
    archived: 'Recording',
});

/* What is buffered still plays after the end: to a viewer it is live until then. */
const STATE_OF_PHASE = { playing: 'live', returning: 'suspended', ending: 'live' };

/* phase: of stage.js. */
export const stateOf = (phase) => STATE_OF_PHASE[phase] ?? phase;

/* words: others, where something else than a broadcast is told of. */
export function showBadge(badge, state, words = STATE_WORDS) {
    badge.dataset.state = state;
    badge.hidden = !Object.hasOwn(words, state);
    setText(badge, words[state] ?? '');
}
