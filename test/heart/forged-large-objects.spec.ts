import { ArchiveWriter, type Manifest } from '#archive';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, putBytes, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

const LIST = 'oid,bytes,owner,rights,comment\n';
const CONTENTS = 'oid,offset,bytes\n';
const TWO_LISTED = `${LIST}100,2,no one,,\n200,1,no one,,\n`;
const piece = (oid: number | string, offset: number | string, digits: string) =>
  `${oid},${offset},\\x${digits}\n`;
const TWO_HELD = CONTENTS + piece(100, 0, '6162') + piece(200, 0, '63');
const HUGE = '9'.repeat(15);

let url: string;
let genuine: DownloadedArchive;
let manifest: Manifest;
beforeAll(async () => {
  url = await newDatabase();
  await sql(url, "CREATE SCHEMA s; CREATE TABLE s.t (); SELECT lo_from_bytea(100, 'live')");
  const { key } = await runBackup(store, url, ['s']);
  genuine = await DownloadedArchive.of(store, key);
  manifest = genuine.manifest();
});

/** Stores an archive that lists and holds these large objects, and is right otherwise. @returns its key */
async function forged(list: string, contents: string, bytes: number): Promise<string> {
  const parts: Buffer[] = [];
  const writer = new ArchiveWriter(
    (part) => {
      parts.push(Buffer.from(part));
      return Promise.resolve();
    },
    { compressionLevel: 1, modifiedAt: new Date(manifest.takenAt), waitingBytes: 1024 * 1024 },
  );
  const copy = async (name: string, content: Buffer) => {
    const entry = writer.entry(name);
    await entry.write(content);
    return { ...entry.end(), rows: content.toString().trimEnd().split('\n').length - 1 };
  };
  for (const { name } of manifest.tables.flatMap(({ entries }) => entries))
    await copy(name, genuine.read(name));
  const metadata = { ...(await copy('large-objects/metadata.csv', Buffer.from(list))), name: LIST_NAME };
  const entries = [await copy('large-objects/000001.csv', Buffer.from(contents))];
  await writer.finish({ ...manifest, roles: undefined, largeObjects: { metadata, entries, bytes } });
  const key = `forged-${forgeries++}.zip`;
  await putBytes(key, Buffer.concat(parts));
  return key;
}
const LIST_NAME = 'large-objects/metadata.csv' as const;
let forgeries = 0;

const objects = () =>
  sql(url, `SELECT oid, pg_get_userbyid(lomowner), lo_get(oid) FROM pg_largeobject_metadata ORDER BY oid`);

test('an archive with right large objects is accepted, and the owner of a quoted name is only named', async () => {
  const owner = `o'; DROP SCHEMA s; --"`;
  const rights = JSON.stringify([{ grantor: owner, grantee: owner, privilege: 'SELECT', grantable: true }]);
  const quoted = [owner, rights].map((text) => `"${text.replaceAll('"', '""')}"`).join();
  const key = await forged(`${LIST}100,2,${quoted},\n200,1,${quoted},\n`, TWO_HELD, 3);
  await runVerify(store, url, ['s'], key);
  const { omissions } = await runRestore(store, url, ['s'], key);
  expect(omissions).toEqual([`owner and rights of 2 large objects (there is no role ${owner})`]);
  expect((await objects()).map((one) => String(one['lo_get']))).toEqual(['ab', 'c']);
});

test.each<[string, string, string, number]>([
  ['the content of an object that is not listed', TWO_LISTED, TWO_HELD + piece(300, 0, '64'), 3],
  ['an object twice', TWO_LISTED, TWO_HELD + piece(100, 0, '6162'), 3],
  ['an object listed twice', `${TWO_LISTED}200,1,no one,,\n`, TWO_HELD, 4],
  ['objects out of order', TWO_LISTED, CONTENTS + piece(200, 0, '63') + piece(100, 0, '6162'), 3],
  [
    'pieces that overlap',
    TWO_LISTED,
    CONTENTS + piece(100, 0, '6162') + piece(100, 1, '62') + piece(200, 0, '63'),
    3,
  ],
  ['a gap', TWO_LISTED, CONTENTS + piece(100, 1, '62') + piece(200, 0, '63'), 3],
  ['fewer bytes than listed', TWO_LISTED, CONTENTS + piece(100, 0, '6162'), 3],
  ['more bytes than listed', TWO_LISTED, CONTENTS + piece(100, 0, '616263') + piece(200, 0, '63'), 3],
  ['other bytes than its manifest', TWO_LISTED, TWO_HELD, 2],
  ['half a byte', TWO_LISTED, CONTENTS + piece(100, 0, '61620') + piece(200, 0, '6'), 3],
  ['digits that are none', TWO_LISTED, CONTENTS + piece(100, 0, '61zz') + piece(200, 0, '63'), 3],
  ['a further field', TWO_LISTED, CONTENTS + piece(100, 0, '61,2') + piece(200, 0, '63'), 3],
  ['huge numbers', `${LIST}100,${HUGE},no one,,\n`, CONTENTS + piece(100, 0, '61'), Number(HUGE)],
  [
    'an object of 4 TB that it does not hold',
    `${LIST}100,4398046509056,no one,,\n`,
    CONTENTS + piece(100, 0, '61'),
    4_398_046_509_056,
  ],
  ['an OID that is none', `${LIST}4294967296,1,no one,,\n`, CONTENTS + piece(4_294_967_296, 0, '61'), 1],
  ['an offset that is none', TWO_LISTED, CONTENTS + piece(100, '1e3', '6162'), 3],
  ['rights that are none', `${LIST}100,1,no one,"[{""grantor"": 1}]",\n`, CONTENTS + piece(100, 0, '61'), 1],
])('an archive with %s is refused, and nothing is changed', async (_title, list, contents, bytes) => {
  const before = await objects();
  const key = await forged(list, contents, bytes);
  const read = () => runVerify(store, url, ['s'], key, { level: 'READ' });
  for (const job of [read, runVerify, runRestore])
    await expect(job(store, url, ['s'], key)).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  expect(await objects()).toEqual(before);
});
