// One process under supervision: logs to a file, is started again when it dies, can be stopped, killed, paused. None outlives us.
import { spawn } from 'node:child_process';
import fs from 'node:fs';

const RESTART_MIN_MS = 100;
const RESTART_MAX_MS = 5000;
const STEADY_MS = 5000;

/** spawn(), for a process that the kernel ends when this one is gone, however it went: what nobody supervises any more holds ports and memory. */
export const spawnBound = (command, args, options, signal = 'SIGKILL') =>
    spawn('setpriv', ['--pdeathsig', signal.replace(/^SIG/, ''), command, ...args], options); // setpriv becomes the command: the pid is its own

export class Supervised {
    /**
     * @param {{name: string, command: string, args?: string[], env?: object, cwd?: string, logFile: string, restart?: boolean,
     *          stopSignal?: string, orphanSignal?: string, stopMs?: number, onChange?: () => void}} options
     */
    constructor(options) {
        this.options = { args: [], restart: true, stopSignal: 'SIGTERM', orphanSignal: 'SIGKILL', stopMs: 12000, ...options };
        this.name = options.name;
        this.child = null;
        this.wanted = false;
        this.starts = 0;
        this.delayMs = RESTART_MIN_MS;
        this.timer = null;
        this.exits = [];
    }

    get pid() { return this.child?.pid ?? null; }

    start() {
        this.wanted = true;
        if (this.child) return;
        const log = fs.openSync(this.options.logFile, 'a');
        const startedAt = Date.now();
        const child = spawnBound(this.options.command, this.options.args,
            { env: this.options.env ?? process.env, cwd: this.options.cwd, stdio: ['ignore', log, log] }, this.options.orphanSignal);
        fs.closeSync(log);
        this.child = child;
        this.starts += 1;
        this.options.onChange?.();
        child.once('error', (error) => fs.appendFileSync(this.options.logFile, `${this.options.command}: ${error.message}\n`));
        // 'close' also comes when it could not be started at all.
        child.once('close', (code, signal) => {
            this.child = null;
            this.exits.push({ code, signal, at: Date.now() });
            this.options.onChange?.();
            if (!this.wanted || !this.options.restart) return;
            if (Date.now() - startedAt > STEADY_MS) this.delayMs = RESTART_MIN_MS;
            this.timer = setTimeout(() => this.start(), this.delayMs);
            this.delayMs = Math.min(this.delayMs * 2, RESTART_MAX_MS);
        });
    }

    /** Sends a signal and leaves the rest to the supervision: SIGKILL is followed by a fresh start, if restarting. */
    kill(signal = 'SIGKILL') { return this.child?.kill(signal) ?? false; }

    pause() { return this.kill('SIGSTOP'); }

    resume() { return this.kill('SIGCONT'); }

    /** Ends the process for good (until start() is called again): the stop signal, and SIGKILL after stopMs. */
    async stop(signal = this.options.stopSignal) {
        this.wanted = false;
        clearTimeout(this.timer);
        const child = this.child;
        if (!child) return;
        const gone = new Promise((resolve) => child.once('close', resolve));
        child.kill('SIGCONT');
        child.kill(signal);
        const timer = setTimeout(() => child.kill('SIGKILL'), this.options.stopMs);
        await gone;
        clearTimeout(timer);
    }
}
