import { formatCount } from '#common';
import { progressBar, progressText } from './progress-line.js';

const half = { done: 431, total: 863, message: 'Reading repository.node', finished: false };
const pace = { rate: 100.4, left: 4_300 };

test('shows percent, amounts, rate and time left', () => {
  expect(progressText(half, pace, formatCount)).toBe(
    ' 49% 431/863, 100/s, 4 s left - Reading repository.node',
  );
});

test('omits unknown figures', () => {
  const nothing = { rate: undefined, left: undefined };
  expect(progressText({ ...half, done: 0, total: 0, message: 'Starting...' }, nothing, formatCount)).toBe(
    '  0% - Starting...',
  );
  expect(progressText({ ...half, finished: true, message: 'Finished' }, pace, formatCount)).toBe(
    '100% 431/863, 100/s - Finished',
  );
});

test('fills the bar by the share that is done, and cuts it to the terminal', () => {
  expect(progressBar(half, pace, formatCount, 200)).toMatch(/^\[#{11}-{13}\] {2}49% /);
  expect(progressBar({ ...half, finished: true }, pace, formatCount, 200)).toMatch(/^\[#{24}\] 100% /);
  expect(progressBar(half, pace, formatCount, 40)).toHaveLength(39);
});
