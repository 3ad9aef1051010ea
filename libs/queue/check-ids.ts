import { randomBytes } from 'node:crypto';

const CHECK_ID = /^check-\d{13}-[0-9a-f]{8}$/;

/**
 * Makes the id of a check. BullMQ counts the ids of each queue from 1, so those of a second queue would be those of other
 * jobs, too. These sort by time.
 */
export function newCheckId(): string {
  return `check-${Date.now()}-${randomBytes(4).toString('hex')}`;
}

export function isCheckId(id: string): boolean {
  return CHECK_ID.test(id);
}
