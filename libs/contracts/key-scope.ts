/** The scopes of API keys. Each includes the one before. */
export const KEY_SCOPES = ['read', 'start', 'everything'] as const;
export type KeyScope = (typeof KEY_SCOPES)[number];
