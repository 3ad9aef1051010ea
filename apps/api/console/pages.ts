import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { join } from 'node:path';
import { BadRequestException, Injectable } from '@nestjs/common';
import { Eta } from 'eta';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PRODUCT } from '#common';
import { REPOSITORY_NAME } from '#contracts';
import { pageToken } from '../auth/request-tokens.js';
import { formToken } from '../auth/tokens.js';
import { linksBelow } from '../http/base-path.js';
import { answerFor, TooManyRequests } from '../http/reason.js';
import { InvalidRequest } from '../http/validation.js';
import { text } from './forms.js';
import * as words from './words.js';

/** The messages at the top of a page after a form. The URL contains only their names, so no link can fake another text. */
const SAID = {
  'archive-deleted': 'The archive is deleted.',
  'check-waits': 'No worker has answered yet. The check waits for one.',
  checked: 'The repository is checked.',
  'backup-started': 'The backup is started.',
  'drop-started': 'The drop of the database is started.',
  'database-accepted': 'The database is accepted. Its workers take jobs within five seconds.',
  'daemon-had-ended': 'The job had already ended.',
  'daemon-terminated': 'The job is being terminated.',
  'logged-out': 'You are logged out.',
  'repository-deleted': 'The repository is deleted. Its archives stay.',
  'repository-saved': 'The repository is saved.',
  'loss-confirmed': 'The loss of rows is confirmed. The schedule deletes archives again after its next run.',
  'restore-started': 'The restore is started.',
  'schedule-deleted': 'The schedule is deleted. Its archives stay.',
  'schedule-saved': 'The schedule is saved.',
  'verification-started': 'The verification is started.',
} as const;

export interface Page {
  /** The name of the file in views. */
  view: string;
  title: string;
  /** The part of the console that it belongs to. */
  section?: 'overview' | 'repositories' | 'archives' | 'daemons' | 'schedules';
  /** The data of the view. */
  data?: object;
  /** Why a form is shown again, or an error in place of a page. */
  fault?: Fault | undefined;
}

/** Why a form was refused. */
export interface Fault {
  status: number;
  reason: string;
  /** The messages at the fields of the form, by name. */
  fields?: Record<string, string>;
  retryAfterSeconds?: number;
}

/** Renders pages from the templates in views. */
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

  /** The page for an error. */
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
      faults: fault?.fields ?? {},
      chosenRepository: chosenRepository(request),
      version: PRODUCT.version,
      account: request.account?.email,
      form: token === undefined ? '' : formToken(token),
      // A form that is sent twice starts one job.
      once: randomUUID(),
      said: Object.hasOwn(SAID, done) ? SAID[done as keyof typeof SAID] : undefined,
    });
    return linksBelow(request.basePath, page);
  }
}

/** The repository that the page is restricted to, which links to other lists keep; empty for all. */
function chosenRepository(request: FastifyRequest): string {
  const name = text(request.query, 'repository');
  return REPOSITORY_NAME.test(name) ? name : '';
}

/** Redirects from a form to a page, so that reloading does not send the form again. */
export function redirectTo(reply: FastifyReply, path: string, said?: keyof typeof SAID): void {
  void reply.redirect(said === undefined ? path : `${path}?done=${said}`, 303);
}

/** Why a form is shown again. @throws the error if it is not the form's fault */
export function faultOf(error: unknown): Fault {
  const { status, reason } = answerFor(error);
  if (status >= 500) throw error;
  return {
    status,
    reason,
    fields: fieldsOf(error),
    ...(error instanceof TooManyRequests && { retryAfterSeconds: error.retryAfterSeconds }),
  };
}

/** The messages of a fault by field. Services name the field of a fault before a colon. */
function fieldsOf(error: unknown): Record<string, string> {
  if (error instanceof InvalidRequest)
    return Object.fromEntries(
      error.faults.map(({ field, message }): [string, string] => [field.replace(/\..*$/s, ''), message]),
    );
  const [, field, message] =
    /^(\w+): (.+)$/s.exec(error instanceof BadRequestException ? error.message : '') ?? [];
  return field === undefined || message === undefined ? {} : { [field]: message };
}

/** The data of a part of a page, or why it cannot be shown. One service may be down while the others work. */
export async function part<Value>(work: Promise<Value>): Promise<{ value?: Value; reason?: string }> {
  try {
    return { value: await work };
  } catch (error) {
    const { status, reason } = answerFor(error);
    if (status === 500) throw error;
    return { reason };
  }
}
