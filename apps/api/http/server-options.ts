import { randomUUID } from 'node:crypto';
import type { FastifyServerOptions } from 'fastify';
import type { Settings } from '#config';
import type { Logger } from '#logging';
import { withoutBasePath } from './base-path.js';
import { answerClientError } from './client-errors.js';
import { sendReason } from './reason.js';
import { safeHeaders } from './safe-answers.js';

const BODY_LIMIT_BYTES = 64 * 1024;
/** How long a request may take to arrive, so that nobody keeps connections busy by sending slowly. */
const ARRIVES_WITHIN_MS = 20_000;
/** Its headers. Node takes the longer of the two for the whole, so this must be the shorter one. */
const HEADERS_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 5_000;
/** An archive's name has up to 1024 bytes, and its URL, which will do as well, those of the bucket besides. */
const PARAMETER_LENGTH = 2_048;

/** How the HTTP server is set up, with TLS where a certificate is given. */
export function serverOptions(settings: Settings, logger: Logger): FastifyServerOptions {
  const { tls, trustProxy, basePath } = settings;
  const connections = {
    headersTimeout: HEADERS_WITHIN_MS,
    connectionsCheckingInterval: LOOK_EVERY_MS,
  };
  return {
    loggerInstance: logger,
    disableRequestLogging: true,
    genReqId: () => randomUUID(),
    requestIdLogLabel: 'request',
    // What is wrong with a request before it has a route, such as a broken percent-encoding: no hook sees it.
    frameworkErrors: (error, request, reply) => {
      // Fastify does not look yet at what a proxy says. Browsers heed the header by HTTPS only, so a lie does nothing.
      const byProxy = trustProxy !== false && /\bhttps$/.test(String(request.headers['x-forwarded-proto']));
      void sendReason(error, request, reply.headers(safeHeaders(byProxy || request.protocol === 'https')));
    },
    clientErrorHandler: answerClientError,
    bodyLimit: BODY_LIMIT_BYTES,
    routerOptions: { maxParamLength: PARAMETER_LENGTH },
    requestTimeout: ARRIVES_WITHIN_MS,
    trustProxy: fastifyTrustProxy(trustProxy),
    ...withoutBasePath(basePath),
    forceCloseConnections: 'idle',
    ...(tls === undefined
      ? { http: connections }
      : { https: { ...connections, cert: tls.cert, key: tls.key.reveal() } }),
  };
}

function fastifyTrustProxy(trusted: Settings['trustProxy']): NonNullable<FastifyServerOptions['trustProxy']> {
  if (typeof trusted === 'string') return trusted.split(',').map((address) => address.trim());
  return typeof trusted === 'number' ? (_address, hop) => hop < trusted : trusted;
}
