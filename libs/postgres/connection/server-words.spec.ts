import pg from 'pg';
import { openText } from './server-words.js';

/** Returns an error like those of node-postgres. */
function said(fields: Partial<pg.DatabaseError>): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError('canceled: secret row', 0, 'error'), {
    code: '57014',
    ...fields,
  });
}

test.each(['dblink.c', 'connection.c', 'mysql_fdw.c', 'pl_exec.c', 'plpy_elog.c', 'plperl.c'])(
  'texts that %s relays are hidden, whatever context they claim',
  (file) => {
    for (const where of [undefined, 'COPY t, line 1, column secret: "row"', 'parallel worker']) {
      const text = openText(said({ file, ...(where !== undefined && { where }) }), false);
      expect(text).toBe('query_canceled; the scope everything shows the full text');
    }
  },
);

test('texts of the server are shown, even during COPY', () => {
  const where = 'COPY t, line 1';
  expect(openText(said({ file: 'postgres.c', where, message: 'canceling statement' }), false)).toBe(
    'canceling statement',
  );
  const refused = said({ file: 'numutils.c', code: '22P02', where: 'COPY t, line 7, column c: "x"' });
  expect(openText(refused, false)).toMatch(/^invalid_text_representation, column c, line 7; the scope/);
});
