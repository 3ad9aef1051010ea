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
  /** The server of the last login. */
  last: string | null;
  /** By the server's URL, so that a token never goes to another server. */
  sessions: Record<string, StoredSession>;
}

/** The file in which `login` keeps sessions. Only its owner may read it. */
export class SessionFile {
  /** @param configFolder missing if the user has no home */
  constructor(private readonly configFolder: string | undefined) {}

  /** The server of the last login. @throws Failure FILE_REFUSED, SESSION_MISSING */
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

  /** Removes a session. The server stays the default of the next login. @throws Failure FILE_REFUSED, SESSION_MISSING */
  forget(url: string): void {
    const { last, sessions } = this.read();
    this.write({
      last,
      sessions: Object.fromEntries(Object.entries(sessions).filter(([other]) => other !== url)),
    });
  }

  /** @throws Failure SESSION_MISSING if there is no home folder */
  get path(): string {
    return join(this.folder, 'sessions.json');
  }

  private get folder(): string {
    if (this.configFolder === undefined)
      throw new Failure('SESSION_MISSING', 'permanent', 'There is no home folder to keep a session in.', {
        hint: 'Set HOME or XDG_CONFIG_HOME, or set SNAPSHOTD_TOKEN to a token.',
      });
    return join(this.configFolder, 'snapshotd');
  }

  private read(): Content {
    const text = this.readText();
    if (text === undefined) return { last: null, sessions: {} };
    try {
      return JSON.parse(text) as Content;
    } catch (cause) {
      // A SyntaxError would quote the text, which holds tokens.
      throw new Failure('FILE_REFUSED', 'permanent', `${this.path} is damaged.`, {
        hint: 'Delete it and log in again.',
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
      // Checks the open file, not its path, which may point to another file by now.
      if ((fstatSync(file).mode & 0o077) !== 0)
        throw new Failure('SESSION_MISSING', 'permanent', `Other users can read ${this.path}.`, {
          hint: `Run chmod 600 '${this.path}', and log in again if somebody may have read it.`,
        });
      return readFileSync(file, 'utf8');
    } finally {
      closeSync(file);
    }
  }

  /** Replaces the file atomically. */
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
    return new Failure('FILE_REFUSED', 'permanent', `Cannot ${what} ${this.path}: ${errorSentence(error)}.`, {
      hint: 'Set SNAPSHOTD_TOKEN to a token, or XDG_CONFIG_HOME to a folder that you own.',
      cause: error,
    });
  }
}
