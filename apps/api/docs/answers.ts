import type { SchemaObject } from '@nestjs/swagger';
import { z } from 'zod';

const COMPONENTS = '#/components/schemas/';

/** The schemas of answers, by their names in the document. */
const answers = z.registry<{ id: string }>();

/** Names the schema of an answer. The document refers to it by this name. */
export function answer<Schema extends z.ZodType>(id: string, schema: Schema): Schema {
  answers.add(schema, { id });
  return schema;
}

/** The body of every error. */
export const failed = answer(
  'Error',
  z.strictObject({ reason: z.string().describe('One sentence: what is wrong, and what to do.') }),
);

/** A reference to a named schema. @throws Error if it has no name */
export function referenceTo(schema: z.ZodType): { $ref: string } {
  const id = answers.get(schema)?.id;
  if (id === undefined) throw new Error('The schema of an answer has no name. Name it with answer().');
  return { $ref: COMPONENTS + id };
}

/** All named schemas. */
export function answerSchemas(): Record<string, SchemaObject> {
  const { schemas } = z.toJSONSchema(answers, { uri: (id) => COMPONENTS + id, override: withoutNoise });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withinDocument(schema)]));
}

/**
 * The JSON schema of a request, without checks that only code can make.
 * @param io `output` for queries, so that texts that stand for numbers appear as numbers
 */
export function requestSchema(schema: z.ZodType, io: 'input' | 'output'): SchemaObject {
  return withinDocument(z.toJSONSchema(schema, { io, unrepresentable: 'any', override: withoutNoise }));
}

/** Removes dialect and address, which schemas within a document must not have. */
function withinDocument(schema: object): SchemaObject {
  const own = Object.entries(schema).filter(([name]) => name !== '$schema' && name !== '$id');
  return Object.fromEntries(own);
}

/** Removes the bounds that every integer has in JavaScript. */
function withoutNoise({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
}
