import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { policyOf, type RoutePolicy } from '../auth/route-policies.js';
import { sendReason } from '../http/reason.js';
import type { Audit, AuditedCall } from './audit.js';
import type { Refusals } from './refusals.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of the audit's event of this call, once it is recorded. */
    auditEvent?: string;
    /** The id of what the call made, where its answer does not hold it. */
    made?: string;
  }
}

/**
 * Records the calls that have an action in route-policies.ts: before they are done, so that nothing is done that is
 * not on record, and again how they ended, before the answer leaves. Should that last row fail, the client gets its
 * answer nevertheless, for what was done is done: the event is there, and its outcome unknown. Of calls that were
 * refused before they began there is one event a minute.
 */
export function recordAuditedCalls(fastify: FastifyInstance, audit: Audit, refusals: Refusals): void {
  fastify.decorateRequest('auditEvent');
  fastify.decorateRequest('made');
  fastify.addHook('preHandler', async (request, reply) => {
    // Where every account may ask, the route says when it begins: it may refuse first.
    if (policyOfRequest(request)?.everyAccount === true) return;
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
      // Refused before it began, such as for the scope of a key. What the audit itself refused is not tried again.
      else if (call !== undefined && reply.statusCode < 500) await refusals.record(call, reply.statusCode);
    } catch (error) {
      request.log.error({ err: error, call }, 'The outcome of a call could not be recorded in the audit');
    }
    return payload;
  });
}

/** Records that a call is about to be done, if it is one that is recorded. @throws AuditUnavailable */
export async function beginAudited(request: FastifyRequest, audit: Audit): Promise<void> {
  const call = auditedCall(request);
  if (call !== undefined) request.auditEvent = await audit.begin(call);
}

/** @returns undefined for calls that are not recorded, such as those without an account: they could fill the disk */
function auditedCall(request: FastifyRequest): AuditedCall | undefined {
  const { account, ip } = request;
  const policy = policyOfRequest(request);
  if (account === undefined || policy?.audit === undefined) return undefined;
  return {
    account: account.email,
    key: account.key?.name,
    action: policy.audit,
    subject: (policy.subject ?? subjectOf)(request),
    address: ip,
  };
}

function policyOfRequest({ method, routeOptions }: FastifyRequest): RoutePolicy | undefined {
  return policyOf(method, routeOptions.url ?? '');
}

/** What a call is about: the name or the id in its path, or else the archive, the email or the name in its body. */
function subjectOf({ params, body }: FastifyRequest): string | undefined {
  const { url, email, name } = record(body);
  const subject = [...Object.values(record(params)), withoutSecrets(url), email, name].find(
    (value) => typeof value === 'string',
  );
  return subject;
}

/** A presigned URL that somebody pasted is a key to what it leads to. */
function withoutSecrets(url: unknown): string | undefined {
  return typeof url === 'string' ? url.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//') : undefined;
}

/** The id in the answer of a call that made something. */
function made(reply: FastifyReply, payload: unknown): string | undefined {
  if (reply.statusCode !== 201 || typeof payload !== 'string') return undefined;
  const { id } = record(JSON.parse(payload));
  return typeof id === 'string' ? id : undefined;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
