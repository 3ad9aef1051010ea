import type { Command } from 'commander';
import { Failure } from '#common';
import { Api } from './api.js';
import { readEnvironment } from './environment.js';
import { Output } from './output.js';
import { chooseServer, type ServerChoice } from './server-choice.js';
import { SessionFile } from './session-file.js';

/** The options that every command has. */
export interface GlobalOptions {
  url?: string;
  json?: boolean;
}

/** The server, the sessions and the output of a command. */
export class Context extends Output {
  readonly sessions: SessionFile;
  /** @throws Failure USAGE_WRONG, SESSION_MISSING, FILE_REFUSED */
  readonly server: ServerChoice;

  constructor(command: Command) {
    const { url, json = false } = command.optsWithGlobals<GlobalOptions>();
    super(json);
    const environment = readEnvironment();
    this.sessions = new SessionFile(environment.configFolder);
    this.server = chooseServer(url, environment, this.sessions);
  }

  /** @throws Failure SESSION_MISSING */
  api(): Api {
    if (this.server.token === undefined)
      throw new Failure('SESSION_MISSING', 'permanent', `There is no session at ${this.server.url}.`, {
        hint: `Log in with snapshotd login --url ${this.server.url}, or set SNAPSHOTD_TOKEN to an API key.`,
      });
    return new Api(this.server);
  }
}
