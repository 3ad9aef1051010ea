import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import { BadRequestException, ForbiddenException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import type { Job, JobType, Queue } from 'bullmq';
import { type DaemonReader, type NotificationQueue, type ScheduleQueue, undefinedIfUnreadable } from '#queue';
import { sendReason } from '../http/reason.js';
import { DASHBOARD_PATH } from './dashboard-path.js';

/** The page needs inline styles, and nothing from anywhere else. */
const CONTENT_SECURITY_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; form-action 'none'";

/** The fonts that the page would fetch from the internet; it falls back to the system's. */
const FOREIGN_LINKS = /<link[^>]+href="https?:\/\/[^>]*>/g;

/** The jobs of a queue without those that BullMQ cannot read, which would be all that the page says. */
class ReadableJobs extends BullMQAdapter {
  constructor(private readonly jobs: Queue) {
    super(jobs, { readOnlyMode: true });
  }

  override getJob(id: string): Promise<Job | undefined> {
    return (this.jobs.getJob(id) as Promise<Job | undefined>).catch(undefinedIfUnreadable);
  }

  override async getJobs(states: (JobType | 'paused')[], start?: number, end?: number): Promise<Job[]> {
    const known = states.filter((state) => state !== 'paused');
    const ids = await this.jobs.getRanges(known, start, end);
    const jobs = await Promise.all(ids.map((id) => this.getJob(id)));
    return jobs.filter((job) => job !== undefined);
  }
}

/** Shows the queues to administrators, read-only. Access is decided where all routes are guarded. */
export async function registerDashboard(
  fastify: FastifyInstance,
  basePath: string,
  queues: (DaemonReader | NotificationQueue | ScheduleQueue)['queue'][],
): Promise<void> {
  const serverAdapter = new FastifyAdapter();
  serverAdapter.setBasePath(basePath + DASHBOARD_PATH);
  createBullBoard({
    queues: queues.map((queue) => new ReadableJobs(queue)),
    serverAdapter,
    options: { uiConfig: { boardTitle: 'snapshotd' } },
  });
  // Its own handler would show what the queue's server said; thrown again, errors go on to the one below.
  serverAdapter.setErrorHandler((error) => {
    throw error;
  });
  await fastify.register(
    async (scope) => {
      scope.setErrorHandler((error, request, reply) =>
        // The page's own routes decode what was decoded already.
        sendReason(
          error instanceof URIError ? new BadRequestException('The percent-encoding is broken.') : error,
          request,
          reply,
        ),
      );
      // Read-only mode hides what changes jobs; pausing the queue, for one, it lets through.
      scope.addHook('onRequest', async (request, reply) => {
        if (request.method !== 'GET' && request.method !== 'HEAD')
          return sendReason(new ForbiddenException('The dashboard is read-only.'), request, reply);
      });
      // PostgreSQL knows no NUL, and would fail at it.
      scope.addHook('onRequest', async (request, reply) => {
        if (/%00/.test(request.url))
          return sendReason(new BadRequestException('A name cannot hold a NUL character.'), request, reply);
      });
      scope.addHook('onSend', async (_request, reply, payload) => {
        void reply.header('Content-Security-Policy', CONTENT_SECURITY_POLICY);
        const html = String(reply.getHeader('Content-Type') ?? '').startsWith('text/html');
        return html && typeof payload === 'string' ? payload.replace(FOREIGN_LINKS, '') : payload;
      });
      await scope.register(serverAdapter.registerPlugin());
    },
    { prefix: DASHBOARD_PATH },
  );
}
