import { progressTotal } from './index.js';

test('the total of 785 rows is 863', () => {
  expect([0, 9, 10, 785].map(progressTotal)).toEqual([0, 9, 11, 863]);
});
