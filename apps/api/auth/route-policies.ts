import type { FastifyInstance, FastifyRequest } from 'fastify';
import { KEY_SCOPES, type KeyScope } from '#contracts';
import { DASHBOARD_PATH } from '../dashboard/dashboard-path.js';
import { DOCS_PATH, DOCUMENT_PATH } from '../docs/docs-paths.js';
import { isOpen } from './open-routes.js';

/** Who may use a route, and whether that is recorded. Without more, it is for administrators only. */
export interface RoutePolicy {
  /** The scope that an API key needs at least; `session` where no key will do. */
  needs: KeyScope | 'session';
  /** What an API key needs where the body asks for more, and what that is. */
  needsFor?: (body: unknown) => { scope: KeyScope; what: string } | undefined;
  /** Open to every account. The route records by itself that it begins, when it has refused what it refuses. */
  everyAccount?: true;
  /** Open to holders of METRICS_TOKEN, too. */
  metricsToken?: true;
  /** What the audit calls it; what has none is not recorded. */
  audit?: string;
  /** What the audit says that the call is about, where path and body do not tell by themselves. */
  subject?: (request: FastifyRequest) => string | undefined;
}

/** Every route that is not open. An API that has another one does not start. HEAD is as GET. */
export const ROUTE_POLICIES: ReadonlyMap<string, RoutePolicy> = new Map<string, RoutePolicy>([
  ['POST /repo/v1/startBackupDaemon', { needs: 'start', audit: 'backup.start' }],
  // It replaces all rows of the repository.
  ['POST /repo/v1/startRestoreDaemon', { needs: 'everything', audit: 'restore.start' }],
  ['POST /repo/v1/startVerifyDaemon', { needs: 'start', needsFor: drill, audit: 'verify.start' }],
  ['GET /repo/v1/daemonStatus/:id', { needs: 'read' }],
  ['DELETE /repo/v1/terminateDaemon/:id', { needs: 'start', audit: 'daemon.terminate' }],
  ['GET /repo/v1/daemonStatus/:id/events', { needs: 'read' }],
  ['GET /repo/v1/daemons', { needs: 'read' }],
  ['GET /repo/v1/backups', { needs: 'read' }],
  ['GET /repo/v1/backups/:name', { needs: 'read' }],
  // An archive gives all rows of the repository.
  ['GET /repo/v1/backups/:name/download', { needs: 'everything', audit: 'archive.download' }],
  ['DELETE /repo/v1/backups/:name', { needs: 'everything', audit: 'archive.delete' }],
  ['GET /repo/v1/schedules', { needs: 'read' }],
  ['GET /repo/v1/schedules/:name', { needs: 'read' }],
  ['GET /repo/v1/schedules/:name/pruning', { needs: 'read' }],
  ['PUT /repo/v1/schedules/:name', { needs: 'everything', audit: 'schedule.set' }],
  ['DELETE /repo/v1/schedules/:name', { needs: 'everything', audit: 'schedule.delete' }],
  ['GET /repo/v1/workers', { needs: 'read' }],
  ['GET /repo/v1/repository/identity', { needs: 'read' }],
  // It decides which database backups are of, and restores replace.
  [
    'PUT /repo/v1/repository/identity',
    { needs: 'everything', audit: 'repository.accept', subject: acceptedDatabase },
  ],
  ['GET /repo/v1/audit', { needs: 'read' }],
  ['GET /metrics', { needs: 'read', metricsToken: true }],
  // A key that leaks must not make itself others, nor let anyone in.
  ['GET /auth/v1/accounts', { needs: 'session' }],
  ['POST /auth/v1/accounts', { needs: 'session', audit: 'account.create' }],
  ['PATCH /auth/v1/accounts/:id', { needs: 'session', audit: 'account.change', subject: changedAccount }],
  ['PUT /auth/v1/password', { needs: 'session', everyAccount: true, audit: 'password.change' }],
  ['GET /auth/v1/keys', { needs: 'session' }],
  ['POST /auth/v1/keys', { needs: 'session', audit: 'key.create' }],
  ['DELETE /auth/v1/keys/:id', { needs: 'session', audit: 'key.revoke' }],
  // The console is for people, and the audit calls what they do there as it calls what the API does.
  ['GET /admin', { needs: 'session' }],
  ['POST /admin/logout', { needs: 'session' }],
  ['POST /admin/backup', { needs: 'session', audit: 'backup.start' }],
  [
    'POST /admin/repository/identity',
    { needs: 'session', audit: 'repository.accept', subject: acceptedDatabase },
  ],
  ['GET /admin/archives', { needs: 'session' }],
  ['GET /admin/archives/:name', { needs: 'session' }],
  ['POST /admin/archives/:name/verify', { needs: 'session', audit: 'verify.start' }],
  ['GET /admin/archives/:name/restore', { needs: 'session' }],
  ['POST /admin/archives/:name/restore', { needs: 'session', audit: 'restore.start' }],
  ['GET /admin/archives/:name/download', { needs: 'session', audit: 'archive.download' }],
  ['GET /admin/archives/:name/delete', { needs: 'session' }],
  ['POST /admin/archives/:name/delete', { needs: 'session', audit: 'archive.delete' }],
  ['GET /admin/daemons', { needs: 'session' }],
  ['GET /admin/daemons/:id', { needs: 'session' }],
  ['GET /admin/daemons/:id/events', { needs: 'session' }],
  ['GET /admin/daemons/:id/terminate', { needs: 'session' }],
  ['POST /admin/daemons/:id/terminate', { needs: 'session', audit: 'daemon.terminate' }],
  ['GET /admin/schedules', { needs: 'session' }],
  ['GET /admin/new-schedule', { needs: 'session' }],
  ['POST /admin/schedules', { needs: 'session', audit: 'schedule.set' }],
  ['GET /admin/schedules/:name', { needs: 'session' }],
  ['POST /admin/schedules/:name', { needs: 'session', audit: 'schedule.set' }],
  ['GET /admin/schedules/:name/pruning', { needs: 'session' }],
  ['GET /admin/schedules/:name/delete', { needs: 'session' }],
  ['POST /admin/schedules/:name/delete', { needs: 'session', audit: 'schedule.delete' }],
]);

