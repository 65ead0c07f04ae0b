/* The comments in the document: draws the window of a chat-list, once per animation frame at most, whatever arrives.
 *
 *     const view = createChatView({ label: 'Chat', onPick, ownId });
 *     root.append(view.element);
 *     view.push(events); view.remove((event) => …);
 *
 * onPick(event): somebody asked for what can be done about a comment (view.setPickable(true)).
 */
import { decorate } from './chat-decoration.js';
import { createChatList } from './chat-list.js';
import { el, setText } from './dom.js';
import { makeGiftRow } from './gift-view.js';

const END_PX = 48; // so near to the end is at the end
const REACH_PX = 240; // so near to an edge of the window it moves
const CALM_PER_SECOND = 4; // more than that nobody wants to have read aloud
const ROLES = { broadcaster: 'Host', moderator: 'Mod', operator: 'Staff' };
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

export function createChatView({ label, onPick, ownId = () => null }) {
    const list = createChatList();
    const rows = new Map(); // number -> element, in the order of the document
    const log = el('div', { class: 'chat-log', role: 'log', 'aria-live': 'polite', 'aria-label': label, tabindex: '0' });
    const empty = el('p', { class: 'chat-empty' }, 'No comments yet. Say the first word.');
    const more = el('button', { class: 'chat-more', type: 'button', hidden: true });
    const element = el('div', { class: 'chat-list' }, log, empty, more);
    let frame = null;
    let lastTop = 0;
    let pickable = false;
    let arrived = 0;

    function makeRow(item) {
        return item.event.type === 'gift' ? makeGiftRow(item, timeOf(item.event)) : makeComment(item);
    }

    const timeOf = ({ at_ms: at }) => (Number.isFinite(at) ? time.format(at) : undefined);

    function makeComment({ n, event }) {
        const user = event.user ?? {};
        const name = String(user.name ?? '');
        const row = el(
            'div',
            { class: 'comment', 'data-id': event.id, 'data-n': n, title: timeOf(event) },
            Object.hasOwn(ROLES, user.role ?? '') ? el('span', { class: 'comment-role', 'data-role': user.role }, ROLES[user.role]) : null,
            el('span', { class: 'comment-name', dir: 'auto' }, name),
            ' ',
            el('span', { class: 'comment-text', dir: 'auto' }, String(event.text ?? '')),
        );
        if (user.id && user.id === ownId()) row.classList.add('own-comment');
        decorate(row, user.decoration);
        if (pickable) row.append(el('button', { class: 'comment-pick', type: 'button', 'aria-label': `Moderate this comment by ${name}` }, '⋯'));
        return row;
    }

    const bottomGap = () => log.scrollHeight - log.scrollTop - log.clientHeight;

    /* Rows are only ever added at the two ends, and taken from anywhere. */
    function drawRows() {
        const wanted = list.window();
        const keep = new Set(wanted.map(({ n }) => n));
        for (const [n, row] of rows) {
            if (keep.has(n)) continue;
            row.remove();
            rows.delete(n);
        }
        const firstDrawn = rows.keys().next().value ?? Infinity;
        const before = wanted.filter(({ n }) => n < firstDrawn && firstDrawn !== Infinity);
        const after = wanted.filter(({ n }) => !rows.has(n) && (firstDrawn === Infinity || n > firstDrawn));
        const drawn = [...rows];
        const made = (items) => items.map((item) => [item.n, makeRow(item)]);
        const head = made(before);
        const tail = made(after);
        log.prepend(...head.map(([, row]) => row));
        log.append(...tail.map(([, row]) => row));
        if (head.length > 0) {
            rows.clear();
            for (const [n, row] of [...head, ...drawn]) rows.set(n, row);
        }
        for (const [n, row] of tail) rows.set(n, row);
    }

    function firstVisible() {
        for (const [n, row] of rows) if (row.offsetTop + row.offsetHeight > log.scrollTop) return { n, row };
        return null;
    }

    function draw() {
        frame = null;
        const anchor = list.following ? null : firstVisible();
        const anchorTop = anchor?.row.offsetTop;
        drawRows();
        if (list.following) log.scrollTop = log.scrollHeight;
        else if (anchor && rows.get(anchor.n) === anchor.row) log.scrollTop += anchor.row.offsetTop - anchorTop;
        lastTop = log.scrollTop;
        empty.hidden = list.size > 0;
        more.hidden = list.following;
        const unread = list.unread;
        setText(more, unread === 0 ? 'To the newest' : unread === 1 ? '1 new comment' : `${unread > 999 ? '999+' : unread} new comments`);
    }

    function plan() {
        frame ??= requestAnimationFrame(draw);
    }

    function onScroll() {
        const top = log.scrollTop;
        const up = top < lastTop - 1;
        lastTop = top;
        if (list.following) {
            // A row that grows moves the end away as well; only a reader moves up.
            if (!up || bottomGap() <= END_PX) return;
            list.hold();
            return plan();
        }
        if (up && top < REACH_PX) return list.older() && plan();
        if (!up && bottomGap() < REACH_PX && list.newer()) return plan();
        if (!up && bottomGap() <= END_PX) toNewest();
        return undefined;
    }

    function toNewest() {
        list.follow();
        plan();
    }

    log.addEventListener('scroll', onScroll, { passive: true });
    more.addEventListener('click', toNewest);
    log.addEventListener('click', ({ target }) => {
        const row = target.closest('.comment-pick')?.closest('.comment');
        const [event] = row ? list.find(({ id }) => id === row.dataset.id) : [];
        if (event) onPick?.(event);
    });
    const resized = new ResizeObserver(() => list.following && plan());
    resized.observe(log);
    const calm = setInterval(() => {
        const live = arrived > CALM_PER_SECOND * 2 ? 'off' : 'polite';
        if (log.getAttribute('aria-live') !== live) log.setAttribute('aria-live', live);
        arrived = 0;
    }, 2000);

    return {
        element,
        push(events) {
            arrived += events.length;
            list.push(events);
            plan();
        },
        remove(matches) {
            if (list.remove(matches).length > 0) plan();
        },
        find: list.find,
        toNewest,
        /* What stands where no comment does. */
        setEmptyWords: (words) => setText(empty, words),
        /* Whether each comment has its button; rows that stand there get it, or lose it, at once. */
        setPickable(next) {
            if (next === pickable) return;
            pickable = next;
            for (const row of rows.values()) row.remove();
            rows.clear();
            plan();
        },
        destroy() {
            cancelAnimationFrame(frame);
            clearInterval(calm);
            resized.disconnect();
        },
    };
}
