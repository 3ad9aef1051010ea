import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import { BadRequestException, ForbiddenException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import type { Job, JobType, Queue } from 'bullmq';
import { type DaemonReader, type NotificationQueue, type ScheduleQueue, undefinedIfUnreadable } from '#queue';
import { setAccessBelow } from '../access/policy.js';
import { sendReason } from '../http/reason.js';
import { CONTENT_SECURITY_POLICY } from '../http/safe-answers.js';
import { withWayBack } from '../http/way-back.js';

/** Links to fonts on the internet. Without them the page uses the system's fonts. */
const FOREIGN_LINKS = /<link[^>]+href="https?:\/\/[^>]*>/g;

/** Omits jobs that BullMQ cannot read, each of which would replace the page by an error. */
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

/**
 * Shows the queues, read-only. Needs everything, because the jobs contain the full texts of failures.
 * @param path without the base path
 * @param consolePath where its link back leads
 */
export async function registerDashboard(
  fastify: FastifyInstance,
  { path, basePath, consolePath }: { path: string; basePath: string; consolePath: string },
  queues: (DaemonReader | NotificationQueue | ScheduleQueue)['queue'][],
): Promise<void> {
  setAccessBelow(fastify, path, { needs: 'everything', page: true });
  const serverAdapter = new FastifyAdapter();
  serverAdapter.setBasePath(basePath + path);
  createBullBoard({
    queues: queues.map((queue) => new ReadableJobs(queue)),
    serverAdapter,
    options: { uiConfig: { boardTitle: 'snapshotd' } },
  });
  // Its own handler would show the message of the queue's server. Errors that are thrown again reach the one below.
  serverAdapter.setErrorHandler((error) => {
    throw error;
  });
  await fastify.register(
    async (scope) => {
      scope.setErrorHandler((error, request, reply) =>
        // The package's routes decode their parameters a second time.
        sendReason(
          error instanceof URIError ? new BadRequestException('The percent-encoding is broken.') : error,
          request,
          reply,
        ),
      );
      // The package's read-only mode only hides buttons: it still accepts requests such as pausing a queue.
      scope.addHook('onRequest', async (request, reply) => {
        if (request.method !== 'GET' && request.method !== 'HEAD')
          return sendReason(new ForbiddenException('The dashboard is read-only.'), request, reply);
      });
      // PostgreSQL fails at texts with NUL.
      scope.addHook('onRequest', async (request, reply) => {
        if (/%00/.test(request.url))
          return sendReason(
            new BadRequestException('A name cannot contain a NUL character.'),
            request,
            reply,
          );
      });
      scope.addHook('onSend', async (_request, reply, payload) => {
        void reply.header('Content-Security-Policy', CONTENT_SECURITY_POLICY.inlineStyles);
        const html = String(reply.getHeader('Content-Type') ?? '').startsWith('text/html');
        return html && typeof payload === 'string'
          ? withWayBack(payload.replace(FOREIGN_LINKS, ''), consolePath)
          : payload;
      });
      await scope.register(serverAdapter.registerPlugin());
    },
    { prefix: path },
  );
}
