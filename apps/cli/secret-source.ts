import { readFile } from 'node:fs/promises';
import { errorSentence, Failure } from '#common';
import { readVariable } from './environment.js';
import { readInput } from './prompt.js';

/** The place of a secret. No message shows the secret itself. */
export type SecretSource = { env: string } | { file: string };

/**
 * Reads a secret, without the line break at its end. The file `-` is stdin.
 * @throws Failure USAGE_WRONG if it is missing or empty, FILE_REFUSED
 */
export async function readSecret(source: SecretSource): Promise<string> {
  const secret = 'env' in source ? readVariable(source.env) : (await contentOf(source.file)).trim();
  if (secret) return secret;
  const place =
    'env' in source
      ? `The environment variable ${source.env}`
      : source.file === '-'
        ? 'The standard input'
        : source.file;
  throw new Failure(
    'USAGE_WRONG',
    'permanent',
    `${place} is ${'env' in source ? 'missing or empty' : 'empty'}.`,
    { hint: 'It must hold a URL such as postgres://user:password@host:5432/database.' },
  );
}

async function contentOf(file: string): Promise<string> {
  if (file === '-') return readInput();
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new Failure('FILE_REFUSED', 'permanent', `Cannot read ${file}: ${errorSentence(cause)}.`, {
      cause,
    });
  }
}
