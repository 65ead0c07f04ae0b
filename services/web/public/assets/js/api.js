/* The HTTP calls of the pages. Every call has a deadline; an error carries the service's own code and sentence. */
import { token } from './session.js';

const DEADLINE_MS = 8000;

export class ApiError extends Error {
    constructor(status, code, message, retryAfterMs) {
        super(message);
        this.status = status; // 0: no answer
        this.code = code;
        this.retryAfterMs = retryAfterMs;
    }
}

async function call(method, path, { body, auth = false, deadlineMs = DEADLINE_MS } = {}) {
    const headers = { Accept: 'application/json' };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (auth && token()) headers.Authorization = `Bearer ${token()}`;
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
    const seconds = Number.parseFloat(response.headers.get('Retry-After') ?? '');
    throw new ApiError(
        response.ok ? 0 : response.status,
        json?.error?.code ?? 'unexpected_answer',
        json?.error?.message ?? 'The service gave an answer that cannot be read.',
        Number.isFinite(seconds) ? seconds * 1000 : undefined,
    );
}

const broadcastPath = (id) => `/api/v1/broadcasts/${encodeURIComponent(id)}`;

export const createSession = (name) => call('POST', '/api/v1/sessions', { body: { name } });
export const createBroadcast = (title) => call('POST', '/api/v1/broadcasts', { body: { title }, auth: true });
export const getBroadcast = (id, { asOwner = false } = {}) => call('GET', broadcastPath(id), { auth: asOwner });
export const endBroadcast = (id) => call('POST', `${broadcastPath(id)}/end`, { auth: true });
export const renewStreamKey = (id) => call('POST', `${broadcastPath(id)}/stream_key`, { auth: true });

/* filter: { state?, owner: "me"?, limit? } */
export const listBroadcasts = (filter) =>
    call('GET', `/api/v1/broadcasts?${new URLSearchParams(filter)}`, { auth: filter.owner !== undefined });

/* For follow.js: a 404 is an answer there, not a failure. */
export async function fetchStatus(id) {
    try {
        return await call('GET', `/status/v1/broadcasts/${encodeURIComponent(id)}`, { deadlineMs: 5000 });
    } catch (error) {
        if (error.status === 404) return { missing: true };
        throw error;
    }
}
