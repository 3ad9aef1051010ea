/** What an API key may do: each scope is more than the one before. */
export const KEY_SCOPES = ['read', 'start', 'everything'] as const;
export type KeyScope = (typeof KEY_SCOPES)[number];
