import type { SchemaObject } from '@nestjs/swagger';
import { z } from 'zod';

const COMPONENTS = '#/components/schemas/';

/** The answers by the names that the document gives them. */
const answers = z.registry<{ id: string }>();

/** Gives an answer a name in the document, by which others refer to it too. */
export function answer<Schema extends z.ZodType>(id: string, schema: Schema): Schema {
  answers.add(schema, { id });
  return schema;
}

/** Every error, whatever its status. */
export const failed = answer(
  'Error',
  z.strictObject({ reason: z.string().describe('One sentence: what is wrong, and what to do.') }),
);

export const time = z.int().describe('Milliseconds since 1970.');
export const text = z.string();
export const count = z.int().min(0);

/** Where the document says what an answer is. @throws Error for one that has no name */
export function referenceTo(schema: z.ZodType): { $ref: string } {
  const id = answers.get(schema)?.id;
  if (id === undefined) throw new Error('An answer is documented that answer() has given no name.');
  return { $ref: COMPONENTS + id };
}

/** All named answers. */
export function answerSchemas(): Record<string, SchemaObject> {
  const { schemas } = z.toJSONSchema(answers, { uri: (id) => COMPONENTS + id, override: withoutNoise });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withinDocument(schema)]));
}

/**
 * A request as its schema lets it in; what only code can check is left out.
 * @param io `output` for texts that stand for numbers, as in a query: then it is what they stand for
 */
export function requestSchema(schema: z.ZodType, io: 'input' | 'output'): SchemaObject {
  return withinDocument(z.toJSONSchema(schema, { io, unrepresentable: 'any', override: withoutNoise }));
}

/** A schema in a document has neither a dialect nor an address of its own. */
function withinDocument(schema: object): SchemaObject {
  const own = Object.entries(schema).filter(([name]) => name !== '$schema' && name !== '$id');
  return Object.fromEntries(own);
}

/** Every whole number has these bounds in JavaScript. */
function withoutNoise({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
}
