import { DEFAULT_REPOSITORY } from '#contracts';

/** The folder of a repository's archives below S3_PREFIX. */
export interface RepositoryFolder {
  name: string;
  /** Ends with `/`. */
  prefix: string;
}

/** Tells which repository an archive belongs to. All that lies in no folder of another one belongs to `default`. */
export class RepositoryFolders {
  constructor(
    private readonly base: string,
    private readonly folders: RepositoryFolder[],
  ) {}

  /** @param key an object's, below S3_PREFIX */
  repositoryOf(key: string): string {
    const path = key.slice(this.base.length);
    return this.folders.find(({ prefix }) => path.startsWith(prefix))?.name ?? DEFAULT_REPOSITORY;
  }
}

/** Whether one of two folders lies in the other. */
export function overlap(one: string, other: string): boolean {
  return one.startsWith(other) || other.startsWith(one);
}
