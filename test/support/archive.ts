import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Manifest } from '#archive';
import type { ObjectStore } from '#storage';
import { servers } from './servers.js';

const never = new AbortController().signal;

/** unzip needs a UTF-8 locale for names that are not ASCII. */
const env = { ...process.env, LC_ALL: 'C.UTF-8' };

/** An archive on disk, read by an independent program: unzip. */
export class DownloadedArchive {
  private constructor(readonly file: string) {}

  static async of(store: ObjectStore, key: string): Promise<DownloadedArchive> {
    const object = await store.open(key, never);
    if (object === undefined) throw new Error(`there is no object ${key}`);
    const file = join(servers.folder, key.replaceAll('/', '_'));
    writeFileSync(file, await buffer(object.read(0, object.length)));
    return new DownloadedArchive(file);
  }

  /** Tests the zip. @throws Error with unzip's output if it is damaged */
  test(): string {
    return execFileSync('unzip', ['-t', this.file], { encoding: 'utf8', env });
  }

  entries(): string[] {
    return execFileSync('unzip', ['-Z1', this.file], { encoding: 'utf8', env }).trim().split('\n');
  }

  /** The bytes of an entry. */
  read(name: string): Buffer {
    return execFileSync('unzip', ['-p', this.file, name.replace(/[[*?]/g, '\\$&')], {
      maxBuffer: 1 << 30,
      env,
    });
  }

  /** The lines of all chunks of a table without their headers. Each is a row, unless a value contains a line break. */
  rows(schema: string, name: string): string[] {
    const table = this.manifest().tables.find((one) => one.schema === schema && one.name === name);
    const files = this.readAll();
    return (table?.entries ?? []).flatMap((entry) =>
      (files.get(entry.name) ?? Buffer.alloc(0)).toString().trimEnd().split('\n').slice(1),
    );
  }

  /** The bytes of all entries, by name. */
  readAll(): Map<string, Buffer> {
    const folder = mkdtempSync(`${this.file}-`);
    execFileSync('unzip', ['-qq', this.file, '-d', folder], { env });
    const names = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const files = new Map(names.map((name) => [relative(folder, name), readFileSync(name)]));
    rmSync(folder, { recursive: true });
    return files;
  }

  manifest(bytes = this.read('manifest.json')): Manifest {
    return JSON.parse(bytes.toString('utf8')) as Manifest;
  }
}
