import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { PRODUCT } from '#common';
import { isOpen } from '../auth/open-routes.js';
import { policyOf, type RoutePolicy } from '../auth/route-policies.js';
import { answerSchemas } from './answers.js';
import { errorResponse } from './documented.js';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;

const INTRODUCTION = `Backups of a PostgreSQL repository to S3, and back.

Log in with \`POST /auth/v1/session\`, or make an API key, and send either in the header \`sessionToken\` or as \`Authorization: Bearer\`. Every error is \`{"reason": "…"}\`. Times are milliseconds since 1970.`;

/** The document of all routes that controllers have: what they say of themselves, and what holds for every route. */
export function openApiDocument(app: INestApplication, basePath: string): OpenAPIObject {
  const builder = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('snapshotd')
    .setDescription(INTRODUCTION)
    .setVersion(PRODUCT.version)
    .addApiKey({ type: 'apiKey', in: 'header', name: 'sessionToken' }, 'sessionToken')
    .addBearerAuth({ type: 'http', scheme: 'bearer' }, 'bearer');
  if (basePath !== '') builder.addServer(basePath);
  const document = SwaggerModule.createDocument(app, builder.build());
  document.components = { ...document.components, schemas: answerSchemas() };
  for (const [path, item] of Object.entries(document.paths))
    for (const method of METHODS) {
      const operation = item[method];
      if (operation !== undefined) complete(method.toUpperCase(), path, operation);
    }
  return document;
}

/** Adds what follows from a route's policy, and what any route may answer. */
function complete(method: string, path: string, operation: Operation): void {
  const url = path.replace(/\{(\w+)\}/g, ':$1');
  const policy = policyOf(method, url);
  operation.security = isOpen(method, url) ? [] : [{ sessionToken: [] }, { bearer: [] }];
  operation.description = [operation.description, policy && whoMay(policy)].filter(Boolean).join('\n\n');
  operation.responses = {
    ...(policy && {
      401: errorResponse(
        'A session is needed: log in with POST /auth/v1/session and send the header sessionToken.',
      ),
      403: errorResponse('Only administrators may do this.'),
    }),
    ...(operation.requestBody && { 413: errorResponse('The body is larger than 64 KB.') }),
    ...(path !== '/health/live' && {
      503: errorResponse('The database does not answer. Try again in a moment.'),
    }),
    ...operation.responses,
  };
}

function whoMay({ needs, everyAccount, audit }: RoutePolicy): string {
  const sentences = [
    everyAccount ? 'For every account.' : 'For administrators.',
    needs === 'session' ? 'No API key will do.' : `An API key needs the scope \`${needs}\`.`,
    ...(audit === undefined ? [] : [`The audit calls it \`${audit}\`.`]),
  ];
  return sentences.join(' ');
}
