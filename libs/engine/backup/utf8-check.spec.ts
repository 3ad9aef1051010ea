import { isUtf8 } from 'node:buffer';
import { Utf8Check } from './utf8-check.js';

const TEXTS = [
  '',
  'plain',
  'größe 東京 🐘',
  '\u{10ffff}',
  ...['ff', '41e4f6', 'e4b8', 'f09f90', 'eda080', 'c0af', 'f4908080', '80', '41c3'].map((hex) =>
    Buffer.from(hex, 'hex'),
  ),
].map((text) => Buffer.from(text));

test('bytes in pieces of any length are valid if they are valid as a whole', () => {
  for (const bytes of TEXTS)
    for (const size of [1, 2, 3, 5, 100]) {
      const check = new Utf8Check();
      for (let at = 0; at < bytes.length; at += size) check.update(bytes.subarray(at, at + size));
      expect(check.isValid).toBe(isUtf8(bytes));
    }
});
