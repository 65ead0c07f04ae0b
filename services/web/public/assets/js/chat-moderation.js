/* What can be done about a comment: a panel that stays still while the comments move on.
 *
 * The broadcaster blocks, mutes, bans and deletes; moderators and operators delete. A block holds in all broadcasts of the
 * broadcaster, a mute or a ban in this one. What a blocked or banned person said last goes from everybody's page.
 */
import { ApiError, deleteBan, deleteBlock, deleteMute, getSettings, putBan, putBlock, putMute } from './api.js';
import { ChatError } from './chat-connection.js';
import { el, setText } from './dom.js';

const MUTE_MS = 10 * 60 * 1000;
const TAKEN_BACK = 5; // comments of somebody blocked or banned that are deleted for all; the server limits the rate

export function createModeration({ id, view, connection, ownId }) {
    const acts = {
        block: { off: 'Block', on: 'Unblock', put: putBlock, undo: deleteBlock, done: 'Blocked in all your broadcasts.', undone: 'No longer blocked.', hides: true },
        mute: { off: 'Mute 10 min', on: 'Unmute', put: (user) => putMute(id, user, Date.now() + MUTE_MS), undo: (user) => deleteMute(id, user), done: 'Muted for ten minutes.', undone: 'May write again.' },
        ban: { off: 'Ban', on: 'Lift the ban', put: (user) => putBan(id, user), undo: (user) => deleteBan(id, user), done: 'Banned from this broadcast.', undone: 'May come back.', hides: true },
    };
    const done = new Map(Object.keys(acts).map((act) => [act, new Set()])); // act -> the users it was done to, as far as known
    let event = null;
    let role = 'viewer';

    const who = el('span', { class: 'comment-name', dir: 'auto' });
    const text = el('span', { class: 'comment-text', dir: 'auto' });
    const note = el('p', { class: 'chat-note', role: 'status' });
    const remove = el('button', { class: 'button button-quiet button-small', type: 'button', 'data-act': 'delete', onclick: takeAway }, 'Delete');
    const buttons = Object.keys(acts).map((act) =>
        el('button', { class: 'button button-danger button-small', type: 'button', 'data-act': act, onclick: () => toggle(act) }),
    );
    const element = el(
        'section',
        { class: 'moderation', 'aria-label': 'Moderate a comment', hidden: true },
        el('p', { class: 'moderation-comment' }, who, ' ', text),
        el('div', { class: 'moderation-acts' }, remove, ...buttons),
        note,
        el('button', { class: 'chat-close', type: 'button', 'aria-label': 'Close', onclick: close }, '×'),
    );

    function label() {
        // Nobody blocks or bans himself.
        const another = event !== null && event.user?.id !== ownId();
        for (const button of buttons) {
            const { act } = button.dataset;
            button.hidden = role !== 'broadcaster' || !another;
            setText(button, done.get(act).has(event?.user?.id) ? acts[act].on : acts[act].off);
        }
    }

    async function attempt(button, work) {
        setText(note, '');
        button.disabled = true;
        try {
            setText(note, await work());
        } catch (error) {
            if (!(error instanceof ApiError) && !(error instanceof ChatError)) throw error;
            setText(note, error.message);
        } finally {
            button.disabled = false;
        }
    }

    function takeAway() {
        const { id: target } = event;
        attempt(remove, async () => {
            await connection.remove(target);
            return 'Deleted for everybody.';
        });
    }

    function toggle(act) {
        const { put, undo, done: didIt, undone, hides } = acts[act];
        const user = event.user.id;
        const users = done.get(act);
        attempt(element.querySelector(`[data-act="${act}"]`), async () => {
            if (users.has(user)) {
                await undo(user);
                users.delete(user);
                label();
                return undone;
            }
            await put(user);
            users.add(user);
            label();
            if (hides) hide(user);
            return didIt;
        });
    }

    /* Gone here at once; for the others, the last ones as far as the server takes it. */
    function hide(user) {
        const isTheirs = (one) => one.user?.id === user;
        for (const { id: target } of view.find(isTheirs).slice(-TAKEN_BACK)) connection.remove(target).catch(() => {});
        view.remove(isTheirs);
    }

    function close() {
        element.hidden = true;
        event = null;
    }

    async function loadBlocks() {
        const { settings } = await getSettings().catch(() => ({ settings: [] }));
        for (const { kind, object } of settings) if (kind === 'block') done.get('block').add(object);
        label();
    }

    return {
        element,
        setRole(next) {
            if (next === role) return;
            role = next;
            view.setPickable(role !== 'viewer');
            if (role === 'viewer') close();
            if (role === 'broadcaster') loadBlocks();
        },
        show(next) {
            event = next;
            setText(who, String(event.user?.name ?? ''));
            setText(text, String(event.text ?? ''));
            setText(note, '');
            label();
            element.hidden = false;
            remove.focus();
        },
    };
}
