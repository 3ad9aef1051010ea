import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import pg from 'pg';
import { ArchiveWriter, type Manifest, openArchive } from '#archive';
import { Failure } from '#common';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, putBytes, sample, storeOfTests } from '../support/servers.js';
import { stateOf } from '../support/state.js';
import { tally, tried } from '../support/tried.js';

const store = storeOfTests();

const DROP = 'DROP TABLE public.canary;';
/** Each would end the quotes of somebody who quotes badly, and then drop the canary. */
const NAMES = [
  `";${DROP}--`,
  `';${DROP}--`,
  `');${DROP}--`,
  `\\';${DROP}--`,
  `$$;${DROP}$$`,
  `a\n;${DROP}\n--`,
  `a\r\n\\.\n${DROP}`,
  `*/${DROP}/*`,
  `%s%I%L%1$s%;${DROP}`,
  '..',
  'a.b',
  '\\',
  '"',
  '\u202e\ufeff☠',
];

/** For manifests: out of any kind of quotes, and what no name can be. */
const EVIL = [["\\'", '"', "'", '$$'].map((end) => `${end};${DROP}--`).join('\n'), '\0'];

const id = (name: string) => pg.escapeIdentifier(name);
const text = (value: string) => pg.escapeLiteral(value);

/** Everything that has a name and that a restore touches, named like this. */
function definitionsOf(schema: string, name: string, tablespace: string | undefined): string {
  const [s, n] = [id(schema), id(name)];
  const other = id(`${name}2`);
  return `
    CREATE TYPE ${s}.${id(`${name}e`)} AS ENUM (${text(name)}, 'b');
    CREATE DOMAIN ${s}.${id(`${name}d`)} AS int;
    CREATE TABLE ${s}.${n} (${n} int, t text DEFAULT ${text(name)}, e ${s}.${id(`${name}e`)}, d ${s}.${id(`${name}d`)},
      CONSTRAINT ${id(`${name}k`)} PRIMARY KEY (${n}));
    CREATE TABLE ${s}.${other} (${n} int CONSTRAINT ${n} REFERENCES ${s}.${n}, ${id(`${name}g`)} int GENERATED ALWAYS AS (${n} * 2) STORED);
    CREATE SEQUENCE ${s}.${id(`${name}q`)} OWNED BY ${s}.${n}.${n};
    INSERT INTO ${s}.${n} VALUES (1, ${text(name)}, ${text(name)}, -1), (2, DEFAULT, 'b', 2);
    INSERT INTO ${s}.${other} VALUES (1), (2);
    ALTER DOMAIN ${s}.${id(`${name}d`)} ADD CONSTRAINT ${n} CHECK (VALUE > 0 OR VALUE::text = ${text(name)}) NOT VALID;
    ALTER TABLE ${s}.${n} ADD CONSTRAINT ${id(`${name}c`)} CHECK (t <> ${text(name)}) NOT VALID;
    CREATE FUNCTION ${s}.${id(`${name}f`)}() RETURNS trigger LANGUAGE plpgsql AS ${text('BEGIN RETURN NEW; END')};
    CREATE TRIGGER ${n} BEFORE INSERT ON ${s}.${n} FOR EACH ROW EXECUTE FUNCTION ${s}.${id(`${name}f`)}(${text(name)});
    CREATE MATERIALIZED VIEW ${s}.${id(`${name}m`)} AS SELECT * FROM ${s}.${n} WHERE t = ${text(name)};
    CREATE INDEX ${id(`${name}i`)} ON ${s}.${n} (t) ${tablespace === undefined ? '' : `TABLESPACE ${id(tablespace)}`};
    COMMENT ON CONSTRAINT ${n} ON ${s}.${other} IS ${text(name)};
    COMMENT ON CONSTRAINT ${id(`${name}c`)} ON ${s}.${n} IS ${text(name)};
    COMMENT ON CONSTRAINT ${n} ON DOMAIN ${s}.${id(`${name}d`)} IS ${text(name)};
    COMMENT ON INDEX ${s}.${id(`${name}i`)} IS ${text(name)};
    SELECT nextval(${text(`${s}.${id(`${name}q`)}`)});`;
}

let url: string;
let client: pg.Client;
async function openDatabase(server?: string): Promise<void> {
  url = await newDatabase(server);
  client = new pg.Client(url);
  await client.connect();
  await client.query('CREATE TABLE public.canary (a int)');
}
afterEach(() => client.end());

async function canaryLives(): Promise<boolean | undefined> {
  const { rows } = await client.query<{ lives: boolean }>(
    "SELECT to_regclass('public.canary') IS NOT NULL AS lives",
  );
  return rows[0]?.lives;
}

