import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { REPOSITORY_NAME } from '#contracts';
import { policyOf } from '../access/policy.js';
import { sendReason } from '../http/reason.js';
import type { Audit, AuditedCall } from './audit.js';
import type { Refusals } from './refusals.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of this call's event in the audit, once it is recorded. */
    auditEvent?: string;
    /** The id of the thing that the call made, if its answer does not contain it. */
    made?: string;
  }
}

/**
 * Records the calls whose policy names an audit action: before they are done, so that nothing happens off the record,
 * and their outcome before the answer leaves. If the outcome cannot be recorded, the client still gets its answer, and
 * the event shows `unknown`. Calls that are refused before they begin are recorded once a minute.
 */
export function recordAuditedCalls(fastify: FastifyInstance, audit: Audit, refusals: Refusals): void {
  fastify.decorateRequest('auditEvent');
  fastify.decorateRequest('made');
  fastify.addHook('preHandler', async (request, reply) => {
    // Routes for every account call beginAudited themselves, after their own checks.
    if (policyOf(request)?.everyAccount === true) return;
    try {
      await beginAudited(request, audit);
    } catch (error) {
      return sendReason(error, request, reply);
    }
  });
  fastify.addHook('onSend', async (request, reply, payload) => {
    const call = auditedCall(request);
    try {
      if (request.auditEvent !== undefined)
        await audit.end(request.auditEvent, reply.statusCode, request.made ?? made(reply, payload));
      // Refused before it began, such as for the scope of a key. A 5xx may be the audit's own failure.
      else if (call !== undefined && reply.statusCode < 500) await refusals.record(call, reply.statusCode);
    } catch (error) {
      request.log.error({ err: error, call }, 'Cannot record the outcome of a call in the audit');
    }
    return payload;
  });
}

/** Records a call before it is done, if its policy names an audit action. @throws AuditUnavailable */
export async function beginAudited(request: FastifyRequest, audit: Audit): Promise<void> {
  const call = auditedCall(request);
  if (call !== undefined) request.auditEvent = await audit.begin(call);
}

/** @returns undefined for calls that are not recorded. Calls without an account could fill the disk. */
function auditedCall(request: FastifyRequest): AuditedCall | undefined {
  const { account, ip } = request;
  const policy = policyOf(request);
  if (account === undefined || policy?.audit === undefined) return undefined;
  return {
    account: account.email,
    key: account.key?.name,
    action: policy.audit,
    subject: (policy.subject ?? subjectOf)(request),
    repository: repositoryOf(request),
    address: ip,
  };
}

/** The name or the id in the path, or else the archive, the email or the name in the body. */
function subjectOf({ params, body }: FastifyRequest): string | undefined {
  const { url, email, name } = record(body);
  return [...Object.values(record(params)), withoutSecrets(url), email, name].find(
    (value) => typeof value === 'string',
  );
}

/** The repository that the path or the body names. */
function repositoryOf({ params, body, routeOptions }: FastifyRequest): string | undefined {
  const named = /\/repositories\/:name/.test(routeOptions.url ?? '')
    ? record(params)['name']
    : record(body)['repository'];
  return typeof named === 'string' && REPOSITORY_NAME.test(named) ? named : undefined;
}

/** Removes the query of a presigned URL, which is a credential, and user and password. */
function withoutSecrets(url: unknown): string | undefined {
  return typeof url === 'string' ? url.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//') : undefined;
}

/** The id in the answer to a call that made something. */
function made(reply: FastifyReply, payload: unknown): string | undefined {
  if (reply.statusCode !== 201 || typeof payload !== 'string') return undefined;
  const { id } = record(JSON.parse(payload));
  return typeof id === 'string' ? id : undefined;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
