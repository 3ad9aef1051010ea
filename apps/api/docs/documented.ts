import { applyDecorators } from '@nestjs/common';
import { ApiBody, ApiHeader, ApiOperation, ApiParam, ApiQuery, ApiResponse } from '@nestjs/swagger';
import type { z } from 'zod';
import { failed, referenceTo, requestSchema } from './answers.js';

/** The description of an answer. Without a schema it has no body. */
export interface AnswerDescription {
  what: string;
  schema?: z.ZodType;
  example?: unknown;
  /** JSON when missing. */
  contentType?: string;
  /** Descriptions by name. */
  headers?: Record<string, string>;
}

/** The description of a route. The document adds the answers of every route, and those of its policy. */
export interface RouteDescription {
  /** The unique name for generated clients. */
  name: string;
  summary: string;
  details?: string;
  /** An example of the body. */
  example?: unknown;
  /** An example of each parameter of the path. */
  path?: Record<string, string>;
  /** Descriptions by name. */
  headers?: Record<string, string>;
  answers: Record<number, AnswerDescription>;
  /** The reasons by status. */
  errors?: Record<number, string>;
}

/** The schemas that the route validates its input with. */
export interface ValidatedBy {
  body?: z.ZodObject;
  query?: z.ZodObject;
}

const UNFIT = 'The request does not match its schema.';

/** Describes a route for the document. */
export function Documented(description: RouteDescription, by: ValidatedBy = {}): MethodDecorator {
  const { name, summary, details, example, path = {}, headers = {}, answers, errors = {} } = description;
  return applyDecorators(
    ApiOperation({ operationId: name, summary, ...(details !== undefined && { description: details }) }),
    ...Object.entries(path).map(([parameter, value]) =>
      ApiParam({ name: parameter, schema: { type: 'string' }, example: value }),
    ),
    ...Object.entries(headers).map(([header, text]) =>
      ApiHeader({ name: header, description: text, required: false, schema: { type: 'string' } }),
    ),
    ...(by.query === undefined ? [] : queryOf(by.query)),
    ...(by.body === undefined ? [] : [bodyOf(by.body, example)]),
    ...(by.query === undefined && by.body === undefined ? [] : [errorOf(400, UNFIT)]),
    ...Object.entries(answers).map(([status, answer]) => answerOf(Number(status), answer)),
    ...Object.entries(errors).map(([status, reason]) => errorOf(Number(status), reason)),
  );
}

function queryOf(schema: z.ZodObject): MethodDecorator[] {
  const { properties = {} } = requestSchema(schema, 'output');
  return Object.entries(properties).map(([name, property]) =>
    ApiQuery({ name, required: false, schema: property }),
  );
}

function bodyOf(body: z.ZodObject, example: unknown): MethodDecorator {
  const schema = requestSchema(body, 'input');
  // A missing body counts as an empty object.
  const required = (schema.required ?? []).length > 0;
  return ApiBody({ required, schema: { ...schema, ...(example !== undefined && { examples: [example] }) } });
}

function answerOf(status: number, { what, schema, example, contentType, headers }: AnswerDescription) {
  const content = schema && {
    [contentType ?? 'application/json']: {
      schema: referenceTo(schema),
      ...(example !== undefined && { example }),
    },
  };
  return ApiResponse({
    status,
    description: what,
    ...(content !== undefined && { content }),
    ...(headers !== undefined && {
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, description]) => [
          name,
          { description, schema: { type: 'string' } },
        ]),
      ),
    }),
  });
}

function errorOf(status: number, reason: string) {
  return ApiResponse({ status, ...errorResponse(reason) });
}

/** An error with this reason, as the document describes it. */
export function errorResponse(reason: string) {
  return {
    description: reason,
    content: { 'application/json': { schema: referenceTo(failed), example: { reason } } },
  };
}
