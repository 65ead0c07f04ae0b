// Search and oEmbed with a real Redis and MariaDB.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ApiRig } from '../lib/api_rig.mjs';
import { waitFor } from '../lib/fixture.mjs';
import { goLive } from '../lib/redis_client.mjs';

let rig;
let hanako;
const ids = {};
const call = (...args) => rig.call(...args);
const find = async (q, query = '') => {
    const answer = await call('GET', `/search?q=${encodeURIComponent(q)}${query}`);
    assert.equal(answer.status, 200, JSON.stringify(answer.json));
    return answer.json.broadcasts.map((one) => one.title);
};

before(async () => {
    rig = await ApiRig.start();
    hanako = await rig.session('山田花子 Hanako');
    for (const title of ['隅田川花火大会 2026', '花と火の夜', 'ＬＩＶＥ ｶﾞﾝﾊﾞﾙ', 'Fireworks by the River', '鏡の国', 'a', '100% C++ & "quotes" +plus -minus *', 'the of and'])
        ids[title] = (await call('POST', '/broadcasts', { as: hanako.token, body: { title } })).json.id;
    await rig.sql("UPDATE broadcasts SET state = 'archived'");
});

test('words of any script, any length, any width and case; together or nothing', async () => {
    const cases = [
        ['花火', ['隅田川花火大会 2026']], ['大会', ['隅田川花火大会 2026']], ['川花火大', ['隅田川花火大会 2026']], ['夜', ['花と火の夜']], ['鏡', ['鏡の国']],
        ['花火 2026', ['隅田川花火大会 2026']], ['花火 2027', []], ['火花', []], ['live', ['ＬＩＶＥ ｶﾞﾝﾊﾞﾙ']], ['ガンバル', ['ＬＩＶＥ ｶﾞﾝﾊﾞﾙ']],
        ['ガンバ ｌｉｖｅ', ['ＬＩＶＥ ｶﾞﾝﾊﾞﾙ']], ['FIREWORK', ['Fireworks by the River']], ['river fire', ['Fireworks by the River']], ['works', ['Fireworks by the River']], ['fi', ['Fireworks by the River']],
        ['c++', ['100% C++ & "quotes" +plus -minus *']], ['"quotes"', ['100% C++ & "quotes" +plus -minus *']], ['-minus', ['100% C++ & "quotes" +plus -minus *']], ['100%', ['100% C++ & "quotes" +plus -minus *']],
        ['the of', ['the of and']], ['花と', ['花と火の夜']], ["' OR 1=1 --", []], ['riverfire', []],
    ];
    for (const [q, titles] of cases) assert.deepEqual(await find(q), titles, q);
    assert.equal((await find('hanako')).length, 8, 'by the name of the broadcaster');
    assert.equal((await find('花子')).length, 8);
});

test('a title changed is found by the new one alone, at once', async () => {
    await call('PATCH', `/broadcasts/${ids['鏡の国']}`, { as: hanako.token, body: { title: '新しい題名' } });
    assert.deepEqual([await find('鏡の国'), await find('題名')], [[], ['新しい題名']]);
});

test('state, pages and bad questions', async () => {
    assert.deepEqual(await find('hanako', '&state=live'), []);
    const { id } = (await call('POST', '/broadcasts', { as: hanako.token, body: { title: '生放送' } })).json;
    assert.deepEqual(await find('生放送'), [], 'not to be watched yet');
    assert.deepEqual(await find('生放送', '&state=scheduled'), ['生放送']);
    await goLive(rig.redis, id);
    await waitFor('it is found live', async () => (await find('生放送', '&state=live')).length === 1, 5000);
    const seen = [];
    for (let cursor = ''; cursor !== undefined;) {
        const { json } = await call('GET', `/search?q=hanako&limit=4${cursor && `&cursor=${cursor}`}`);
        seen.push(...json.broadcasts.map((one) => one.id));
        cursor = json.next;
    }
    assert.deepEqual([seen.length, new Set(seen).size], [9, 9]);
    for (const query of ['', '?q=', '?q=%20', '?q=a%20b%20c%20d%20e%20f%20g%20h%20i', `?q=${'x'.repeat(401)}`, '?q=a&state=x', '?q=a&limit=0', '?q=a&cursor=x'])
        assert.equal((await call('GET', `/search${query}`)).status, 400, query);
});

test('rows that are older than search are indexed when live-api starts; 20,000 titles are searched quickly', { timeout: 60000 }, async (t) => {
    await rig.sql("DELETE FROM search_documents WHERE text LIKE '%隅田川%'");
    assert.deepEqual(await find('隅田川'), []);
    const second = await rig.addApi();
    await waitFor('it is found again', async () => (await find('隅田川')).length === 1, 5000);
    await second.stop();
    // Documents as live-api writes them: one is copied with another number.
    await rig.sql(`INSERT INTO broadcasts (id, owner_id, title, state, version, created_at_ms) SELECT CONCAT('many-', seq), '${hanako.user_id}', CONCAT('花火 ', seq), 'archived', 1, seq FROM seq_1_to_20000;
        INSERT INTO search_documents (broadcast_id, text, grams) SELECT CONCAT('many-', seq), CONCAT('花火 ', seq), CONCAT('g0082b100706b g00706b ', IF(seq MOD 1000 = 0, 'g00591c00591c', '')) FROM seq_1_to_20000;
        UPDATE search_documents SET text = CONCAT(text, ' 夜夜') WHERE grams LIKE '%g00591c00591c';`);
    const timed = async (q) => { const began = performance.now(); const found = await find(q, '&limit=10'); return [found.length, Math.round(performance.now() - began)]; };
    const [rare, common, both] = [await timed('夜夜'), await timed('花火'), await timed('花火 夜夜')];
    t.diagnostic(`20,000 titles: a word that 20 have ${rare[1]} ms, one that all have ${common[1]} ms, both together ${both[1]} ms`);
    assert.deepEqual([rare[0], common[0], both[0]], [10, 10, 10]);
    assert.ok(rare[1] < 300 && common[1] < 3000);
});

