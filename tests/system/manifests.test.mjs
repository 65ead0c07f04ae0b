// docker-compose.yml and deploy/k8s against what they configure: each service is given every variable that it requires and none that it does not
// know; Kubernetes' own schemas hold for every rendered object; every service has its probes, limits and walls.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import yaml from 'js-yaml';
import { edgeValues, repo } from '../../deploy/stack/servers.mjs';
import { recipes } from '../../deploy/stack/services.mjs';
import { configTable } from '../lib/config_table.mjs';

const services = Object.keys(recipes);
const given = new Set(['HANABI_ADMIN_LISTEN', 'HANABI_API_LISTEN', 'HANABI_STATUS_LISTEN', 'HANABI_SETTINGS_LISTEN', 'HANABI_CHAT_LISTEN', 'HANABI_LOVE_LISTEN', 'HANABI_ARCHIVE_LISTEN']);

function assertEnvironment(where, service, names) {
    const rows = configTable(service);
    const known = new Set(rows.map((row) => row.name));
    const missing = rows.filter((row) => row.required && !names.includes(row.name) && !given.has(row.name)).map((row) => row.name);
    assert.deepEqual(missing, [], `${where}: ${service} requires what it is not given`);
    assert.deepEqual(names.filter((name) => name.startsWith('HANABI_') && !known.has(name)), [], `${where}: ${service} does not know what it is given`);
}

test('docker-compose.yml: every service, its variables, its walls', () => {
    const compose = yaml.load(fs.readFileSync(path.join(repo, 'docker-compose.yml'), 'utf8'));
    const dockerfile = fs.readFileSync(path.join(repo, 'deploy/docker/Dockerfile'), 'utf8');
    const members = {};
    for (const [name, service] of Object.entries(compose.services)) {
        for (const network of Array.isArray(service.networks) ? service.networks : Object.keys(service.networks ?? {})) (members[network] ??= []).push(name);
    }
    for (const name of services) {
        const service = compose.services[name];
        assert.ok(service, `${name} is missing`);
        assertEnvironment('docker-compose.yml', name, Object.keys(service.environment));
        assert.ok(service.read_only && service.cap_drop.includes('ALL'), `${name}: read-only, without capabilities`);
        assert.match(dockerfile, new RegExp(`^FROM \\S+ AS ${name}$`, 'm'));
        const others = Object.entries(members).filter(([, list]) => list.includes(name)).flatMap(([, list]) => list).filter((other) => services.includes(other) && other !== name);
        assert.deepEqual(others, [], `${name} shares a network with another service`);
    }
    const text = JSON.stringify(compose);
    for (const variable of text.match(/\$\{HANABI_\w*(SECRET|PASSWORD)\w*[^}]*\}/g)) assert.match(variable, /:\?|S3_/, `${variable} has a default`);
});

test('deploy/docker/tls.yml: every link of every service is in TLS, with the CA to check it by', () => {
    const [plain, secure] = ['docker-compose.yml', 'deploy/docker/tls.yml'].map((file) => yaml.load(fs.readFileSync(path.join(repo, file), 'utf8')).services);
    for (const [name, service] of Object.entries(plain)) {
        for (const variable of Object.keys(service.environment ?? {}).filter((one) => /_(REDIS|MYSQL)_URL$/.test(one))) {
            const url = secure[name]?.environment?.[variable];
            assert.match(url ?? '', /^(rediss|mysql):\/\/.*\?ca=\/etc\/hanabi\/tls\/ca\.pem$/, `${name}: ${variable}`);
            assert.ok(secure[name].volumes.some((volume) => volume.endsWith(':/etc/hanabi/tls:ro')), name);
            assert.equal(url.replace(/\?ca=.*$/, '').replace('rediss:', 'redis:'), service.environment[variable]);
        }
    }
    for (const name of services) assertEnvironment('tls.yml', name, [...new Set([...Object.keys(plain[name].environment), ...Object.keys(secure[name].environment)])]);
    for (const [name, port] of [['edge', '8443'], ['rtmp', '1936']]) assert.ok(secure[name].ports.some((one) => one.endsWith(`:${port}`)), name);
    for (const name of ['redis', 'media-redis', 'mariadb', 'edge']) assert.ok(secure[name].environment.HANABI_TLS_CERT && secure[name].environment.HANABI_TLS_KEY, name);
});

test('both container edges take every bound of a client address', () => {
    const defaults = Object.fromEntries(Object.entries(edgeValues({})).filter(([name]) => name.startsWith('EDGE_')).map(([name, value]) => [`HANABI_${name}`, value]));
    const { edge } = yaml.load(fs.readFileSync(path.join(repo, 'docker-compose.yml'), 'utf8')).services;
    for (const name of [...Object.keys(defaults), 'HANABI_TRUSTED_PROXIES']) assert.equal(edge.environment[name], `\${${name}:-}`);
    const { data } = yaml.loadAll(fs.readFileSync(path.join(repo, 'deploy/k8s/base/config.yaml'), 'utf8')).find((object) => object.metadata.name === 'hanabi-edge');
    const { HANABI_TRUSTED_PROXIES: trusted, ...limits } = data;
    assert.deepEqual(limits, defaults);
    assert.ok(edgeValues({ HANABI_TRUSTED_PROXIES: trusted }).REAL_IP, 'all viewers come from the Ingress controller: without it they would be one client');
});

