import { Argument, type Command } from 'commander';
import type { Api } from '../api.js';
import {
  completionScript,
  NAME_KINDS,
  type NameKind,
  NAMES_COMMAND,
  type Shell,
  SHELLS,
} from '../completion.js';
import { Context } from '../context.js';

/** A user who presses Tab does not wait longer for a server. */
const ANSWER_WITHIN_MS = 2_000;
const MOST_NAMES = 100;

/** Shells expand the words that they are offered: a name must not hold a command. */
const SAFE = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands, options and names in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action((shell: Shell) => {
      process.stdout.write(`${completionScript(shell, program)}\n`);
    })
    .addHelpText(
      'after',
      `
With a session, it completes the names of archives, schedules, repositories and kept databases, and the ids of jobs.

Examples:
  source <(snapshotd completion bash)      in ~/.bashrc
  source <(snapshotd completion zsh)       in ~/.zshrc, after compinit
  snapshotd completion fish > ~/.config/fish/completions/snapshotd.fish`,
    );
  program
    .command(NAMES_COMMAND, { hidden: true })
    .addArgument(new Argument('<kind>', 'the kind of names').choices(NAME_KINDS))
    .action(async (kind: NameKind, _options: object, command: Command) => {
      setTimeout(() => process.exit(1), ANSWER_WITHIN_MS).unref();
      const names = await namesOf(new Context(command).api(), kind);
      process.stdout.write(names.filter((name) => SAFE.test(name)).join('\n'));
    });
}

async function namesOf(api: Api, kind: NameKind): Promise<string[]> {
  const newest = { limit: MOST_NAMES, offset: 0 };
  switch (kind) {
    case 'archives':
      return (await api.archives(newest)).backups.map(({ name }) => name);
    case 'jobs':
      return (await api.daemons(newest)).daemons.map(({ id }) => id);
    case 'schedules':
      return (await api.schedules()).schedules.map(({ name }) => name);
    case 'repositories':
      return (await api.repositories()).repositories.map(({ name }) => name);
    case 'databases':
      return (await api.databases()).databases.map(({ name }) => name);
  }
}
