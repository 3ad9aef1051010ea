import { z } from 'zod';

export const time = z.int().describe('Milliseconds since 1970.');
export const text = z.string();
export const count = z.int().min(0);
