import type { Command, Option } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command, and what may follow it. */
interface Place {
  /** The words that lead to it, such as `snapshotd schedule set`. */
  path: string;
  /** The commands below it, or what its argument may be where that is one of a few. */
  words: { name: string; description: string }[];
  options: Option[];
}

/** A script that completes commands, options, and those values that are among a few. */
export function completionScript(shell: Shell, program: Command): string {
  const places = placesBelow(program, program.name());
  switch (shell) {
    case 'bash':
      return bash(places);
    case 'zsh':
      return zsh(places);
    case 'fish':
      return fish(places);
  }
}

function placesBelow(command: Command, path: string): Place[] {
  const help = command.createHelp();
  const values = command.registeredArguments.flatMap(({ argChoices = [], description }) =>
    argChoices.map((name) => ({ name, description })),
  );
  const commands = help
    .visibleCommands(command)
    .map((one) => ({ name: one.name(), description: one.description() }));
  return [
    {
      path,
      words: [...values, ...commands],
      options: [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)],
    },
    ...command.commands.flatMap((one) => placesBelow(one, `${path} ${one.name()}`)),
  ];
}

function bash(places: Place[]): string {
  return `# Completion of snapshotd for bash. In ~/.bashrc: source <(snapshotd completion bash)
_snapshotd() {
  local at=snapshotd words= index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "$at \${COMP_WORDS[index]}" in
      ${knownPaths(places)}) at="$at \${COMP_WORDS[index]}" ;;
    esac
  done
  case "$at \${COMP_WORDS[COMP_CWORD - 1]}" in
${valueCases(places, (values) => `words=${quoted(values.join(' '))}`)}
    *)
      case "$at" in
${lines(places, ({ path, words, options }) => [
  `        ${quoted(path)}) words=${quoted([...words.map(({ name }) => name), ...options.flatMap(flagsOf)].join(' '))} ;;`,
])}
      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _snapshotd snapshotd`;
}

function zsh(places: Place[]): string {
  const described = (name: string, description: string) =>
    quoted(`${name.replaceAll(':', '\\:')}:${description}`);
  return `#compdef snapshotd
# Completion of snapshotd for zsh. In ~/.zshrc, after compinit: source <(snapshotd completion zsh)
_snapshotd() {
  local at=snapshotd word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
      ${knownPaths(places)}) at="$at $word" ;;
    esac
  done
  case "$at $words[CURRENT-1]" in
${valueCases(places, (values) => `found=(${values.map((value) => quoted(value)).join(' ')})`)}
    *)
      case "$at" in
${lines(places, ({ path, words, options }) => [
  `        ${quoted(path)}) found=(`,
  ...words.map(({ name, description }) => `          ${described(name, description)}`),
  ...options.flatMap((option) =>
    flagsOf(option).map((flag) => `          ${described(flag, option.description)}`),
  ),
  '        ) ;;',
])}
      esac
      ;;
  esac
  (( $#found )) && _describe snapshotd found || _files
}
compdef _snapshotd snapshotd`;
}

function fish(places: Place[]): string {
  const when = ({ path }: Place) => `complete -c snapshotd -n ${quoted(`__snapshotd_at ${path}`)}`;
  return `# Completion of snapshotd for fish. Once: snapshotd completion fish > ~/.config/fish/completions/snapshotd.fish
function __snapshotd_at
  set -l at snapshotd
  for word in (commandline -opc)[2..]
    switch "$at $word"
      case ${knownPaths(places).replaceAll(' | ', ' ')}
        set at "$at $word"
    end
  end
  test "$at" = "$argv"
end
complete -c snapshotd -f
${lines(places, (place) => [
  ...place.words.map(({ name, description }) => `${when(place)} -a ${name} -d ${quoted(description)}`),
  ...place.options.map((option) =>
    [
      when(place),
      ...(option.short ? ['-s', option.short.slice(1)] : []),
      ...(option.long ? ['-l', option.long.slice(2)] : []),
      ...(option.argChoices
        ? ['-x', '-a', quoted(option.argChoices.join(' '))]
        : option.required
          ? ['-r', '-F']
          : []),
      '-d',
      quoted(option.description),
    ].join(' '),
  ),
])}`;
}

/** All commands, as alternatives of a shell's pattern. */
function knownPaths(places: Place[]): string {
  return places
    .slice(1)
    .map(({ path }) => quoted(path))
    .join(' | ');
}

/** What follows an option that takes a value: one of a few, or what nobody here can know. */
function valueCases(places: Place[], offer: (values: string[]) => string): string {
  return lines(places, ({ path, options }) =>
    options
      .filter(({ required }) => required)
      .map((option) => {
        const pattern = flagsOf(option)
          .map((flag) => quoted(`${path} ${flag}`))
          .join(' | ');
        return `    ${pattern}) ${option.argChoices ? offer(option.argChoices) : ':'} ;;`;
      }),
  );
}

function flagsOf({ short, long }: Option): string[] {
  return [short, long].filter((flag) => flag !== undefined);
}

function lines(places: Place[], of: (place: Place) => string[]): string {
  return places.flatMap(of).join('\n');
}

/** For all three shells: bash and zsh end the quotes for it, fish does as well. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
