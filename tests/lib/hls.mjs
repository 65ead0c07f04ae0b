// Parses playlists without forgiving anything.

const attributes = (text) => Object.fromEntries([...text.matchAll(/([A-Z0-9-]+)=("[^"]*"|[^,]*)/g)].map(([, key, value]) => [key, value.replace(/^"|"$/g, '')]));

export function parseMaster(text) {
    const lines = text.split('\n');
    if (lines[0] !== '#EXTM3U') throw new Error('the multivariant playlist does not begin with #EXTM3U');
    const variants = [];
    lines.forEach((line, index) => {
        if (line.startsWith('#EXT-X-STREAM-INF:')) {
            const a = attributes(line.slice(18));
            const [width, height] = (a.RESOLUTION ?? '').split('x').map(Number);
            variants.push({ uri: lines[index + 1], bandwidth: Number(a.BANDWIDTH), average: Number(a['AVERAGE-BANDWIDTH']), width, height,
                frameRate: Number(a['FRAME-RATE']), codecs: a.CODECS });
        }
    });
    return { variants, independent: lines.includes('#EXT-X-INDEPENDENT-SEGMENTS'), text };
}

export function parseMedia(text) {
    const lines = text.split('\n');
    if (lines[0] !== '#EXTM3U') throw new Error('the media playlist does not begin with #EXTM3U');
    const playlist = { segments: [], targetDuration: null, mediaSequence: null, discontinuitySequence: null, endList: false, independent: false, text };
    let next = { discontinuity: false, pdt: null, duration: null };
    for (const line of lines) {
        const [tag, value = ''] = line.startsWith('#') ? [line.split(':')[0], line.slice(line.indexOf(':') + 1)] : ['', line];
        if (tag === '#EXT-X-TARGETDURATION') playlist.targetDuration = Number(value);
        else if (tag === '#EXT-X-MEDIA-SEQUENCE') playlist.mediaSequence = Number(value);
        else if (tag === '#EXT-X-DISCONTINUITY-SEQUENCE') playlist.discontinuitySequence = Number(value);
        else if (line === '#EXT-X-ENDLIST') playlist.endList = true;
        else if (line === '#EXT-X-INDEPENDENT-SEGMENTS') playlist.independent = true;
        else if (line === '#EXT-X-DISCONTINUITY') next.discontinuity = true;
        else if (tag === '#EXT-X-PROGRAM-DATE-TIME') next.pdt = Date.parse(value);
        else if (tag === '#EXTINF') next.duration = Number(value.split(',')[0]);
        else if (tag === '' && line !== '') {
            playlist.segments.push({ ...next, uri: line, sequence: playlist.mediaSequence + playlist.segments.length });
            next = { discontinuity: false, pdt: null, duration: null };
        }
    }
    return playlist;
}
