import { pollUntil } from '#common';

const TIMEOUT_MS = 120_000;

/** Polls until `look` gives something other than false, null or undefined. @throws Error after two minutes */
export async function eventually<Answer>(
  look: () => Promise<Answer> | Answer,
  everyMs = 20,
): Promise<NonNullable<Exclude<Answer, false>>> {
  type Found = NonNullable<Exclude<Answer, false>>;
  const answer = await pollUntil(
    async () => {
      const seen = await look();
      return seen === false || seen === null ? undefined : (seen as Found);
    },
    { everyMs, timeoutMs: TIMEOUT_MS },
  );
  if (answer === undefined) throw new Error(`Not within ${TIMEOUT_MS / 1000} s: ${look.toString()}`);
  return answer;
}
