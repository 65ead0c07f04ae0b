/* The bell in the header and the toast "X is on air", on every page of somebody who is signed in. */
import { listNotifications, markNotificationsRead } from './api.js';
import { el, icon, setText } from './dom.js';
import { ago } from './format.js';
import { createNoticePoll } from './notice-poll.js';
import { session } from './session.js';

const TOAST_MS = 12000;
const realClock = { setTimeout: (fn, ms) => setTimeout(fn, ms), clearTimeout: (handle) => clearTimeout(handle) };

export function setUpNotices() {
    const nav = document.querySelector('.site-nav');
    if (!nav || !session()) return;
    const badge = el('span', { class: 'bell-count', hidden: true });
    const list = el('ul', { class: 'notices-list', id: 'notices' });
    const empty = el('p', { class: 'muted notices-empty' }, 'When somebody you follow goes on air, it says so here.');
    const panel = el('section', { class: 'notices', 'aria-label': 'Notices', hidden: true }, list, empty);
    const bell = el(
        'button',
        { class: 'bell', id: 'bell', type: 'button', 'aria-expanded': 'false', 'aria-label': 'Notices', onclick: () => open(panel.hidden) },
        icon('bell'),
        badge,
    );
    const toasts = el('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
    nav.append(el('div', { class: 'bell-box' }, bell, panel));
    document.body.append(toasts);

    const poll = createNoticePoll({ clock: realClock, fetchNotices: listNotifications, onList: render, onNew: toast });

    function row(notice) {
        return el(
            'li',
            { class: 'notice-row', 'data-unread': notice.unread ? 'yes' : 'no', 'data-broadcast': notice.broadcast.id },
            el(
                'a',
                { href: notice.watch_url },
                el('strong', { dir: 'auto' }, notice.owner.name),
                ' went on air',
                el('span', { class: 'notice-title', dir: 'auto' }, notice.broadcast.title),
                el('span', { class: 'notice-ago' }, ago(notice.at_ms)),
            ),
        );
    }

    function render(notices, unread) {
        list.replaceChildren(...notices.map(row));
        empty.hidden = notices.length > 0;
        badge.hidden = unread === 0;
        setText(badge, unread > 99 ? '99+' : String(unread));
        bell.setAttribute('aria-label', unread > 0 ? `Notices, ${unread} new` : 'Notices');
    }

    function toast(notice) {
        const box = el(
            'div',
            { class: 'toast-live', 'data-broadcast': notice.broadcast.id },
            el(
                'a',
                { href: notice.watch_url },
                el('strong', { dir: 'auto' }, `${notice.owner.name} is on air`),
                el('span', { class: 'notice-title', dir: 'auto' }, notice.broadcast.title),
            ),
            el('button', { class: 'toast-close', type: 'button', 'aria-label': 'Close', onclick: () => box.remove() }, '×'),
        );
        toasts.append(box);
        while (toasts.children.length > 3) toasts.firstChild.remove();
        setTimeout(() => box.remove(), TOAST_MS);
    }

    function open(opens) {
        panel.hidden = !opens;
        bell.setAttribute('aria-expanded', String(opens));
        if (!opens) return;
        const latest = poll.read();
        if (latest) markNotificationsRead(latest).catch(() => {}); // they come up as new once more, then
    }

    document.addEventListener('click', (event) => !event.target.closest('.bell-box') && open(false));
    document.addEventListener('keydown', (event) => event.key === 'Escape' && open(false));
    // A page that nobody looks at does not wait at the server.
    document.addEventListener('visibilitychange', () => (document.hidden ? poll.stop() : poll.start()));
    if (!document.hidden) poll.start();
}
