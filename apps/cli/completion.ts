import type { Command, Option } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** The hidden command that prints the names of a kind. */
export const NAMES_COMMAND = 'names';

/** The names that the server knows. */
export const NAME_KINDS = ['archives', 'jobs', 'schedules', 'databases', 'repositories'] as const;
export type NameKind = (typeof NAME_KINDS)[number];

/** The commands whose argument is such a name. */
const NAMED: Record<string, NameKind> = {
  restore: 'archives',
  verify: 'archives',
  download: 'archives',
  delete: 'archives',
  status: 'jobs',
  terminate: 'jobs',
  'schedule show': 'schedules',
  'schedule set': 'schedules',
  'schedule run': 'schedules',
  'schedule confirm': 'schedules',
  'schedule pruning': 'schedules',
  'schedule delete': 'schedules',
  'databases drop': 'databases',
  'repository show': 'repositories',
  'repository set': 'repositories',
  'repository delete': 'repositories',
};

/** A command and the words that may follow it. */
interface Node {
  /** The words that lead to it, such as `snapshotd schedule set`. */
  path: string;
  /** Its subcommands, or the choices for its argument. */
  words: { name: string; description: string }[];
  /** The kind of names that may follow it, which the script asks the server for. */
  names: NameKind | undefined;
  options: Option[];
}

/** Prints a script that completes commands, options, values with a fixed set of choices, and names that the server knows. */
export function completionScript(shell: Shell, program: Command): string {
  const nodes = nodesBelow(program, program.name());
  switch (shell) {
    case 'bash':
      return bash(nodes);
    case 'zsh':
      return zsh(nodes);
    case 'fish':
      return fish(nodes);
  }
}

function nodesBelow(command: Command, path: string): Node[] {
  const help = command.createHelp();
  const values = command.registeredArguments.flatMap(({ argChoices = [], description }) =>
    argChoices.map((name) => ({ name, description })),
  );
  const below = help.visibleCommands(command);
  const commands = below.map((one) => ({ name: one.name(), description: one.description() }));
  return [
    {
      path,
      words: [...values, ...commands],
      names: NAMED[path.split(' ').slice(1).join(' ')],
      options: [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)],
    },
    // Without the command help, which is none of these.
    ...below
      .filter((one) => command.commands.includes(one))
      .flatMap((one) => nodesBelow(one, `${path} ${one.name()}`)),
  ];
}

function bash(nodes: Node[]): string {
  return `# Completion of snapshotd for bash. In ~/.bashrc: source <(snapshotd completion bash)
_snapshotd() {
  local at=snapshotd words= names= index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "$at \${COMP_WORDS[index]}" in
      ${knownPaths(nodes)}) at="$at \${COMP_WORDS[index]}" ;;
    esac
  done
  case "$at \${COMP_WORDS[COMP_CWORD - 1]}" in
${valueCases(
  nodes,
  (values) => `words=${quoted(values.join(' '))}`,
  (names) => `names=${names}`,
)}
    *)
      case "$at" in
${lines(nodes, ({ path, words, names, options }) => [
  `        ${quoted(path)}) words=${quoted([...words.map(({ name }) => name), ...options.flatMap(flagsOf)].join(' '))}${names === undefined ? '' : ` names=${names}`} ;;`,
])}
      esac
      ;;
  esac
  if [[ $names && \${COMP_WORDS[COMP_CWORD]} != -* ]]; then
    words="$words $(${askFor('$names')})"
  fi
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _snapshotd snapshotd`;
}

