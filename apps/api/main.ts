import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { readSettings, SettingsError } from '#config';
import { PRODUCT } from '#common';
import { createLogger, NestLogger } from '#logging';
import { DaemonReader, NotificationQueue, ScheduleQueue } from '#queue';
import { ApiModule } from './api.module.js';
import { Audit } from './audit/audit.js';
import { recordAuditedCalls } from './audit/audited-calls.js';
import { Refusals } from './audit/refusals.js';
import { Accounts } from './auth/accounts.js';
import { guardAllRoutes } from './auth/access.js';
import { Callers } from './auth/callers.js';
import { PageLogin } from './auth/page-login.js';
import { registerConsole } from './console/console.js';
import { Pages } from './console/pages.js';
import { registerDashboard } from './dashboard/dashboard.js';
import { registerDocs } from './docs/docs.js';
import { leadBelowBasePath } from './http/base-path.js';
import { acceptBodies } from './http/bodies.js';
import { ReasonFilter } from './http/reason.filter.js';
import { logRequests } from './http/request-log.js';
import { sendSafeHeaders } from './http/safe-answers.js';
import { serverOptions } from './http/server-options.js';
import { measureRequests } from './metrics/http-latency.js';
import { Metrics } from './metrics/metrics.js';

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
  sendSafeHeaders(fastify);
  leadBelowBasePath(fastify, settings.basePath);
  logRequests(fastify);
  acceptBodies(fastify);
  measureRequests(fastify, app.get(Metrics).own);
  guardAllRoutes(fastify, app.get(Callers), app.get(PageLogin), settings.metricsToken);
  registerConsole(fastify, app.get(Pages));
  recordAuditedCalls(fastify, app.get(Audit), app.get(Refusals));
  const notifications = app.get<NotificationQueue | undefined>(NotificationQueue);
  await registerDashboard(fastify, settings.basePath, [
    app.get(DaemonReader).queue,
    app.get(ScheduleQueue).queue,
    ...(notifications === undefined ? [] : [notifications.queue]),
  ]);
  registerDocs(app, settings.basePath);
  app.useGlobalFilters(new ReasonFilter());
  app.enableShutdownHooks();

  const { firstAdministrator } = settings;
  if (firstAdministrator !== undefined) await app.get(Accounts).ensureAdministrator(firstAdministrator);
  await app.listen(settings.port, settings.host);
  logger.info({ version: PRODUCT.version, url: await app.getUrl() }, 'The API listens');
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${error instanceof SettingsError ? error.message : String((error as Error).stack ?? error)}\n`,
  );
  process.exit(1);
});
