import type { Secret } from '#config';
import { errorSentence, Failure, PRODUCT } from '#common';

const ANSWER_WITHIN_MS = 10_000;

/**
 * Sends a request to an address of the settings. Redirects count as failures and are not followed. Messages name the
 * address's origin only, because the rest may contain credentials.
 * @throws Failure DELIVERY_FAILED unless the answer is a 2xx
 */
export async function request(
  address: Secret,
  { method, headers, body }: { method: 'GET' | 'POST'; headers?: Record<string, string>; body?: string },
): Promise<void> {
  const url = new URL(address.reveal());
  const { origin } = url;
  const authorization = takeCredentials(url);
  const options: RequestInit = {
    method,
    redirect: 'manual',
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    headers: {
      'User-Agent': `${PRODUCT.name}/${PRODUCT.version}`,
      ...(authorization !== undefined && { Authorization: authorization }),
      ...headers,
    },
    ...(body !== undefined && { body }),
  };
  const response = await fetch(url, options).catch((error: unknown) => {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    throw new Failure('DELIVERY_FAILED', 'transient', `${origin} does not answer: ${errorSentence(cause)}`);
  });
  await response.body?.cancel();
  if (response.ok) return;
  const redirected = response.status >= 300 && response.status < 400 ? ' Redirects are not followed.' : '';
  throw new Failure('DELIVERY_FAILED', 'transient', `${origin} answered ${response.status}.${redirected}`);
}

/** Moves credentials from the URL to a header, because fetch() rejects such URLs. */
function takeCredentials(url: URL): string | undefined {
  const { username, password } = url;
  if (username === '' && password === '') return undefined;
  url.username = '';
  url.password = '';
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}
