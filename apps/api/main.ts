import 'reflect-metadata';
import cookies from '@fastify/cookie';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { readSettings, SettingsError } from '#config';
import { PRODUCT } from '#common';
import { createLogger, NestLogger } from '#logging';
import { DaemonReader, NotificationQueue, ScheduleQueue } from '#queue';
import { requirePolicies } from './access/policy.js';
import { logRequests } from './access/request-log.js';
import { ApiModule } from './api.module.js';
import { Audit } from './audit/audit.js';
import { recordAuditedCalls } from './audit/audited-calls.js';
import { Refusals } from './audit/refusals.js';
import { Accounts } from './auth/accounts.js';
import { Callers } from './auth/callers.js';
import { guardAllRoutes } from './auth/guard.js';
import { LoginSessions } from './auth/login-sessions.js';
import { Login } from './auth/login.js';
import { registerConsole } from './console/console.js';
import { Pages } from './console/pages.js';
import { DASHBOARD_PATH, DOCS_PATH, DOCUMENT_PATH, isConsole, LOGIN_PATH } from './console/paths.js';
import { registerDashboard } from './dashboard/dashboard.js';
import { registerDocs } from './docs/docs.js';
import { redirectBelowBasePath } from './http/base-path.js';
import { acceptBodies } from './http/bodies.js';
import { sendSafeHeaders } from './http/safe-answers.js';
import { serverOptions } from './http/server-options.js';
import { measureRequests, Metrics } from './metrics/metrics.js';

async function main(): Promise<void> {
  const settings = readSettings();
  const logger = createLogger('api', settings.logLevel);
  for (const warning of settings.warnings) logger.warn(warning);
  const adapter = new FastifyAdapter(serverOptions(settings, logger));
  const app = await NestFactory.create<NestFastifyApplication>(ApiModule.with(settings, logger), adapter, {
    logger: new NestLogger(logger),
    abortOnError: false,
    bodyParser: false,
  });
  const fastify = adapter.getInstance();
  requirePolicies(fastify);
  sendSafeHeaders(fastify);
  redirectBelowBasePath(fastify, settings.basePath);
  logRequests(fastify);
  acceptBodies(fastify, isConsole);
  measureRequests(fastify, app.get(Metrics).own);
  await fastify.register(cookies);
  guardAllRoutes(fastify, {
    callers: app.get(Callers),
    login: app.get(Login),
    sessions: app.get(LoginSessions),
    metricsToken: settings.metricsToken,
    loginPath: LOGIN_PATH,
  });
  await registerConsole(fastify, app.get(Pages), app.get(Callers));
  recordAuditedCalls(fastify, app.get(Audit), app.get(Refusals));
  const notifications = app.get<NotificationQueue | undefined>(NotificationQueue);
  await registerDashboard(fastify, { path: DASHBOARD_PATH, basePath: settings.basePath }, [
    app.get(DaemonReader).queue,
    app.get(DaemonReader).checks,
    app.get(ScheduleQueue).queue,
    ...(notifications === undefined ? [] : [notifications.queue]),
  ]);
  registerDocs(app, { path: DOCS_PATH, documentPath: DOCUMENT_PATH, basePath: settings.basePath });
  app.enableShutdownHooks();

  const { firstAdministrator } = settings;
  if (firstAdministrator !== undefined) await app.get(Accounts).ensureAdministrator(firstAdministrator);
  await app.listen(settings.port, settings.host);
  logger.info({ version: PRODUCT.version, url: await app.getUrl() }, 'The API is listening');
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${error instanceof SettingsError ? error.message : String((error as Error).stack ?? error)}\n`,
  );
  process.exit(1);
});
