import { z } from 'zod';
import { answer, text, time } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

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
const accounts = answer('Accounts', z.strictObject({ accounts: z.array(account) }));

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
  summary: 'All accounts',
  answers: { 200: { what: 'The accounts.', schema: accounts, example: { accounts: [ada] } } },
};

export const createAccount: RouteDescription = {
  name: 'createAccount',
  summary: 'Makes an account',
  example: {
    email: ada.email,
    displayName: ada.displayName,
    password: 'analytical engine',
    administrator: true,
  },
  answers: { 201: { what: 'The account is made.', schema: account, example: ada } },
  errors: { 409: 'There is an account of this email already.' },
};

export const changeAccount: RouteDescription = {
  name: 'changeAccount',
  summary: 'Changes an account',
  details:
    'One that is deactivated loses its sessions and API keys for good; one whose password is set loses its sessions.',
  path: { id: '2' },
  example: { active: false },
  answers: {
    200: { what: 'The account as it is now.', schema: account, example: { ...ada, active: false } },
  },
  errors: {
    404: 'There is no account of this id.',
    409: 'This is the last active administrator. Make another account an administrator first.',
  },
};

export const changePassword: RouteDescription = {
  name: 'changePassword',
  summary: "Changes one's own password",
  details: 'A wrong current password is a 403: the session goes on. Other sessions of the account end.',
  example: { currentPassword: 'analytical engine', newPassword: 'difference engine' },
  answers: { 204: { what: 'The password is changed.' } },
  errors: { 429: 'Too many logins with this email from this address.' },
};
