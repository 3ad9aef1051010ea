import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from './servers.js';

/** A URL of the same database whose connections ignore the database's search_path, for the test itself. */
export function unharmed(url: string): string {
  const address = new URL(url);
  address.searchParams.set('options', '-c search_path=');
  return address.href;
}

/** A trap for a superuser who connects to the database, set by somebody with rights on it. */
export class EvilSchema {
  private readonly proof = join(tmpdir(), `evil-${randomBytes(6).toString('hex')}`);

  private constructor(
    private readonly url: string,
    readonly name: string,
    /** The role that owns it. */
    readonly author: string,
  ) {}

  static async in(url: string): Promise<EvilSchema> {
    const digits = randomBytes(4).toString('hex');
    const evil = new EvilSchema(unharmed(url), `evil_${digits}`, `mallory_${digits}`);
    await sql(
      evil.url,
      `CREATE ROLE ${evil.author}; CREATE SCHEMA ${evil.name} AUTHORIZATION ${evil.author};
       GRANT USAGE ON SCHEMA ${evil.name} TO PUBLIC;`,
    );
    return evil;
  }

  /** The names of the functions that ran. */
  calls(): string[] {
    if (!existsSync(this.proof)) return [];
    return [...new Set(readFileSync(this.proof, 'utf8').trim().split('\n'))].sort();
  }

  /** A function body that records its call outside any transaction and then returns a value. */
  body(name: string, value: string): string {
    const program = `'COPY (SELECT ''${name}'') TO PROGRAM ''cat >> ${this.proof}'''`;
    return `BEGIN EXECUTE ${program}; RETURN ${value}; END`;
  }

  /** Fills the schema with a twin of each plain function and operator of PostgreSQL. */
  async addTwins(): Promise<void> {
    await sql(
      this.url,
      `SET check_function_bodies TO off;
      SET ROLE ${this.author};
      DO $do$
      DECLARE
        one record;
        body text := $body$${this.body('%s', '%s')}$body$;
      BEGIN
        FOR one IN
          SELECT p.oid, p.proname, p.prorettype, p.pronargs,
                 ARRAY(SELECT format_type(type, NULL) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, n) ORDER BY n) AS types
            FROM pg_proc p
           WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
             AND p.provariadic = 0 AND p.proargmodes IS NULL AND p.pronargs > 0
             AND NOT EXISTS (SELECT FROM pg_type t WHERE t.typtype = 'p' AND t.oid = ANY (p.proargtypes::oid[] || p.prorettype))
          UNION ALL
          SELECT p.oid, p.proname, p.prorettype, 0, '{}' FROM pg_proc p
           WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('pg_backend_pid', 'version', 'now', 'current_database', 'current_schema')
        LOOP
          EXECUTE format('CREATE FUNCTION ${this.name}.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
            one.proname, array_to_string(one.types, ', '), format_type(one.prorettype, NULL),
            format(body, one.proname, format('pg_catalog.%I(%s)', one.proname,
              (SELECT string_agg('$' || i, ', ') FROM generate_series(1, one.pronargs) i))));
        END LOOP;
        FOR one IN
          SELECT o.oid, o.oprname, format_type(o.oprleft, NULL) AS lefts, format_type(o.oprright, NULL) AS rights, format_type(o.oprresult, NULL) AS result
            FROM pg_operator o
           WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
             AND NOT EXISTS (SELECT FROM pg_type t WHERE t.typtype = 'p' AND t.oid IN (o.oprleft, o.oprright, o.oprresult))
        LOOP
          EXECUTE format('CREATE FUNCTION ${this.name}.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
            one.oid, one.lefts, one.rights, one.result,
            format(body, one.oprname, format('$1 OPERATOR(pg_catalog.%s) $2', one.oprname)));
          EXECUTE format('CREATE OPERATOR ${this.name}.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = ${this.name}.operator_%s)',
            one.oprname, one.lefts, one.rights, one.oid);
        END LOOP;
      END $do$;`,
    );
  }
}
