import { readLabel } from './label.js';

const OWNER = 'x; Type: TABLE; Schema: a; Owner: y';

test.each([
  // The owner, or the tablespace, looks like other parts.
  [`t; Type: TABLE; Schema: s; Owner: ${OWNER}`, 'CREATE TABLE s.t (\n);', ['t', 'TABLE', 's']],
  [`v; Type: VIEW; Schema: s; Owner: ${OWNER}`, 'CREATE VIEW s.v AS\n SELECT 1;', ['v', 'VIEW', 's']],
  [
    `i; Type: INDEX; Schema: s; Owner: o; Tablespace: ${OWNER}`,
    'CREATE INDEX i ON s.t (a);',
    ['i', 'INDEX', 's'],
  ],
  [
    'i; Type: INDEX; Schema: s; Owner: x; Type: INDEX; Schema: -; Owner: y',
    'CREATE UNIQUE INDEX i ON s.t (a);',
    ['i', 'INDEX', 's'],
  ],
  [
    'f(integer); Type: FUNCTION; Schema: s; Owner: x; Owner: y',
    'CREATE FUNCTION s.f(integer) RETURNS void;',
    ['f(integer)', 'FUNCTION', 's'],
  ],
  [
    `TABLE t; Type: ACL; Schema: s; Owner: ${OWNER}`,
    `REVOKE ALL ON TABLE s.t FROM "${OWNER}";`,
    ['TABLE t', 'ACL', 's'],
  ],
  [
    `t_id_seq; Type: SEQUENCE; Schema: s; Owner: ${OWNER}`,
    'ALTER TABLE s.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (\n    SEQUENCE NAME s.t_id_seq\n);',
    ['t_id_seq', 'SEQUENCE', 's'],
  ],
  // The name does.
  [
    't; Type: TABLE; Schema: s; Owner: o; Type: TABLE; Schema: s; Owner: o',
    'CREATE TABLE s."t; Type: TABLE;\nSchema: s; Owner: o" (\n);',
    ['t; Type: TABLE; Schema: s; Owner: o', 'TABLE', 's'],
  ],
  // The schema does.
  [
    'a; Type: ACL; Schema: b; Type: SCHEMA; Schema: -; Owner: o',
    'CREATE SCHEMA "a; Type: ACL; Schema: b";',
    ['a; Type: ACL; Schema: b', 'SCHEMA', '-'],
  ],
  [
    't; Type: TABLE; Schema: a; Type: ACL; Schema: b; Owner: o',
    'CREATE TABLE "a; Type: ACL; Schema: b".t (\n);',
    ['t', 'TABLE', 'a; Type: ACL; Schema: b'],
  ],
])('%s', (label, statement, [name, kind, schema]) => {
  expect(readLabel(label, statement)).toEqual({ name, kind, schema });
});

test('a label with several meanings is refused', () => {
  const label = 'f(); Type: FUNCTION; Schema: s; Owner: x; Type: FUNCTION; Schema: a; Owner: y';
  expect(readLabel(label, "CREATE FUNCTION s.f() AS 'a.b';")).toMatchObject({ schema: 's' });
  expect(() => readLabel(label, "CREATE FUNCTION s.f() AS ' a.b; Type: ; Owner: ';")).toThrow(
    'these have several meanings',
  );
});
