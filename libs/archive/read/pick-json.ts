import { setImmediate } from 'node:timers/promises';
import { invalid } from '../manifest.js';

/** The members to read: a value, whether there is one (null), the members of an object, or each element of an array. */
export type Shape = 'value' | null | { [member: string]: Shape } | [Shape];

/** A manifest has more bytes than this for each value of its summary. */
const MIN_BYTES_PER_VALUE = 32;
const ALWAYS_ALLOWED_VALUES = 1_000;
/** Longer than any member's name in a shape. */
const MAX_NAME_BYTES = 64;
const MAX_PICKED_BYTES = 16 * 1024 * 1024;
/** Other work gets its turn after this length of text. */
const PAUSE_AFTER_BYTES = 1024 * 1024;

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [BRACKET, BRACKET_END, BRACE, BRACE_END] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Reads chosen members of a JSON text and skips all others without building them. JSON.parse has no limits and cannot
 * be stopped, not even in a worker thread with resource limits: 64 MiB of text can take gigabytes. Skipped values are
 * not checked.
 * @throws Failure ARCHIVE_INVALID
 */
export async function pickJson(text: Buffer, shape: Shape): Promise<unknown> {
  const reading = new PickingReader(text).document(shape);
  for (;;) {
    const { done, value } = reading.next();
    if (done === true) return value;
    await setImmediate();
  }
}

/** Its generators yield to give other work a turn. */
class PickingReader {
  private at = 0;
  private pausedAt = 0;
  private values = 0;
  private pickedBytes = 0;

  constructor(private readonly text: Buffer) {}

  *document(shape: Shape): Generator<void, unknown> {
    const value = yield* this.value(shape);
    if (this.next() !== undefined) throw notJson();
    return value;
  }

  private *value(shape: Shape): Generator<void, unknown> {
    if (++this.values > ALWAYS_ALLOWED_VALUES + this.text.length / MIN_BYTES_PER_VALUE)
      throw invalid('its manifest.json holds too many values for its length');
    const first = this.next();
    if (Array.isArray(shape) && first === BRACKET) return yield* this.elements(shape[0]);
    if (typeof shape === 'object' && shape !== null && !Array.isArray(shape) && first === BRACE)
      return yield* this.members(shape);
    const start = this.at;
    yield* this.skip();
    return shape === null || first === BRACE || first === BRACKET ? null : this.parsed(start);
  }

  private *elements(shape: Shape): Generator<void, unknown[]> {
    const elements: unknown[] = [];
    while (this.hasNext(BRACKET_END, elements.length === 0)) elements.push(yield* this.value(shape));
    return elements;
  }

  private *members(shape: { [member: string]: Shape }): Generator<void, Record<string, unknown>> {
    const members: Record<string, unknown> = {};
    for (let isFirst = true; this.hasNext(BRACE_END, isFirst); isFirst = false) {
      if (this.next() !== QUOTE) throw notJson();
      const start = this.at;
      this.skipString();
      const name = this.text.toString('latin1', start + 1, Math.min(this.at - 1, start + MAX_NAME_BYTES));
      if (this.next() !== COLON) throw notJson();
      this.at++;
      const wanted = Object.hasOwn(shape, name) ? shape[name] : undefined;
      if (wanted === undefined) yield* this.skip();
      else members[name] = yield* this.value(wanted);
    }
    return members;
  }

  /** Whether an element or member follows. @param isFirst whether the opening bracket comes first */
  private hasNext(end: number, isFirst: boolean): boolean {
    if (isFirst) this.at++;
    const byte = this.next();
    if (isFirst && byte !== end) return true;
    if (byte !== COMMA && byte !== end) throw notJson();
    this.at++;
    return byte === COMMA;
  }

  /** Skips white space. @returns the next byte */
  private next(): number | undefined {
    for (;;) {
      const byte = this.text[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.at++;
    }
  }

  /** Skips the next value. */
  private *skip(): Generator<void, void> {
    let depth = 0;
    const start = this.at;
    for (;;) {
      if (this.at - this.pausedAt > PAUSE_AFTER_BYTES) {
        this.pausedAt = this.at;
        yield;
      }
      const byte = this.text[this.at];
      if (byte === undefined) break;
      const isEnd = byte === BRACE_END || byte === BRACKET_END;
      if (depth === 0 && (isEnd || byte === COMMA)) break;
      if (byte === BRACE || byte === BRACKET) depth++;
      if (isEnd) depth--;
      if (byte === QUOTE) this.skipString();
      else this.at++;
    }
    if (depth > 0 || this.at === start) throw notJson();
  }

  private skipString(): void {
    for (let end = this.at; ;) {
      end = this.text.indexOf(QUOTE, end + 1);
      if (end < 0) throw notJson();
      let backslashes = 0;
      while (this.text[end - 1 - backslashes] === BACKSLASH) backslashes++;
      if (backslashes % 2 === 1) continue;
      this.at = end + 1;
      return;
    }
  }

  private parsed(start: number): unknown {
    this.pickedBytes += this.at - start;
    if (this.pickedBytes > MAX_PICKED_BYTES) throw invalid('the summary of its manifest.json is too long');
    try {
      return JSON.parse(this.text.toString('utf8', start, this.at));
    } catch (cause) {
      throw notJson(cause);
    }
  }
}

function notJson(cause?: unknown): ReturnType<typeof invalid> {
  return invalid('its manifest.json is not JSON', cause);
}
