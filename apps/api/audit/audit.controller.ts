import { Controller, Get, Query } from '@nestjs/common';
import { z } from 'zod';
import type { AuditEvent } from '#database';
import { Access } from '../access/access.decorator.js';
import { Documented } from '../docs/documented.js';
import { line, page, validated } from '../http/validation.js';
import * as docs from './audit.docs.js';
import { Audit } from './audit.js';

const auditQuery = z.strictObject({
  action: line(100).optional(),
  account: line(320).optional(),
  repository: line(40).optional(),
  since: z.coerce
    .number()
    .int()
    .min(0)
    .max(Date.UTC(9999, 11, 31))
    .optional(),
  ...page,
});

@Controller('repo/v1/audit')
export class AuditController {
  constructor(private readonly audit: Audit) {}

  @Access({ needs: 'read' })
  @Documented(docs.listAudit, { query: auditQuery })
  @Get()
  async list(@Query() query: unknown): Promise<docs.AuditEvents> {
    const { since, ...filter } = validated(auditQuery, query);
    const [events, total] = await this.audit.list({
      ...filter,
      ...(since !== undefined && { since: new Date(since) }),
    });
    return { events: events.map(view), total };
  }
}

/** `outcome` is the HTTP status of the answer, or `unknown` while the call runs and if the API died during it. */
function view(event: AuditEvent): docs.AuditEvents['events'][number] {
  const { id, happenedOn, account, keyName, action, subject, repository, outcome, address, count } = event;
  const subjects = [outcome?.made, subject].filter((part) => typeof part === 'string');
  return {
    id,
    on: happenedOn.getTime(),
    account,
    key: keyName,
    action,
    subject: subjects.length > 0 ? subjects.join(': ') : null,
    repository,
    outcome: outcome?.status.toString() ?? 'unknown',
    address,
    count,
  };
}
