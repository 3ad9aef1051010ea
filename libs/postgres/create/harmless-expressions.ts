import { quoteTable, type Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { attempt } from '../connection/transactions.js';

/** Parts of expressions that call nothing but the functions that they name. As PostgreSQL prints parsed expressions. */
const NODES = new Set(
  `VAR CONST FUNCEXPR OPEXPR DISTINCTEXPR NULLIFEXPR SCALARARRAYOPEXPR BOOLEXPR RELABELTYPE ARRAY ARRAYEXPR
   ARRAYCOERCEEXPR CASE CASEEXPR WHEN CASEWHEN CASETESTEXPR COALESCE COALESCEEXPR MINMAX MINMAXEXPR COERCEVIAIO
   SQLVALUEFUNCTION NULLTEST BOOLEANTEST`.split(/\s+/),
);

/** Functions that are not immutable, but change and reveal nothing. */
const ALSO = `{now,transaction_timestamp,statement_timestamp,clock_timestamp,random,gen_random_uuid,uuidv4,uuidv7}`;

/**
 * Whether an expression of an archive is one expression and calls only PostgreSQL's own functions that change nothing.
 * Creating a table with any other would let the author of a forged archive run code with the rights of this session.
 * PostgreSQL itself parses the expression, as a check that it does not evaluate.
 * @param table an empty table of this transaction with the columns that the expression names
 */
export async function isHarmless(session: Session, table: Relation, expression: string): Promise<boolean> {
  if (!isClosed(expression)) return false;
  const alter = `ALTER TABLE ${quoteTable(table)}`;
  const parse = () =>
    session.query(
      `${alter} ADD CONSTRAINT snapshotd_expression CHECK ((${expression}) IS NOT NULL) NO INHERIT NOT VALID`,
    );
  if ((await attempt(session, parse)) !== undefined) return false;
  const [parsed] = await session.query<{ tree: string }>(
    `SELECT conbin::text AS tree FROM pg_constraint WHERE conrelid = $1::regclass AND conname = 'snapshotd_expression'`,
    [quoteTable(table)],
  );
  await session.query(`${alter} DROP CONSTRAINT snapshotd_expression`);
  const tree = parsed?.tree ?? '{';
  const nodes = [...tree.matchAll(/\{(\w*)/g)].map(([, node = '']) => node);
  const functions = [...tree.matchAll(/:(?:\w*funcid) (\d+)/g)].map(([, oid]) => Number(oid));
  if (!nodes.every((node) => NODES.has(node))) return false;
  const [judged] = await session.query<{ harmless: boolean }>(
    `SELECT coalesce(bool_and(coalesce(p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace
                                AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'internal')
                                AND (p.provolatile = 'i' OR p.proname = ANY ($2::text[])), false)), true) AS harmless
       FROM unnest($1::oid[]) AS called (oid) LEFT JOIN pg_proc p ON p.oid = called.oid WHERE called.oid <> 0`,
    [functions, ALSO],
  );
  return judged?.harmless === true;
}

/** Matches literals, quoted names, and characters that could end the expression or hide its end. */
const TOKEN = /\b[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--|\/\*|['"$;()\\]/gs;

/** Whether a text cannot end the parentheses around it: PostgreSQL prints expressions without comments and dollar quotes. */
export function isClosed(text: string): boolean {
  let depth = 0;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '(') depth++;
    else if (token === ')') {
      if (--depth < 0) return false;
    } else if (token.length === 1 || token === '--' || token === '/*') return false;
  }
  return depth === 0;
}
