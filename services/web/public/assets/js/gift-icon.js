/* The drawings of gifts, by the names that items carry: lines of 24 x 24, filled lightly with the item's colour. */
const SVG = 'http://www.w3.org/2000/svg';
const PATHS = {
    sparkler: 'M4 20.5 12.5 12M14 10V3.5M14 10l4.6-4.6M14 10h6.5M14 10l4.4 4.4M14 10 9.4 5.6M14 10v6',
    sakura: 'M8.5 7.0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0M13.3 10.5a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0M11.4 16.0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0M5.6 16.0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0M3.7 10.5a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0',
    'wind-chime': 'M5.5 11.5a6.5 6.5 0 0 1 13 0zM12 2v3M12 11.5V15M10 15h4v6.5h-4z',
    lantern: 'M9 4.5h6M8.5 6.5h7a5 5.5 0 0 1 0 11h-7a5 5.5 0 0 1 0-11zM9 19.5h6M12 2v2.5M12 6.5v11M12 19.5V22',
    firework: 'M12 9V3M12 21v-6M9 12H3M21 12h-6M9.9 9.9 5.6 5.6M18.4 18.4l-4.3-4.3M14.1 9.9l4.3-4.3M5.6 18.4l4.3-4.3',
    star: 'M12 2.5l2.7 6.2 6.7.6-5 4.5 1.5 6.6-5.9-3.5-5.9 3.5 1.5-6.6-5-4.5 6.7-.6z',
    gift: 'M4 8.5h16v4H4zM5.5 12.5V21h13v-8.5M12 8.5V21M12 8.5c-3.2 0-5-1.2-4.6-3.2S11 3.6 12 8.5zM12 8.5c3.2 0 5-1.2 4.6-3.2S13 3.6 12 8.5z',
};

/* A name that is not known is a parcel. */
export function giftIcon(name) {
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    svg.setAttribute('class', 'gift-icon');
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', PATHS[Object.hasOwn(PATHS, name ?? '') ? name : 'gift']);
    svg.append(path);
    return svg;
}
