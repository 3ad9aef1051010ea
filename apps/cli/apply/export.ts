import { Document, isMap, isPair, isScalar } from 'yaml';
import { DEFAULT_REPOSITORY, type RepositoryView, type ScheduleView } from '#contracts';
import { formatTarget } from '../format.js';
import type { Configuration, DeclaredRepository } from './configuration-file.js';

/** The configuration of a server, as a file declares it. Each URL is a variable, because no server shows one. */
export function configurationOf(
  repositories: RepositoryView[],
  schedules: ScheduleView[],
): Required<Configuration> {
  const variables = new Set<string>();
  const stored = repositories.filter(({ name }) => name !== DEFAULT_REPOSITORY);
  return {
    repositories: Object.fromEntries(stored.map((one) => [one.name, repositoryOf(one, variables)])),
    schedules: Object.fromEntries(
      schedules.map(({ name, repository, pattern, timeZone, then, retention, enabled }) => [
        name,
        {
          ...(repository !== DEFAULT_REPOSITORY && { repository }),
          ...{ pattern, timeZone, then },
          ...(retention !== null && { retention }),
          ...(!enabled && { enabled }),
        },
      ]),
    ),
  };
}

/** Writes a configuration with the databases as comments. */
export function toYaml(configuration: Configuration, repositories: RepositoryView[], server: string): string {
  const document = new Document(configuration);
  document.commentBefore = ` The configuration of ${server}. URLs of databases come from these variables.`;
  for (const { name, target, drillTarget } of repositories) {
    const entry = document.getIn(['repositories', name], true);
    if (!isMap(entry)) continue;
    for (const pair of entry.items) {
      if (!isPair(pair) || !isScalar(pair.key) || !isMap(pair.value)) continue;
      const shown = pair.key.value === 'url' ? target : drillTarget;
      pair.value.flow = true;
      if (shown !== null) pair.value.comment = ` ${formatTarget(shown)}`;
    }
  }
  return document.toString({ lineWidth: 0 }).trimEnd();
}

function repositoryOf(repository: RepositoryView, variables: Set<string>): DeclaredRepository {
  const { name, schemas, excludeSchemas, excludeTables, excludeTableRows, jobs, definitions } = repository;
  const { drillTarget, prefix } = repository;
  return {
    url: { env: newVariable(name, 'URL', variables) },
    ...((schemas.length !== 1 || schemas[0] !== '*') && { schemas }),
    ...(excludeSchemas.length > 0 && { excludeSchemas }),
    ...(excludeTables.length > 0 && { excludeTables }),
    ...(excludeTableRows.length > 0 && { excludeTableRows }),
    ...(jobs !== null && { jobs }),
    ...(definitions !== null && { definitions }),
    ...(drillTarget !== null && { drillUrl: { env: newVariable(name, 'DRILL_URL', variables) } }),
    ...(prefix !== `${name}/` && { prefix }),
  };
}

/** A variable's name that shells accept, and that no other repository has. */
function newVariable(repository: string, suffix: string, variables: Set<string>): string {
  const name = repository
    .toUpperCase()
    .replaceAll('-', '_')
    .replace(/^(?=\d)/, '_');
  let variable = `${name}_${suffix}`;
  for (let number = 2; variables.has(variable); number++) variable = `${name}_${number}_${suffix}`;
  variables.add(variable);
  return variable;
}
