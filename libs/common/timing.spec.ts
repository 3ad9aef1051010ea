import { pollUntil, withTimeout } from './index.js';

const never = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  );

test('late work ends with the reason', async () => {
  await expect(withTimeout(10, undefined, () => new Error('late'), never)).rejects.toThrow('late');
});

test('work under a time limit ends with the outer signal, and gives its result', async () => {
  const outer = AbortSignal.abort(new Error('stopped'));
  await expect(
    withTimeout(
      60_000,
      outer,
      () => new Error('late'),
      async (signal) => signal.throwIfAborted(),
    ),
  ).rejects.toThrow('stopped');
  await expect(
    withTimeout(
      60_000,
      undefined,
      () => new Error('late'),
      async () => 7,
    ),
  ).resolves.toBe(7);
});

test('polls until there is an answer, at least once, and once more at the end', async () => {
  let looks = 0;
  const third = () => (++looks < 3 ? undefined : looks);
  await expect(pollUntil(third, { everyMs: 1, timeoutMs: 60_000 })).resolves.toBe(3);
  looks = 0;
  await expect(pollUntil(third, { everyMs: 1, timeoutMs: 0 })).resolves.toBeUndefined();
  expect(looks).toBe(1);
  looks = 0;
  await expect(pollUntil(() => void looks++, { everyMs: 60_000, timeoutMs: 5 })).resolves.toBeUndefined();
  expect(looks).toBe(2);
});

test('polling ends with the signal', async () => {
  const stop = new AbortController();
  const polling = pollUntil(() => undefined, { everyMs: 60_000, timeoutMs: 60_000, signal: stop.signal });
  stop.abort(new Error('stopped'));
  await expect(polling).rejects.toThrow('stopped');
});
