/* /cms: operators send a notice to every viewer of every broadcast, and read what has been sent. The operator's session is
 * beside the viewer's and lasts as long as the tab. */
import { ApiError, createSession, listNotices, sendNotice } from './api.js';
import { byId, el, setText } from './dom.js';

const STORE = 'hanabi.operator';
const REFRESH_MS = 15000;
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

let operator = read();

function read() {
    try {
        const kept = JSON.parse(sessionStorage.getItem(STORE) ?? 'null');
        return typeof kept?.token === 'string' ? kept : null;
    } catch {
        return null;
    }
}

function keep(next) {
    operator = next;
    try {
        if (next) sessionStorage.setItem(STORE, JSON.stringify(next));
        else sessionStorage.removeItem(STORE);
    } catch {
        // It lasts as long as the page, then.
    }
    show();
}

function show() {
    byId('operator').hidden = operator !== null;
    byId('office').hidden = operator === null;
    document.body.dataset.state = operator ? 'office' : 'welcome';
    if (!operator) return byId('operator-name').focus();
    setText(byId('operator-me'), operator.name);
    return refresh();
}

function row({ at_ms: atMs, by, value, version }) {
    return el(
        'tr',
        {},
        el('td', {}, el('time', { datetime: new Date(atMs).toISOString() }, moment.format(atMs))),
        el('td', { class: 'log-text', dir: 'auto' }, value?.text ?? 'withdrawn'),
        el('td', { class: 'log-by' }, by),
        el('td', {}, String(version)),
    );
}

async function refresh() {
    if (!operator) return;
    try {
        const { notices } = await listNotices(operator.token);
        byId('log').replaceChildren(...notices.map(row));
        byId('log-empty').hidden = notices.length > 0;
        tell('log-error', '');
    } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        refused(error, 'log-error');
    }
}

/* A token that is not taken (any more): the door again. */
function refused(error, at) {
    if (error.status === 401 || error.status === 403) {
        keep(null);
        return tell('operator-error', error.message);
    }
    return tell(at, error.message);
}

function tell(id, text) {
    byId(id).hidden = !text;
    setText(byId(id), text);
}

function onSubmit(formId, errorId, work) {
    byId(formId).addEventListener('submit', async (event) => {
        event.preventDefault();
        const button = event.target.querySelector('[type=submit]');
        tell(errorId, '');
        tell('sent', '');
        button.disabled = true;
        try {
            await work(new FormData(event.target), event.target);
        } catch (error) {
            if (!(error instanceof ApiError)) throw error;
            refused(error, errorId);
        } finally {
            button.disabled = false;
        }
    });
}

onSubmit('operator-form', 'operator-error', async (form) => {
    const name = form.get('name').trim();
    const { token } = await createSession(name, 'operator');
    keep({ token, name });
});
onSubmit('notice-form', 'notice-error', async (form, element) => {
    await sendNotice(operator.token, form.get('text').trim());
    element.reset();
    tell('sent', 'Sent to everybody who is watching.');
    await refresh();
});
byId('operator-leave').addEventListener('click', () => keep(null));
setInterval(() => !document.hidden && refresh(), REFRESH_MS);
show();
