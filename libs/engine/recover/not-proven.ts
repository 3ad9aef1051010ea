import type { Relation } from '#postgres';
import { displayTable } from '#postgres';
import { describe, type ScriptStatement } from './script.js';

/** The most things that a record names. */
const NAMED = 20;

/** Collects the parts of an archive that a drill cannot try with its rights, on its server. */
export class NotProven {
  /** By object, so that its owner, rights and comments are not listed again. */
  private readonly objects = new Map<string, string>();
  private readonly others: string[] = [];
  private readonly rows: string[] = [];
  private readonly owners = new Set<string>();
  private owned = 0;

  /** Whether anything is missing, so that others may miss it. */
  get isEmpty(): boolean {
    return this.objects.size === 0;
  }

  /** An object that was not created. */
  addObject(statement: ScriptStatement, reason: string): void {
    if (!this.objects.has(statement.object))
      this.objects.set(statement.object, `${describe(statement)} (${reason})`);
  }

  /** An object that did not get its owner. */
  addOwner(owner: string): void {
    this.owners.add(owner);
    this.owned++;
  }

  /** A table or sequence without its contents, because it was not created. */
  addContents(relation: Relation): void {
    this.rows.push(displayTable(relation));
  }

  /** Anything else, with its reason. */
  add(text: string): void {
    this.others.push(text);
  }

  /** Whether the object of a statement is in the list. */
  has(statement: ScriptStatement): boolean {
    const start = `${describe(statement)} (`;
    return (
      this.objects.has(statement.object) || [...this.objects.values()].some((text) => text.startsWith(start))
    );
  }

  /** All of it, for people. */
  list(): string[] {
    const owners =
      this.owned === 0
        ? []
        : [`owners of ${this.owned} objects (the role may not act as ${[...this.owners].sort().join(', ')})`];
    const contents = shortened(this.rows);
    return [
      ...shortened(this.others),
      ...(contents.length === 0 ? [] : [`contents of ${contents.join(', ')} (not created)`]),
      ...shortened([...this.objects.values()]),
      ...owners,
    ];
  }
}

/** Keeps a list short enough for a record. */
export function shortened(things: string[]): string[] {
  const more = things.length - NAMED;
  return more > 0 ? [...things.slice(0, NAMED), `${more} more`] : things;
}
