/* The gift panel of a chat: what can be given, the coins, a message, and who gave most.
 *
 *     const gifts = createGifts({ id });      for createChat(root, { …, gifts })
 *     gifts.take(): a gift was shown
 */
import { ApiError, createPurchase, createTopup, getItems, getWallet, listSupporters } from './api.js';
import { el, setText } from './dom.js';
import { giftIcon } from './gift-icon.js';
import { createPurchaser } from './gift-purchase.js';
import { coins, paint } from './gift-view.js';
import { session } from './session.js';

const TOPUP_COINS = 1000;
const MOST_CHARACTERS = 200;
const SUPPORTERS = 5;
const count = new Intl.NumberFormat('en');
const RELOAD_MS = 1500; // after a gift, spread over as much again

/* In this tab only: two tabs are two buyers. */
const storeFor = (id) => {
    const name = `hanabi.gift.${id}`;
    return {
        get() {
            try {
                return sessionStorage.getItem(name);
            } catch {
                return null;
            }
        },
        set(text) {
            try {
                if (text === null) sessionStorage.removeItem(name);
                else sessionStorage.setItem(name, text);
            } catch {
                // It lasts as long as the page, then.
            }
        },
    };
};

function sentence(error) {
    const known = {
        too_few_coins: 'There are too few coins for this.',
        not_on_air: 'Gifts can be given while the broadcast is on air.',
        muted: 'You may not write here at the moment.',
        blocked: 'The host does not take this gift or its words.',
        too_long: `At most ${MOST_CHARACTERS} characters, please.`,
    };
    if (error.status === 0 || error.status >= 500) return 'No answer yet. Send it again: the same gift is paid only once.';
    return known[error.code] ?? error.message;
}

