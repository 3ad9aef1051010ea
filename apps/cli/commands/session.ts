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
    .description('log in and keep the session for later commands')
    .option('--email <email>', 'the email of your account (default: ask for it)')
    .option('--password-stdin', 'read the password from stdin instead of asking for it')
    .action(login)
    .addHelpText(
      'after',
      `
The session is kept in a file that only you can read. Each command extends it to 24 hours from then.
In scripts, set SNAPSHOTD_TOKEN to an API key instead of logging in.

Examples:
  snapshotd login
  snapshotd login --url https://backup.example.org --email admin@example.org
  snapshotd login --email admin@example.org --password-stdin < password.txt`,
    );
  program
    .command('logout')
    .description('end the session and forget it')
    .action(logout)
    .addHelpText('after', '\nExample:\n  snapshotd logout --url https://backup.example.org');
}

async function login(options: LoginOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const { sessions, server } = context;
  const { url } = server;
  if (server.tokenFrom === 'environment')
    throw new Failure('USAGE_WRONG', 'permanent', 'SNAPSHOTD_TOKEN is set and overrides every session.', {
      hint: 'Unset it to log in.',
    });
  // Fails before the user types a password that cannot be used.
  void sessions.path;
  if (isInTheClear(url))
    context.note(
      `Warning: ${url} is not encrypted. Others on the network can read the password and the session.`,
    );
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
    hint: `Use --${option}.`,
  });
}

async function logout(_options: object, command: Command): Promise<void> {
  const context = new Context(command);
  const { sessions, server } = context;
  const { url, token } = server;
  if (server.tokenFrom === 'environment')
    throw new Failure('USAGE_WRONG', 'permanent', 'Cannot log out: the token comes from SNAPSHOTD_TOKEN.', {
      hint: 'Unset it. DELETE /auth/v1/session ends a session, DELETE /auth/v1/keys/{id} revokes a key.',
    });
  // Forgets the session even if the server cannot be reached.
  if (token !== undefined) await new Api(server).logout(token).finally(() => sessions.forget(url));
  context.result({ url }, `Logged out at ${url}.`);
}
