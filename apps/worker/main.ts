import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { readSettings, SettingsError } from '#config';
import { createLogger, NestLogger } from '#logging';
import { WorkerModule } from './worker.module.js';

async function main(): Promise<void> {
  const settings = readSettings();
  const logger = createLogger('worker', settings.logLevel);
  for (const warning of settings.warnings) logger.warn(warning);
  const app = await NestFactory.createApplicationContext(WorkerModule.with(settings, logger), {
    logger: new NestLogger(logger),
    abortOnError: false,
  });
  app.enableShutdownHooks();
  await app.init();
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${error instanceof SettingsError ? error.message : String((error as Error).stack ?? error)}\n`,
  );
  process.exit(1);
});
