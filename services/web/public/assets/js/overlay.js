/* What lies over the picture when there is something to say. The kind stands in data-kind, so that style and tests read one word. */
import { el, setText } from './dom.js';
import { clock } from './format.js';

const MESSAGES = {
    connecting: ['Connecting…', ''],
    scheduled: ['Starting soon', 'The picture begins by itself. You can leave this page open.'],
    loading: ['', ''],
    suspended: ['The broadcast is interrupted', 'It will come back by itself. No need to reload.'],
    returning: ['The broadcast is back', 'Joining again…'],
    ended: ['This broadcast has ended', 'Thank you for watching.'],
    missing: ['No such broadcast', 'The link may be wrong, or the broadcast was removed.'],
    unsupported: ['This browser cannot play the broadcast', 'Try a current version of Chrome, Firefox, Edge or Safari.'],
    tap: ['', ''],
};

const ELSEWHERE = { href: '/', words: 'See what is live' };

/* messages: other words for some kinds, { kind: [title, text] }; elsewhere: where to go when there is nothing (more) to see here,
 * { href, words, target? } */
export function createOverlay({ onTap, messages = {}, elsewhere = ELSEWHERE }) {
    const words = { ...MESSAGES, ...messages };
    const title = el('p', { class: 'overlay-title' });
    const text = el('p', { class: 'overlay-text' });
    const since = el('p', { class: 'overlay-since' });
    const burst = el('div', { class: 'overlay-burst', 'aria-hidden': 'true' }, el('i'), el('i'), el('i'));
    const more = el('a', { class: 'button button-quiet overlay-more', href: elsewhere.href, target: elsewhere.target, rel: elsewhere.target ? 'noopener' : null }, elsewhere.words);
    const tap = el('button', { class: 'button overlay-tap', type: 'button', onclick: onTap }, 'Play');
    const spoken = el('div', { class: 'overlay-words', role: 'status', 'aria-live': 'polite' }, title, text, since);
    const element = el('div', { class: 'overlay', id: 'overlay', 'data-kind': 'connecting' }, burst, spoken, more, tap);

    let sinceMs = null;
    let sinceLabel = '';

    function show(kind) {
        if (element.dataset.kind === kind && title.textContent === (words[kind]?.[0] ?? '')) return;
        element.dataset.kind = kind;
        element.hidden = kind === 'none';
        const [head, body] = words[kind] ?? ['', ''];
        setText(title, head);
        setText(text, body);
        more.hidden = kind !== 'ended' && kind !== 'missing';
        tap.hidden = kind !== 'tap';
    }

    /* Other words for a kind from now on. */
    function tell(kind, [head, body]) {
        words[kind] = [head, body];
        if (element.dataset.kind !== kind) return;
        setText(title, head);
        setText(text, body);
    }

    /* A clock under the words, "Waiting for 1:05"; one that counts down when the moment is to come, "Begins in 1:23:45". */
    function count(label, fromMs) {
        sinceLabel = label;
        sinceMs = fromMs;
        tick();
    }

    function tick(now = Date.now()) {
        if (sinceMs === null) return setText(since, '');
        const shown = clock(1000 * (sinceMs > now ? Math.ceil((sinceMs - now) / 1000) : Math.round((now - sinceMs) / 1000)));
        // Announced once by its words above; a ticking clock would be read out every second.
        since.setAttribute('aria-hidden', 'true');
        return setText(since, `${sinceLabel} ${shown}`);
    }

    show('connecting');
    return { element, show, tell, count, tick };
}