test('oEmbed: the player as an iframe within the asked-for size, for our own pages only', async () => {
    const title = '100% C++ & "quotes" +plus -minus *';
    const page = `${rig.api.origin}/watch/${ids[title]}`;
    const ask = (query) => call('GET', `/oembed?${new URLSearchParams(query)}`);
    const { status, json } = await ask({ url: page, format: 'json' });
    assert.equal(status, 200);
    assert.deepEqual([json.type, json.version, json.title, json.width, json.height, json.author_name], ['video', '1.0', title, 640, 360, '山田花子 Hanako']);
    assert.ok(json.html.startsWith(`<iframe src="${rig.api.origin}/embed/${ids[title]}" width="640" height="360" title="100% C++ &amp; &quot;quotes&quot;`));
    assert.deepEqual([(await ask({ url: page, maxwidth: 320 })).json.height, (await ask({ url: page, maxheight: 90 })).json.width], [180, 160]);
    for (const [query, want] of [[{}, 400], [{ url: page, maxwidth: 'x' }, 400], [{ url: page, format: 'xml' }, 501], [{ url: 'https://elsewhere.example/watch/x' }, 404],
        [{ url: `${rig.api.origin}/watch/nobody` }, 404], [{ url: `${rig.api.origin}/cms` }, 404], [{ url: `${page}/../../x` }, 404]]) assert.equal((await ask(query)).status, want, JSON.stringify(query));
});

test('a link preview: title, who, what it is and the page, with nothing of theirs as markup', async () => {
    const title = '<script>alert("花火")</script> & more';
    const { id } = (await call('POST', '/broadcasts', { as: hanako.token, body: { title } })).json;
    const preview = async (page) => {
        const answer = await fetch(`${rig.api.origin}/api/v1/previews/${page}/${id}`);
        assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, 'text/html; charset=utf-8']);
        const html = await answer.text();
        return { html, ...Object.fromEntries([...html.matchAll(/<meta (?:property|name)="(?:og|twitter):([a-z_]+)" content="([^"]*)">/g)].map(([, name, value]) => [name, value])) };
    };
    const scheduled = await preview('watch');
    assert.deepEqual([scheduled.title, scheduled.description, scheduled.url, scheduled.image], ['&lt;script&gt;alert(&quot;花火&quot;)&lt;/script&gt; &amp; more', '山田花子 Hanako will be live here.', `${rig.api.origin}/watch/${id}`, undefined]);
    assert.ok(!scheduled.html.includes('<script'), scheduled.html);
    await rig.sql(`UPDATE broadcasts SET state = 'live', live_at_ms = 1 WHERE id = '${id}'`);
    const live = await preview('watch');
    assert.match(live.description, /is live now/);
    assert.match(live.image, new RegExp(`^${rig.api.origin}/hls/[0-9]+/[^/]+/live/${id}/thumbnail.jpg$`));
    assert.equal(live.card, 'summary_large_image');
    await rig.sql(`UPDATE broadcasts SET state = 'archived' WHERE id = '${id}'`);
    const archived = await preview('archive');
    assert.match(archived.description, /watch the recording/);
    assert.equal(archived.url, `${rig.api.origin}/archive/${id}`);
    for (const path of ['watch/nobody', `cms/${id}`]) assert.equal((await call('GET', `/previews/${path}`)).status, 404);
});

test('a private recording: no oEmbed, no preview, no signature that opens its folder, in no list but its owner\'s', async () => {
    const id = ids['100% C++ & "quotes" +plus -minus *'];
    await rig.sql(`INSERT INTO archives (broadcast_id, state, visibility, until_ms) VALUES ('${id}', 'archived', 'private', 1); UPDATE broadcasts SET state = 'archived', live_at_ms = 1 WHERE id = '${id}'`);
    const answer = await call('GET', `/oembed?${new URLSearchParams({ url: `${rig.api.origin}/watch/${id}` })}`);
    assert.deepEqual([answer.status, answer.json.error?.code], [404, 'no_such_broadcast'], JSON.stringify(answer.json));
    for (const page of ['watch', 'archive']) assert.equal((await call('GET', `/previews/${page}/${id}`)).status, 404);
    await rig.sql(`UPDATE broadcasts SET created_at_ms = ${Date.now() + 1000} WHERE id = '${id}'`);
    const listed = async (as) => (await call('GET', '/broadcasts?limit=20', { as })).json.broadcasts.some((broadcast) => broadcast.id === id);
    assert.deepEqual([await listed(), await listed(hanako.token)], [false, true], 'in no list but the owner\'s');
});
