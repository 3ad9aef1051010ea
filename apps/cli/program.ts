import { Command } from 'commander';
import { PRODUCT } from '#common';
import { addArchiveCommands } from './commands/archives.js';
import { addCompletionCommand } from './commands/completion.js';
import { addDaemonCommands } from './commands/daemons.js';
import { addScheduleCommands } from './commands/schedule.js';
import { addSessionCommands } from './commands/session.js';
import { addStartCommand } from './commands/start.js';
import { addWorkerCommands } from './commands/workers.js';
import { EXIT_CODES_HELP } from './exit-codes.js';

/** All commands. Help and completion are made from what they say of themselves. */
export function snapshotd(): Command {
  const program = new Command('snapshotd')
    .description('Back up, restore and verify a PostgreSQL repository by a snapshotd server.')
    .version(PRODUCT.version)
    .option(
      '--url <url>',
      'the server (default: SNAPSHOTD_URL, the one logged in to last, or http://127.0.0.1:8080)',
    )
    .option('--json', 'print one JSON document, as the server answers it')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      outputError: (text, write) =>
        write(
          `${text
            .trim()
            .replace(/^error: /, 'snapshotd: ')
            .replace(/\s*\n\s*/g, ' ')}\n`,
        ),
    })
    // Nothing ends the process from within: main says with which code.
    .exitOverride()
    .addHelpText(
      'after',
      `
Environment:
  SNAPSHOTD_URL        the server, unless --url says it
  SNAPSHOTD_TOKEN      a session's token or an API key, instead of a login
  NODE_EXTRA_CA_CERTS  a file with the certificate of an authority of your own

${EXIT_CODES_HELP}

Examples:
  snapshotd login
  snapshotd backup --wait
  snapshotd list
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --wait`,
    );
  addSessionCommands(program);
  addDaemonCommands(program);
  addArchiveCommands(program);
  addScheduleCommands(program);
  addWorkerCommands(program);
  addStartCommand(program);
  addCompletionCommand(program);
  return program;
}
