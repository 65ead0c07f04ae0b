/* What people read when something does not answer: pure, so that tests read the very words.
 *
 * Codes and sentences of services are for those who call them; a viewer wants to know whether to do something. */
const SLOW_MS = 4000; // a picture that takes longer gets words
const OFFLINE = ['You are offline', 'It goes on by itself when the network is back.'];

/* The overlay's words where no picture moves; kind: of overlay.js, stillMs: for how long. null: what stands there already says it. */
export function stillWords(kind, stillMs, isOnline) {
    if (kind !== 'connecting' && kind !== 'loading') return null;
    if (!isOnline) return OFFLINE;
    if (stillMs < SLOW_MS) return kind === 'connecting' ? ['Connecting…', ''] : ['', ''];
    return kind === 'connecting' ? ['Still connecting…', 'Hanabi cannot be reached right now. Trying again by itself.'] : ['Waiting for the picture…', 'It comes by itself. No need to reload.'];
}

/* What is told of an answer that is none: status 429 and 5xx say nothing of what was asked for. */
export function errorWords(status, message, retryAfterMs) {
    const seconds = Math.ceil((retryAfterMs ?? 0) / 1000);
    const when = seconds > 0 && seconds < 120 ? `in ${seconds} s` : 'in a moment';
    if (status === 429) return `That was too often. Try again ${when}.`;
    if (status >= 500) return `Hanabi cannot be reached right now. Try again ${when}.`;
    if (!message) return 'That did not work. Try again.';
    const sentence = message[0].toUpperCase() + message.slice(1);
    return /[.!?…]$/.test(sentence) ? sentence : `${sentence}.`;
}
