/* A button that follows a broadcaster. Shown to whom it can mean something: signed in, and not the broadcaster. */
import { getFollow, setFollow } from './api.js';
import { el, setText } from './dom.js';
import { session } from './session.js';

const count = new Intl.NumberFormat('en', { notation: 'compact' });

/* show(userId, name, known): `known` is { following } where the caller knows already; else the API is asked. */
export function createFollowButton() {
    const button = el('button', { class: 'button follow', type: 'button', 'aria-pressed': 'false', hidden: true, onclick: toggle });
    let userId = null;
    let name = '';
    let state = null;

    function render() {
        const following = state?.following ?? false;
        button.setAttribute('aria-pressed', String(following));
        button.classList.toggle('button-quiet', following);
        const words = following ? 'Following' : 'Follow';
        setText(button, words);
        const many = state?.followers !== undefined ? `, ${count.format(state.followers)} ${state.followers === 1 ? 'follower' : 'followers'}` : '';
        button.setAttribute('aria-label', `${words} ${name}${many}`); // begins with what is read on it: WCAG 2.5.3
        button.title = many.slice(2);
    }

    async function toggle() {
        button.disabled = true;
        try {
            state = await setFollow(userId, !(state?.following ?? false));
            render();
        } catch (error) {
            button.removeAttribute('aria-label');
            setText(button, error.status === 401 ? 'Sign in to follow' : 'Try again');
        } finally {
            button.disabled = false;
        }
    }

    return {
        element: button,
        async show(id, ownerName, known = null) {
            const me = session();
            if (id === userId) return undefined;
            userId = id;
            name = ownerName;
            button.hidden = !me || me.userId === id;
            state = known;
            if (known) return render();
            if (button.hidden) return undefined;
            try {
                state = await getFollow(id);
                render();
            } catch {
                button.hidden = true; // without an answer it would promise too much
            }
            return undefined;
        },
    };
}
