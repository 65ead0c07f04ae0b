/* Making elements. Text goes in as text, whatever it contains; there is no way to put markup in. */

/* el("button", { class: "button", "aria-label": "Play", onclick: f, hidden: true }, child, "text", …) */
export function el(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (value === undefined || value === null || value === false) continue;
        if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
        else if (value === true) element.setAttribute(name, '');
        else element.setAttribute(name, String(value));
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
}

export const byId = (id) => document.getElementById(id);

/* Touches the document only when something differs, so that screen readers and selections are left alone. */
export function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

const PATHS = {
    play: 'M8 5.5v13l11-6.5z',
    pause: 'M7 5h3.5v14H7zM13.5 5H17v14h-3.5z',
    volume: 'M4 9.5v5h3.2L12 18.5v-13L7.2 9.5zM14.5 8.6a4.6 4.6 0 0 1 0 6.8l1.2 1.3a6.4 6.4 0 0 0 0-9.4zM17 5.9a8.3 8.3 0 0 1 0 12.2l1.2 1.3a10 10 0 0 0 0-14.8z',
    muted: 'M4 9.5v5h3.2L12 18.5v-13L7.2 9.5zM15 9.1l1.2-1.2 2.3 2.3 2.3-2.3L22 9.1l-2.3 2.4 2.3 2.3-1.2 1.2-2.3-2.3-2.3 2.3-1.2-1.2 2.3-2.3z',
    expand: 'M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z',
    shrink: 'M8 4h2v6H4V8h4zM14 4h2v4h4v2h-6zM4 14h6v6H8v-4H4zM14 14h6v2h-4v4h-2z',
    stats: 'M5 13h3v6H5zM10.5 8h3v11h-3zM16 4.5h3V19h-3z',
    copy: 'M8 4h10a1.5 1.5 0 0 1 1.5 1.5V16H17V6.5H8zM5.5 8h8A1.5 1.5 0 0 1 15 9.5v9a1.5 1.5 0 0 1-1.5 1.5h-8A1.5 1.5 0 0 1 4 18.5v-9A1.5 1.5 0 0 1 5.5 8z',
    check: 'M9.6 17.4 4.7 12.5l1.5-1.5 3.4 3.4 8.2-8.2 1.5 1.5z',
    eye: 'M12 6c4.5 0 8 3.6 9.3 6-1.3 2.4-4.8 6-9.3 6s-8-3.6-9.3-6C4 9.6 7.5 6 12 6zm0 2.3a3.7 3.7 0 1 0 0 7.4 3.7 3.7 0 0 0 0-7.4z',
    bell: 'M12 3a6 6 0 0 1 6 6v4.2l1.6 2.8H4.4L6 13.2V9a6 6 0 0 1 6-6zM9.8 18h4.4a2.2 2.2 0 0 1-4.4 0z',
    embed: 'M8.6 6.6 10 8l-4 4 4 4-1.4 1.4L3.2 12zM15.4 6.6 14 8l4 4-4 4 1.4 1.4 5.4-5.4z',
    share: 'M14 4h6v6h-2V7.4l-7.3 7.3-1.4-1.4L16.6 6H14zM5.5 6H11v2H6v10h10v-5h2v5.5a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 4 18.5v-11A1.5 1.5 0 0 1 5.5 6z',
};

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name) {
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    svg.setAttribute('class', 'icon');
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', PATHS[name]);
    path.setAttribute('fill-rule', 'evenodd');
    svg.append(path);
    return svg;
}

export function setIcon(button, name, label) {
    if (button.dataset.icon === name) return;
    button.dataset.icon = name;
    button.replaceChildren(icon(name));
    button.setAttribute('aria-label', label);
    button.title = label;
}
