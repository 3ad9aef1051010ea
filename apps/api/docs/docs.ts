import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { openApiDocument } from './document.js';
import { DOCS_PATH, DOCUMENT_PATH } from './docs-paths.js';

/** The page needs inline styles, and nothing from anywhere else. */
const CONTENT_SECURITY_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; form-action 'none'";

/** Serves the document and a page that shows it. Access is decided where all routes are guarded. */
export function registerDocs(app: NestFastifyApplication, basePath: string): void {
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onSend', async ({ routeOptions }, reply, payload) => {
      const url = routeOptions.url ?? '';
      if (url === DOCS_PATH || url.startsWith(`${DOCS_PATH}/`))
        void reply.header('Content-Security-Policy', CONTENT_SECURITY_POLICY);
      return payload;
    });
  let document: OpenAPIObject | undefined;
  SwaggerModule.setup(DOCS_PATH, app, () => (document ??= openApiDocument(app, basePath)), {
    raw: ['json'],
    jsonDocumentUrl: DOCUMENT_PATH,
    customSiteTitle: 'snapshotd: the API',
    // A service on the internet would be shown the document's address, and the bar above asks for others to show.
    swaggerOptions: { validatorUrl: null, layout: 'BaseLayout' },
  });
}
