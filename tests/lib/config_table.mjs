// A service's configuration table, as its --help prints it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { binary } from '../../deploy/stack/servers.mjs';

export const bareEnv = { PATH: process.env.PATH, LANG: 'C.UTF-8', ASAN_OPTIONS: 'detect_leaks=1' };

const TYPES = /^(text|address:port|true\|false|-?\d+\.\.-?\d+|[a-z0-9+-]+:\/\/(?:, [a-z0-9+-]+:\/\/)*|[a-z0-9]+(?:, [a-z0-9]+)+) +(.*)$/;

/** The rows: {name, type, required}. */
export function configTable(service) {
    const help = spawnSync(binary(service), ['--help'], { env: bareEnv, encoding: 'utf8' });
    assert.equal(help.status, 0, help.stderr);
    const rows = help.stdout.split('\n').map((line) => line.match(/^ {2}(HANABI_[A-Z0-9_]+) +(.+)$/)).filter(Boolean).map(([, name, rest]) => {
        const [, type, tail] = rest.match(TYPES) ?? assert.fail(`${service}: what is this row? ${name} ${rest}`);
        return { name, type, required: tail.startsWith('required') };
    });
    assert.ok(rows.length > 4, help.stdout);
    return rows;
}
