/* /studio: a name, then broadcasts; the one chosen stands in the address as #id. */
import { ApiError, createBroadcast, createSession, endBroadcast, getBroadcast, getFollow, listBroadcasts, renewStreamKey } from './api.js';
import { createChat } from './chat.js';
import { byId, el, setIcon, setText } from './dom.js';
import { counted, startedAgo } from './format.js';
import { setUpNotices } from './notices.js';
import { forgetSession, keepSession, session } from './session.js';
import { createGiftBanner } from './gift-view.js';
import { createStage } from './stage.js';
import { showBadge, stateOf, STATE_WORDS } from './state-badge.js';
import { setUpConnect, showConnect } from './studio-connect.js';
import { createOver } from './studio-over.js';

const MESSAGES = {
    scheduled: ['Waiting for your encoder', 'Start streaming; the preview begins with the first picture.'],
    suspended: ['Your encoder is gone', 'Viewers wait. Connect again with the same key and it goes on.'],
};

const REOPEN_MS = 4000;

let own = [];
let chosen = null; // the broadcast on the desk
let stage = null;
let chat = null;
let banner = null;
let over = null; // what it came to, when it is over
let opening = 0;
let reopening = null; // a desk that could not be read is opened later

// ---- session ----

function showWelcome() {
    closeDesk();
    byId('welcome').hidden = false;
    byId('desk').hidden = true;
    document.body.dataset.state = 'welcome';
    byId('name').focus();
}

function showDesk() {
    byId('welcome').hidden = true;
    byId('desk').hidden = false;
    document.body.dataset.state = 'desk';
    setText(byId('me'), session().name);
    refreshOwn();
    refreshFollowers();
    openFromAddress();
}

/* Runs what a form or button asks for; says what went wrong where one looks. */
async function attempt(errorId, button, work) {
    const error = byId(errorId);
    if (error) error.hidden = true;
    button.disabled = true;
    try {
        await work();
    } catch (failure) {
        if (!(failure instanceof ApiError)) throw failure;
        if (failure.status === 401) {
            forgetSession();
            showWelcome();
            return;
        }
        if (!error) return say(failure.message);
        setText(error, failure.message);
        error.hidden = false;
    } finally {
        button.disabled = false;
    }
}

function onSubmit(formId, errorId, work) {
    byId(formId).addEventListener('submit', (event) => {
        event.preventDefault();
        attempt(errorId, event.target.querySelector('[type=submit]'), () => work(new FormData(event.target), event.target));
    });
}

// ---- own broadcasts ----

async function refreshOwn() {
    const me = session();
    if (!me) return;
    try {
        own = (await listBroadcasts({ owner: 'me', limit: 50 })).broadcasts ?? [];
    } catch (error) {
        if (error.status === 401) {
            forgetSession();
            return showWelcome();
        }
        // The list as it was, then.
        setText(byId('own-empty'), error.message);
        return renderOwn();
    }
    setText(byId('own-empty'), 'None yet. The first one is a title away.');
    return renderOwn();
}

async function refreshFollowers() {
    try {
        const { followers } = await getFollow(session().userId);
        setText(byId('followers'), `, ${followers} ${followers === 1 ? 'follower' : 'followers'}`);
    } catch {
        setText(byId('followers'), ''); // not known, then
    }
}

function renderOwn() {
    byId('own').replaceChildren(
        ...own.map((broadcast) => {
            const badge = el('span', { class: 'badge' });
            showBadge(badge, broadcast.state);
            return el(
                'li',
                {},
                el(
                    'a',
                    { href: `#${broadcast.id}`, 'aria-current': broadcast.id === chosen?.id ? 'true' : undefined },
                    el('span', { class: 'own-title', dir: 'auto' }, broadcast.title || 'Untitled'),
                    el('span', { class: 'own-line' }, badge, startedAgo(broadcast)),
                ),
            );
        }),
    );
    byId('own-empty').hidden = own.length > 0;
}

// ---- the desk ----

function closeDesk() {
    opening += 1;
    clearTimeout(reopening);
    stage?.destroy();
    stage = null;
    chat?.destroy();
    chat = null;
    banner?.destroy();
    banner = null;
    over?.destroy();
    over = null;
    chosen = null;
    byId('broadcast').hidden = true;
    byId('none').hidden = false;
}

async function openFromAddress() {
    const id = decodeURIComponent(location.hash.slice(1));
    if (id === chosen?.id) return;
    closeDesk();
    renderOwn();
    if (!id) return;
    const mine = opening;
    try {
        const broadcast = await getBroadcast(id, { asOwner: true });
        if (mine !== opening) return;
        if (broadcast.owner?.id === session().userId) open(broadcast);
        else say('That broadcast belongs to somebody else.');
    } catch (error) {
        if (mine !== opening) return;
        say(error.status === 404 ? 'That broadcast does not exist.' : error.message);
        if (error.status === 0 || error.status === 429 || error.status >= 500) reopening = setTimeout(openFromAddress, REOPEN_MS * (0.75 + Math.random() * 0.5));
    }
}

