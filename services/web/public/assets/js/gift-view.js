/* What a gift looks like: its row in the chat, and the banner that comes over the picture for a moment. */
import { decorate } from './chat-decoration.js';
import { el } from './dom.js';
import { giftIcon } from './gift-icon.js';

const COLOUR = /^#[0-9a-f]{6}$/i;
const BANNER_MS = 4200;
const BANNER_HURRIED_MS = 1400; // while others wait
const MOST_WAITING = 6; // in a flood the newest are shown
const count = new Intl.NumberFormat('en');

export const coins = (number) => `${count.format(number)} ${number === 1 ? 'coin' : 'coins'}`;

function parts(event) {
    const { user, item, message } = event;
    return {
        name: String(user?.name ?? ''),
        item: String(item?.name ?? 'a gift'),
        icon: item?.icon,
        price: Number.isFinite(item?.price) ? item.price : 0,
        message: typeof message === 'string' ? message : '',
    };
}

/* The colour goes in through the style object: the page's policy allows no style in markup. */
export function paint(element, item) {
    if (COLOUR.test(item?.colour ?? '')) element.style.setProperty('--gift', item.colour);
}

export function makeGiftRow({ n, event }, title) {
    const { name, item, icon, price, message } = parts(event);
    const row = el(
        'div',
        { class: 'comment gift-row', 'data-id': event.id, 'data-n': n, 'data-purchase': event.purchase, title },
        giftIcon(icon),
        el(
            'span',
            { class: 'gift-words' },
            el('span', { class: 'comment-name', dir: 'auto' }, name),
            ' ',
            el('span', { class: 'gift-what' }, `gave ${item}`, el('span', { class: 'gift-price' }, coins(price))),
            message ? el('span', { class: 'comment-text', dir: 'auto' }, message) : null,
        ),
    );
    decorate(row, event.user?.decoration);
    paint(row, event.item);
    return row;
}

/* One after the other over the picture. The chat's list says it to screen readers, so this is only for the eye. */
export function createGiftBanner(stage) {
    const element = el('div', { class: 'gift-banner', id: 'gift-banner', 'aria-hidden': 'true', hidden: true });
    let waiting = [];
    let timer = null;

    function next() {
        const event = waiting.shift();
        timer = null;
        if (!event) {
            element.hidden = true;
            return;
        }
        const { name, item, icon, price, message } = parts(event);
        element.replaceChildren(
            giftIcon(icon),
            el(
                'span',
                { class: 'gift-banner-words' },
                el('strong', { dir: 'auto' }, name),
                el('span', {}, `${item} · ${coins(price)}`),
                message ? el('span', { class: 'gift-banner-message', dir: 'auto' }, message) : null,
            ),
        );
        element.dataset.purchase = event.purchase ?? '';
        paint(element, event.item);
        element.hidden = false;
        // Begins again for each gift.
        element.classList.remove('gift-banner-in');
        void element.offsetWidth;
        element.classList.add('gift-banner-in');
        timer = setTimeout(next, waiting.length > 0 ? BANNER_HURRIED_MS : BANNER_MS);
    }

    stage.append(element);
    return {
        show(event) {
            waiting = [...waiting, event].slice(-MOST_WAITING);
            if (timer === null) next();
        },
        destroy() {
            clearTimeout(timer);
            element.remove();
        },
    };
}
