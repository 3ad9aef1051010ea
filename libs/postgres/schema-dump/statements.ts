/** A statement of pg_dump's text, or one of psql's commands, which begins with a backslash. */
export interface Statement {
  /** The blanks and comments before it. After the last statement they stand alone. */
  before: string;
  /** From its first token to its semicolon; empty at the end of the text. */
  text: string;
}

/** The beginning of the next token. Letters are ASCII letters and all bytes of others, as PostgreSQL has it. */
const TOKEN =
  /(?<blank>[ \t\n\r\f\v]+|--[^\n]*)|(?<comment>\/\*)|(?<escapes>[eE])?(?<string>')|(?<quote>")|(?<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)|(?<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)|[^]/y;
const CREATES_ROUTINE = /^CREATE( OR REPLACE)? (FUNCTION|PROCEDURE)$/;
/** As many words as the longest of these has. */
const FIRST_WORDS = 4;

/**
 * Cuts pg_dump's text into statements, as psql does: a semicolon ends one outside of strings, quoted identifiers,
 * comments, parentheses and the bodies of BEGIN ATOMIC … END. All parts together are the text.
 * @param sql one character for each byte (`latin1`), whatever the encoding: UTF-8 has ASCII for ASCII alone
 */
export function* splitStatements(sql: string): Generator<Statement> {
  let backslashesEscape = false;
  let at = 0;
  while (at < sql.length) {
    const start = skipBlanks(sql, at);
    const end = sql[start] === '\\' ? lineEnd(sql, start) : statementEnd(sql, start, backslashesEscape);
    const text = sql.slice(start, end);
    yield { before: sql.slice(at, start), text };
    const [, setting] = /^SET standard_conforming_strings = (on|off);$/.exec(text) ?? [];
    if (setting !== undefined) backslashesEscape = setting === 'off';
    at = end;
  }
}

function tokenAt(sql: string, at: number): { groups: Record<string, string | undefined>; end: number } {
  TOKEN.lastIndex = at;
  const groups = TOKEN.exec(sql)?.groups ?? {};
  return { groups, end: TOKEN.lastIndex };
}

function skipBlanks(sql: string, from: number): number {
  let at = from;
  while (at < sql.length) {
    const { groups, end } = tokenAt(sql, at);
    if (groups['blank'] !== undefined) at = end;
    else if (groups['comment'] !== undefined) at = commentEnd(sql, end);
    else break;
  }
  return at;
}

function statementEnd(sql: string, start: number, backslashesEscape: boolean): number {
  const words: string[] = [];
  let parentheses = 0;
  let blocks = 0;
  let lastWord = '';
  let at = start;
  while (at < sql.length) {
    const { groups, end } = tokenAt(sql, at);
    const character = sql[at];
    at = end;
    if (groups['blank'] !== undefined) continue;
    if (groups['comment'] !== undefined) {
      at = commentEnd(sql, end);
      continue;
    }
    if (groups['string'] !== undefined)
      at = stringEnd(sql, end, backslashesEscape || groups['escapes'] !== undefined);
    else if (groups['quote'] !== undefined) at = after(sql, '"', end);
    else if (groups['dollar'] !== undefined) at = after(sql, groups['dollar'], end);
    else if (groups['word'] !== undefined) {
      const word = groups['word'].toUpperCase();
      if (words.length < FIRST_WORDS) words.push(word);
      if (parentheses === 0 && isRoutine(words)) {
        if (word === 'ATOMIC' && lastWord === 'BEGIN') blocks++;
        else if (word === 'CASE' && blocks > 0) blocks++;
        else if (word === 'END' && blocks > 0) blocks--;
      }
      lastWord = word;
      continue;
    } else if (character === '(') parentheses++;
    else if (character === ')') parentheses--;
    else if (character === ';' && parentheses === 0 && blocks === 0) return end;
    lastWord = '';
  }
  return at;
}

function isRoutine(words: string[]): boolean {
  return CREATES_ROUTINE.test(words.slice(0, words[1] === 'OR' ? 4 : 2).join(' '));
}

/** @param from behind the opening quote. A doubled quote is the end of one string and the beginning of another. */
function stringEnd(sql: string, from: number, backslashesEscape: boolean): number {
  if (!backslashesEscape) return after(sql, "'", from);
  const special = /['\\]/g;
  special.lastIndex = from;
  for (let found = special.exec(sql); found !== null; found = special.exec(sql)) {
    if (found[0] === '\\') special.lastIndex++;
    else if (sql[special.lastIndex] === "'") special.lastIndex++;
    else return special.lastIndex;
  }
  return sql.length;
}

/** @param from behind the opening of a comment, which others may be nested in */
function commentEnd(sql: string, from: number): number {
  const special = /\/\*|\*\//g;
  special.lastIndex = from;
  let depth = 1;
  for (let found = special.exec(sql); found !== null; found = special.exec(sql)) {
    depth += found[0] === '/*' ? 1 : -1;
    if (depth === 0) return special.lastIndex;
  }
  return sql.length;
}

function lineEnd(sql: string, from: number): number {
  return after(sql, '\n', from);
}

/** Behind the next place where a mark stands. */
function after(sql: string, mark: string, from: number): number {
  const found = sql.indexOf(mark, from);
  return found === -1 ? sql.length : found + mark.length;
}