function open(broadcast) {
    closeDesk();
    chosen = broadcast;
    byId('none').hidden = true;
    byId('broadcast').hidden = false;
    byId('stage').hidden = false;
    setText(byId('title'), broadcast.title || 'Untitled');
    setText(byId('since'), startedAgo(broadcast));
    byId('watch-link').href = `/watch/${encodeURIComponent(broadcast.id)}`;
    showConnect(broadcast);
    byId('connect').open = broadcast.state === 'scheduled';
    showAudience(broadcast.audience);
    renderOwn();
    stage = createStage(byId('stage'), { id: broadcast.id, getPlaybackUrl, onState, messages: MESSAGES });
    stage.start();
    const opened = stage;
    banner = createGiftBanner(byId('stage'));
    chat = createChat(byId('chat'), { id: broadcast.id, onBroadcastState: (answer) => opened.hear(answer), onGift: banner.show, onViewers: showAudience });
}

/* Of the API when the desk opens, then of the chat, until it is over. */
function showAudience(audience) {
    byId('audience').hidden = !audience || over !== null;
    if (!audience) return;
    for (const figure of ['now', 'peak', 'unique']) setText(byId(`audience-${figure}`).querySelector('dd'), counted(audience[figure] ?? 0));
}

async function getPlaybackUrl(fresh) {
    if (fresh || !chosen.playback_url) chosen = { ...chosen, ...(await getBroadcast(chosen.id, { asOwner: true })) };
    return chosen.playback_url;
}

function onState(phase) {
    document.body.dataset.state = phase;
    if (!chosen) return;
    // Viewers have some seconds of picture left; for whoever ended it, it is over.
    const state = phase === 'ending' ? 'ended' : stateOf(phase);
    const isOver = state === 'ended' || state === 'missing';
    showBadge(byId('badge'), state);
    byId('end').hidden = isOver;
    byId('connect').hidden = isOver;
    // On air its words are not needed any more, and the chat moves up where it stands below.
    if (state === 'live' && chosen.state === 'scheduled') byId('connect').open = false;
    if (state === 'ended') showOver();
    if (!Object.hasOwn(STATE_WORDS, state) || state === chosen.state || (isOver && chosen.state === 'archived')) return;
    chosen.state = state;
    refreshOwn();
}

function showOver() {
    if (over) return;
    over = createOver({ id: chosen.id });
    over.show(chosen);
    byId('stage').hidden = true;
    byId('audience').hidden = true;
    chat?.close('The broadcast is over, and so is its chat.');
}

// ---- questions and answers ----

function confirm(title, text, yes) {
    const dialog = byId('confirm');
    setText(byId('confirm-title'), title);
    setText(byId('confirm-text'), text);
    setText(byId('confirm-yes'), yes);
    dialog.returnValue = 'no';
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    });
}

let toastTimer = null;
function say(text) {
    const toast = byId('toast');
    setText(toast, text);
    toast.hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => {
        toast.hidden = true;
    }, 4000);
}

async function onEnd() {
    const { id } = chosen;
    if (!(await confirm('End the broadcast?', 'Viewers see that it is over. A broadcast that has ended cannot go on again.', 'End it')))
        return;
    await attempt(null, byId('end'), async () => {
        await endBroadcast(id);
        say('The broadcast has ended.');
        refreshOwn();
    });
}

async function onRenew() {
    const { id } = chosen;
    if (
        !(await confirm(
            'Renew the key?',
            'The present key stops working. An encoder that is on air stays on air; the next time, it needs the new key.',
            'Renew it',
        ))
    )
        return;
    await attempt(null, byId('renew'), async () => {
        const renewed = await renewStreamKey(id);
        if (chosen?.id === id) {
            chosen.stream_key = renewed.stream_key;
            showConnect(chosen);
        }
        say('There is a new key. The old one is void.');
    });
}

onSubmit('session-form', 'session-error', async (form) => {
    const name = form.get('name').trim();
    keepSession(await createSession(name), name);
    showDesk();
});
onSubmit('broadcast-form', 'broadcast-error', async (form, element) => {
    const title = form.get('title').trim();
    const broadcast = await createBroadcast(title);
    element.reset();
    own = [{ title, ...broadcast }, ...own];
    location.hash = broadcast.id;
    open({ title, ...broadcast });
});
byId('end').addEventListener('click', onEnd);
byId('over-new').addEventListener('click', () => {
    byId('broadcast-title').focus({ preventScroll: true });
    byId('broadcast-form').scrollIntoView({ block: 'center' });
});
byId('renew').addEventListener('click', onRenew);
byId('leave').addEventListener('click', () => {
    forgetSession();
    location.hash = '';
    showWelcome();
});
window.addEventListener('hashchange', () => session() && openFromAddress());
document.addEventListener('visibilitychange', () => {
    if (document.hidden || !session()) return;
    refreshOwn();
    refreshFollowers();
});
setUpNotices();
setIcon(byId('reveal'), 'eye', 'Show the stream key');
setUpConnect(say);
if (session()) showDesk();
else showWelcome();
