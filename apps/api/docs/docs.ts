import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { setAccessBelow } from '../access/policy.js';
import { CONTENT_SECURITY_POLICY } from '../http/safe-answers.js';
import { withWayBack } from '../http/way-back.js';
import { openApiDocument } from './document.js';

export interface DocsOptions {
  /** The path of the page. Its scripts and styles are below. */
  path: string;
  documentPath: string;
  basePath: string;
  /** Where its link back leads. */
  consolePath: string;
}

/** Serves the OpenAPI document and a page that shows it. */
export function registerDocs(
  app: NestFastifyApplication,
  { path, documentPath, basePath, consolePath }: DocsOptions,
): void {
  const fastify = app.getHttpAdapter().getInstance();
  for (const page of [path, documentPath]) setAccessBelow(fastify, page, { needs: 'read', page: true });
  fastify.addHook('onSend', async ({ routeOptions: { url = '' } }, reply, payload) => {
    if (url !== path && !url.startsWith(`${path}/`)) return payload;
    void reply.header('Content-Security-Policy', CONTENT_SECURITY_POLICY.inlineStyles);
    const html = String(reply.getHeader('Content-Type') ?? '').startsWith('text/html');
    return html && typeof payload === 'string' ? withWayBack(payload, consolePath) : payload;
  });
  let document: OpenAPIObject | undefined;
  SwaggerModule.setup(path, app, () => (document ??= openApiDocument(app, basePath)), {
    raw: ['json'],
    jsonDocumentUrl: documentPath,
    customSiteTitle: 'snapshotd: the API',
    // No validator, an internet service that would learn the document's address, and no bar for other documents.
    swaggerOptions: { validatorUrl: null, layout: 'BaseLayout' },
  });
}
