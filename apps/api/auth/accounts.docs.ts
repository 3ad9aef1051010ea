import { z } from 'zod';
import { text, time } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';
import { line } from '../http/validation.js';

const displayName = line(200);
const password = z.string().min(8).max(1024);

export const newAccount = z.strictObject({
  email: z.email().max(320),
  displayName: displayName.optional(),
  password,
  administrator: z.boolean().default(false),
});

/** The changes of an administrator. Missing fields stay unchanged. */
export const accountChanges = z.strictObject({
  displayName: displayName.optional(),
  administrator: z.boolean().optional(),
  active: z.boolean().optional(),
  password: password.optional(),
});
export type AccountChanges = z.infer<typeof accountChanges>;

export const passwordChange = z.strictObject({
  currentPassword: z.string().min(1).max(1024),
  newPassword: password,
});

const account = answer(
  'Account',
  z.strictObject({
    id: text,
    email: text,
    displayName: text,
    administrator: z.boolean(),
    active: z.boolean(),
    createdOn: time,
  }),
);
export type AccountView = z.infer<typeof account>;
const accounts = answer('Accounts', z.strictObject({ accounts: z.array(account) }));
export type AccountsView = z.infer<typeof accounts>;

const ada = {
  id: '2',
  email: 'ada@example.org',
  displayName: 'Ada Lovelace',
  administrator: true,
  active: true,
  createdOn: 1795342797368,
};

export const listAccounts: RouteDescription = {
  name: 'listAccounts',
  summary: 'Lists all accounts',
  answers: { 200: { what: 'The accounts.', schema: accounts, example: { accounts: [ada] } } },
};

export const createAccount: RouteDescription = {
  name: 'createAccount',
  summary: 'Creates an account',
  example: {
    email: ada.email,
    displayName: ada.displayName,
    password: 'analytical engine',
    administrator: true,
  },
  answers: { 201: { what: 'The new account.', schema: account, example: ada } },
  errors: { 409: 'There is an account of this email already.' },
};

export const changeAccount: RouteDescription = {
  name: 'changeAccount',
  summary: 'Changes an account',
  details:
    'Deactivating an account ends its sessions and revokes its API keys. Setting its password ends its sessions.',
  path: { id: '2' },
  example: { active: false },
  answers: {
    200: { what: 'The changed account.', schema: account, example: { ...ada, active: false } },
  },
  errors: {
    404: 'There is no account of this id.',
    409: 'This is the last active administrator. Make another account an administrator first.',
  },
};

export const changePassword: RouteDescription = {
  name: 'changePassword',
  summary: "Changes the caller's own password",
  details:
    'A wrong current password is a 403 and ends nothing. A change ends the other sessions of the account.',
  example: { currentPassword: 'analytical engine', newPassword: 'difference engine' },
  answers: { 204: { what: 'The password is changed.' } },
  errors: { 429: 'Too many logins with this email from this address.' },
};
