import { Command } from 'commander';
import { PRODUCT } from '#common';
import { addArchiveCommands } from './commands/archives.js';
import { addCheckCommand } from './commands/check.js';
import { addCompletionCommand } from './commands/completion.js';
import { addDatabaseCommands } from './commands/databases.js';
import { addJobCommands } from './commands/jobs.js';
import { addRecoverCommand } from './commands/recover.js';
import { addScheduleCommands } from './commands/schedule.js';
import { addSessionCommands } from './commands/session.js';
import { addStartCommand } from './commands/start.js';
import { addWorkerCommands } from './commands/workers.js';
import { EXIT_CODES_HELP } from './exit-codes.js';

/** Builds all commands. Help and completion are generated from their descriptions. */
export function snapshotd(): Command {
  const program = new Command('snapshotd')
    .description('Back up, restore and verify a PostgreSQL repository through a snapshotd server.')
    .version(PRODUCT.version)
    .option(
      '--url <url>',
      'the server (default: SNAPSHOTD_URL, the server of your last login, or http://127.0.0.1:8080)',
    )
    .option('--json', "print the server's answer as one JSON document")
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
    // main.ts sets the exit code.
    .exitOverride()
    .addHelpText(
      'after',
      `
Environment:
  SNAPSHOTD_URL        the server, unless --url names one
  SNAPSHOTD_TOKEN      a session token or an API key, instead of a login
  NODE_EXTRA_CA_CERTS  a file with the certificate of your own authority

${EXIT_CODES_HELP}

Examples:
  snapshotd login
  snapshotd backup --wait
  snapshotd list
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --wait`,
    );
  addSessionCommands(program);
  addJobCommands(program);
  addArchiveCommands(program);
  addDatabaseCommands(program);
  addRecoverCommand(program);
  addScheduleCommands(program);
  addWorkerCommands(program);
  addCheckCommand(program);
  addStartCommand(program);
  addCompletionCommand(program);
  return program;
}
