import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';
import type { LogLevel } from '#config';

export type { Logger } from 'pino';

/** The injection token of the log. */
export const LOGGER = Symbol('LOGGER');

/** Creates the log of one process: JSON lines on standard output. Redacts fields that may hold credentials. */
export function createLogger(app: string, level: LogLevel): Logger {
  return pino({
    level,
    base: { app, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: [
        ...['sessiontoken', 'authorization', 'cookie', 'password'],
        // Fields of a failed statement. The parameters may hold password hashes, and the others values of rows.
        ...['parameters', 'detail', 'where', 'internalQuery'],
      ].flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
      censor: '[secret]',
    },
  });
}

/** Writes Nest's own messages to the same log. */
export class NestLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...more: unknown[]): void {
    this.logger.debug(context(more), text(message));
  }
  warn(message: unknown, ...more: unknown[]): void {
    this.logger.warn(context(more), text(message));
  }
  error(message: unknown, ...more: unknown[]): void {
    this.logger.error(context(more), text(message));
  }
  fatal(message: unknown, ...more: unknown[]): void {
    this.logger.fatal(context(more), text(message));
  }
  debug(message: unknown, ...more: unknown[]): void {
    this.logger.debug(context(more), text(message));
  }
  verbose(message: unknown, ...more: unknown[]): void {
    this.logger.trace(context(more), text(message));
  }
}

/** Nest passes the name of the logging class last, and a stack before it. */
function context(more: unknown[]): object {
  const [stack, name] = more.length > 1 ? more : [undefined, more[0]];
  return { context: name, ...(stack !== undefined && { stack }) };
}

function text(message: unknown): string {
  return message instanceof Error ? (message.stack ?? message.message) : String(message);
}
