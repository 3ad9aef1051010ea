import { randomUUID } from 'node:crypto';
import type { FastifyServerOptions } from 'fastify';
import type { Settings } from '#config';
import type { Logger } from '#logging';
import { sendReason } from './reason.js';

const BODY_LIMIT_BYTES = 64 * 1024;

/** How the HTTP server is set up, with TLS where a certificate is given. */
export function serverOptions(settings: Settings, logger: Logger): FastifyServerOptions {
  const { tls, trustProxy } = settings;
  return {
    loggerInstance: logger,
    disableRequestLogging: true,
    genReqId: () => randomUUID(),
    requestIdLogLabel: 'request',
    // What is wrong with a request before it has a route, such as a broken percent-encoding.
    frameworkErrors: (error, request, reply) => void sendReason(error, request, reply),
    bodyLimit: BODY_LIMIT_BYTES,
    trustProxy: fastifyTrustProxy(trustProxy),
    forceCloseConnections: 'idle',
    ...(tls !== undefined && { https: { cert: tls.cert, key: tls.key.reveal() } }),
  };
}

function fastifyTrustProxy(trusted: Settings['trustProxy']): NonNullable<FastifyServerOptions['trustProxy']> {
  if (typeof trusted === 'string') return trusted.split(',').map((address) => address.trim());
  return typeof trusted === 'number' ? (_address, hop) => hop < trusted : trusted;
}
