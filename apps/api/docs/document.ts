import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { PRODUCT } from '#common';
import { POLICY_EXTENSION, type RoutePolicy } from '../access/policy.js';
import { answerSchemas } from './answers.js';
import { errorResponse } from './documented.js';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;

const INTRODUCTION = `Backups of a PostgreSQL repository to S3, and back.

Log in with \`POST /auth/v1/session\`, or make an API key, and send either in the header \`sessionToken\` or as \`Authorization: Bearer\`. Every error is \`{"reason": "…"}\`. Times are milliseconds since 1970.`;

/** Makes the document of all routes of controllers, from their descriptions and their policies. */
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
      if (operation !== undefined) complete(operation, path);
    }
  return document;
}

/** Adds the sentences and answers that follow from a route's policy, and the answers of every route. */
function complete(operation: Operation & { [POLICY_EXTENSION]?: RoutePolicy }, path: string): void {
  const { [POLICY_EXTENSION]: policy } = operation;
  delete operation[POLICY_EXTENSION];
  const closed = policy === undefined || policy.needs === 'nothing' ? undefined : policy;
  operation.security = closed === undefined ? [] : [{ sessionToken: [] }, { bearer: [] }];
  operation.description = [operation.description, closed && whoMay(closed)].filter(Boolean).join('\n\n');
  operation.responses = {
    ...(closed && {
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
    needs === 'session' ? 'Refuses API keys.' : `An API key needs the scope \`${needs}\`.`,
    ...(audit === undefined ? [] : [`The audit calls it \`${audit}\`.`]),
  ];
  return sentences.join(' ');
}
