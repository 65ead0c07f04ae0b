// Alerts and dashboards against what the services really expose: promtool checks and tests the rules; every metric that a rule or a panel names
// is found at some service's /metrics. The services run without Redis and MariaDB: their metrics are there from the start.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { freePort } from '../../deploy/stack/ports.mjs';
import { binary, repo } from '../../deploy/stack/servers.mjs';
import { recipes } from '../../deploy/stack/services.mjs';
import { spawnBound } from '../../deploy/stack/supervised.mjs';
import { waitFor } from '../lib/fixture.mjs';

const deploy = (file) => path.join(repo, 'deploy', file);
const started = [];
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hanabi-monitoring-'));
after(() => { for (const child of started) child.kill('SIGKILL'); fs.rmSync(dir, { recursive: true, force: true }); });

const promtool = (...args) => {
    const answer = spawnSync('promtool', args, { encoding: 'utf8' });
    assert.equal(answer.status, 0, `promtool ${args.join(' ')}: ${answer.stdout}${answer.stderr}`);
};

test('promtool: configuration, rules, and the tests of the rules', () => {
    promtool('check', 'config', deploy('prometheus/prometheus.yml'));
    promtool('check', 'rules', deploy('prometheus/alerts.yml'));
    promtool('test', 'rules', deploy('prometheus/alerts.test.yml'));
});

test('every alert is tested, and has its line in the runbook', () => {
    const names = [...fs.readFileSync(deploy('prometheus/alerts.yml'), 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    const tests = fs.readFileSync(deploy('prometheus/alerts.test.yml'), 'utf8');
    const runbook = fs.readFileSync(deploy('README.md'), 'utf8');
    assert.ok(names.length > 10);
    for (const name of names) {
        assert.ok(tests.includes(`alertname: ${name}, exp_alerts`) && tests.includes(`alertname: ${name}}`), `${name} is not tested both ways`);
        assert.ok(runbook.includes(`\`${name}\``), `${name} is not in deploy/README.md`);
    }
});

/** The names of the metrics that all services expose together. */
async function exposed() {
    const names = new Set();
    for (const [service, recipe] of Object.entries(recipes)) {
        const admin = await freePort();
        const context = { ports: {}, secrets: { jwt: 'j', keySeal: 'k', hls: 'h', seal: 's', mysql: 'm' }, mysqlUrl: 'mysql://u:p@127.0.0.1:1/d', mediaRedisUrl: 'redis://127.0.0.1:1',
            rtmpUrl: 'rtmp://localhost/live', rtmpHost: '127.0.0.1', graceMs: 60000, storeDir: dir, runDir: dir, purgeUrl: 'http://127.0.0.1:1/purge' };
        for (const port of Object.keys(recipe.ports ?? {})) context.ports[port] = await freePort();
        const child = spawnBound(binary(service), [], { stdio: ['ignore', 'ignore', 'pipe'],
            env: { PATH: process.env.PATH, HANABI_REDIS_URL: 'redis://127.0.0.1:1', HANABI_ADMIN_LISTEN: `127.0.0.1:${admin}`, ...recipe.env(context) } });
        started.push(child);
        let stderr = '';
        child.stderr.on('data', (data) => { stderr = (stderr + data).slice(-2000); });
        const page = await waitFor(`/metrics of ${service}`, async () => {
            assert.equal(child.exitCode, null, stderr);
            // What is counted by route is there from the first request on.
            if (context.ports.http && service !== 'chat') await fetch(`http://127.0.0.1:${context.ports.http}/api/v1/broadcasts/nobody`);
            return (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
        });
        for (const [, name] of page.matchAll(/^# TYPE (\w+) /gm)) names.add(name);
    }
    return names;
}

test('every metric that an alert or a panel names is exposed', async (t) => {
    const real = await exposed();
    const used = new Map();
    const take = (expression, where) => {
        for (const [name] of expression.matchAll(/\b(hanabi|process)_[a-z_]+\b/g)) used.set(name.replace(/_bucket$/, ''), where);
    };
    for (const [, expression] of fs.readFileSync(deploy('prometheus/alerts.yml'), 'utf8').matchAll(/expr: (.*)/g)) take(expression, 'alerts.yml');
    let panels = 0;
    for (const file of fs.readdirSync(deploy('grafana')).filter((name) => name.endsWith('.json'))) {
        const board = JSON.parse(fs.readFileSync(deploy(`grafana/${file}`), 'utf8'));
        assert.ok(board.uid && board.title && board.schemaVersion);
        for (const panel of board.panels) {
            panels += 1;
            for (const target of panel.targets) take(target.expr, `${file}: ${panel.title}`);
        }
    }
    for (const [name, where] of used) assert.ok(real.has(name), `${where} names ${name}, which no service exposes`);
    t.diagnostic(`${used.size} metrics in ${panels} panels and the alerts, of ${real.size} exposed`);
});
