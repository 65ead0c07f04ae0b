/* The heart of the watch page: a button made for hammering, the total, and hearts that float over the picture.
 *
 *     const love = createLove(root, { id, stage, askForName, onRefused });
 *     love.setState('live'); love.take({ total }) for the chat's love events; love.onSession() when there is a name, or none
 *
 * stage: the element that hearts float over. What becomes of the taps is decided in love-taps.js.
 */
import { getLoves, lovesPath, sendLoves } from './api.js';
import { el, setText } from './dom.js';
import { createLoveTaps } from './love-taps.js';
import { session, token } from './session.js';

const ON_AIR = new Set(['live', 'suspended']);
const OVER = new Set(['ended', 'archived']);
const MOST_ALIVE = 40; // hearts in the document
const MOST_OTHERS = 12; // of others, a second
const SPREAD_MS = 1000; // as often as the chat tells the total
const ASK_AFTER_MS = 600;
const LABEL_EVERY_MS = 5000; // a label that changes under the finger is read aloud again and again
const COLOURS = ['#ff5c8a', '#ff8a4c', '#ffd166', '#ff7ab8', '#c792ff'];
const HEART = 'M12 20.4 4.2 12.6a5.2 5.2 0 0 1 7.4-7.3l.4.4.4-.4a5.2 5.2 0 0 1 7.4 7.3z';
const SVG = 'http://www.w3.org/2000/svg';
const clock = { now: () => Date.now(), setTimeout: (f, ms) => setTimeout(f, ms), clearTimeout: (handle) => clearTimeout(handle) };
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const number = new Intl.NumberFormat('en');
const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

function heart(className) {
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    svg.setAttribute('class', className);
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', HEART);
    svg.append(path);
    return svg;
}

/* Only for the eye: it holds no more than MOST_ALIVE, and nothing for those who want no motion. */
function createHearts(stage) {
    const field = el('div', { class: 'love-field', id: 'love-field', 'aria-hidden': 'true' });
    let waiting = 0;

    function float() {
        if (calm.matches || document.hidden || field.childElementCount >= MOST_ALIVE) return;
        const one = heart('love-heart');
        const between = (low, high) => low + Math.random() * (high - low);
        one.style.setProperty('--x', `${between(-70, 30).toFixed(0)}px`);
        one.style.setProperty('--turn', `${between(-28, 28).toFixed(0)}deg`);
        one.style.setProperty('--size', between(0.7, 1.25).toFixed(2));
        one.style.setProperty('--time', `${between(1.7, 2.5).toFixed(2)}s`);
        one.style.color = COLOURS[Math.floor(Math.random() * COLOURS.length)];
        one.addEventListener('animationend', () => one.remove());
        field.append(one);
    }

    /* Of others: spread over the second until the next total. */
    function floatMany(count) {
        const many = Math.min(count, MOST_OTHERS - waiting);
        for (let i = 0; i < many; i += 1) {
            waiting += 1;
            setTimeout(() => {
                waiting -= 1;
                float();
            }, ((i + Math.random()) * SPREAD_MS) / many);
        }
    }

    stage.append(field);
    return { float, floatMany };
}

export function createLove(root, { id, stage, askForName, onRefused }) {
    const hearts = createHearts(stage);
    const face = heart('love-icon');
    const count = el('span', { class: 'love-count', id: 'love-count' }, '0');
    const button = el('button', { class: 'love-button', id: 'love-button', type: 'button', 'aria-keyshortcuts': 'h', disabled: true }, face, count);
    const hint = el('p', { class: 'love-hint', id: 'love-hint', role: 'status' });
    let total = 0;
    let pulse = null;
    let asking = null;
    let labelledAt = 0;
    let pressed = false; // a click that follows is the same tap

    const taps = createLoveTaps({
        send: (batch) => sendLoves(id, batch),
        token,
        newId,
        clock,
        on: { total: showTotal, over: () => setState('ended'), refused: onRefused },
    });

    function label() {
        if (document.activeElement === button && Date.now() - labelledAt < LABEL_EVERY_MS) return;
        labelledAt = Date.now();
        button.setAttribute('aria-label', `Send a heart. ${number.format(total)} so far`);
    }

    function showTotal(next) {
        total = next;
        button.dataset.total = String(total);
        setText(count, number.format(total));
        label();
    }

    /* Begins again with each tap, however fast. */
    function beat() {
        if (calm.matches) return;
        pulse?.cancel();
        pulse = face.animate([{}, { transform: 'scale(1.28)', offset: 0.35 }, {}], { duration: 280, easing: 'ease-out' });
    }

    function tap() {
        if (button.disabled || !taps.tap()) return;
        hearts.float();
        beat();
    }

    /* Said at once; the form is gone to when the taps pause, for the page may scroll then, and the button with it. */
    function askWhoTaps() {
        if (session() || taps.unsent === 0) return;
        setText(hint, 'Choose a name, and your hearts count');
        clearTimeout(asking);
        asking = setTimeout(() => askForName('Choose a name, and your hearts count.'), ASK_AFTER_MS);
    }

    function setState(state) {
        root.hidden = !ON_AIR.has(state) && !OVER.has(state);
        button.disabled = !ON_AIR.has(state) || taps.isOver;
    }

    function onSession() {
        if (session()) setText(hint, '');
    }

    /* The batches stay with the page too: if it comes back, the same ids make sure that they count once. */
    function onLeave() {
        for (const body of taps.leave()) navigator.sendBeacon(lovesPath(id), new Blob([JSON.stringify(body)], { type: 'application/json' }));
    }

    async function load() {
        try {
            taps.hear((await getLoves(id)).total);
        } catch {
            // The chat tells it with the next heart.
        }
    }

    button.addEventListener('pointerdown', (event) => {
        if (event.button !== 0) return;
        pressed = true;
        tap();
    });
    // By keyboard, or by something that touches no screen.
    button.addEventListener('click', (event) => {
        if (event.detail === 0 || !pressed) tap();
        pressed = false;
        askWhoTaps();
    });
    button.addEventListener('keydown', (event) => event.repeat && (event.key === 'Enter' || event.key === ' ') && event.preventDefault());
    button.addEventListener('contextmenu', (event) => event.preventDefault());
    button.addEventListener('blur', label);
    document.addEventListener('keydown', (event) => {
        if (event.key.toLowerCase() !== 'h' || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
        if (event.target.closest?.('input, textarea, select, dialog')) return;
        tap();
        askWhoTaps();
    });
    window.addEventListener('pagehide', onLeave);
    document.addEventListener('visibilitychange', () => document.hidden && onLeave());

    root.classList.add('love');
    root.replaceChildren(hint, button);
    setState('connecting');
    label();
    load();

    return {
        setState,
        onSession,
        /* A love event of the chat. */
        take({ total: heard }) {
            hearts.floatMany(taps.hear(heard));
        },
    };
}
