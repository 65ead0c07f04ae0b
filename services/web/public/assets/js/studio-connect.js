/* The panel that tells an encoder where to push: address, key, and the words for OBS and ffmpeg. */
import { byId, setIcon, setText } from './dom.js';

/* The key comes with the answers to its owner, and to nobody else. */
export function showConnect(broadcast) {
    const key = broadcast.stream_key;
    byId('rtmp-url').value = broadcast.rtmp_url ?? '';
    byId('stream-key').value = key ?? '';
    byId('stream-key').placeholder = key ? '' : 'Renew it to get a new key';
    for (const button of byId('key-field').querySelectorAll('button')) button.hidden = !key;
    hideKey();
    // On the screen as dots, for whoever looks over the shoulder; the copy has the key.
    const url = broadcast.rtmp_url ?? 'rtmp://…';
    setText(byId('command'), command(url, key ? '•'.repeat(12) : 'STREAM_KEY'));
    byId('command').dataset.copy = command(url, key ?? 'STREAM_KEY');
}

function command(url, key) {
    return [
        'ffmpeg -re -i input.mp4 \\',
        '  -c:v libx264 -preset veryfast -b:v 3000k -g 60 -pix_fmt yuv420p \\',
        '  -c:a aac -b:a 128k -ar 48000 \\',
        `  -f flv ${url}/${key}`,
    ].join('\n');
}

function hideKey() {
    byId('stream-key').type = 'password';
    byId('reveal').setAttribute('aria-pressed', 'false');
}

function textOf(element) {
    return element.dataset.copy ?? element.value;
}

async function copy(button, say) {
    const text = textOf(byId(button.dataset.copy));
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        // Without a secure origin there is no clipboard; the old way needs a selection.
        if (!copyBySelection(text)) return say('This browser does not allow copying. Select the text and copy it by hand.');
    }
    const name = button.dataset.name;
    setIcon(button, 'check', `Copied ${name}`);
    say(`Copied ${name}.`);
    setTimeout(() => setIcon(button, 'copy', `Copy ${name}`), 2000);
    return undefined;
}

function copyBySelection(text) {
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    return copied;
}

function chooseTab(tabs, index) {
    tabs.forEach((tab, i) => {
        tab.setAttribute('aria-selected', String(i === index));
        tab.tabIndex = i === index ? 0 : -1;
        byId(tab.getAttribute('aria-controls')).hidden = i !== index;
    });
}

export function setUpConnect(say) {
    for (const button of document.querySelectorAll('.copy')) {
        setIcon(button, 'copy', `Copy ${button.dataset.name}`);
        button.addEventListener('click', () => copy(button, say));
    }
    byId('reveal').addEventListener('click', () => {
        const input = byId('stream-key');
        const shown = input.type === 'password';
        input.type = shown ? 'text' : 'password';
        byId('reveal').setAttribute('aria-pressed', String(shown));
    });
    const tabs = [...document.querySelectorAll('[role=tab]')];
    tabs.forEach((tab, i) => {
        tab.addEventListener('click', () => chooseTab(tabs, i));
        tab.addEventListener('keydown', (event) => {
            const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
            if (!step) return;
            const next = (i + step + tabs.length) % tabs.length;
            chooseTab(tabs, next);
            tabs[next].focus();
        });
    });
}
