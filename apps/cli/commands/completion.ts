import { Argument, type Command } from 'commander';
import { completionScript, type Shell, SHELLS } from '../completion.js';

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action((shell: Shell) => {
      process.stdout.write(`${completionScript(shell, program)}\n`);
    })
    .addHelpText(
      'after',
      `
Examples:
  source <(snapshotd completion bash)      in ~/.bashrc
  source <(snapshotd completion zsh)       in ~/.zshrc, after compinit
  snapshotd completion fish > ~/.config/fish/completions/snapshotd.fish`,
    );
}