test('Grafana is given its data source and its dashboards', () => {
    const { services: { grafana, prometheus } } = yaml.load(fs.readFileSync(path.join(repo, 'docker-compose.yml'), 'utf8'));
    const read = (file) => yaml.load(fs.readFileSync(path.join(repo, 'deploy/grafana/provisioning', file), 'utf8'));
    const [source] = read('datasources/prometheus.yml').datasources;
    assert.deepEqual([source.type, source.url, source.isDefault], ['prometheus', 'http://prometheus:9090', true]);
    assert.ok(grafana.networks.some((network) => prometheus.networks.includes(network)), 'they share a network');
    const inside = grafana.volumes.find((volume) => volume.startsWith('./deploy/grafana:')).split(':')[1];
    assert.equal(grafana.environment.GF_PATHS_PROVISIONING, `${inside}/provisioning`);
    assert.equal(read('dashboards/hanabi.yml').providers[0].options.path, inside);
    const home = grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH.replace(inside, path.join(repo, 'deploy/grafana'));
    assert.ok(JSON.parse(fs.readFileSync(home, 'utf8')).uid);
});

const render = (overlay) => {
    const answer = spawnSync('kubectl', ['kustomize', path.join(repo, 'deploy/k8s/overlays', overlay)], { encoding: 'utf8' });
    assert.equal(answer.status, 0, answer.stderr);
    return yaml.loadAll(answer.stdout).filter(Boolean);
};

/** Kubernetes' own schema for the object, by its apiVersion and kind. */
async function assertSchema(object) {
    const [group, version] = object.apiVersion.includes('/') ? object.apiVersion.split('/') : ['', object.apiVersion];
    const Model = (await import(`kubernetes-models/${group ? `${group}/` : ''}${version}`))[object.kind];
    try { new Model(object).validate(); } catch (error) { assert.fail(`${object.kind} ${object.metadata.name}: ${error.message}`); }
}

for (const overlay of ['small', 'production']) {
    test(`deploy/k8s/overlays/${overlay}: schemas, variables, probes, budgets, walls`, async (t) => {
        const objects = render(overlay);
        for (const object of objects) await assertSchema(object);
        const of = (kind) => Object.fromEntries(objects.filter((object) => object.kind === kind).map((object) => [object.metadata.name, object]));
        const [deployments, budgets, scalers, policies] = [of('Deployment'), of('PodDisruptionBudget'), of('HorizontalPodAutoscaler'), of('NetworkPolicy')];
        for (const name of services) {
            const { spec } = deployments[name].spec.template;
            const [container] = spec.containers;
            assertEnvironment(`k8s ${overlay}`, name, container.env.map((variable) => variable.name));
            assert.ok(container.livenessProbe && container.readinessProbe && container.resources.requests, name);
            assert.ok(container.securityContext.readOnlyRootFilesystem && spec.securityContext.runAsNonRoot, name);
            const drain = Number(container.env.find((variable) => variable.name === 'HANABI_DRAIN_MS')?.value ?? 10000);
            assert.ok(spec.terminationGracePeriodSeconds * 1000 > drain, `${name} is killed before its drain is over`);
            assert.ok(budgets[name] && scalers[name], name);
            assert.equal(scalers[name].spec.scaleTargetRef.name, name);
            assert.ok(scalers[name].spec.minReplicas <= scalers[name].spec.maxReplicas);
        }
        for (const object of objects) {
            const { containers = [], securityContext } = object.spec?.template?.spec ?? {};
            for (const { name, image } of containers) {
                assert.ok(!image.endsWith(':latest'), `${name}: which ${image} that is stands nowhere`);
                assert.ok(securityContext.runAsNonRoot && (!object.spec.volumeClaimTemplates || securityContext.fsGroup), `${name}: not root, and its volume is its own`);
            }
        }
        assert.deepEqual(policies['nothing-by-default'].spec.podSelector, {});
        // No policy lets a service reach another: from a service's pods only data stores, names, the edge's purge port and the world of webhooks.
        for (const { metadata, spec } of Object.values(policies)) {
            const from = spec.podSelector.matchLabels?.['app.kubernetes.io/name'];
            for (const rule of spec.egress ?? []) {
                for (const target of rule.to ?? []) {
                    const to = target.podSelector?.matchLabels?.['app.kubernetes.io/name'];
                    assert.ok(!services.includes(to) || from === 'edge', `${metadata.name}: ${from} reaches ${to}`);
                }
            }
        }
        assert.equal(objects.filter((object) => object.kind === 'Secret').length, 0, 'no secret stands in the repository');
        t.diagnostic(`${objects.length} objects`);
    });
}

test('what the autoscalers scale by is exposed by that service', () => {
    const wanted = render('production').filter((object) => object.kind === 'HorizontalPodAutoscaler')
        .flatMap((object) => object.spec.metrics.filter((metric) => metric.type === 'Pods').map((metric) => [object.metadata.name, metric.pods.metric.name]));
    assert.ok(wanted.length >= 4);
    for (const [service, metric] of wanted) {
        const sources = fs.readdirSync(path.join(repo, 'services', service)).filter((file) => file.endsWith('.c')).map((file) => fs.readFileSync(path.join(repo, 'services', service, file), 'utf8')).join('');
        assert.ok(sources.includes(metric) || sources.includes(`"${metric.replace(/^hanabi_[a-z]+_/, '')}"`), `${service} does not make ${metric}`);
    }
});

test('every source file stands in the CMakeLists.txt of its folder: what is built is read there, and a file that is forgotten is not in the binary', () => {
    for (const folder of ['libcommon', 'proto', ...services.map((name) => `services/${name}`)]) {
        const text = fs.readFileSync(path.join(repo, folder, 'CMakeLists.txt'), 'utf8');
        const listed = [...text.matchAll(/(?<=[\s(])\w+\.c(?=[\s)])/g)].map(([name]) => name).sort();
        assert.deepEqual(listed, fs.readdirSync(path.join(repo, folder)).filter((name) => name.endsWith('.c')).sort(), folder);
    }
});
