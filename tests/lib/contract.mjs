// proto/openapi.yaml and proto/asyncapi.yaml as checks of what real processes answer and publish. Stricter than the documents: a member that is not
// documented fails too.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import yaml from 'js-yaml';

export const protoDir = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../proto');
const load = (name) => yaml.load(fs.readFileSync(path.join(protoDir, name), 'utf8'));

/** A copy in which objects with named members have no others. */
function strict(node) {
    if (Array.isArray(node)) return node.map(strict);
    if (node === null || typeof node !== 'object') return node;
    const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, strict(value)]));
    if (copy.type === 'object' && copy.properties && copy.additionalProperties === undefined) copy.additionalProperties = false;
    return copy;
}

function resolve(document, node) {
    if (!node?.$ref) return node;
    return resolve(document, node.$ref.slice(2).split('/').reduce((at, key) => at[key], document));
}

const pointer = (...keys) => keys.map((key) => encodeURIComponent(String(key).replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');

function compiler(document, id) {
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    addFormats(ajv);
    ajv.addSchema({ $id: id, ...document });
    return (...keys) => ajv.getSchema(`${id}#/${pointer(...keys)}`);
}

export class OpenApi {
    constructor() {
        this.document = load('openapi.yaml');
        this.schema = compiler(strict(this.document), 'openapi');
        this.seen = new Set(); // operations that have been answered with success
    }

    operations() {
        return Object.entries(this.document.paths).flatMap(([template, item]) => Object.entries(item).filter(([method]) => method !== 'parameters')
            .map(([method, operation]) => ({ template, method, operation })));
    }

    /** The most literal template that fits wins: /settings/notices before /settings/{x}. */
    find(method, pathname) {
        const fits = (template) => new RegExp(`^${template.replace(/\{[^}]+\}/g, '[^/]+')}$`).test(pathname);
        return this.operations().filter((o) => o.method === method.toLowerCase() && fits(o.template)).sort((a, b) => a.template.split('{').length - b.template.split('{').length)[0];
    }

    /** Throws when the answer is not what the document says. `body` is parsed where it is JSON, else the text. */
    check(method, pathname, status, headers, body) {
        const found = this.find(method, pathname);
        const where = `${method} ${pathname} ${status}`;
        if (!found) throw new Error(`${where}: no such operation in openapi.yaml`);
        const { template, operation } = found;
        const response = operation.responses[status];
        if (!response) throw new Error(`${where}: the status is not documented: ${JSON.stringify(body)}`);
        const resolved = resolve(this.document, response);
        for (const [name, header] of Object.entries(resolved.headers ?? {})) {
            const value = headers.get(name);
            const { schema } = resolve(this.document, header);
            if (value === null) throw new Error(`${where}: header ${name} is missing`);
            if (schema.const !== undefined ? value !== schema.const : schema.type === 'integer' && !/^\d+$/.test(value)) throw new Error(`${where}: header ${name} is ${value}`);
        }
        const [type] = headers.get('content-type').split(';');
        if (!resolved.content[type]) throw new Error(`${where}: ${type}`);
        const keys = response.$ref ? response.$ref.slice(2).split('/') : ['paths', template, method.toLowerCase(), 'responses', status];
        const validate = this.schema(...keys, 'content', type, 'schema');
        if (!validate(body)) throw new Error(`${where}: ${JSON.stringify(validate.errors, null, 1)}\n${JSON.stringify(body)}`);
        if (status < 300) this.seen.add(operation.operationId);
    }
}

export class AsyncApi {
    constructor() {
        this.document = load('asyncapi.yaml');
        this.schema = compiler(strict(this.document), 'asyncapi');
    }

    /** Redis channels' names as they are in keys.h: without the parameter. */
    channelPrefixes() { return Object.keys(this.document.channels).filter((name) => !name.startsWith('/')).map((name) => name.replace(/\{[^}]+\}$/, '')); }

    messages() { return Object.entries(this.document.components.messages); }

    checkPayload(messageName, payload) {
        const validate = this.schema('components', 'messages', messageName, 'payload');
        return validate(payload) ? null : validate.errors;
    }

    /** Throws unless the payload is one of the channel's messages. */
    check(channel, payload) {
        const name = Object.keys(this.document.channels).find((known) => known === channel || (known.includes('{') && channel.startsWith(known.replace(/\{[^}]+\}$/, ''))));
        if (!name) throw new Error(`${channel}: no such channel in asyncapi.yaml`);
        const { message } = this.document.channels[name].subscribe;
        const names = (message.oneOf ?? [message]).map((one) => one.$ref.split('/').pop());
        const errors = names.map((one) => this.checkPayload(one, payload));
        if (errors.every((error) => error)) throw new Error(`${channel}: ${JSON.stringify(payload)} is none of ${names}: ${JSON.stringify(errors)}`);
    }
}
