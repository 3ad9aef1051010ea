import { invalid } from '../manifest.js';

/** A manifest has five levels. */
const MAX_DEPTH = 20;
/** What a manifest says takes more bytes than this for each value: a table of one column and one row 12. */
const LEAST_BYTES_PER_VALUE = 8;
/** For those that are hardly more than their braces. */
const VALUES_IN_ANY_CASE = 1_000;

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [BRACKET, BRACKET_END, BRACE, BRACE_END] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Looks at JSON before it is parsed: braces and commas alone would become fifty times their length in memory, and
 * levels upon levels would end the process.
 * @throws Failure ARCHIVE_INVALID
 */
export function expectModestJson(text: Buffer): void {
  let depth = 0;
  let values = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (byte === QUOTE) quoted = !quoted;
    else if (quoted) at += byte === BACKSLASH ? 1 : 0;
    else if (byte === COMMA) values++;
    else if (byte === BRACKET || byte === BRACE) {
      values++;
      if (++depth > MAX_DEPTH) throw invalid('its manifest.json is nested too deep');
    } else if (byte === BRACKET_END || byte === BRACE_END) depth--;
  }
  if (values > VALUES_IN_ANY_CASE + text.length / LEAST_BYTES_PER_VALUE)
    throw invalid('its manifest.json holds more values than one of its length can');
}
