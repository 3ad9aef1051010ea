import { Secret } from '#config';
import { Keys } from './keys.js';

const FIRST = new Secret('00'.repeat(31) + '01');
const SECOND = new Secret('00'.repeat(31) + '02');
const facts = { id: '7', request: { key: 'a.zip', tables: ['a.b'] }, startedOn: 1 };

test('a code passes for the same facts, whatever the order of their properties', () => {
  const keys = new Keys([FIRST]);
  const code = keys.sign('job', facts);
  const shuffled = { startedOn: 1, gone: undefined, request: { tables: ['a.b'], key: 'a.zip' }, id: '7' };
  expect(keys.verify('job', shuffled, code)).toBe(true);
});

test('a code passes neither for other facts, nor for another purpose, nor with another key', () => {
  const keys = new Keys([FIRST]);
  const code = keys.sign('job', facts);
  expect(keys.verify('job', { ...facts, id: '8' }, code)).toBe(false);
  expect(keys.verify('job', { ...facts, more: true }, code)).toBe(false);
  expect(keys.verify('job', { ...facts, request: { ...facts.request, tables: ['a', 'b'] } }, code)).toBe(
    false,
  );
  expect(keys.verify('manifest', facts, code)).toBe(false);
  expect(new Keys([SECOND]).verify('job', facts, code)).toBe(false);
});

test.each([undefined, null, 7, '', 'zz'.repeat(32), ['a']])('%p is no code', (code) => {
  expect(new Keys([FIRST]).verify('job', facts, code)).toBe(false);
});

test('codes by a previous key pass, and new ones are made by the present key', () => {
  const before = new Keys([FIRST]);
  const after = new Keys([SECOND, FIRST]);
  expect(after.verify('job', facts, before.sign('job', facts))).toBe(true);
  expect(before.verify('job', facts, after.sign('job', facts))).toBe(false);
  expect(new Keys([SECOND]).verify('job', facts, after.sign('job', facts))).toBe(true);
});

test('base64 and hexadecimal digits of the same bytes are the same key', () => {
  const bytes = Buffer.alloc(32, 5);
  const code = new Keys([new Secret(bytes.toString('hex'))]).sign('job', facts);
  expect(new Keys([new Secret(bytes.toString('base64'))]).verify('job', facts, code)).toBe(true);
});

test('a sealed secret opens for its context, also after the key has changed, and shows nothing', () => {
  const url = new Secret('postgres://shop:s3cret@db/shop');
  const sealed = new Keys([FIRST]).seal('url of crm', url);
  expect(Buffer.from(sealed, 'base64').toString('latin1')).not.toContain('s3cret');
  expect(new Keys([FIRST]).seal('url of crm', url)).not.toBe(sealed);
  expect(new Keys([SECOND, FIRST]).open('url of crm', sealed)?.reveal()).toBe(url.reveal());
});

test('a sealed secret opens neither for another context, nor with another key, nor after a change', () => {
  const keys = new Keys([FIRST]);
  const sealed = keys.seal('url of crm', new Secret('postgres://shop:s3cret@db/shop'));
  const changed = Buffer.from(sealed, 'base64');
  changed[40] = (changed[40] ?? 0) ^ 1;
  expect(keys.open('url of shop', sealed)).toBeUndefined();
  expect(new Keys([SECOND]).open('url of crm', sealed)).toBeUndefined();
  expect(keys.open('url of crm', changed.toString('base64'))).toBeUndefined();
  expect(keys.open('url of crm', '')).toBeUndefined();
});
