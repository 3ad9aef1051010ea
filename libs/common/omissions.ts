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
  extensionRows: ['rows of # table of extensions', 'rows of # tables of extensions'],
  largeObject: ['# large object', '# large objects'],
  definitions: ['schema definitions', 'schema definitions'],
  schemaDefinitions: ['definitions of # schema', 'definitions of # schemas'],
  secret: ['secrets of # object', 'secrets of # objects'],
  role: ['# role', '# roles'],
  eventTrigger: ['# event trigger', '# event triggers'],
  publication: ['# publication', '# publications'],
  subscription: ['# subscription', '# subscriptions'],
  setting: ['# setting of the database', '# settings of the database'],
} as const;

/** The kind of things that an archive omits. To add one, add its noun. */
export type OmissionKind = keyof typeof KINDS;

/** Things of one kind that an archive omits. */
export interface OmittedThings {
  /** Archives of other versions may have other kinds, or none. */
  kind?: string | undefined;
  /** The number of things. */
  count?: number | undefined;
}

/** Adds up things of the same kind, in the order in which the kinds first appear. */
export function totalOmissions(omissions: OmittedThings[]): { kind: string; count: number }[] {
  const totals = new Map<string, number>();
  for (const { kind = 'other', count = 1 } of omissions) totals.set(kind, (totals.get(kind) ?? 0) + count);
  return [...totals].map(([kind, count]) => ({ kind, count }));
}

/** Names omissions by kind and number, such as "rows of 1 foreign table, 3 schemas". */
export function nameOmissions(omissions: OmittedThings[]): string {
  return totalOmissions(omissions)
    .map(({ kind, count }) => {
      const [one, several] = isKnown(kind) ? KINDS[kind] : (['# other thing', '# other things'] as const);
      return (count === 1 ? one : several).replace('#', String(count));
    })
    .join(', ');
}

function isKnown(kind: string): kind is OmissionKind {
  return Object.hasOwn(KINDS, kind);
}
