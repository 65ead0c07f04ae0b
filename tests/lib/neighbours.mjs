// How much of this machine went to others while something was measured: processes that are not the test's own, and the hypervisor. A deadline
// that is missed while they took a good part of it says nothing of what is tested. What the test's own processes burn is never counted here,
// so a fault of theirs cannot pass for noise; nor do interrupts and kernel threads, which may be busy for them.
import fs from 'node:fs';
import os from 'node:os';

const TICKS_PER_SECOND = 100; // USER_HZ
const KERNEL_THREAD = 0x200000; // PF_KTHREAD

/** All processes: pid -> {parent, isKernel, ticks}; ticks with those of its children that have ended. */
function processes() {
    const all = new Map();
    for (const name of fs.readdirSync('/proc')) {
        if (!/^\d+$/.test(name)) continue;
        try {
            const fields = fs.readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ').map(Number);
            all.set(Number(name), { parent: fields[1], isKernel: (fields[6] & KERNEL_THREAD) !== 0, ticks: fields[11] + fields[12] + fields[13] + fields[14] });
        } catch { /* it has just ended */ }
    }
    return all;
}

function isOurs(all, pid) {
    for (let at = pid; at > 1; at = all.get(at)?.parent ?? 0) if (at === process.pid) return true;
    return false;
}

function look() {
    const [user, nice, system, , , , , steal] = fs.readFileSync('/proc/stat', 'utf8').match(/^cpu +(.*)$/m)[1].split(' ').map(Number);
    const all = processes();
    let known = 0;
    for (const [pid, { isKernel, ticks }] of all) if (isKernel || isOurs(all, pid)) known += ticks;
    return { at: performance.now(), foreign: user + nice + system + steal - known };
}

/** Starts looking. Returns a function that ends it and says which share of all cores others have had, 0 to 1. */
export function watchNeighbours() {
    const began = look();
    return () => {
        const now = look();
        const possible = (now.at - began.at) / 1000 * TICKS_PER_SECOND * os.cpus().length;
        return Math.min(1, Math.max(0, (now.foreign - began.foreign) / possible));
    };
}
