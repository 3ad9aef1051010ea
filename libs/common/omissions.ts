import type { OmittedThings } from '#contracts';

/** A kind of omissions as a noun, for one and for several: # stands for their number. */
const KINDS = {
  schema: ['# schema', '# schemas'],
  table: ['# table', '# tables'],
  tableRows: ['rows of # table', 'rows of # tables'],
  foreignTableRows: ['rows of # foreign table', 'rows of # foreign tables'],
  unloggedTableRows: ['rows of # unlogged table', 'rows of # unlogged tables'],
  temporaryTable: ['# temporary table', '# temporary tables'],
  sequence: ['# sequence', '# sequences'],
  sequenceState: ['the state of # sequence', 'the states of # sequences'],
  viewRows: ['rows of # materialized view', 'rows of # materialized views'],
  extensionRows: ['rows of # table of extensions', 'rows of # tables of extensions'],
  largeObject: ['# large object', '# large objects'],
  definitions: ['schema definitions', 'schema definitions'],
  tableDefinitions: ['the definition of # table', 'the definitions of # tables'],
  schemaDefinitions: ['definitions of # schema', 'definitions of # schemas'],
  secret: ['secrets of # object', 'secrets of # objects'],
  role: ['# role', '# roles'],
  eventTrigger: ['# event trigger', '# event triggers'],
  publicationMember: ['# member of a publication', '# members of publications'],
  publication: ['# publication', '# publications'],
  subscription: ['# subscription', '# subscriptions'],
  defaultRights: ['default rights of # role', 'default rights of # roles'],
  setting: ['# setting of the database', '# settings of the database'],
} as const;

/** The kind of things that an archive omits. To add one, add its noun. */
export type OmissionKind = keyof typeof KINDS;
export const OMISSION_KINDS = Object.keys(KINDS) as OmissionKind[];

/** The kind of things that older archives, and archives of newer versions, omit. */
const OTHER = 'other';

/** Omitted things as the manifest lists them. Older archives have neither kind nor count. */
interface ListedOmission {
  kind?: string | undefined;
  count?: number | undefined;
  what: string;
  why: string;
}

/** Names and reasons that one summary holds, and the characters of each. */
const [NAMED, REASONS, CHARACTERS] = [10, 3, 200];

/** Summarizes omissions by kind. The summary is short, however many there are and however long their names. */
export function summarizeOmissions(omissions: ListedOmission[]): OmittedThings[] {
  const kinds = new Map<string, ListedOmission[]>();
  for (const omission of omissions) {
    const kind = isKnown(omission.kind) ? omission.kind : OTHER;
    const known = kinds.get(kind);
    if (known === undefined) kinds.set(kind, [omission]);
    else known.push(omission);
  }
  return [...kinds].map(([kind, all]) => ({
    kind,
    count: all.reduce((sum, { count = 1 }) => sum + count, 0),
    what: first(NAMED, ', ', new Set(all.map(({ what }) => what))),
    why: first(REASONS, '; ', new Set(all.map(({ why }) => why))),
  }));
}

/** Names summarized omissions by kind and number, such as "rows of 1 foreign table, 3 schemas". */
export function nameOmissions(omissions: Pick<OmittedThings, 'kind' | 'count'>[]): string {
  return omissions
    .map(({ kind, count }) => {
      const [one, several] = isKnown(kind) ? KINDS[kind] : (['# other thing', '# other things'] as const);
      return (count === 1 ? one : several).replace('#', String(count));
    })
    .join(', ');
}

/** Contents that an archive omits, and warnings. Null if the archive cannot be read. */
export interface Remarks {
  omissions?: Pick<OmittedThings, 'kind' | 'count'>[] | null;
  warnings?: string[] | null;
}

/** "with omissions", "with warnings" or both. @returns undefined if there is nothing to remark */
export function remarksOf({ omissions, warnings }: Remarks): string | undefined {
  const kinds = [...(omissions?.length ? ['omissions'] : []), ...(warnings?.length ? ['warnings'] : [])];
  return kinds.length === 0 ? undefined : `with ${kinds.join(' and ')}`;
}

function isKnown(kind: string | undefined): kind is OmissionKind {
  return kind !== undefined && Object.hasOwn(KINDS, kind);
}

function first(most: number, separator: string, texts: Set<string>): string {
  const shown = [...texts]
    .slice(0, most)
    .map((text) => (text.length > CHARACTERS ? `${text.slice(0, CHARACTERS)}…` : text));
  return shown.join(separator) + (texts.size > most ? ` and ${texts.size - most} more` : '');
}
