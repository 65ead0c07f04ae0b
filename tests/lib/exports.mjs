// What archive has exported into a folder store, read as an analyst would: with DuckDB, from gzip, by Hive partition.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';

export class Exports {
    static async open(storeDir) {
        const exports = new Exports();
        exports.dir = path.join(storeDir, 'export');
        exports.instance = await DuckDBInstance.create(':memory:');
        exports.connection = await exports.instance.connect();
        await exports.connection.run("SET threads = 1; SET TimeZone = 'UTC'");
        return exports;
    }

    /** Rows as objects with plain numbers; `$kind` in the text stands for all files of that kind. */
    async query(text) {
        const files = (kind) => `read_json('${this.dir}/${kind}/*/*/*.ndjson.gz', format = 'newline_delimited', hive_partitioning = true, hive_types = {'dt': DATE, 'hour': VARCHAR}, union_by_name = true, sample_size = -1)`;
        const reader = await this.connection.runAndReadAll(text.replace(/\$([a-z_]+)/g, (_, kind) => files(kind)));
        return reader.getRowObjectsJson().map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value])));
    }

    /** {broadcast: n} of a query with two columns. */
    async map(text) {
        return Object.fromEntries((await this.query(text)).map((row) => Object.values(row)));
    }

    /** Events that stand in another partition than the hour they happened in. */
    async misplaced(kind) {
        return this.query(`SELECT * FROM $${kind} WHERE dt <> CAST(epoch_ms(at_ms) AS DATE) OR CAST(hour AS INT) <> date_part('hour', epoch_ms(at_ms))`);
    }

    /** name -> hash of every file. */
    files() {
        if (!fs.existsSync(this.dir)) return {};
        const names = fs.readdirSync(this.dir, { recursive: true }).map(String).filter((name) => name.endsWith('.ndjson.gz')).sort();
        return Object.fromEntries(names.map((name) => [name, crypto.createHash('sha256').update(fs.readFileSync(path.join(this.dir, name))).digest('hex')]));
    }

    close() {
        this.connection.closeSync();
        this.instance.closeSync();
    }
}
