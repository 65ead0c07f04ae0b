// Tokens of callers (JWT, HS256), as live-api or an identity provider would sign them, and bad ones.
import crypto from 'node:crypto';

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** `claims`: whatever stands in it; an hour and the role of a viewer unless it says otherwise. */
export function signToken(claims, secret, header = { alg: 'HS256', typ: 'JWT' }) {
    const text = `${base64url(header)}.${base64url({ role: 'viewer', exp: Math.floor(Date.now() / 1000) + 3600, name: claims.sub, ...claims })}`;
    return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}
