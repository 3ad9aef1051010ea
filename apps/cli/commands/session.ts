import type { Command } from 'commander';
import { Failure } from '#common';
import { Api } from '../api.js';
import { Context } from '../context.js';
import { printable } from '../format.js';
import { ask, askHidden, canAsk, readInput } from '../prompt.js';
import { isInTheClear } from '../server-choice.js';

interface LoginOptions {
  email?: string;
  passwordStdin?: boolean;
}

export function addSessionCommands(program: Command): void {
  program
    .command('login')
    .description('log in, and keep the session for later commands')
    .option('--email <email>', 'whose session it shall be; asked for when missing')
    .option('--password-stdin', 'read the password from the standard input instead of asking for it')
    .action(login)
    .addHelpText(
      'after',
      `
The session is kept for this server in a file that you alone can read, and every use prolongs it by 24 hours.
Scripts do better with an API key in SNAPSHOTD_TOKEN: they need no login.

Examples:
  snapshotd login
  snapshotd login --url https://backup.example.org --email admin@example.org
  snapshotd login --email admin@example.org --password-stdin < password.txt`,
    );
  program
    .command('logout')
    .description('end the session, and forget it')
    .action(logout)
    .addHelpText('after', '\nExample:\n  snapshotd logout --url https://backup.example.org');
}

async function login(options: LoginOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const { sessions, server } = context;
  const { url } = server;
  if (server.tokenFrom === 'environment')
    throw new Failure('USAGE_WRONG', 'permanent', 'SNAPSHOTD_TOKEN is set, and goes before every session.', {
      hint: 'Unset it to log in.',
    });
  // Before anybody types a password for nothing.
  void sessions.path;
  if (isInTheClear(url))
    context.note(`Warning: ${url} is not encrypted: the password and the session can be read on their way.`);
  const email = options.email ?? (await askFor('email', 'Email: ', ask));
  const password = options.passwordStdin
    ? await readInput()
    : await askFor('password-stdin', `Password of ${email} at ${url}: `, askHidden);

  const { displayName, sessionToken } = await new Api({ ...server, token: undefined }).login(email, password);
  try {
    sessions.keep(url, { email, token: sessionToken });
  } catch (error) {
    await new Api({ ...server, token: sessionToken }).logout(sessionToken);
    throw error;
  }
  context.result({ url, email, displayName }, `Logged in at ${url} as ${printable(displayName)}.`);
}

async function askFor(
  option: string,
  question: string,
  asking: (question: string) => Promise<string>,
): Promise<string> {
  if (canAsk()) return asking(question);
  throw new Failure('USAGE_WRONG', 'permanent', 'There is no terminal to ask at.', {
    hint: `Give --${option}.`,
  });
}

async function logout(_options: object, command: Command): Promise<void> {
  const context = new Context(command);
  const { sessions, server } = context;
  const { url, token } = server;
  if (server.tokenFrom === 'environment')
    throw new Failure('USAGE_WRONG', 'permanent', 'The token in SNAPSHOTD_TOKEN is not kept here.', {
      hint: 'Unset it; DELETE /auth/v1/session ends a session, DELETE /auth/v1/keys/{id} a key.',
    });
  // Forgotten here also where the server cannot be told.
  if (token !== undefined) await new Api(server).logout(token).finally(() => sessions.forget(url));
  context.result({ url }, `Logged out at ${url}.`);
}
