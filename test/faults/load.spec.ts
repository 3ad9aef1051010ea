import { setTimeout as sleep } from 'node:timers/promises';
import { hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import { queues } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { tried } from '../support/tried.js';

const DAEMONS = 50;
const CLIENTS = 200;
/** Between an answer and the next question of a client. */
const ASK_EVERY_MS = 250;

test.each(queues)(
  'on the %s queue fifty backups at once complete on two workers, while two hundred clients ask for them',
  async (title, queueUrl) => {
    const stack = await Stack.start({ queueUrl, workers: 2 });
    const started = await Promise.all(Array.from({ length: DAEMONS }, () => stack.startBackup()));
    let polls = 0;
    const follow = async (id: string) => {
      for (;;) {
        const { status, body } = await stack.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${id}`);
        expect(status).toBe(200);
        polls++;
        if (hasEnded(body)) return body;
        await sleep(ASK_EVERY_MS);
      }
    };
    const ids = started.map(({ id }) => id);
    expect(new Set(ids).size).toBe(DAEMONS);
    const last = await Promise.all(
      Array.from({ length: CLIENTS }, (_, client) => follow(ids[client % DAEMONS] ?? '')),
    );
    expect(new Set(last.map(({ status }) => status))).toEqual(new Set(['COMPLETED']));
    expect(new Set(last.map(({ backupUrl }) => backupUrl)).size).toBe(DAEMONS);
    expect(stack.logs()).not.toContain('"msg":"Failed: ');
    await stack.stop();
    tried(
      `${DAEMONS} backups at once and ${CLIENTS} clients, ${title} queue`,
      DAEMONS,
      `all COMPLETED in one attempt; ${polls} polls, none failed`,
    );
  },
);
