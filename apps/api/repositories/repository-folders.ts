import { DEFAULT_REPOSITORY } from '#contracts';

/** The folder of a repository's archives below S3_PREFIX. */
export interface RepositoryFolder {
  name: string;
  /** Ends with `/`. */
  prefix: string;
}

/** Tells which repository an archive belongs to. All that lies in no folder of another one belongs to `default`. */
export class RepositoryFolders {
  /** Names by folder. No folder lies in another one. */
  private readonly names: Map<string, string>;

  constructor(
    private readonly base: string,
    folders: RepositoryFolder[],
  ) {
    this.names = new Map(folders.map(({ prefix, name }) => [prefix, name]));
  }

  /** @param key an object's, below S3_PREFIX */
  repositoryOf(key: string): string {
    const path = key.slice(this.base.length);
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
      const name = this.names.get(path.slice(0, end + 1));
      if (name !== undefined) return name;
    }
    return DEFAULT_REPOSITORY;
  }
}

/** Whether one of two folders lies in the other. */
export function overlap(one: string, other: string): boolean {
  return one.startsWith(other) || other.startsWith(one);
}
