// For how much of the time others disturbed a measurement on this machine: processes that are not the test's own, the hypervisor, the disk. A
// deadline that is missed while they did says nothing of what is tested. What the test's own processes burn is never counted here, so a fault
// of theirs cannot pass for noise; nor are kernel threads, which may be busy for them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';

const TICKS_PER_SECOND = 100; // USER_HZ
const STRETCH_MS = 500;
const MUCH = 0.15; // of all cores, in one stretch
const NOISE = 0.01; // of the time: as much as a p99 overlooks
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
    const [, , , idle, iowait] = fs.readFileSync('/proc/stat', 'utf8').match(/^cpu +(.*)$/m)[1].split(' ').map(Number);
    const all = processes();
    let known = idle + iowait;
    for (const [pid, { isKernel, ticks }] of all) if (isKernel || isOurs(all, pid)) known += ticks;
    return { at: performance.now(), known };
}

/** Starts looking. Returns a function that ends it and says in which share of the time, 0 to 1, others had much of the processors. */
export function watchNeighbours() {
    let last = look(), much = 0, all = 0;
    const next = () => {
        const now = look(), possible = (now.at - last.at) / 1000 * TICKS_PER_SECOND * os.cpus().length;
        if (1 - (now.known - last.known) / possible > MUCH) much += now.at - last.at;
        all += now.at - last.at;
        last = now;
    };
    const timer = setInterval(next, STRETCH_MS);
    return () => {
        clearInterval(timer);
        next();
        return much / all;
    };
}

/**
 * The same of the disk, by a Redis that has each write on it before it answers: in which share of the time it stood and waited for that, waits
 * under 50 ms not counted. None is counted when Redis rewrote its file meanwhile: that is our doing.
 * @param {RedisClient} redis @returns {Promise<() => Promise<number>>}
 */
export async function watchDisk(redis) {
    const rewrites = async () => /aof_rewrites:(\d+)/.exec(await redis.command('INFO', 'persistence'))[1];
    const began = performance.now(), before = await rewrites();
    await redis.command('CONFIG', 'SET', 'latency-monitor-threshold', 50);
    await redis.command('LATENCY', 'RESET');
    return async () => {
        let waited = 0; // at least: the longest of each second is kept
        for (const event of ['aof-fsync-always', 'aof-write']) for (const [, ms] of await redis.command('LATENCY', 'HISTORY', event)) waited += ms;
        return await rewrites() === before ? waited / (performance.now() - began) : 0;
    };
}

/**
 * What needs the whole machine, measured once: a subtest that holds it. Missed while others had the machine for more than NOISE of the time, that is
 * skipped, and the report says so.
 * @param {{processors: number, disk?: number}} noise what watchNeighbours' and watchDisk's ends said
 * @param {string} measured the figures, for the report
 * @param {Record<string, boolean>} wanted what was to be met -> whether it was
 */
export async function inTime(t, noise, measured, wanted) {
    const percent = (share) => `${(share * 100).toFixed(1)} % of the time`;
    const figures = `${measured}; disturbed: ${Object.entries(noise).map(([what, share]) => `${what} ${percent(share)}`).join(', ')}`;
    const missed = Object.entries(wanted).filter(([, isMet]) => !isMet).map(([what]) => what);
    t.diagnostic(figures);
    const isNoise = Object.values(noise).some((share) => share > NOISE);
    await t.test(Object.keys(wanted).join(', '), { skip: missed.length > 0 && isNoise && `not judged: ${figures}` }, () => assert.deepEqual(missed, [], figures));
}
