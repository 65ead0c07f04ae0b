// What each service is given: the one place that knows which variables and ports a service takes in a local stack.
// A port "own" is private to an instance; a port "shared" is the same for all instances of the service (SO_REUSEPORT).

/** @typedef {{instances: number, ports?: Record<string, 'own'|'shared'>, env: (context: object) => object}} ServiceRecipe */

const listen = (port) => `127.0.0.1:${port}`;

/** @type {Record<string, ServiceRecipe>} */
export const recipes = {
    'live-api': {
        instances: 1,
        ports: { http: 'own' },
        env: (c) => ({
            HANABI_API_LISTEN: listen(c.ports.http), HANABI_MYSQL_URL: c.mysqlUrl, HANABI_JWT_SECRET: c.secrets.jwt,
            HANABI_KEY_SEAL_SECRET: c.secrets.keySeal, HANABI_HLS_SECRET: c.secrets.hls, HANABI_LOCAL_MODE: 'true',
            HANABI_RTMP_URL: c.rtmpUrl, HANABI_GRACE_MS: String(c.graceMs),
        }),
    },
    'burst-status': {
        instances: 1,
        ports: { http: 'own' },
        env: (c) => ({ HANABI_STATUS_LISTEN: listen(c.ports.http) }),
    },
    'settings-sync': {
        instances: 1,
        ports: { http: 'own' },
        env: (c) => ({ HANABI_SETTINGS_LISTEN: listen(c.ports.http), HANABI_MYSQL_URL: c.mysqlUrl, HANABI_JWT_SECRET: c.secrets.jwt }),
    },
    chat: {
        instances: 2,
        ports: { http: 'own' },
        env: (c) => ({ HANABI_CHAT_LISTEN: listen(c.ports.http), HANABI_MYSQL_URL: c.mysqlUrl, HANABI_JWT_SECRET: c.secrets.jwt }),
    },
    archive: {
        instances: 1,
        ports: { http: 'own' },
        env: (c) => ({
            HANABI_ARCHIVE_LISTEN: listen(c.ports.http), HANABI_MYSQL_URL: c.mysqlUrl, HANABI_STORE_URL: `file://${c.storeDir}`,
            HANABI_JWT_SECRET: c.secrets.jwt, HANABI_HLS_SECRET: c.secrets.hls, HANABI_SEAL_SECRET: c.secrets.seal,
        }),
    },
    'love-counter': {
        instances: 2,
        ports: { http: 'own' },
        env: (c) => ({ HANABI_LOVE_LISTEN: listen(c.ports.http), HANABI_MYSQL_URL: c.mysqlUrl, HANABI_JWT_SECRET: c.secrets.jwt }),
    },
    ingest: {
        instances: 1,
        ports: { rtmp: 'shared' },
        env: (c) => ({
            HANABI_MEDIA_REDIS_URL: c.mediaRedisUrl, HANABI_MYSQL_URL: c.mysqlUrl, HANABI_RTMP_LISTEN: `${c.rtmpHost}:${c.ports.rtmp}`,
            ...(c.tls ? { HANABI_RTMPS_LISTEN: `${c.rtmpHost}:${c.tls.rtmpsPort}`, HANABI_TLS_CERT: c.tls.cert, HANABI_TLS_KEY: c.tls.key } : {}),
        }),
    },
    transcoder: {
        instances: 1,
        env: (c) => ({ HANABI_MEDIA_REDIS_URL: c.mediaRedisUrl }),
    },
    'segment-uploader': {
        instances: 1,
        env: (c) => ({
            HANABI_MEDIA_REDIS_URL: c.mediaRedisUrl, HANABI_MYSQL_URL: c.mysqlUrl, HANABI_STORE_URL: `file://${c.storeDir}`,
            HANABI_PURGE_URLS: c.purgeUrl, HANABI_SPOOL_DIR: `${c.runDir}/spool`,
        }),
    },
};
