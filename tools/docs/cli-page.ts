import type { Command } from 'commander';
import { snapshotd } from '../../apps/cli/program.js';

/** The help of every command, as the terminal shows it. */
export function cliPage(): string {
  return commandsOf(snapshotd())
    .map((command) => `## ${pathOf(command)}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\`\n`)
    .join('\n');
}

/** A command and all commands below it. */
function commandsOf(command: Command): Command[] {
  const visible = command.createHelp().visibleCommands(command);
  return [command, ...command.commands.filter((one) => visible.includes(one)).flatMap(commandsOf)];
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function helpOf(command: Command): string {
  let help = '';
  command.configureOutput({
    writeOut: (text) => (help += text),
    getOutHelpWidth: () => 100,
    getOutHasColors: () => false,
  });
  // The page shows the global options once, in the help of snapshotd itself.
  command.configureHelp({ ...command.configureHelp(), showGlobalOptions: false });
  command.outputHelp();
  return help.trim();
}
