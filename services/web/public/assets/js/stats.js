/* The panel for those who want to know: delay, quality, buffer, dropped frames. */
import { el, setText } from './dom.js';

const megabits = (bits) => (bits > 0 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : '–');
const seconds = (ms) => (ms === null ? '–' : `${(ms / 1000).toFixed(1)} s`);

const ROWS = [
    ['Delay to camera', (s) => seconds(s.latencyMs)],
    ['Quality', (s) => (s.height ? `${s.height}p${s.bitrate ? `, ${megabits(s.bitrate)}` : ''}` : '–')],
    ['Buffer', (s) => seconds(s.bufferMs)],
    ['Bandwidth', (s) => megabits(s.bandwidth)],
    ['Dropped frames', (s) => `${s.droppedFrames} of ${s.totalFrames}`],
    ['Speed', (s) => `${s.rate.toFixed(2)}×`],
];

export function createStats() {
    const values = ROWS.map(() => el('dd'));
    const list = el('dl', {}, ...ROWS.flatMap(([label], i) => [el('dt', {}, label), values[i]]));
    const element = el('section', { class: 'stats', id: 'stats', 'aria-label': 'Playback statistics', hidden: true }, list);
    return {
        element,
        toggle() {
            element.hidden = !element.hidden;
            return !element.hidden;
        },
        update(stats) {
            if (!element.hidden) ROWS.forEach(([, show], i) => setText(values[i], show(stats)));
        },
    };
}
