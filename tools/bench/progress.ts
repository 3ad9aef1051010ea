const began = performance.now();

/** Tells what goes on. Standard output is the table's. */
export function say(text: string): void {
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  process.stderr.write(`${seconds.padStart(5)} s  ${text}\n`);
}
