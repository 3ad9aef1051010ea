import { printable } from './format.js';

/** The output of a command. */
export class Output {
  /** @param json whether the result is printed as JSON */
  constructor(readonly json: boolean) {}

  /** Prints the result: the only thing that goes to stdout. */
  result(answer: unknown, text: string): void {
    process.stdout.write(`${this.json ? toJson(answer) : text}\n`);
  }

  /** Prints a note to stderr. */
  note(text: string): void {
    process.stderr.write(`${printable(text)}\n`);
  }
}

/** Escapes DEL and the C1 control characters too, which JSON.stringify does not and terminals obey. */
function toJson(answer: unknown): string {
  return JSON.stringify(answer, null, 2).replace(
    /[\x7f-\x9f]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  );
}
