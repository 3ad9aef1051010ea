import type { ManifestType } from '#archive';
import type { TypeDefinition } from '#postgres';

/** Longer definitions are truncated: characters. */
const MAX_CHARACTERS = 200;

/**
 * Compares types of an archive with those of a database by their names and definitions, including the types that they
 * consist of.
 */
export class TypeComparison {
  /** Undefined for older archives, which have no type definitions. */
  private readonly archived: Map<string, ManifestType> | undefined;
  private readonly live: Map<string, TypeDefinition>;
  private readonly compared = new Set<string>();
  readonly differences: string[] = [];

  constructor(
    archived: ManifestType[] | undefined,
    live: TypeDefinition[],
    /** Pairs of a schema of the archive and the schema that its contents go to, as PostgreSQL prints them. */
    private readonly schemas: [string, string][],
  ) {
    this.archived = archived && new Map(archived.map((one) => [plain(one.type), one]));
    this.live = new Map(live.map((one) => [plain(one.type), one]));
  }

  /** Whether these types have the same name. A copy of a schema may have copies of its types, or use the original ones. */
  sameName(archived: string, live: string): boolean {
    const [there, here] = [plain(archived), plain(live)];
    return (
      there === here ||
      this.schemas.some(
        ([schema, other]) =>
          there.startsWith(`${plain(schema)}.`) &&
          here === `${plain(other)}${there.slice(plain(schema).length)}`,
      )
    );
  }

  /** Records the differences between the definitions of two types of the same name. */
  compare(archived: string, live: string): void {
    if (this.archived === undefined) return;
    const [there, here] = [element(archived), element(live)];
    const pair = JSON.stringify([there, here]);
    if (this.compared.has(pair)) return;
    this.compared.add(pair);
    const [was, is] = [this.archived.get(there), this.live.get(here)];
    if (was === undefined && is === undefined) return;
    if (was === undefined || is === undefined || !this.same(was, is)) {
      this.differences.push(
        // Labels are values of rows, which must not reach everyone who reads messages.
        was?.kind === 'enum' && is?.kind === 'enum'
          ? `the type ${element(live)} lacks labels of the archive, or has them in another order`
          : `the type ${element(live)} is ${is ? definition(is) : 'a base type'} here and ${was ? definition(was) : 'a base type'} in the archive`,
      );
      return;
    }
    for (const [index, part] of was.parts.entries()) this.compare(part.type, is.parts[index]?.type ?? '');
  }

  private same(was: ManifestType, is: TypeDefinition): boolean {
    return (
      was.kind === is.kind &&
      was.parts.length === is.parts.length &&
      was.parts.every((part, index) => {
        const other = is.parts[index];
        return (
          other !== undefined &&
          part.name === other.name &&
          this.sameName(part.type, other.type) &&
          this.sameName(part.collation ?? '', other.collation ?? '') &&
          part.with.length === other.with.length &&
          part.with.every((name, at) => this.sameName(name, other.with[at] ?? ''))
        );
      }) &&
      keepsOrder(was.labels, is.labels)
    );
  }
}

/** Whether all labels of the archive exist in the same order. New labels in between do no harm. */
function keepsOrder(was: string[], is: string[]): boolean {
  let at = 0;
  for (const label of is) if (label === was[at]) at++;
  return at === was.length;
}

function element(type: string): string {
  return plain(type).replace(/\[\]$/, '');
}

/** Removes the quotes that quote_all_identifiers adds. */
function plain(type: string): string {
  return type.replace(/"([a-z_][a-z0-9_$]*)"/g, '$1');
}

function definition({ kind, parts, labels }: TypeDefinition): string {
  const [first] = parts;
  const said = ({ type, collation, with: others }: TypeDefinition['parts'][number]) =>
    [
      type,
      ...(collation === null ? [] : [`COLLATE ${collation}`]),
      ...others.filter((name) => name !== '-'),
    ].join(' ');
  const text =
    kind === 'composite'
      ? `(${parts.map((part) => `${part.name} ${said(part)}`).join(', ')})`
      : kind === 'enum'
        ? `an enum of ${labels.length} labels`
        : `a ${kind} of ${first === undefined ? 'nothing' : said(first)}`;
  return text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text;
}
