import { errorSentence, Failure } from '#common';
import { type Finding, FINDING_KINDS } from '#contracts';

type Kind = Finding['kind'];

/** Things that a sentence names. */
const NAMED = 10;

/** Collects the findings of a check. */
export class Findings {
  readonly all: Finding[] = [];

  /** In the order of their kinds: the parts of a check run side by side. */
  get sorted(): Finding[] {
    const place = ({ kind }: Finding) => FINDING_KINDS.indexOf(kind);
    return this.all.toSorted((one, other) => place(one) - place(other));
  }

  ok(kind: Kind, message: string): void {
    this.all.push({ kind, level: 'ok', message, statements: [] });
  }

  warning(kind: Kind, message: string, statements: string[] = []): void {
    this.all.push({ kind, level: 'warning', message, statements });
  }

  problem(kind: Kind, message: string, statements: string[] = []): void {
    this.all.push({ kind, level: 'problem', message, statements });
  }

  /**
   * Does a part of the check. If it fails, that is a finding, and the check goes on.
   * @throws errors that are no Failure, or that end the whole check
   */
  async part(kind: Kind, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Failure) || ENDS_CHECK.test(error.code)) throw error;
      this.problem(kind, errorSentence(error));
    }
  }
}

const ENDS_CHECK = /^(DATABASE_CONNECTION_LOST|DATABASE_UNREACHABLE|TERMINATED|WORKER_.*)$/;

/** The first names of a list. */
export function named(names: string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** "1 table", "7 tables" */
export function counted(count: number, one: string): string {
  return `${count.toLocaleString('en-US')} ${one}${count === 1 ? '' : 's'}`;
}
