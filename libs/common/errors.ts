/** Stable names of all failures, of jobs and of the command line. Logs show them, and tests and callers rely on them. */
export type ErrorCode =
  | 'ARCHIVE_DOES_NOT_FIT'
  | 'ARCHIVE_INVALID'
  | 'ARCHIVE_TOO_LARGE'
  | 'ARCHIVE_URL_REFUSED'
  | 'CHECK_VIOLATED'
  | 'CONNECTION_LOST'
  | 'DAEMON_FAILED'
  | 'DATABASE_CONNECTION_LOST'
  | 'DATABASE_LOGIN_REFUSED'
  | 'DATABASE_MISSING'
  | 'DATABASE_PERMISSION_DENIED'
  | 'DATABASE_QUERY_FAILED'
  | 'DATABASE_TLS_REFUSED'
  | 'DATABASE_UNREACHABLE'
  | 'DEFINITIONS_FAILED'
  | 'DELIVERY_FAILED'
  | 'DESTINATION_REFUSED'
  | 'DROP_REFUSED'
  | 'DRILL_REFUSED'
  | 'EVENT_TRIGGER'
  | 'EXTENSION_MISSING'
  | 'FILE_REFUSED'
  | 'FOREIGN_KEY_DANGLING'
  | 'IDEMPOTENCY_KEY_BUSY'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'INTERRUPTED'
  | 'NAMES_NOT_UTF8'
  | 'NOT_AUTHENTIC'
  | 'NOT_CONFIRMED'
  | 'NOT_FOUND'
  | 'OBJECT_INCOMPLETE'
  | 'OMISSIONS_REFUSED'
  | 'OTHER_DATABASE'
  | 'OWNERSHIP_MISSING'
  | 'POOLED_TRANSACTIONS'
  | 'QUEUE_UNAVAILABLE'
  | 'RECOVER_DIFFERS'
  | 'REPOSITORY_BUSY'
  | 'REPOSITORY_CHANGING'
  | 'REPOSITORY_ELSEWHERE'
  | 'SECRET_KEY_DIFFERS'
  | 'REQUEST_REFUSED'
  | 'RESTORE_OUTCOME_UNKNOWN'
  | 'ROLE_SET_BY_DATABASE'
  | 'ROLES_MISSING'
  | 'ROW_SECURITY'
  | 'SCHEMA_MISSING'
  | 'SERVER_FAILED'
  | 'SERVER_IS_STANDBY'
  | 'SERVER_UNREACHABLE'
  | 'SERVERS_DIFFER'
  | 'SESSION_MISSING'
  | 'STORE_ACCESS_DENIED'
  | 'STORE_BUCKET_MISSING'
  | 'STORE_LOGIN_REFUSED'
  | 'STORE_OBJECT_MISSING'
  | 'STORE_REQUEST_FAILED'
  | 'STORE_UNREACHABLE'
  | 'STORE_UPLOAD_GONE'
  | 'SWAP_REFUSED'
  | 'TABLE_LOCKED'
  | 'TARGET_REFUSED'
  | 'TERMINATED'
  | 'USAGE_WRONG'
  | 'WORKER_LOST_LOCK'
  | 'WORKER_STOPPING'
  | 'WORKERS_DIED';

/** Whether a retry can help. The place where the error arises decides, because only it knows. */
export type Persistence = 'permanent' | 'transient';

export interface FailureOptions {
  /** The reader's next step: a full sentence. */
  hint?: string;
  cause?: unknown;
  /** A line for errorDetails, before the stack: the words of another system. */
  preface?: string;
  confidential?: Confidential | undefined;
}

/** PostgreSQL's own words, which may hold values of rows: for readers who may see rows, and for no log. */
export interface Confidential {
  /** Replaces the failure's message. */
  message: string;
  /** The complete error, in lines as psql shows them. */
  words: string;
}

/**
 * An explained failure: it names the thing that failed and the next step. Everybody may read its message, hint, stack and
 * causes. Values of rows are in `confidential` only, which no log and no JSON shows.
 */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly hint: string | undefined;
  readonly preface: string | undefined;
  readonly #confidential: Confidential | undefined;

  constructor(
    readonly code: ErrorCode,
    readonly persistence: Persistence,
    message: string,
    { hint, cause, preface, confidential }: FailureOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.hint = hint;
    this.preface = preface;
    this.#confidential = confidential;
  }

  get confidential(): Confidential | undefined {
    return this.#confidential;
  }

  /** The same failure with a further sentence. */
  and(text: string): Failure {
    const { hint, preface, confidential } = this;
    return new Failure(this.code, this.persistence, `${this.message} ${text}`, {
      cause: this,
      confidential: confidential && { ...confidential, message: `${confidential.message} ${text}` },
      ...(hint !== undefined && { hint }),
      ...(preface !== undefined && { preface }),
    });
  }

  /** The message and the hint in one line. */
  get sentence(): string {
    return this.sentenceOf(this.message);
  }

  /** The sentence for readers who may see rows. */
  get fullSentence(): string {
    return this.sentenceOf(this.confidential?.message ?? this.message);
  }

  private sentenceOf(message: string): string {
    return oneLine(this.hint === undefined ? message : `${message} ${this.hint}`);
  }
}

/** One line for errorMessage, for any thrown value. */
export function errorSentence(error: unknown): string {
  if (error instanceof Failure) return error.sentence;
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(errorSentence).join('; ');
  return oneLine(error instanceof Error ? error.message || error.name : String(error));
}

/** The text for errorDetails: the preface, the stack, and the stacks of the causes. */
export function errorDetails(error: unknown): string {
  const lines: string[] = [];
  if (error instanceof Failure && error.preface !== undefined) lines.push(error.preface);
  for (const [depth, each] of withCauses(error).entries())
    lines.push((depth > 0 ? 'Caused by: ' : '') + stackOf(each));
  return lines.join('\n');
}

/** The text of a failure for readers who may see rows. */
export interface FullText {
  /** For errorMessage. */
  message: string;
  /** For errorDetails. */
  details: string;
}

/** The confidential text of a failure. @returns undefined if everybody may see all of it */
export function fullText(error: unknown): FullText | undefined {
  for (const each of withCauses(error))
    if (each instanceof Failure && each.confidential !== undefined)
      return {
        message: error instanceof Failure ? error.fullSentence : errorSentence(error),
        details: `${each.confidential.words}\n${errorDetails(error)}`,
      };
  return undefined;
}

function withCauses(error: unknown): unknown[] {
  const all: unknown[] = [];
  for (let at = error; at !== undefined && at !== null && all.length < 8;) {
    all.push(at);
    at = at instanceof Error ? at.cause : undefined;
  }
  return all;
}

function stackOf(error: unknown): string {
  if (error instanceof Failure)
    return (error.stack ?? error.message).replace(/^Failure/, `Failure [${error.code}]`);
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function oneLine(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ').trim();
}
