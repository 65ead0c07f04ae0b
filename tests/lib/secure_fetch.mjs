// fetch() that trusts one CA and nothing else. (Node's own trusts what the whole process does.)
import https from 'node:https';

export function secureFetch(ca) {
    const agent = new https.Agent({ ca, keepAlive: true });
    const send = (url, { method = 'GET', headers = {}, body, signal } = {}) => new Promise((resolve, reject) => {
        const request = https.request(url, { agent, method, headers, signal }, (answer) => {
            const parts = [];
            answer.on('data', (part) => parts.push(part)).on('error', reject).on('end', () => {
                const { statusCode: status } = answer;
                resolve(new Response([204, 304].includes(status) ? null : Buffer.concat(parts), { status, headers: Object.entries(answer.headers).map(([name, value]) => [name, String(value)]) }));
            });
        });
        // A server may close an idle line in the moment in which it is used again; whoever keeps lines asks once more then, as browsers do (RFC 9112, 9.3.1).
        request.on('error', (error) => {
            if (method === 'GET' && request.reusedSocket && error.code === 'ECONNRESET') resolve(send(url, { headers, signal }));
            else reject(error);
        }).end(body);
    });
    return send;
}
