import { isClosed } from './harmless-expressions.js';

test.each([
  `(a > 0)`,
  `((a)::text = ANY (ARRAY['b)'::text, 'c('::text]))`,
  `"odd) ""name" IS NOT NULL`,
  `E'it\\'s (' || 'it''s ('`,
])('%s is closed', (expression) => {
  expect(isClosed(expression)).toBe(true);
});

test.each([
  `1) , ADD COLUMN b int DEFAULT (2`,
  `1); DROP TABLE t; SELECT (1`,
  `(1`,
  `1 -- `,
  `1 /* `,
  `$$)$$`,
  `'open`,
  `"open`,
  `E'\\' ) OR (''`,
  `1 ; 2`,
])('%s is not', (expression) => {
  expect(isClosed(expression)).toBe(false);
});