export function createGifts({ id }) {
    const purchaser = createPurchaser({
        send: createPurchase,
        newKey: () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
        pause: (ms) => new Promise((resolve) => { setTimeout(resolve, ms); }),
        store: storeFor(id),
    });
    let items = [];
    let reload = null;
    let isLocal = true; // until the service says that there are no coins for nothing

    // ---- elements ----

    const choices = el('fieldset', { class: 'gift-items' }, el('legend', { class: 'unseen' }, 'Gift'));
    const message = el('input', { id: 'gift-message', name: 'message', autocomplete: 'off', placeholder: 'Words with it, if you like', 'aria-describedby': 'gift-error' });
    const balance = el('strong', { id: 'gift-coins' }, '…');
    const topup = el('button', { class: 'button button-quiet button-small', type: 'button', id: 'gift-topup' }, el('span', { class: 'unseen' }, 'Get '), `+${count.format(TOPUP_COINS)}`, el('span', { class: 'unseen' }, ' coins'));
    const send = el('button', { class: 'button button-small', type: 'submit', id: 'gift-send' }, 'Give');
    const error = el('p', { class: 'form-error', id: 'gift-error', role: 'alert', hidden: true });
    const supporters = el('ol', { class: 'supporters', id: 'supporters' });
    const supportersBox = el('div', { class: 'supporters-box', hidden: true }, el('h3', {}, 'Supporters'), supporters);
    const close = el('button', { class: 'chat-close', type: 'button', 'aria-label': 'Close the gifts' }, '×');
    const note = el('p', { class: 'chat-note', role: 'status' });
    const form = el(
        'form',
        { class: 'gifts', id: 'gifts', hidden: true, 'aria-label': 'Give a gift' },
        el('div', { class: 'gifts-head' }, el('h3', {}, 'Give a gift'), el('span', { class: 'gifts-coins' }, el('span', { class: 'unseen' }, 'You have '), balance), close),
        choices,
        el('label', { for: 'gift-message', class: 'unseen' }, 'Message with the gift'),
        message,
        error,
        el('div', { class: 'gifts-foot' }, topup, send),
        supportersBox,
    );
    const toggle = el('button', { class: 'link gift-toggle', id: 'gift-toggle', type: 'button', 'aria-expanded': 'false', 'aria-controls': 'gifts' }, giftIcon('gift'), 'Gifts');

    // ---- drawing ----

    function tell(text, code) {
        error.hidden = !text;
        setText(error, text);
        if (code) error.dataset.code = code;
        else delete error.dataset.code;
    }

    const chosen = () => items.find((item) => item.id === form.elements.gift?.value);

    function showSend() {
        const item = chosen();
        setText(send, item ? `Give for ${coins(item.price)}` : 'Give');
    }

    function showItems() {
        const before = form.elements.gift?.value;
        const labels = items.map((item, index) => {
            const label = el(
                'label',
                { class: 'gift-choice' },
                el('input', { type: 'radio', name: 'gift', value: item.id, checked: before ? item.id === before : index === 0 }),
                el(
                    'span',
                    { class: 'gift-card' },
                    giftIcon(item.icon),
                    el('span', { class: 'gift-card-name' }, item.name),
                    el('span', { class: 'gift-card-price' }, coins(item.price)),
                ),
            );
            paint(label, item);
            return label;
        });
        choices.replaceChildren(choices.firstElementChild, ...labels);
        showSend();
    }

    function showSupporters({ ranking }) {
        supportersBox.hidden = ranking.length === 0;
        supporters.replaceChildren(
            ...ranking.map((one) => el('li', {}, el('span', { class: 'supporter-name', dir: 'auto' }, one.name), el('span', { class: 'supporter-coins' }, coins(one.coins)))),
        );
    }

    // ---- what is asked for ----

    /* Each by itself: what does not answer leaves the rest as it is. */
    async function attempt(work) {
        try {
            await work();
        } catch (problem) {
            if (!(problem instanceof ApiError)) throw problem;
            tell(problem.message, problem.code);
        }
    }

    const loadWallet = () => attempt(async () => setText(balance, coins((await getWallet()).coins)));
    const loadSupporters = () => attempt(async () => showSupporters(await listSupporters(id, SUPPORTERS)));
    const loadItems = () =>
        attempt(async () => {
            ({ items } = await getItems());
            showItems();
        });

    function setOpen(open) {
        form.hidden = !open;
        toggle.setAttribute('aria-expanded', String(open));
        tell('');
        setText(note, '');
        if (!open) return;
        topup.hidden = !isLocal;
        if (items.length === 0) loadItems();
        loadWallet();
        loadSupporters();
    }

    async function busy(button, work) {
        button.disabled = true;
        tell('');
        try {
            await work();
        } finally {
            button.disabled = false;
        }
    }

    const onTopup = () =>
        busy(topup, async () => {
            try {
                setText(balance, coins((await createTopup(TOPUP_COINS)).coins));
            } catch (problem) {
                if (!(problem instanceof ApiError)) throw problem;
                isLocal = problem.status !== 403;
                topup.hidden = !isLocal;
                tell(isLocal ? problem.message : 'Coins cannot be had here.', problem.code);
            }
        });

    const onSend = () =>
        busy(send, async () => {
            const item = chosen();
            const words = message.value.trim();
            if (!item || !session()) return;
            if ([...words].length > MOST_CHARACTERS) return tell(sentence({ code: 'too_long' }), 'too_long');
            try {
                await purchaser.buy({ item_id: item.id, broadcast_id: id, ...(words ? { message: words } : {}) });
                message.value = '';
                setOpen(false);
                setText(note, `You gave ${item.name}. Thank you!`);
                toggle.focus();
            } catch (problem) {
                if (!(problem instanceof ApiError)) throw problem;
                tell(sentence(problem), problem.code);
                loadWallet();
            }
        });

    toggle.addEventListener('click', () => setOpen(form.hidden));
    close.addEventListener('click', () => {
        setOpen(false);
        toggle.focus();
    });
    topup.addEventListener('click', onTopup);
    form.addEventListener('change', showSend);
    form.addEventListener('keydown', ({ key }) => {
        if (key !== 'Escape') return;
        setOpen(false);
        toggle.focus();
    });
    form.addEventListener('submit', (event) => {
        event.preventDefault();
        onSend();
    });

    return {
        element: form,
        toggle,
        note,
        /* Only open panels ask, and not all at once. */
        take() {
            if (form.hidden || reload !== null) return;
            reload = setTimeout(() => {
                reload = null;
                if (!form.hidden) loadSupporters();
            }, RELOAD_MS * (1 + Math.random()));
        },
        close: () => setOpen(false),
        quiet: () => setText(note, ''),
    };
}
