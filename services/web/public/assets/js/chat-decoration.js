/* Decorations: what an account's comments look like, and the form to choose it.
 *
 * Frames are classes, the colour is set through the style object: the page's policy allows no style in markup, and nothing
 * that comes from outside ever becomes one. */
import { ApiError, deleteDecoration, getSettings, putDecoration } from './api.js';
import { el, setText } from './dom.js';

export const FRAMES = ['none', 'gold', 'silver', 'sakura', 'neon'];
const LABELS = { none: 'None', gold: 'Gold', silver: 'Silver', sakura: 'Sakura', neon: 'Neon' };
const COLOUR = /^#[0-9a-f]{6}$/i;
const FIRST = { background: '#3b2a6b', frame: 'gold' };

export const isDecoration = (value) => COLOUR.test(value?.background ?? '') && FRAMES.includes(value.frame);

/* The ink that can be read on a colour: by its luminance as WCAG reckons it. */
export function inkOn(colour) {
    const [r, g, b] = [1, 3, 5].map((at) => {
        const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    // Where black and white contrast alike.
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? 'dark' : 'light';
}

/* Anything but a whole decoration is none. */
export function decorate(element, decoration) {
    const given = isDecoration(decoration);
    element.classList.toggle('decorated', given);
    element.classList.toggle('ink-dark', given && inkOn(decoration.background) === 'dark');
    for (const frame of FRAMES) element.classList.toggle(`frame-${frame}`, given && decoration.frame === frame);
    if (given) element.style.setProperty('background-color', decoration.background);
    else element.style.removeProperty('background-color');
}

/* The form, closed until asked for, its button and the words about what came of it: { element, toggle, note, close(), quiet() }.
 * `name` gives the name for the preview; onDone() is called when a choice has been taken and the form is closed. */
export function createDecorationPicker({ name, onDone }) {
    const colour = el('input', { type: 'color', id: 'decoration-colour', value: FIRST.background, class: 'swatch' });
    const frames = FRAMES.map((frame) =>
        el(
            'label',
            { class: 'frame-choice' },
            el('input', { type: 'radio', name: 'frame', value: frame, checked: frame === FIRST.frame }),
            el('span', { class: `frame-sample frame-${frame}` }, LABELS[frame]),
        ),
    );
    const previewName = el('span', { class: 'comment-name', dir: 'auto' });
    const preview = el('p', { class: 'comment', 'aria-hidden': 'true' }, previewName, el('span', { class: 'comment-text' }, 'This is how your comments look'));
    const note = el('p', { class: 'chat-note', role: 'status' });
    const save = el('button', { class: 'button button-small', type: 'submit' }, 'Wear it');
    const remove = el('button', { class: 'button button-quiet button-small', type: 'button' }, 'Take it off');
    const form = el(
        'form',
        { class: 'decoration', id: 'decoration', hidden: true, 'aria-label': 'Decoration of your comments' },
        el('div', { class: 'decoration-row' }, el('label', { for: 'decoration-colour' }, 'Background'), colour),
        el('fieldset', { class: 'frames' }, el('legend', {}, 'Frame'), ...frames),
        preview,
        el('div', { class: 'decoration-row' }, save, remove),
    );
    const toggle = el('button', { class: 'link', type: 'button', 'aria-expanded': 'false', 'aria-controls': 'decoration' }, 'Decoration');

    const chosen = () => ({ background: colour.value, frame: form.elements.frame.value });

    function showPreview() {
        setText(previewName, name() ?? '');
        decorate(preview, chosen());
    }

    async function attempt(button, work, done) {
        setText(note, '');
        button.disabled = true;
        try {
            await work();
            setOpen(false);
            setText(note, done);
            onDone?.();
        } catch (error) {
            if (!(error instanceof ApiError)) throw error;
            setText(note, error.message);
        } finally {
            button.disabled = false;
        }
    }

    /* What is worn now; without an answer the form begins with its own proposal. */
    async function load() {
        const { settings } = await getSettings().catch(() => ({ settings: [] }));
        const worn = settings.find(({ kind }) => kind === 'decoration')?.value;
        if (!isDecoration(worn)) return;
        colour.value = worn.background.toLowerCase();
        form.elements.frame.value = worn.frame;
        showPreview();
    }

    function setOpen(open) {
        form.hidden = !open;
        toggle.setAttribute('aria-expanded', String(open));
        setText(note, '');
        if (!open) return;
        showPreview();
        load();
    }

    toggle.addEventListener('click', () => setOpen(form.hidden));
    form.addEventListener('keydown', ({ key }) => {
        if (key !== 'Escape') return;
        setOpen(false);
        toggle.focus();
    });
    form.addEventListener('input', showPreview);
    form.addEventListener('submit', (event) => {
        event.preventDefault();
        attempt(save, () => putDecoration(chosen()), 'Your next comment wears it.');
    });
    remove.addEventListener('click', () => attempt(remove, deleteDecoration, 'Your next comment is plain.'));

    return { element: form, toggle, note, close: () => setOpen(false), quiet: () => setText(note, '') };
}
