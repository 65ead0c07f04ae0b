/* The HTTP calls of the pages. Every call has a deadline; an error carries the service's own code, and a sentence for people. */
import { token } from './session.js';
import { errorWords } from './trouble-words.js';

const DEADLINE_MS = 8000;

export class ApiError extends Error {
    constructor(status, code, message, retryAfterMs) {
        super(message);
        this.status = status; // 0: no answer
        this.code = code;
        this.retryAfterMs = retryAfterMs;
    }
}

/* auth: true for the session's token, or a token. */
async function call(method, path, { body, auth = false, deadlineMs = DEADLINE_MS } = {}) {
    const headers = { Accept: 'application/json' };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const bearer = auth === true ? token() : auth;
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    let response;
    try {
        response = await fetch(path, {
            method,
            headers,
            body: body === undefined ? undefined : JSON.stringify(body),
            cache: 'no-store',
            credentials: 'omit',
            signal: AbortSignal.timeout(deadlineMs),
        });
    } catch {
        throw new ApiError(0, 'unreachable', 'No connection. Check the network and try again.');
    }
    const json = await response.json().catch(() => null);
    if (response.ok && json !== null) return json;
    throw toError(response, json);
}

function toError(response, json) {
    const seconds = Number.parseFloat(response.headers.get('Retry-After') ?? '');
    const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
    return new ApiError(
        response.ok ? 0 : response.status,
        json?.error?.code ?? 'unexpected_answer',
        errorWords(response.ok ? 502 : response.status, json?.error?.message, retryAfterMs),
        retryAfterMs,
    );
}

const broadcastPath = (id) => `/api/v1/broadcasts/${encodeURIComponent(id)}`;

export const createSession = (name, role) => call('POST', '/api/v1/sessions', { body: { name, role } });
export const createBroadcast = (title) => call('POST', '/api/v1/broadcasts', { body: { title }, auth: true });
export const getBroadcast = (id, { asOwner = false } = {}) => call('GET', broadcastPath(id), { auth: asOwner });
export const endBroadcast = (id) => call('POST', `${broadcastPath(id)}/end`, { auth: true });
export const renewStreamKey = (id) => call('POST', `${broadcastPath(id)}/stream_key`, { auth: true });

/* filter: { state?, owner: "me"?, limit? } */
export const listBroadcasts = (filter) =>
    call('GET', `/api/v1/broadcasts?${new URLSearchParams(filter)}`, { auth: filter.owner !== undefined });

// ---- gifts ----

export const getItems = () => call('GET', '/api/v1/items');
export const getWallet = () => call('GET', '/api/v1/wallet', { auth: true });
export const createTopup = (coins) => call('POST', '/api/v1/wallet/topups', { body: { coins }, auth: true });
export const createPurchase = (purchase) => call('POST', '/api/v1/purchases', { body: purchase, auth: true });
export const listSupporters = (id, limit) => call('GET', `${broadcastPath(id)}/supporters?limit=${limit}`);

// ---- recordings ----

export const listArchives = (filter) => call('GET', `/api/v1/archives?${new URLSearchParams(filter)}`);
/* token: what opens a private one; its owner needs none. */
export const getArchive = (id, token = null) =>
    call('GET', `/api/v1/archives/${encodeURIComponent(id)}${token ? `?token=${encodeURIComponent(token)}` : ''}`, { auth: true });

export const searchBroadcasts = (q, cursor) =>
    call('GET', `/api/v1/search?${new URLSearchParams({ q, limit: 40, ...(cursor ? { cursor } : {}) })}`);

// ---- channels ----

export const listChannels = (filter) => call('GET', `/api/v1/channels?${new URLSearchParams(filter)}`);
export const getChannel = (id) => call('GET', `/api/v1/channels/${encodeURIComponent(id)}`);

/* Whether a playlist can be had, or why not: hls.js would keep the reason to itself. */
export async function checkPlaylist(url) {
    const response = await fetch(url, { credentials: 'omit', signal: AbortSignal.timeout(DEADLINE_MS) }).catch(() => {
        throw new ApiError(0, 'unreachable', 'No connection. Check the network and try again.');
    });
    if (!response.ok) throw toError(response, await response.json().catch(() => null));
}

// ---- followers ----

const followPath = (userId) => `/api/v1/follows/${encodeURIComponent(userId)}`;

export const getFollow = (userId) => call('GET', followPath(userId), { auth: true });
export const setFollow = (userId, follows) => call(follows ? 'PUT' : 'DELETE', followPath(userId), { auth: true });
export const listFollows = () => call('GET', '/api/v1/follows?limit=100', { auth: true });
/* Without `since`: what there is. With it: the answer waits for something new. */
export const listNotifications = ({ since, waitS = 0 } = {}) =>
    call('GET', `/api/v1/notifications?${new URLSearchParams(since === undefined ? { limit: 20 } : { since, wait_s: waitS })}`, {
        auth: true,
        deadlineMs: DEADLINE_MS + waitS * 1000,
    });
export const markNotificationsRead = (upTo) => call('POST', '/api/v1/notifications/read', { body: { up_to: upTo }, auth: true });

// ---- hearts ----

export const lovesPath = (id) => `${broadcastPath(id)}/loves`;
export const sendLoves = (id, batch) => call('POST', lovesPath(id), { body: batch, auth: true });
export const getLoves = (id) => call('GET', lovesPath(id));

// ---- settings that steer comments ----

const settingPath = (...parts) => `/api/v1/settings/${parts.map(encodeURIComponent).join('/')}`;

export const getSettings = () => call('GET', '/api/v1/settings', { auth: true });
export const putDecoration = (decoration) => call('PUT', settingPath('decoration'), { body: decoration, auth: true });
export const deleteDecoration = () => call('DELETE', settingPath('decoration'), { auth: true });
export const putBlock = (userId) => call('PUT', settingPath('blocks', userId), { auth: true });
export const deleteBlock = (userId) => call('DELETE', settingPath('blocks', userId), { auth: true });
/* untilMs: 0 for the whole broadcast. */
export const putMute = (id, userId, untilMs) =>
    call('PUT', settingPath('broadcasts', id, 'mutes', userId), { body: { until_ms: untilMs }, auth: true });
export const deleteMute = (id, userId) => call('DELETE', settingPath('broadcasts', id, 'mutes', userId), { auth: true });
export const putBan = (id, userId) => call('PUT', settingPath('broadcasts', id, 'bans', userId), { auth: true });
export const deleteBan = (id, userId) => call('DELETE', settingPath('broadcasts', id, 'bans', userId), { auth: true });
export const sendNotice = (bearer, text) => call('POST', settingPath('notices'), { body: { text }, auth: bearer });
export const listNotices = (bearer) => call('GET', settingPath('notices'), { auth: bearer });

/* For follow.js: a 404 is an answer there, not a failure. */
export async function fetchStatus(id) {
    try {
        return await call('GET', `/status/v1/broadcasts/${encodeURIComponent(id)}`, { deadlineMs: 5000 });
    } catch (error) {
        if (error.status === 404) return { missing: true };
        throw error;
    }
}
