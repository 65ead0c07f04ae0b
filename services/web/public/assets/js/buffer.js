/* Seconds that can be played from here without another byte. */
export function bufferAhead(video) {
    const { buffered, currentTime } = video;
    for (let i = 0; i < buffered.length; i += 1) {
        if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
}