function zsh(nodes: Node[]): string {
  const described = (name: string, description: string) =>
    quoted(`${name.replaceAll(':', '\\:')}:${description}`);
  return `#compdef snapshotd
# Completion of snapshotd for zsh. In ~/.zshrc, after compinit: source <(snapshotd completion zsh)
_snapshotd() {
  local at=snapshotd word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
      ${knownPaths(nodes)}) at="$at $word" ;;
    esac
  done
  case "$at $words[CURRENT-1]" in
${valueCases(
  nodes,
  (values) => `found=(${values.map((value) => quoted(value)).join(' ')})`,
  (names) => `found=(\${(f)"$(${askFor(names)})"})`,
)}
    *)
      case "$at" in
${lines(nodes, ({ path, words, names, options }) => [
  `        ${quoted(path)}) found=(`,
  ...words.map(({ name, description }) => `          ${described(name, description)}`),
  ...options.flatMap((option) =>
    flagsOf(option).map((flag) => `          ${described(flag, option.description)}`),
  ),
  names === undefined
    ? '        ) ;;'
    : `        ); [[ $PREFIX == -* ]] || found+=(\${(f)"$(${askFor(names)})"}) ;;`,
])}
      esac
      ;;
  esac
  (( $#found )) && _describe snapshotd found || _files
}
compdef _snapshotd snapshotd`;
}

function fish(nodes: Node[]): string {
  const when = ({ path }: Node) => `complete -c snapshotd -n ${quoted(`__snapshotd_at ${path}`)}`;
  return `# Completion of snapshotd for fish. Once: snapshotd completion fish > ~/.config/fish/completions/snapshotd.fish
function __snapshotd_at
  set -l at snapshotd
  for word in (commandline -opc)[2..]
    switch "$at $word"
      case ${knownPaths(nodes).replaceAll(' | ', ' ')}
        set at "$at $word"
    end
  end
  test "$at" = "$argv"
end
complete -c snapshotd -f
${lines(nodes, (node) => [
  ...node.words.map(({ name, description }) => `${when(node)} -a ${name} -d ${quoted(description)}`),
  ...(node.names === undefined ? [] : [`${when(node)} -k -a ${quoted(`(${askFor(node.names)})`)}`]),
  ...node.options.map((option) =>
    [
      when(node),
      ...(option.short ? ['-s', option.short.slice(1)] : []),
      ...(option.long ? ['-l', option.long.slice(2)] : []),
      ...fishValue(option),
      '-d',
      quoted(option.description),
    ].join(' '),
  ),
])}`;
}

/** Says how fish completes the value of an option. */
function fishValue(option: Option): string[] {
  const names = namesFor(option);
  if (option.argChoices) return ['-x', '-a', quoted(option.argChoices.join(' '))];
  if (names !== undefined) return ['-x', '-a', quoted(`(${askFor(names)})`)];
  return option.required ? ['-r', '-F'] : [];
}

/** The command that prints names; without a server or a session it prints nothing. */
function askFor(names: string): string {
  return `snapshotd ${NAMES_COMMAND} ${names} 2>/dev/null`;
}

/** All commands as alternatives of a shell pattern. */
function knownPaths(nodes: Node[]): string {
  return nodes
    .slice(1)
    .map(({ path }) => quoted(path))
    .join(' | ');
}

/** Completes the value of an option: its choices, names that the server knows, or nothing. */
function valueCases(
  nodes: Node[],
  offer: (values: string[]) => string,
  ask: (names: NameKind) => string,
): string {
  return lines(nodes, ({ path, options }) =>
    options
      .filter(({ required }) => required)
      .map((option) => {
        const pattern = flagsOf(option)
          .map((flag) => quoted(`${path} ${flag}`))
          .join(' | ');
        const names = namesFor(option);
        return `    ${pattern}) ${option.argChoices ? offer(option.argChoices) : names ? ask(names) : ':'} ;;`;
      }),
  );
}

/** The kind of names that are values of an option. */
function namesFor({ long }: Option): NameKind | undefined {
  return long === '--repository' ? 'repositories' : undefined;
}

function flagsOf({ short, long }: Option): string[] {
  return [short, long].filter((flag) => flag !== undefined);
}

function lines(nodes: Node[], of: (node: Node) => string[]): string {
  return nodes.flatMap(of).join('\n');
}

/** Quotes text for bash, zsh and fish. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
