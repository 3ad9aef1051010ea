/** The part of JSON Schema that the API's document uses. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: string[];
  anyOf?: Schema[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  properties?: Record<string, Schema>;
  required?: string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  description?: string;
  examples?: unknown[];
}

/** A type in few words, with a link where the page describes it. */
export function typeOf(schema: Schema): string {
  const { default: standard } = schema;
  return shapeOf(schema) + (standard === undefined ? '' : `, default \`${JSON.stringify(standard)}\``);
}

function shapeOf({
  $ref,
  type,
  enum: values,
  anyOf,
  items,
  additionalProperties,
  properties,
  ...rest
}: Schema): string {
  if ($ref !== undefined) {
    const name = $ref.split('/').at(-1) ?? '';
    return `[${name}](#${name.toLowerCase()})`;
  }
  if (values !== undefined) return values.map((value) => `\`${value}\``).join(', ');
  if (anyOf !== undefined) return anyOf.map(shapeOf).join(' or ');
  if (items !== undefined) return `list of ${shapeOf(items)}`;
  if (properties !== undefined) return `{ ${Object.keys(properties).join(', ')} }`;
  if (typeof additionalProperties === 'object') return `${shapeOf(additionalProperties)} by name`;
  return [type].flat().join(' or ') + boundsOf(rest);
}

function boundsOf({ minimum, maximum }: Schema): string {
  if (minimum === undefined && maximum === undefined) return '';
  if (maximum === undefined) return `, ${minimum} or more`;
  return minimum === undefined ? `, at most ${maximum}` : `, ${minimum} to ${maximum}`;
}

/** A block of JSON, indented as the item of a list that it may follow. */
export function exampleOf(example: unknown): string {
  if (example === undefined) return '';
  const text = `\`\`\`json\n${JSON.stringify(example, null, 2)}\n\`\`\``;
  return `\n\n${text.replace(/^/gm, '  ')}\n`;
}