/** For plugins, which have routes of their own: all that lie at a path or below it. */
export const PREFIX_POLICIES: ReadonlyMap<string, RoutePolicy> = new Map<string, RoutePolicy>([
  // It shows jobs as the queue has them, with the full texts of failures.
  [DASHBOARD_PATH, { needs: 'everything' }],
  [DOCS_PATH, { needs: 'read' }],
  [DOCUMENT_PATH, { needs: 'read' }],
]);

/** @returns undefined for a route that has no line: an open one */
export function policyOf(method: string, url: string): RoutePolicy | undefined {
  const exact = ROUTE_POLICIES.get(`${method === 'HEAD' ? 'GET' : method} ${url}`);
  if (exact !== undefined) return exact;
  for (const [prefix, policy] of PREFIX_POLICIES)
    if (url === prefix || url.startsWith(`${prefix}/`)) return policy;
  return undefined;
}

/** Whether a key of this scope will do where one of the other is needed. */
export function covers(scope: KeyScope, needed: RoutePolicy['needs']): boolean {
  return needed !== 'session' && KEY_SCOPES.indexOf(scope) >= KEY_SCOPES.indexOf(needed);
}

/** Stops the start of a server that has a route of which nobody said who may use it. */
export function refuseForgottenRoutes(fastify: FastifyInstance): void {
  const forgotten = new Set<string>();
  fastify.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat())
      if (!isOpen(each, url) && policyOf(each, url) === undefined) forgotten.add(`${each} ${url}`);
  });
  fastify.addHook('onReady', (done) => {
    if (forgotten.size === 0) return done();
    const names = [...forgotten].join(', ');
    done(
      new Error(
        `These routes have no line in route-policies.ts, and none in open-routes.ts: ${names}. Add one.`,
      ),
    );
  });
}

/** A drill runs code of the repository's tables, as a restore does: constraints, generated columns, indexes. */
function drill(body: unknown): { scope: KeyScope; what: string } | undefined {
  const { restoreDrill } = Object(body) as { restoreDrill?: unknown };
  return restoreDrill === true ? { scope: 'everything', what: 'A restore drill' } : undefined;
}

/** @returns undefined where the call was refused before its body was read */
function acceptedDatabase({ body }: FastifyRequest): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { systemIdentifier, databaseOid, databaseName } = body as Record<string, unknown>;
  return [databaseName, systemIdentifier, databaseOid].map(String).join(' ');
}

/** Which account, and what became of it: not what its password or its name is now. */
function changedAccount({ params, body }: FastifyRequest): string {
  const changes = Object.entries(body ?? {}).map(([name, value]) =>
    typeof value === 'boolean' ? `${name} ${value}` : name,
  );
  return `${(params as { id: string }).id}: ${changes.join(', ')}`;
}
