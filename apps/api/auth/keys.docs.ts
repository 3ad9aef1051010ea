import { z } from 'zod';
import { KEY_SCOPES } from '#contracts';
import { text, time } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const key = z.strictObject({
  id: text,
  name: text,
  scope: z.enum(KEY_SCOPES),
  createdBy: text,
  createdOn: time,
  expiresOn: time.nullable(),
  lastUsedOn: time.nullable().describe('Accurate to one minute.'),
});
export type KeyView = z.infer<typeof key>;
const keys = answer('ApiKeys', z.strictObject({ keys: z.array(answer('ApiKey', key)) }));
export type KeysView = z.infer<typeof keys>;
const newKey = answer(
  'NewApiKey',
  key.extend({ key: text.describe('The token that scripts send. No other answer contains it.') }),
);
export type NewKeyView = z.infer<typeof newKey>;

const nightly = {
  id: '1',
  name: 'nightly',
  scope: 'start',
  createdBy: 'admin@example.org',
  createdOn: 1795342797368,
  expiresOn: 1826878797368,
  lastUsedOn: null,
};

export const listKeys: RouteDescription = {
  name: 'listKeys',
  summary: 'Lists all API keys',
  answers: { 200: { what: 'The keys, without their texts.', schema: keys, example: { keys: [nightly] } } },
};

export const createKey: RouteDescription = {
  name: 'createKey',
  summary: 'Creates an API key, which acts as the account that creates it',
  details: 'Without `expiresOn` the key is valid until it is revoked or its account is deactivated.',
  example: { name: 'nightly', scope: 'start', expiresOn: 1826878797368 },
  answers: {
    201: {
      what: 'The key. Its text is shown only here.',
      schema: newKey,
      example: { ...nightly, key: 'snapshotd_Yx0WkM3nVqk2f6cBt1cJ7eDq1bZr0v9pXg4sLw8uHaE' },
    },
  },
};

export const revokeKey: RouteDescription = {
  name: 'revokeKey',
  summary: 'Revokes an API key',
  path: { id: '1' },
  answers: { 204: { what: 'The key is revoked.' } },
  errors: { 404: 'There is no key of this id.' },
};
