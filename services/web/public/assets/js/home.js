/* The front page. It asks again every few seconds while it is looked at, and changes only the cards that changed. */
import { listArchives, listBroadcasts, listFollows, searchBroadcasts } from './api.js';
import { byId, el, setText } from './dom.js';
import { createFollowButton } from './follow-button.js';
import { refreshChannels } from './home-channels.js';
import { ownerName, startedAgo } from './format.js';
import { setUpNotices } from './notices.js';
import { session } from './session.js';
import { showBadge } from './state-badge.js';

const REFRESH_MS = 8000;
const SHELVES = [
    { id: 'live', states: ['live', 'suspended'], most: 60 },
    { id: 'soon', states: ['scheduled'], most: 12 },
    { id: 'past', states: ['ended'], most: 12, withArchives: true },
];

let failures = 0;
let timer = null;
let followed = null; // ids of whom one follows; null: not known

function makeCard(id) {
    const image = el('img', { alt: '', loading: 'lazy', decoding: 'async' });
    image.addEventListener('load', () => image.setAttribute('data-loaded', ''));
    const link = el('a', { dir: 'auto' });
    const badge = el('span', { class: 'badge' });
    const avatar = el('span', { class: 'avatar', 'aria-hidden': 'true' });
    const owner = el('p', { class: 'card-line', dir: 'auto' });
    const since = el('p', { class: 'card-line' });
    const words = el('div', {}, el('h3', { class: 'card-title' }, link), owner, since);
    const follow = createFollowButton();
    const card = el(
        'article',
        { class: 'card', 'data-id': id },
        el('div', { class: 'card-picture' }, image),
        badge,
        el('div', { class: 'card-words' }, avatar, words, follow.element),
    );
    return { card, follow, image, link, badge, avatar, owner, since };
}

const cards = new Map(); // id -> the parts of its card

function updateCard(broadcast) {
    const parts = cards.get(broadcast.id) ?? makeCard(broadcast.id);
    cards.set(broadcast.id, parts);
    const name = ownerName(broadcast);
    parts.card.dataset.state = broadcast.state;
    showBadge(parts.badge, broadcast.state);
    setText(parts.link, broadcast.title || 'Untitled');
    // A recording has a page of its own.
    parts.link.href = `/${broadcast.state === 'archived' ? 'archive' : 'watch'}/${encodeURIComponent(broadcast.id)}`;
    setText(parts.owner, name);
    setText(parts.avatar, [...name][0]?.toUpperCase() ?? '');
    parts.avatar.hidden = !name;
    setText(parts.since, startedAgo(broadcast));
    if (followed && broadcast.owner?.id) parts.follow.show(broadcast.owner.id, name, { following: followed.has(broadcast.owner.id) });
    const address = broadcast.state === 'scheduled' ? null : broadcast.thumbnail_url;
    if (!address) return parts.card;
    // A live picture changes every ten seconds; the number asks past the browser's own memory, not past the edge's.
    const moving = broadcast.state === 'live' ? `?t=${Math.floor(Date.now() / 10000)}` : '';
    const source = `${address}${moving}`;
    if (parts.image.getAttribute('src') !== source) loadThumbnail(parts.image, source);
    return parts.card;
}

/* The old picture stays until the new one is here; one that is missing shows as the sky below. */
function loadThumbnail(image, source) {
    if (image.dataset.wanted === source) return;
    image.dataset.wanted = source;
    const next = new Image();
    next.addEventListener('load', () => {
        if (image.dataset.wanted === source) image.src = source;
    });
    next.src = source;
}

function fillShelf({ id }, broadcasts) {
    const grid = byId(id);
    grid.setAttribute('aria-busy', 'false');
    const wanted = broadcasts.map(updateCard);
    const same = wanted.length === grid.children.length && wanted.every((card, i) => grid.children[i] === card);
    if (!same) grid.replaceChildren(...wanted);
    const shelf = byId(`${id}-shelf`);
    if (shelf) shelf.hidden = broadcasts.length === 0;
    if (id !== 'live') return;
    grid.hidden = broadcasts.length === 0;
    byId('live-empty').hidden = broadcasts.length > 0;
    byId('live-count').hidden = broadcasts.length === 0;
    setText(byId('live-count'), String(broadcasts.length));
}

