import { hasEnded } from '#common';
import { queues } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { tried } from '../support/tried.js';

const DAEMONS = 50;
const CLIENTS = 200;
/** How often each client polls. */
const ASK_EVERY_MS = 250;

test.each(queues)(
  'on the %s queue fifty backups at once complete on two workers, while two hundred clients ask for them',
  async (title, queueUrl) => {
    const stack = await Stack.start({ queueUrl, workers: 2 });
    const started = await Promise.all(Array.from({ length: DAEMONS }, () => stack.startBackup()));
    let polls = 0;
    const follow = async (id: string) => {
      const seen = await stack.watch(id, hasEnded, { everyMs: ASK_EVERY_MS });
      expect(seen.every(({ status }) => status !== undefined)).toBe(true);
      polls += seen.length;
      return seen.at(-1);
    };
    const ids = started.map(({ id }) => id);
    expect(new Set(ids).size).toBe(DAEMONS);
    const last = await Promise.all(
      Array.from({ length: CLIENTS }, (_, client) => follow(ids[client % DAEMONS] ?? '')),
    );
    expect(new Set(last.map((one) => one?.status))).toEqual(new Set(['COMPLETED']));
    expect(new Set(last.map((one) => one?.backupUrl)).size).toBe(DAEMONS);
    expect(stack.logs()).not.toContain('"msg":"Failed: ');
    await stack.stop();
    tried(
      `${DAEMONS} backups at once and ${CLIENTS} clients, ${title} queue`,
      DAEMONS,
      `all COMPLETED in one attempt; ${polls} polls, none failed`,
    );
  },
);
