import { createHmac } from 'node:crypto';
import type { Secret } from '#config';

/** Proves that a request is ours, and how old it is. docs/monitoring.md tells how receivers check it. */
export function signature(secret: Secret, body: string, now = Date.now()): string {
  const time = Math.floor(now / 1_000);
  const mac = createHmac('sha256', secret.reveal()).update(`${time}.${body}`).digest('hex');
  return `t=${time},v1=${mac}`;
}