test.each(oneOf(postgresMajors, 1))(
  'on %s, names that would break out of quotes are names, in whatever place',
  async (title, server) => {
    await openDatabase(server);
    // Long enough for its indexes to be rebuilt, in a tablespace with a hostile name.
    const tablespace = `${randomBytes(4).toString('hex')}';${DROP}--"`;
    await client.query('SET allow_in_place_tablespaces = on');
    await client.query(`CREATE TABLESPACE ${id(tablespace)} LOCATION ''`);
    const names = sample(NAMES, 7);
    const schemas = names.slice(0, 4);
    for (const [index, name] of names.entries()) {
      const schema = schemas[index % schemas.length] ?? '';
      await client.query(
        `CREATE SCHEMA IF NOT EXISTS ${id(schema)}; ${definitionsOf(schema, name, tablespace)}`,
      );
    }
    const [first = ''] = schemas;
    await client.query(
      `INSERT INTO ${id(first)}.${id(first)} SELECT i, repeat(md5(i::text), 4), 'b', i FROM generate_series(3, 40000) i;
       REFRESH MATERIALIZED VIEW ${id(first)}.${id(`${first}m`)};`,
    );
    const before = await stateOf(client, schemas);
    const { key } = await runBackup(store, url, schemas, { definitions: 'auto' });
    const spoil = () =>
      client.query(
        names
          .map((name, index) => {
            const schema = id(schemas[index % schemas.length] ?? '');
            return `DELETE FROM ${schema}.${id(`${name}2`)}; UPDATE ${schema}.${id(name)} SET t = NULL, d = 7; SELECT nextval(${text(`${schema}.${id(`${name}q`)}`)})`;
          })
          .join(';'),
      );
    await spoil();
    await runRestore(store, url, schemas, key);
    expect(await stateOf(client, schemas)).toEqual(before);

    await runVerify(store, url, schemas, key);
    const intoSchemas = Object.fromEntries(schemas.map((schema) => [schema, `x${schema}`]));
    await runRestore(store, url, schemas, key, { intoSchemas, create: true });
    await spoil();
    const tables = names.flatMap((name, index) => {
      const schema = id(schemas[index % schemas.length] ?? '');
      return [`${schema}.${id(name)}`, `${schema}.${id(`${name}2`)}`];
    });
    await runRestore(store, url, schemas, key, { tables });
    expect(await stateOf(client, schemas)).toEqual(before);
    expect(await canaryLives()).toBe(true);
    tried(`a name to break out, in all places (${title})`, names.length, 'all came back; the canary lives');
  },
  120_000,
);

describe('a manifest', () => {
  test('with any of its texts replaced is refused or restores exactly', async () => {
    await openDatabase();
    await client.query(
      `CREATE SCHEMA s; CREATE TABLE s.p (a int PRIMARY KEY, b varchar(10)) PARTITION BY LIST (a);
       CREATE TABLE s.p1 PARTITION OF s.p DEFAULT; CREATE SEQUENCE s.q OWNED BY s.p.a; INSERT INTO s.p VALUES (1, 'x'), (2, NULL)`,
    );
    const before = await stateOf(client, ['s']);
    const { key } = await runBackup(store, url, ['s'], { definitions: 'off' });
    const spoil = () =>
      client.query("DELETE FROM s.p; INSERT INTO s.p1 VALUES (77); SELECT setval('s.q', 5)");
    await spoil();
    const spoiled = await stateOf(client, ['s']);

    const outcomes: string[] = [];
    const places = textsOf((await opened(key)).manifest).flatMap((path) =>
      EVIL.map((evil) => ({ path, evil })),
    );
    for (const { path, evil } of sample(places, 50)) {
      const forged = `forged-${randomBytes(8).toString('hex')}.zip`;
      await putBytes(forged, await forgery(key, path, evil));
      const failure = await runRestore(store, url, ['s'], forged).then(
        () => undefined,
        (error: unknown) => error,
      );
      const state = await stateOf(client, ['s']);
      const where = { path: path.join('.'), evil };
      if (failure === undefined) {
        expect({ ...where, state }).toEqual({ ...where, state: before });
        await spoil();
      } else {
        expect({ ...where, failure }).toEqual({
          ...where,
          failure: expect.objectContaining({ name: 'Failure', persistence: 'permanent' }),
        });
        expect({ ...where, state }).toEqual({ ...where, state: spoiled });
      }
      outcomes.push(failure instanceof Failure ? failure.code : 'restored exactly');
    }
    expect(await canaryLives()).toBe(true);
    tried(`a text of a manifest replaced to break out`, outcomes.length, tally(outcomes));
  });

  async function opened(key: string) {
    const object = await store.open(key, new AbortController().signal);
    if (object === undefined) throw new Error(`there is no ${key}`);
    return openArchive(object);
  }

  /** The same archive with another text somewhere in its manifest, whole in every other way. */
  async function forgery(key: string, path: Path, evil: string): Promise<Buffer> {
    const archive = await opened(key);
    const forged = structuredClone(archive.manifest);
    replace(forged, path, evil);
    const written: Buffer[] = [];
    const writer = new ArchiveWriter(async (bytes) => void written.push(Buffer.from(bytes)), {
      compressionLevel: 1,
      modifiedAt: new Date(archive.manifest.takenAt),
      waitingBytes: 2 ** 20,
    });
    // The writer takes no name that leads out of a folder: others of the same length stand for them at first.
    const names = forged.tables.flatMap(({ entries }) => entries.map(({ name }) => name));
    const standIns = names.map((name, index) =>
      LEADS_OUT.test(name) ? String(index).padEnd(Buffer.byteLength(name), '#') : name,
    );
    for (const [index, file] of archive.manifest.tables.flatMap(({ entries }) => entries).entries()) {
      const entry = writer.entry(standIns[index] ?? '');
      await entry.write(await buffer(archive.read([file]).next() ?? Readable.from([])));
      entry.end();
    }
    await writer.finish(forged);
    const bytes = Buffer.concat(written);
    for (const [index, standIn] of standIns.entries())
      for (let at = bytes.indexOf(standIn); at !== -1; at = bytes.indexOf(standIn, at + 1))
        bytes.write(names[index] ?? '', at);
    return bytes;
  }
});

type Path = (string | number)[];

/** Names of entries that the writer refuses or changes. */
const LEADS_OUT = /^[a-z]:|^\/|\\|(^|\/)\.\.(\/|$)|\/$/i;

/** Visits the texts of a manifest, except the fingerprint, which the writer computes and nothing reads. */
function textsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value === 'string') return path[0] === 'schemaFingerprint' ? [] : [path];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => textsOf(inner, [...path, key]));
}

function replace(manifest: Manifest, path: Path, evil: string): void {
  let at = manifest as unknown as Record<string, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  at[path.at(-1) ?? ''] = evil;
}
