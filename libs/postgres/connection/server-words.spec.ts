import pg from 'pg';
import { openText } from './server-words.js';

/** An error as node-postgres gives it. */
function said(fields: Partial<pg.DatabaseError>): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError('canceled: secret row', 0, 'error'), {
    code: '57014',
    ...fields,
  });
}

test.each(['dblink.c', 'connection.c', 'mysql_fdw.c', 'pl_exec.c', 'plpy_elog.c', 'plperl.c'])(
  'what %s passes on from elsewhere is no word of the server, whatever context it claims',
  (file) => {
    for (const where of [undefined, 'COPY t, line 1, column secret: "row"', 'parallel worker']) {
      const text = openText(said({ file, ...(where !== undefined && { where }) }), false);
      expect(text).toBe('query_canceled; the scope everything shows the full text');
    }
  },
);

test('what the server says itself is shown, also while it copies', () => {
  const where = 'COPY t, line 1';
  expect(openText(said({ file: 'postgres.c', where, message: 'canceling statement' }), false)).toBe(
    'canceling statement',
  );
  const refused = said({ file: 'numutils.c', code: '22P02', where: 'COPY t, line 7, column c: "x"' });
  expect(openText(refused, false)).toMatch(/^invalid_text_representation, column c, line 7; the scope/);
});
