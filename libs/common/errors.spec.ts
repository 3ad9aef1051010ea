import { readFileSync } from 'node:fs';
import { errorDetails, errorSentence, Failure, PRODUCT } from './index.js';

test('the version is that of package.json', () => {
  const { name, version } = JSON.parse(readFileSync('package.json', 'utf8')) as typeof PRODUCT;
  expect(PRODUCT).toEqual({ name, version });
});

test('a failure has message and hint in one line, and its causes in its details', () => {
  const cause = new Error('socket hang up');
  const failure = new Failure('STORE_REQUEST_FAILED', 'transient', 'It broke\n at once.', {
    hint: 'Look.',
    cause,
    preface: 'Status Code: 500',
  });
  expect(errorSentence(failure)).toBe('It broke at once. Look.');
  expect(errorDetails(failure)).toMatch(
    /^Status Code: 500\nFailure \[STORE_REQUEST_FAILED\]: It broke\n[^]*\nCaused by: Error: socket hang up\n {4}at /,
  );
  expect(failure.and('And more.')).toMatchObject({
    code: 'STORE_REQUEST_FAILED',
    persistence: 'transient',
    preface: 'Status Code: 500',
    sentence: 'It broke at once. And more. Look.',
  });
});

test.each([
  [new AggregateError([new Error('a'), new Error('b')]), 'a; b'],
  ['a thrown text', 'a thrown text'],
  [new TypeError('two\nlines'), 'two lines'],
])('%p gives the sentence "%s"', (thrown, sentence) => {
  expect(errorSentence(thrown)).toBe(sentence);
});
