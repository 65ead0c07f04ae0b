/* The bar under the picture. It reads the video element and calls what it is given; it knows nothing of broadcasts. */
import { el, icon, setIcon, setText } from './dom.js';

const button = (name, label, onclick, attributes = {}) =>
    el('button', { class: 'control', type: 'button', 'aria-label': label, title: label, onclick, ...attributes }, icon(name));

export function createControls(video, { onPlayPause, onToLive, onQuality, onStats, onFullscreen }) {
    const play = button('pause', 'Pause (k)', onPlayPause, { id: 'play' });
    const mute = button('muted', 'Unmute (m)', () => toggleMute(video), { id: 'mute' });
    const volume = el('input', { class: 'volume', type: 'range', min: 0, max: 1, step: 0.05, 'aria-label': 'Volume' });
    const live = el(
        'button',
        { class: 'to-live', type: 'button', id: 'to-live', onclick: onToLive, title: 'Go to the live picture (l)' },
        el('i'),
        'Live',
    );
    const quality = el('select', { class: 'quality', id: 'quality', 'aria-label': 'Quality' }, el('option', { value: -1 }, 'Auto'));
    const stats = button('stats', 'Statistics (i)', onStats, { id: 'stats-toggle', 'aria-pressed': 'false' });
    const fullscreen = button('expand', 'Full screen (f)', onFullscreen, { id: 'fullscreen' });
    const bar = el(
        'div',
        { class: 'controls', role: 'group', 'aria-label': 'Player' },
        play,
        mute,
        volume,
        live,
        el('span', { class: 'space' }),
        quality,
        stats,
        fullscreen,
    );
    const unmute = el(
        'button',
        { class: 'unmute', id: 'unmute', type: 'button', onclick: () => toggleMute(video) },
        icon('muted'),
        'Tap for sound',
    );

    volume.addEventListener('input', () => {
        video.volume = Number(volume.value);
        video.muted = video.volume === 0;
    });
    quality.addEventListener('change', () => onQuality(Number(quality.value)));

    function update({ wantsPlay, behind, isFullscreen, canPlay }) {
        setIcon(play, wantsPlay ? 'pause' : 'play', wantsPlay ? 'Pause (k)' : 'Play (k)');
        setIcon(mute, video.muted ? 'muted' : 'volume', video.muted ? 'Unmute (m)' : 'Mute (m)');
        setIcon(fullscreen, isFullscreen ? 'shrink' : 'expand', isFullscreen ? 'Leave full screen (f)' : 'Full screen (f)');
        const shown = video.muted ? '0' : String(video.volume);
        if (volume.value !== shown) volume.value = shown;
        live.dataset.behind = behind ? 'yes' : 'no';
        live.hidden = !canPlay;
        unmute.hidden = !video.muted || !canPlay;
    }

    /* heights: highest first; playing: the height shown now, 0 unknown */
    function updateQuality(heights, chosen, playing) {
        quality.hidden = heights.length < 2;
        const auto = chosen < 0 && playing > 0 ? `Auto (${playing}p)` : 'Auto';
        const wanted = [-1, ...heights];
        const have = [...quality.options].map((option) => Number(option.value));
        if (wanted.join() !== have.join())
            quality.replaceChildren(...wanted.map((h) => el('option', { value: h }, h < 0 ? auto : `${h}p`)));
        setText(quality.options[0], auto);
        if (Number(quality.value) !== chosen) quality.value = String(chosen);
    }

    return { bar, unmute, statsButton: stats, update, updateQuality };
}

export function toggleMute(video) {
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 0.5;
}
