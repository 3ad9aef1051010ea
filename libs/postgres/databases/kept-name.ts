import { randomUUID } from 'node:crypto';

/** The length of a name in PostgreSQL: https://www.postgresql.org/docs/current/limits.html */
const MAX_NAME_BYTES = 63;

/** The first line of the comment of a kept database. */
const MARK = /^Kept by snapshotd at a swap on \S+, mark \S+(\n|$)/;

/**
 * The name for a database that another one replaces: its own name, `_before_` and the UTC time to the second. A long name is
 * shortened at a character boundary, so that all of it fits into 63 bytes.
 * @param taken the names of the server's databases: a second swap within a second gets a number
 */
export function keptName(live: string, at: Date, taken: ReadonlySet<string>): string {
  const time = at.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '_');
  for (let number = 1; ; number++) {
    const ending = `_before_${time}${number === 1 ? '' : `_${number}`}`;
    const name = beginningOf(live, MAX_NAME_BYTES - ending.length) + ending;
    if (!taken.has(name)) return name;
  }
}

/** The whole characters of a text that fit into some bytes of UTF-8. */
function beginningOf(text: string, bytes: number): string {
  let beginning = '';
  for (const character of text) {
    if (Buffer.byteLength(beginning + character) > bytes) break;
    beginning += character;
  }
  return beginning;
}

/** A new mark for one kept database: a line that nobody can guess. */
export function newMark(at: Date): string {
  return `Kept by snapshotd at a swap on ${at.toISOString()}, mark ${randomUUID()}`;
}

/** The comment of a kept database: the mark, then the comment that it had. */
export function markedComment(mark: string, comment: string | null): string {
  return comment === null || comment === '' ? mark : `${mark}\n${comment}`;
}

/** Whether a comment begins with this mark. */
export function isMarked(comment: string | null, mark: string): boolean {
  return comment === mark || (comment?.startsWith(`${mark}\n`) ?? false);
}

/** The comment that a database had before it was kept. */
export function withoutMark(comment: string | null): string | null {
  return comment?.replace(MARK, '') || null;
}
