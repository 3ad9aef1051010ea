import { z } from 'zod';

/** A name in PostgreSQL. */
export const name = z
  .string()
  .min(1)
  .max(63 * 4)
  .refine((text) => !/[\0\p{Cs}]/u.test(text), 'not a name in PostgreSQL');
export const count = z.number().int().nonnegative();
export const bigintText = z.string().regex(/^-?\d{1,19}$/);

/** An array that is refused at its first wrong element. zod's own would collect millions of issues of a hostile one. */
export function list<Element extends z.ZodType>(element: Element) {
  return z.array(z.unknown()).transform((items, context): z.output<Element>[] => {
    const elements: z.output<Element>[] = [];
    for (const [index, item] of items.entries()) {
      const parsed = element.safeParse(item);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        const path = [index, ...(issue?.path ?? [])];
        context.addIssue({ code: 'custom', path, message: issue?.message ?? '' });
        return z.NEVER;
      }
      elements.push(parsed.data);
    }
    return elements;
  });
}

export const fileSchema = z.object({
  name: z.string(),
  /** Bytes, uncompressed. */
  length: count,
  crc32: z.string().regex(/^[0-9a-f]{8}$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
