// The pages as files: nothing that the Content-Security-Policy would refuse, nothing that puts markup in, no reference into the void.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const web = fileURLToPath(new URL('../../services/web/', import.meta.url));
const publicDir = path.join(web, 'public');
const files = fs.readdirSync(publicDir, { recursive: true }).map(String);
const withEnd = (end) => files.filter((file) => file.endsWith(end));
const read = (file) => fs.readFileSync(path.join(publicDir, file), 'utf8');

test('pages hold no inline script, style or handler', () => {
    const pages = withEnd('.html');
    assert.ok(pages.length >= 3);
    for (const page of pages) {
        const html = read(page);
        for (const [tag] of html.matchAll(/<script\b[^>]*>/g)) assert.match(tag, /\bsrc="/, `${page}: ${tag}`);
        assert.doesNotMatch(html, /<style\b|\sstyle=|\son[a-z]+=/, page);
        assert.match(html, /<html lang="en">/, page);
    }
});

test('scripts never make elements from text', () => {
    for (const script of withEnd('.js')) {
        assert.doesNotMatch(read(script), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, script);
    }
});

test('a page that is shared says what it is, to those who run no script', () => {
    for (const page of ['index', 'watch', 'archive', 'channel']) {
        for (const name of ['site_name', 'type', 'title', 'description']) assert.match(read(`${page}.html`), new RegExp(`<meta property="og:${name}" content="[^"]+">`), page);
    }
});

test('everything that a page, a style or a module refers to exists', () => {
    const exists = (reference, from) => {
        if (reference.startsWith('/assets/vendor/')) return; // from npm, by nginx
        const file = reference.startsWith('/') ? reference : path.join('/', path.dirname(from), reference);
        assert.ok(fs.existsSync(path.join(publicDir, file)), `${from} refers to ${reference}`);
    };
    for (const page of withEnd('.html')) {
        for (const [, reference] of read(page).matchAll(/(?:src|href)="(\/(?:assets\/|favicon)[^"]*)"/g)) exists(reference, page);
    }
    for (const style of withEnd('.css')) for (const [, reference] of read(style).matchAll(/url\("([^"]+)"\)/g)) exists(reference, style);
    for (const script of withEnd('.js')) for (const [, reference] of read(script).matchAll(/from '([^']+)'/g)) exists(reference, script);
});

test('every element that a page script asks for by id is in its page', () => {
    const shared = { studio: ['studio.js', 'studio-connect.js', 'studio-over.js'], watch: ['watch.js'], embed: ['embed.js'], channel: ['channel.js'], index: ['home.js'], cms: ['cms.js'] };
    for (const [page, scripts] of Object.entries(shared)) {
        const html = read(`${page}.html`);
        for (const script of scripts) {
            for (const [, id] of read(`assets/js/${script}`).matchAll(/byId\('([^']+)'\)/g)) {
                assert.ok(html.includes(`id="${id}"`), `${script} asks for #${id}, ${page}.html has none`);
            }
        }
    }
});

test('the player is the only thing from npm, and the lock names no host', () => {
    const lock = fs.readFileSync(path.join(web, 'package-lock.json'), 'utf8');
    assert.deepEqual(Object.keys(JSON.parse(lock).packages).sort(), ['', 'node_modules/hls.js']);
    assert.doesNotMatch(lock, /https?:\/\//);
});
