/* Who is sitting here: the session's token and name, kept in this browser. */
const STORE = 'hanabi.session';

function read() {
    try {
        const session = JSON.parse(localStorage.getItem(STORE) ?? 'null');
        return typeof session?.token === 'string' ? session : null;
    } catch {
        return null; // private mode without storage, or not ours
    }
}

let current = read();

export const session = () => current;
export const token = () => current?.token ?? null;

export function keepSession({ user_id: userId, token: bearer }, name) {
    current = { userId, token: bearer, name };
    try {
        localStorage.setItem(STORE, JSON.stringify(current));
    } catch {
        // It lasts as long as the page, then.
    }
}

export function forgetSession() {
    current = null;
    try {
        localStorage.removeItem(STORE);
    } catch {
        // Nothing was kept.
    }
}
