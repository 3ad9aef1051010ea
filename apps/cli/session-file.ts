import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errorSentence, Failure } from '#common';

export interface StoredSession {
  email: string;
  token: string;
}

interface Content {
  /** The server that was logged in to last. */
  last: string | null;
  /** By the server's URL: a token is never sent to another one. */
  sessions: Record<string, StoredSession>;
}

/** The sessions that `login` keeps, in a file that its owner alone may read. */
export class SessionFile {
  /** @param configFolder missing where the user has no home */
  constructor(private readonly configFolder: string | undefined) {}

  /** The server that was logged in to last. @throws Failure FILE_REFUSED, SESSION_MISSING */
  get last(): string | undefined {
    return this.read().last ?? undefined;
  }

  /** @throws Failure FILE_REFUSED, SESSION_MISSING */
  find(url: string): StoredSession | undefined {
    return this.read().sessions[url];
  }

  /** @throws Failure FILE_REFUSED, SESSION_MISSING */
  keep(url: string, session: StoredSession): void {
    this.write({ last: url, sessions: { ...this.read().sessions, [url]: session } });
  }

  /** The server stays the last one, which the next login means too. @throws Failure FILE_REFUSED, SESSION_MISSING */
  forget(url: string): void {
    const { last, sessions } = this.read();
    this.write({
      last,
      sessions: Object.fromEntries(Object.entries(sessions).filter(([other]) => other !== url)),
    });
  }

  /** @throws Failure SESSION_MISSING where there is no home to keep it in */
  get path(): string {
    return join(this.folder, 'sessions.json');
  }

  private get folder(): string {
    if (this.configFolder === undefined)
      throw new Failure('SESSION_MISSING', 'permanent', 'There is no home to keep a session in.', {
        hint: 'Set HOME or XDG_CONFIG_HOME, or put a token into SNAPSHOTD_TOKEN.',
      });
    return join(this.configFolder, 'snapshotd');
  }

  private read(): Content {
    const text = this.readText();
    if (text === undefined) return { last: null, sessions: {} };
    try {
      return JSON.parse(text) as Content;
    } catch (cause) {
      // What JSON.parse says would quote the text.
      throw new Failure('FILE_REFUSED', 'permanent', `${this.path} is damaged.`, {
        hint: 'Delete it, and log in again.',
        cause: cause instanceof SyntaxError ? undefined : cause,
      });
    }
  }

  private readText(): string | undefined {
    if (this.configFolder === undefined) return undefined;
    let file: number;
    try {
      file = openSync(this.path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw this.refused('read', error);
    }
    try {
      // Of the file that is open, not of one that may be put in its place.
      if ((fstatSync(file).mode & 0o077) !== 0)
        throw new Failure('SESSION_MISSING', 'permanent', `Others than you may read ${this.path}.`, {
          hint: `Run chmod 600 '${this.path}', and log in again if somebody may have done so.`,
        });
      return readFileSync(file, 'utf8');
    } finally {
      closeSync(file);
    }
  }

  /** A reader meanwhile finds the old one or the new one. */
  private write(content: Content): void {
    const { path, folder } = this;
    const draft = `${path}.${randomBytes(4).toString('hex')}`;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true });
      renameSync(draft, path);
    } catch (error) {
      rmSync(draft, { force: true });
      throw this.refused('write', error);
    }
  }

  private refused(what: 'read' | 'write', error: unknown): Failure {
    return new Failure(
      'FILE_REFUSED',
      'permanent',
      `${this.path} cannot be ${what === 'read' ? 'read' : 'written'}: ${errorSentence(error)}.`,
      {
        hint: 'Put a token into SNAPSHOTD_TOKEN, or let XDG_CONFIG_HOME name a folder of yours.',
        cause: error,
      },
    );
  }
}
