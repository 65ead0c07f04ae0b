// Sealed tokens (libcommon/sealed_token.h), written a second time from their description: what a test needs to make one that our services would not.
//     const sealer = await tokenSealer(stack.secrets.seal, 'channel');
//     const { payload, expiresS } = sealer.open(token);
//     sealer.seal(payload, expiresS) === token
import sodium from 'libsodium-wrappers';

export async function tokenSealer(secret, purpose) {
    await sodium.ready;
    const derive = (use) => sodium.crypto_generichash(32, Buffer.from(`${use}\0${purpose}\0${secret}\0`), null);
    const [sealKey, nonceKey] = [derive('seal'), derive('nonce')];
    return {
        seal(payload, expiresS) {
            const clear = Buffer.alloc(8 + payload.length);
            clear.writeBigInt64BE(BigInt(expiresS));
            Buffer.from(payload).copy(clear, 8);
            const nonce = sodium.crypto_generichash(24, clear, nonceKey);
            const sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(clear, null, null, nonce, sealKey);
            return Buffer.concat([nonce, sealed]).toString('base64url');
        },
        open(token) {
            const bytes = Buffer.from(token, 'base64url');
            const clear = Buffer.from(sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, bytes.subarray(24), null, bytes.subarray(0, 24), sealKey));
            return { payload: clear.subarray(8), expiresS: Number(clear.readBigInt64BE()) };
        },
    };
}
