/* How fast to play, so that viewers stay together behind the camera: a little faster than life when too far behind,
 * never so much that one hears it, and only while there is something to play. */
const FAST = 1.06;
const START_S = 0.6; // behind the target by this much: hurry
const RESERVE_S = 1.2; // with less than this in the buffer, do not

export function paceRate({ rate, latencyS, targetS, bufferS }) {
    const behindS = latencyS - targetS;
    if (bufferS < RESERVE_S || behindS <= 0.1) return 1;
    return behindS > START_S || rate > 1 ? FAST : 1;
}
