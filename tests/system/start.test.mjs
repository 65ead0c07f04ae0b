// How every service starts: with a variable missing or malformed it says one clear sentence and ends. Generated from the services' own
// configuration tables (--help), so a new variable is tested the day it is added. No Redis or MariaDB is needed to refuse.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary } from '../../deploy/stack/servers.mjs';
import { recipes } from '../../deploy/stack/services.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { bareEnv, configTable } from '../lib/config_table.mjs';
import { waitFor } from '../lib/fixture.mjs';

const goodValue = ({ name, type }) => {
    if (type === 'text') return name.endsWith('_DIR') ? '/tmp' : 'a-value-for-tests-only';
    if (type.includes('mysql://')) return 'mysql://user:secret-pass@127.0.0.1:1/db';
    if (type.includes('file://')) return 'file:///tmp';
    if (type.includes('redis://')) return 'redis://127.0.0.1:1';
    return `${type.split(',')[0]}localhost/x`;
};

const brokenValue = ({ type }) => {
    if (type === 'text') return null;
    if (type === 'address:port') return 'nowhere';
    if (type === 'true|false') return 'perhaps';
    if (/^-?\d/.test(type)) return 'many';
    if (type.includes('://')) return 'gopher://host';
    return 'no-such-choice';
};

const refuse = (service, env) => spawnSync(binary(service), [], { env: { ...bareEnv, ...env }, encoding: 'utf8', timeout: 10000 });

/** One sentence on standard error that names the variable, status 2, nothing else. */
function assertRefused(service, answer, variable) {
    assert.equal(answer.status, 2, `${service} ${variable}: status ${answer.status} ${answer.signal ?? ''} ${answer.stderr}`);
    const lines = answer.stderr.trim().split('\n');
    assert.equal(lines.length, 1, `${service} ${variable}: ${answer.stderr}`);
    assert.ok(lines[0].startsWith(`${service}: `) && lines[0].includes(variable) && lines[0].length < 300, lines[0]);
    assert.ok(!lines[0].includes('secret-pass'), `a secret was printed: ${lines[0]}`);
}

for (const service of Object.keys(recipes)) {
    test(`${service}: every required variable missing, every variable malformed, a typo`, (t) => {
        const rows = configTable(service);
        const required = rows.filter((row) => row.required);
        const good = Object.fromEntries(required.map((row) => [row.name, goodValue(row)]));
        for (const row of required) assertRefused(service, refuse(service, { ...good, [row.name]: undefined }), row.name);
        let malformed = 0;
        for (const row of rows) {
            const value = brokenValue(row);
            if (value === null) continue;
            assertRefused(service, refuse(service, { ...good, [row.name]: value }), row.name);
            malformed += 1;
        }
        const typo = `HANABI_${service.toUpperCase().replaceAll('-', '_')}_NO_SUCH`;
        assertRefused(service, refuse(service, { ...good, [typo]: '1' }), typo);
        t.diagnostic(`${required.length} missing, ${malformed} malformed`);
    });
}

test('--health: says whether the instance with this environment works', async () => {
    const port = await freePort();
    const env = { ...bareEnv, HANABI_REDIS_URL: 'redis://127.0.0.1:1', HANABI_STATUS_LISTEN: '127.0.0.1:0', HANABI_ADMIN_LISTEN: `0.0.0.0:${port}` };
    const ask = () => spawnSync(binary('burst-status'), ['--health'], { env, encoding: 'utf8', timeout: 10000 });
    const before = ask();
    assert.equal(before.status, 1);
    assert.match(before.stderr, /admin port/);
    const service = spawnBound(binary('burst-status'), [], { env, stdio: 'ignore' });
    try {
        // Works, though it is not ready: Redis is not there. An orchestrator must not kill it for that.
        await waitFor('healthy', () => ask().status === 0);
        service.kill('SIGSTOP');
        const hung = ask();
        assert.equal(hung.status, 1, 'a process that hangs is not healthy');
    } finally { service.kill('SIGKILL'); }
    assert.equal(spawnSync(binary('burst-status'), ['--health'], { env: { ...env, HANABI_ADMIN_LISTEN: '127.0.0.1:0' }, encoding: 'utf8' }).status, 2);
});
