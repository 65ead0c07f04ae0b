/* What the lock screen, the headphones and the media keys know of the picture. A browser without Media Session goes without. */

/* artwork: the address of a picture, or none. */
export function showInMediaSession({ title, artist, artwork = null, onPlay, onPause }) {
    if (!('mediaSession' in navigator)) return;
    navigator.mediaSession.metadata = new MediaMetadata({ title, artist, album: 'Hanabi', artwork: artwork ? [{ src: new URL(artwork, location.href).href }] : [] });
    navigator.mediaSession.setActionHandler('play', onPlay);
    navigator.mediaSession.setActionHandler('pause', onPause);
}