/* Recordings are a service of their own: without it the page still says who is live. */
const listRecordings = (limit) => listArchives({ limit }).then(({ archives }) => archives ?? [], () => []);

async function listShelf({ states, most, withArchives = false }) {
    const [lists, recordings] = await Promise.all([Promise.all(states.map((state) => listBroadcasts({ state, limit: 40 }))), withArchives ? listRecordings(most) : []]);
    // What has just been archived may still be in the list of those that ended.
    const byId = new Map([...recordings, ...lists.flatMap((list) => list.broadcasts ?? [])].reverse().map((broadcast) => [broadcast.id, broadcast]));
    return [...byId.values()].reverse().slice(0, most);
}

async function refresh() {
    refreshChannels();
    try {
        if (session() && !followed) followed = await listFollows().then((page) => new Set(page.follows.map((one) => one.user.id)), () => null);
        const lists = await Promise.all(SHELVES.map(listShelf));
        SHELVES.forEach((shelf, i) => fillShelf(shelf, lists[i]));
        const shown = new Set(lists.flat().map((broadcast) => broadcast.id));
        for (const id of cards.keys()) if (!shown.has(id)) cards.delete(id);
        failures = 0;
        byId('trouble').hidden = true;
        document.body.dataset.state = 'ready';
    } catch (error) {
        failures += 1;
        setText(
            byId('trouble'),
            error.status === 0 ? 'No connection. Trying again by itself…' : 'The list cannot be read right now. Trying again by itself…',
        );
        byId('trouble').hidden = false;
        document.body.dataset.state = 'trouble';
    }
    plan();
}

/* Later and later while it fails, never in step with other pages. */
function plan() {
    clearTimeout(timer);
    const base = Math.min(REFRESH_MS * 2 ** Math.min(failures, 3), 60000);
    timer = setTimeout(() => (document.hidden ? plan() : refresh()), base * (0.75 + Math.random() * 0.5));
}

// ---- search ----

let question = 0; // an answer to an older question is not shown any more

async function search() {
    const text = byId('search').value.trim();
    question += 1;
    const mine = question;
    byId('found-shelf').hidden = text === '';
    if (text === '') return byId('found').replaceChildren();
    try {
        const { broadcasts } = await searchBroadcasts(text);
        if (mine !== question) return undefined;
        byId('found').replaceChildren(...broadcasts.map(updateFoundCard));
        setText(byId('found-words'), broadcasts.length > 0 ? 'Found' : 'Nothing found');
    } catch (error) {
        if (mine === question) setText(byId('found-words'), error.status === 400 ? 'That is too much to look for' : 'Search cannot be reached right now');
    }
    return undefined;
}

/* A card of its own: the same broadcast may stand in a shelf too. */
function updateFoundCard(broadcast) {
    const kept = cards.get(broadcast.id);
    cards.delete(broadcast.id);
    const card = updateCard(broadcast);
    if (kept) cards.set(broadcast.id, kept);
    else cards.delete(broadcast.id);
    return card;
}

let typing = null;
byId('search').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(search, 250);
});
byId('search-form').addEventListener('submit', (event) => {
    event.preventDefault();
    search();
});

const wait = () =>
    el(
        'div',
        { class: 'card card-wait', 'aria-hidden': 'true' },
        el('div', { class: 'card-picture' }),
        el('div', { class: 'card-words' }, el('p', { class: 'card-line' })),
    );
byId('live').replaceChildren(wait(), wait(), wait());
document.addEventListener('visibilitychange', () => {
    if (!document.hidden) refresh();
});
setUpNotices();
refresh();
