// The way most tests of the whole stack begin: somebody is on air and a strict player watches.
import { newBroadcast, pushFile, waitFor, waitForState } from './fixture.mjs';
import { HlsMonitor } from './hls_monitor.mjs';

/** A broadcast that is live with at least `segments` segments: {broadcast, monitor, pusher}, until the test `t` is over. `url`: where it is pushed to. */
export async function onAir(t, stack, file, { segments = 3, url = (broadcast) => broadcast.pushUrl } = {}) {
    const broadcast = await newBroadcast(stack, t.name);
    const monitor = new HlsMonitor(broadcast.playback);
    monitor.start();
    const pusher = pushFile(url(broadcast), file);
    t.after(async () => { await pusher.kill(); await monitor.stop(); });
    await waitForState(stack, broadcast.id, 'live', 15000);
    await waitFor('segments', () => monitor.newest()?.segments.length >= segments, 20000);
    return { broadcast, monitor, pusher };
}
