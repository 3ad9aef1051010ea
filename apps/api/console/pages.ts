import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { Eta } from 'eta';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PRODUCT } from '#common';
import { pageToken } from '../auth/access.js';
import { linksBelow } from '../http/base-path.js';
import { answerFor, TooManyRequests } from '../http/reason.js';
import { formToken } from './form-token.js';
import { text } from './forms.js';
import * as words from './words.js';

/** What a page says at its top after a form was sent: the address names it, and can say nothing else. */
const SAID = {
  'archive-deleted': 'The archive is deleted.',
  'backup-started': 'The backup is started.',
  'database-accepted': 'The database is accepted. Its workers take jobs within five seconds.',
  'daemon-had-ended': 'The daemon had ended already.',
  'daemon-terminated': 'The daemon was told to end.',
  'logged-out': 'You are logged out.',
  'restore-started': 'The restore is started.',
  'schedule-deleted': 'The schedule is deleted. Its archives stay.',
  'schedule-saved': 'The schedule is saved.',
  'verification-started': 'The verification is started.',
} as const;

export interface Page {
  /** Of the file in views. */
  view: string;
  title: string;
  /** Which part of the console it belongs to. */
  section?: 'overview' | 'archives' | 'daemons' | 'schedules';
  /** What the view shows. */
  data?: object;
  /** Why a form is shown again, or an error instead of a page. */
  fault?: Fault | undefined;
}

/** Why a form was refused. */
export interface Fault {
  status: number;
  reason: string;
  retryAfterSeconds?: number;
}

/** Makes the pages: HTML out of the templates in views. */
@Injectable()
export class Pages {
  private readonly templates = new Eta({
    views: join(__dirname, 'views'),
    cache: true,
    functionHeader: `const { ${Object.keys(words).join(', ')} } = it.words;`,
  });

  show(request: FastifyRequest, reply: FastifyReply, page: Page): void {
    const { fault } = page;
    if (fault?.retryAfterSeconds !== undefined) void reply.header('Retry-After', fault.retryAfterSeconds);
    void reply
      .status(fault?.status ?? 200)
      .header('Content-Type', 'text/html; charset=utf-8')
      .send(this.html(request, page));
  }

  /** The page that stands for an error. */
  error(request: FastifyRequest, status: number, reason: string): string {
    return this.html(request, {
      view: 'error',
      title: STATUS_CODES[status] ?? 'Error',
      fault: { status, reason },
    });
  }

  private html(request: FastifyRequest, { view, title, section, data, fault }: Page): string {
    const token = pageToken(request);
    const done = text(request.query, 'done');
    const page = this.templates.render(view, {
      ...data,
      words,
      title,
      section,
      status: fault?.status,
      reason: fault?.reason,
      version: PRODUCT.version,
      account: request.account?.email,
      form: token === undefined ? '' : formToken(token),
      // A form that is sent twice starts one daemon.
      once: randomUUID(),
      said: Object.hasOwn(SAID, done) ? SAID[done as keyof typeof SAID] : undefined,
    });
    return linksBelow(request.basePath, page);
  }
}

/** After a form: the browser asks for a page, and reloading it sends nothing again. */
export function leadTo(reply: FastifyReply, path: string, said?: keyof typeof SAID): void {
  void reply.redirect(said === undefined ? path : `${path}?done=${said}`, 303);
}

/** Why a form is to be shown again. @throws what is not the form's fault */
export function faultOf(error: unknown): Fault {
  const { status, reason } = answerFor(error);
  if (status >= 500) throw error;
  return {
    status,
    reason,
    ...(error instanceof TooManyRequests && { retryAfterSeconds: error.retryAfterSeconds }),
  };
}

/** A part of a page, or why it cannot be shown: what it asks may be away while the others answer. */
export async function part<Value>(work: Promise<Value>): Promise<{ value?: Value; reason?: string }> {
  try {
    return { value: await work };
  } catch (error) {
    const { status, reason } = answerFor(error);
    if (status === 500) throw error;
    return { reason };
  }
}
