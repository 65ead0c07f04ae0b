/* The keyboard of a phone takes half of the window: what remains shows the picture, the last comments and the line being written.
 *
 * Chrome and Firefox make the window smaller (interactive-widget in the page's head), Safari only lets one see less of it. Both
 * are told by visualViewport: its height goes to the style as --seen-height, and data-keyboard to the body. */
const KEYBOARD_SHARE = 0.78; // less of the tallest window than this, while somebody writes: it is the keyboard

export function isKeyboard(seenPx, tallestPx, isWriting) {
    return isWriting && seenPx < tallestPx * KEYBOARD_SHARE;
}

export function setUpKeyboard() {
    const { visualViewport: seen } = window;
    if (!seen || !matchMedia('(max-width: 560px)').matches) return;
    let tallest = seen.height;
    let width = seen.width;

    function look() {
        if (seen.width !== width || !isWriting()) tallest = seen.height; // turned, or the bar of the browser
        width = seen.width;
        tallest = Math.max(tallest, seen.height);
        const isOpen = isKeyboard(seen.height, tallest, isWriting());
        document.body.dataset.keyboard = isOpen ? 'open' : 'closed';
        document.documentElement.style.setProperty('--seen-height', `${Math.round(seen.height)}px`);
        if (isOpen) window.scrollTo(0, 0);
    }

    const isWriting = () => document.activeElement?.matches?.('input:not([type=radio]):not([type=color]), textarea') ?? false;
    seen.addEventListener('resize', look);
    document.addEventListener('focusin', look);
    document.addEventListener('focusout', () => setTimeout(look, 100));
    look();
}
