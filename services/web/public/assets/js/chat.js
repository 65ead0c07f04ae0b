/* The chat of a page: connection, list, input, decoration, moderation and notices of one broadcast, held together.
 *
 *     const chat = createChat(root, { id, onBroadcastState: (answer) => stage.hear(answer), gifts, onGift: (event) => banner.show(event),
 *         onLove: (event) => love.take(event), onSession: () => love.onSession() });
 *     gifts: the panel of gifts.js, where gifts can be given
 *     onSession: somebody has a name now, or has none any more
 *     chat.askForName(why): to the form for a name, where there is none; chat.close(words): it is over; … chat.destroy();
 */
import { ApiError, createSession } from './api.js';
import { ChatError, createChatConnection, stateAnswer } from './chat-connection.js';
import { createDecorationPicker } from './chat-decoration.js';
import { createModeration } from './chat-moderation.js';
import { createChatView } from './chat-view.js';
import { el, setText } from './dom.js';
import { forgetSession, keepSession, session, token } from './session.js';

const MOST_CHARACTERS = 200; // as the server counts: code points
const NOTICES_KNOWN = 50;
const GIFT_NEWS_MS = 60000; // clocks differ
const clock = { now: () => performance.now(), setTimeout: (f, ms) => setTimeout(f, ms), clearTimeout: (handle) => clearTimeout(handle) };
const count = new Intl.NumberFormat('en');

