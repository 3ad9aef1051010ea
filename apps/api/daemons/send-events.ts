import type { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';

/** Answers with server-sent events, until they end or the client goes. */
export function sendEvents(reply: FastifyReply, events: Readable): void {
  // A client that goes while nothing is sent to it.
  reply.raw.once('close', () => events.destroy());
  void reply
    .header('Content-Type', 'text/event-stream')
    .header('Cache-Control', 'no-store, no-transform')
    .header('X-Accel-Buffering', 'no')
    .send(events);
}
