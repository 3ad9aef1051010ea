import { quoteIdentifier } from '../connection/identifiers.js';

/**
 * Returns patterns of pg_dump that match the wanted schemas and no other. A prefix stands for all schemas that begin with
 * it, such as those of tenants: arguments have a limited length. PostgreSQL finds names and prefixes by an index.
 * https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS
 * @param all the names of all schemas of the database
 */
export function schemaPatterns(wanted: Iterable<string>, all: string[]): string[] {
  const asked = new Set(wanted);
  const names = [...new Set([...asked, ...all])].map((name) => ({ name, letters: [...name] }));
  return cover(names, 0);

  /** @param group names whose first letters are the same */
  function cover(group: { name: string; letters: string[] }[], same: number): string[] {
    const isWanted = ({ name }: { name: string }) => asked.has(name);
    const [first] = group;
    if (first === undefined || !group.some(isWanted)) return [];
    if (group.length === 1) return [quoteIdentifier(first.name)];
    if (same > 0 && group.every(isWanted))
      return [`${quoteIdentifier(first.letters.slice(0, same).join(''))}*`];
    const byNext = new Map<string | undefined, typeof group>();
    for (const one of group) {
      const next = byNext.get(one.letters[same]);
      if (next === undefined) byNext.set(one.letters[same], [one]);
      else next.push(one);
    }
    return [...byNext.values()].flatMap((part) => cover(part, same + 1));
  }
}
