import type { Command } from 'commander';
import { Failure } from '#common';
import { Api } from './api.js';
import { readEnvironment } from './environment.js';
import { printable } from './format.js';
import { chooseServer, type ServerChoice } from './server-choice.js';
import { SessionFile } from './session-file.js';

/** The options that every command has. */
export interface GlobalOptions {
  url?: string;
  json?: boolean;
}

/** The server, the sessions and the output of a command. */
export class Context {
  readonly sessions: SessionFile;
  /** @throws Failure USAGE_WRONG, SESSION_MISSING, FILE_REFUSED */
  readonly server: ServerChoice;
  readonly json: boolean;

  constructor(command: Command) {
    const { url, json = false } = command.optsWithGlobals<GlobalOptions>();
    const environment = readEnvironment();
    this.sessions = new SessionFile(environment.configFolder);
    this.server = chooseServer(url, environment, this.sessions);
    this.json = json;
  }

  /** @throws Failure SESSION_MISSING */
  api(): Api {
    if (this.server.token === undefined)
      throw new Failure('SESSION_MISSING', 'permanent', `There is no session at ${this.server.url}.`, {
        hint: `Log in with snapshotd login --url ${this.server.url}, or set SNAPSHOTD_TOKEN to an API key.`,
      });
    return new Api(this.server);
  }

  /** Prints the result: the only thing that goes to stdout. */
  result(answer: unknown, text: string): void {
    process.stdout.write(`${this.json ? toJson(answer) : text}\n`);
  }

  /** Prints a note to stderr. */
  note(text: string): void {
    process.stderr.write(`${printable(text)}\n`);
  }
}

/** Escapes DEL and the C1 control characters too, which JSON.stringify does not and terminals obey. */
function toJson(answer: unknown): string {
  return JSON.stringify(answer, null, 2).replace(
    /[\x7f-\x9f]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  );
}
