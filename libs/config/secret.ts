import { inspect } from 'node:util';

const REDACTED = '[secret]';

/** A setting that no log, error or JSON shows. Only `reveal` returns it, so that every use can be found. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
