import { NoTurn, Turns } from './turns.js';

/** One turn at a time, and four waiting places, of which a party may have three. */
let turns: Turns;
let done: string[];
let end: (() => void)[];
beforeEach(() => {
  turns = new Turns(1, 4, 3);
  done = [];
  end = [];
});

/** Takes a turn, which lasts until the test ends it. */
function come(party: string): Promise<void> {
  return turns.take(party, async () => {
    done.push(party);
    await new Promise<void>((resolve) => end.push(resolve));
  });
}

/** Ends turn after turn until nobody waits. @returns their parties in order */
async function turnsOf(...all: Promise<void>[]): Promise<string> {
  const settled = Promise.allSettled(all);
  let open = true;
  void settled.then(() => (open = false));
  while (open) {
    end.shift()?.();
    await new Promise(setImmediate);
  }
  return done.join(' ');
}

test('first come, first served', async () => {
  expect(await turnsOf(...['a', 'b', 'c', 'a', 'd'].map(come))).toBe('a b c a d');
});

test('a party has a few places and leaves the others to other parties', async () => {
  const flood = ['a', 'a', 'a', 'a'].map(come);
  await expect(come('a')).rejects.toThrow(NoTurn);
  expect(await turnsOf(...flood, come('b'))).toBe('a a a a b');
});

test('if the queue is full, the newest caller of the largest party gives way to a smaller party', async () => {
  const first = come('x');
  const [kept, , sentAway] = ['a', 'a', 'a'].map(come);
  const others = [come('b'), come('c')];
  await expect(sentAway).rejects.toThrow(NoTurn);
  expect(await turnsOf(first, ...(kept === undefined ? [] : [kept]), ...others)).toBe('x a a b c');
});

test('nobody gives way to a party that would have as many places', async () => {
  const all = ['x', 'a', 'a', 'b', 'b'].map(come);
  const third = come('c');
  await expect(all[2]).rejects.toThrow(NoTurn);
  await expect(come('a')).rejects.toThrow(NoTurn);
  await expect(come('c')).rejects.toThrow(NoTurn);
  expect(await turnsOf(...all, third)).toBe('x a b b c');
});

test('a turn is free again when its work fails', async () => {
  const failed = turns.take('a', () => Promise.reject(new Error('broken')));
  await expect(failed).rejects.toThrow('broken');
  expect(await turnsOf(come('b'))).toBe('b');
});
