/**
 * Text as every queue can hold it: PostgreSQL takes neither NUL nor half of a surrogate pair, and what somebody else's
 * archive says of itself may have both.
 */
export function writable(text: string): string {
  return text.replace(/[\0\p{Cs}]/gu, '\uFFFD');
}