const openSocket = (path) => new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${path}`);

/* What a refusal means to the person who wrote. */
function sentence({ code, message, retryAfterMs }) {
    const seconds = Math.ceil((retryAfterMs ?? 0) / 1000);
    const wait = seconds > 0 ? ` Wait ${seconds} s.` : '';
    const known = {
        rate_limited: `That was too fast.${wait || ' Wait a moment.'}`,
        slow_mode: `Slow mode is on.${wait || ' Wait a moment.'}`,
        too_long: `At most ${MOST_CHARACTERS} characters, please.`,
        duplicate: 'You have just said that.',
        muted: 'You may not write here at the moment.',
        over: 'This broadcast is over.',
        blocked: 'The host does not take this comment.',
        offline: 'No connection to the chat. It comes back by itself.',
        disconnected: 'The connection broke before an answer came. Look whether your comment is there.',
        unanswered: 'No answer came. Look whether your comment is there.',
        unavailable: 'Not taken. Try again in a moment.',
        read_only: 'Choose a name first.',
    };
    return known[code] ?? message ?? 'Not taken.';
}

const STATE_WORDS = { connecting: 'Connecting…', waiting: 'No connection. Trying again by itself…' };

function stateWords(state, why) {
    if (!navigator.onLine && state !== 'refused') return 'You are offline. The chat comes back by itself.';
    if (state === 'refused') return why?.code === 'banned' ? 'You may not take part in this broadcast.' : 'The chat does not take this session.';
    if (state === 'waiting' && why?.code === 'full') return 'The chat is full. Trying again by itself…';
    if (state === 'waiting' && why?.code === 'not_found') return 'There is no chat here yet. Trying again by itself…';
    return STATE_WORDS[state] ?? '';
}

export function createChat(root, { id, onBroadcastState, onGift, onLove, onViewers, onSession, gifts = null }) {
    const ownId = () => session()?.userId ?? null;
    const notices = new Set();
    let viewersNow = 0;
    let isClosed = false; // nobody may write any more

    // ---- elements ----

    const viewers = el('p', { class: 'chat-viewers', id: 'chat-viewers', hidden: true });
    const status = el('p', { class: 'chat-state', role: 'status' });
    const noticeText = el('p', { class: 'notice-text', dir: 'auto' });
    const notice = el(
        'div',
        { class: 'notice', id: 'notice', role: 'status', hidden: true },
        el('strong', {}, 'Notice'),
        noticeText,
        el('button', { class: 'chat-close', type: 'button', 'aria-label': 'Dismiss the notice', onclick: () => { notice.hidden = true; } }, '×'),
    );
    const closed = el('p', { class: 'chat-closed', id: 'chat-closed', role: 'status', hidden: true });
    const view = createChatView({ label: 'Comments', ownId, onPick: (event) => moderation.show(event) });

    const input = el('input', { id: 'comment', name: 'text', autocomplete: 'off', enterkeyhint: 'send', placeholder: 'Say something nice', 'aria-describedby': 'comment-error' });
    const send = el('button', { class: 'button', type: 'submit' }, 'Send');
    const commentError = el('p', { class: 'form-error', id: 'comment-error', role: 'alert', hidden: true });
    const me = el('strong', { dir: 'auto' });
    const picker = createDecorationPicker({ name: () => session()?.name, onDone: () => input.focus() });
    const form = el(
        'form',
        { class: 'chat-form', id: 'comment-form', hidden: true },
        el('label', { for: 'comment', class: 'unseen' }, 'Your comment'),
        el('div', { class: 'chat-row' }, input, send),
        commentError,
        el('p', { class: 'chat-me' }, el('span', {}, 'You are ', me), el('span', { class: 'chat-tools' }, gifts?.toggle, picker.toggle)),
    );

    const nameInput = el('input', { id: 'chat-name', name: 'name', maxlength: '60', required: true, autocomplete: 'nickname', placeholder: 'Your name' });
    const nameError = el('p', { class: 'form-error', role: 'alert', hidden: true });
    const nameForm = el(
        'form',
        { class: 'chat-form', id: 'chat-name-form', hidden: true },
        el('label', { for: 'chat-name' }, 'Choose a name to join in'),
        el('div', { class: 'chat-row' }, nameInput, el('button', { class: 'button', type: 'submit' }, 'Join')),
        nameError,
    );

    // ---- the connection ----

    const connection = createChatConnection({
        id,
        openSocket,
        clock,
        token,
        on: {
            events: takeEvents,
            state(state, why) {
                root.dataset.state = state;
                tellState(state, why);
                if (state === 'refused' && why?.code === 'banned') shut();
            },
            hello: ({ role }) => {
                root.dataset.role = role;
                moderation.setRole(role ?? 'viewer');
            },
            signedOut,
        },
    });
    const moderation = createModeration({ id, view, connection, ownId });

    /* Where nobody may write, it does not matter any more whether a line stands. */
    function tellState(state, why) {
        setText(status, isClosed && state !== 'refused' ? '' : stateWords(state, why));
    }

    function takeEvents(events) {
        const comments = [];
        for (const event of events) {
            if (event.type === 'comment' || event.type === 'gift') comments.push(event);
            if (event.type === 'gift') takeGift(event);
            else if (event.type === 'viewers') showViewers(event);
            else if (event.type === 'love') onLove?.(event);
            else if (event.type === 'notice') showNotice(event);
            else if (event.type === 'state') onBroadcastState?.(stateAnswer(event, viewersNow));
        }
        if (comments.length > 0) view.push(comments);
        // After the comments: one may be taken away by the same frame that brought it.
        const gone = new Set(events.filter(({ type }) => type === 'deleted').map(({ target }) => target));
        if (gone.size > 0) view.remove((event) => gone.has(event.id));
    }

    function takeGift(event) {
        gifts?.take();
        // What comes out of the history is not new.
        if (Date.now() - event.at_ms < GIFT_NEWS_MS) onGift?.(event);
    }

    function showViewers(event) {
        const { now } = event;
        if (!Number.isFinite(now)) return;
        onViewers?.(event);
        viewersNow = now;
        viewers.hidden = isClosed;
        setText(viewers, `${count.format(now)} watching`);
    }

    function showNotice({ notice: noticeId, text }) {
        if (notices.has(noticeId)) return;
        notices.add(noticeId);
        for (const old of notices) {
            if (notices.size <= NOTICES_KNOWN) break;
            notices.delete(old);
        }
        notice.hidden = false;
        setText(noticeText, String(text ?? ''));
    }

    // ---- forms ----

    function tell(element, text, ref) {
        element.hidden = !text;
        setText(element, text);
        if (ref) element.dataset.ref = ref;
        else delete element.dataset.ref;
    }

    function signedOut() {
        forgetSession();
        showForms();
        tell(nameError, 'Your session is over. Choose a name again.');
    }

    /* Nobody here may write (any more). */
    function shut() {
        isClosed = true;
        viewers.hidden = true;
        view.setEmptyWords('');
        if (connection.state !== 'refused') setText(status, '');
        showForms();
    }

    function showForms() {
        const signedIn = session() !== null;
        form.hidden = !signedIn || isClosed;
        nameForm.hidden = signedIn || isClosed;
        setText(me, session()?.name ?? '');
        onSession?.();
        if (signedIn && !isClosed) return;
        picker.close();
        gifts?.close();
    }

    async function onComment(event) {
        event.preventDefault();
        const text = input.value.trim();
        if (!text) return;
        if ([...text].length > MOST_CHARACTERS) return tell(commentError, sentence({ code: 'too_long' }));
        tell(commentError, '');
        input.value = '';
        view.toNewest();
        try {
            await connection.send(text);
        } catch (error) {
            if (!(error instanceof ChatError)) throw error;
            tell(commentError, sentence(error), error.ref);
            commentError.dataset.code = error.code;
            // Nothing that somebody wrote is lost, unless there is something newer in its place.
            if (!input.value) input.value = text;
        }
    }

    async function onName(event) {
        event.preventDefault();
        const name = nameInput.value.trim();
        if (!name) return;
        const button = nameForm.querySelector('button');
        button.disabled = true;
        tell(nameError, '');
        try {
            keepSession(await createSession(name), name);
            showForms();
            connection.renew();
            input.focus();
        } catch (error) {
            if (!(error instanceof ApiError)) throw error;
            tell(nameError, error.message);
        } finally {
            button.disabled = false;
        }
    }

    const wake = () => !document.hidden && connection.wake();
    // A socket may stand for a minute in a network that is gone.
    const tellNetwork = () => tellState(connection.state);
    // One panel at a time.
    picker.toggle.addEventListener('click', () => gifts?.close());
    gifts?.toggle.addEventListener('click', () => picker.close());
    form.addEventListener('submit', onComment);
    nameForm.addEventListener('submit', onName);
    input.addEventListener('input', () => {
        tell(commentError, '');
        picker.quiet();
        gifts?.quiet();
    });
    window.addEventListener('online', wake);
    for (const name of ['online', 'offline']) window.addEventListener(name, tellNetwork);
    document.addEventListener('visibilitychange', wake);

    root.classList.add('chat');
    root.replaceChildren(
        el('header', { class: 'chat-head' }, el('h2', {}, 'Chat'), viewers),
        notice,
        view.element,
        status,
        moderation.element,
        el('div', { class: 'chat-foot' }, picker.element, gifts?.element, picker.note, gifts?.note, form, nameForm, closed),
    );
    showForms();
    connection.start();

    return {
        askForName(why) {
            if (nameForm.hidden) return;
            tell(nameError, why);
            nameInput.focus({ preventScroll: true });
            nameForm.scrollIntoView({ block: 'nearest' });
        },
        signedOut,
        /* It is over: what was said can be read, and `words` say why there is no place to write. */
        close(words) {
            shut();
            view.setEmptyWords('Nothing was said.');
            setText(closed, words);
            closed.hidden = false;
        },
        destroy() {
            connection.stop();
            view.destroy();
            window.removeEventListener('online', wake);
            for (const name of ['online', 'offline']) window.removeEventListener(name, tellNetwork);
            document.removeEventListener('visibilitychange', wake);
            root.replaceChildren();
        },
    };
}
