import { invalid } from '../manifest.js';

/** Manifests have five levels. */
const MAX_DEPTH = 20;
/** Manifests have more bytes for each value; a table of one column and one row has 12. */
const MIN_BYTES_PER_VALUE = 8;
/** For manifests of little more than their braces. */
const ALWAYS_ALLOWED_VALUES = 1_000;

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [BRACKET, BRACKET_END, BRACE, BRACE_END] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Checks JSON before it is parsed: braces and commas can take fifty times their length in memory, and deep nesting can
 * end the process.
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
      if (++depth > MAX_DEPTH) throw invalid('its manifest.json is nested too deeply');
    } else if (byte === BRACKET_END || byte === BRACE_END) depth--;
  }
  if (values > ALWAYS_ALLOWED_VALUES + text.length / MIN_BYTES_PER_VALUE)
    throw invalid('its manifest.json holds too many values for its length');
}
