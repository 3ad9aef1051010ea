import { NoTurn, Turns } from './turns.js';

/** One turn at once, and a line of four, of which a party may have three. */
let turns: Turns;
let done: string[];
let end: (() => void)[];
beforeEach(() => {
  turns = new Turns(1, 4, 3);
  done = [];
  end = [];
});

/** Comes for a turn, which lasts until it is told to end. */
function come(party: string): Promise<void> {
  return turns.take(party, async () => {
    done.push(party);
    await new Promise<void>((resolve) => end.push(resolve));
  });
}

/** Ends turn after turn until nobody waits, and tells whose they were. */
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

test('who comes first is first', async () => {
  expect(await turnsOf(...['a', 'b', 'c', 'a', 'd'].map(come))).toBe('a b c a d');
});

test('a party has a few places, and leaves the others to others', async () => {
  const flood = ['a', 'a', 'a', 'a'].map(come);
  await expect(come('a')).rejects.toThrow(NoTurn);
  expect(await turnsOf(...flood, come('b'))).toBe('a a a a b');
});

test('when the line is full, the newest of who has most makes room for who has fewer', async () => {
  const first = come('x');
  const [kept, , sentAway] = ['a', 'a', 'a'].map(come);
  const others = [come('b'), come('c')];
  await expect(sentAway).rejects.toThrow(NoTurn);
  expect(await turnsOf(first, ...(kept === undefined ? [] : [kept]), ...others)).toBe('x a a b c');
});

test('nobody makes room for a party that would have as many', async () => {
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
