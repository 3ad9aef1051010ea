/** Whatever takes SQL: a data source, a repository, a transaction. */
interface Queryable {
  query<Rows>(text: string): Promise<Rows>;
}

/**
 * The time by the database's clock: milliseconds since 1970. APIs compare stored times with this one, because their own
 * clocks may differ, and one that is wrong must not decide for all.
 */
export async function databaseNow(database: Queryable): Promise<number> {
  const [{ now } = { now: new Date(NaN) }] = await database.query<{ now: Date }[]>('SELECT now()');
  return now.getTime();
}
