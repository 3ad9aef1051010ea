import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { OpenAPIObject } from '@nestjs/swagger';
import { readSettings } from '#config';
import { createLogger } from '#logging';
import { ApiModule } from '../../apps/api/api.module.js';
import { openApiDocument } from '../../apps/api/docs/document.js';
import { anchorOf, tableOf } from './markdown.js';
import { exampleOf, typeOf, type Schema } from './schema-text.js';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;
type Response = Extract<Operation['responses'][string], { description: string }>;

interface Call {
  method: string;
  path: string;
  operation: Operation;
}

/** An error that this many calls have in common is described once for all of them. */
const COMMON_FROM = 5;

/** Nothing listens there: the document is made without a connection to anything. */
const NOWHERE = {
  SECRET_KEY: '00'.repeat(32),
  DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
  QUEUE_URL: 'redis://127.0.0.1:1',
  S3_BUCKET: 'none',
};

/** All calls of the REST API, from the OpenAPI document. */
export async function apiPage(): Promise<string> {
  const document = await openApi();
  const calls = callsOf(document);
  const common = commonErrors(calls);
  return [
    '## All calls\n',
    ...tableOf(
      ['call', 'what it does'],
      calls.map((call) => [`[${titleOf(call)}](#${anchorOf(titleOf(call))})`, call.operation.summary ?? '']),
    ),
    '\n## Errors of every call\n',
    ...tableOf(
      ['status', 'reason, such as'],
      [...common].map((error) => [error.slice(0, 3), error.slice(4)]),
    ),
    ...calls.map((call) => section(call, common)),
    '\n## Schemas\n',
    ...Object.entries(document.components?.schemas ?? {}).map(
      ([name, schema]) => `\n### ${name}\n\n${fields(schema as Schema)}`,
    ),
  ].join('\n');
}

/** Nest's preview makes no instances, so that nothing connects. */
async function openApi(): Promise<OpenAPIObject> {
  const module = ApiModule.with(readSettings(NOWHERE), createLogger('api', 'silent'));
  const app = await NestFactory.create(module, new FastifyAdapter(), {
    preview: true,
    logger: false,
    abortOnError: false,
  });
  return openApiDocument(app, '');
}

function callsOf({ paths }: OpenAPIObject): Call[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item as Record<string, Operation>).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation,
    })),
  );
}

function titleOf({ method, path }: Call): string {
  return `${method} ${path}`;
}

function responsesOf({ operation }: Call): [status: string, response: Response][] {
  return Object.entries(operation.responses as Record<string, Response>);
}

function isError(status: string): boolean {
  return Number(status) >= 400;
}

function commonErrors(calls: Call[]): Set<string> {
  const counts = new Map<string, number>();
  for (const call of calls)
    for (const [status, { description }] of responsesOf(call))
      if (isError(status))
        counts.set(`${status} ${description}`, (counts.get(`${status} ${description}`) ?? 0) + 1);
  return new Set([...counts.keys()].filter((error) => (counts.get(error) ?? 0) >= COMMON_FROM).sort());
}

function section(call: Call, common: Set<string>): string {
  const { operation } = call;
  const parameters = (operation.parameters ?? []).filter((one) => 'in' in one);
  const body =
    operation.requestBody && 'content' in operation.requestBody ? operation.requestBody : undefined;
  const schema = body?.content['application/json']?.schema as Schema | undefined;
  return [
    `\n## ${titleOf(call)}\n`,
    `${operation.summary}.\n`,
    operation.description ?? '',
    ...(parameters.length === 0
      ? []
      : [
          '',
          ...tableOf(
            ['parameter', 'in', 'type', 'meaning'],
            parameters.map(({ name, in: place, schema: value, description = '' }) => [
              `\`${name}\``,
              place,
              typeOf(value as Schema),
              description,
            ]),
          ),
        ]),
    ...(schema === undefined ? [] : [`\nBody:\n\n${fields(schema)}${exampleOf(schema.examples?.[0])}`]),
    '',
    ...responsesOf(call)
      .filter(([status, { description }]) => !common.has(`${status} ${description}`))
      .map(([status, response]) => `- **${status}**: ${response.description}${answered(status, response)}`),
  ].join('\n');
}

/** The schema of an answer, and an example of it. */
function answered(status: string, { content = {} }: Response): string {
  const [[type, { schema, example }] = ['', {}]] = Object.entries(content);
  if (schema === undefined || isError(status)) return '';
  const of = type === 'application/json' ? '' : `, \`${type}\``;
  return ` ${typeOf(schema as Schema)}${of}${typeof example === 'object' ? exampleOf(example) : ''}`;
}

function fields({ properties = {}, required = [] }: Schema): string {
  return tableOf(
    ['field', 'type', 'meaning'],
    Object.entries(properties).map(([name, schema]) => [
      `\`${name}\`${required.includes(name) ? '' : ', optional'}`,
      typeOf(schema),
      schema.description ?? '',
    ]),
  ).join('\n');
}
