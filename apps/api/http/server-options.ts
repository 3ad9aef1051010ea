import { randomUUID } from 'node:crypto';
import type { FastifyServerOptions } from 'fastify';
import type { Settings } from '#config';
import type { Logger } from '#logging';
import { withoutBasePath } from './base-path.js';
import { answerClientError } from './client-errors.js';
import { sendReason } from './reason.js';
import { safeHeaders } from './safe-answers.js';

const BODY_LIMIT_BYTES = 64 * 1024;
/** The time limit for a request to arrive, so that slow clients cannot occupy connections. */
const ARRIVES_WITHIN_MS = 20_000;
/** The time limit for its headers. Node applies the longer of the two limits to the whole, so this is the shorter one. */
const HEADERS_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 5_000;
/** An archive's name has up to 1024 bytes; its URL, which is accepted too, also those of the bucket. */
const PARAMETER_LENGTH = 2_048;

/** The options of the HTTP server, with TLS if the settings have a certificate. */
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
    // Faults of a request without a route, such as a broken percent-encoding. No hook sees them.
    frameworkErrors: (error, request, reply) => {
      // Fastify has not read the proxy's headers yet. Browsers obey the header over HTTPS only, so a lie has no effect.
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
