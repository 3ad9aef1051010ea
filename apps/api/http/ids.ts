/** Ids are counted from 1, by the queue and by the database; anything else is no id and need not be looked up. */
export function isId(text: string): boolean {
  return /^[1-9]\d{0,17}$/.test(text);
}
