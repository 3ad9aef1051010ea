import { z } from 'zod';
import { repository as oneRepository, repositoryChanges } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';
import * as workers from '../workers/workers.docs.js';

const repository = answer('Repository', oneRepository);
const repositories = answer('Repositories', z.strictObject({ repositories: z.array(repository) }));
const changes = answer('RepositoryChanges', repositoryChanges.extend({ repository }));

const crm = {
  name: 'crm',
  target: { host: 'db.example.org', port: 5432, database: 'crm', user: 'crm_owner' },
  schemas: ['*'],
  excludeSchemas: [],
  excludeTables: ['public.cache_*'],
  excludeTableRows: [],
  jobs: null,
  definitions: null,
  drillTarget: null,
  prefix: 'crm/',
  createdBy: 'admin@example.org',
  createdOn: 1796025600000,
};
const path = { name: 'crm' };
const REFUSED = {
  409: 'The settings define `default`; or its folder holds archives that nobody has adopted, or overlaps that of another repository.',
};
const MISSING = { 404: 'There is no repository of this name.' };

export const putRepository: RouteDescription = {
  name: 'putRepository',
  summary: 'Adds a repository, or changes the one of this name',
  details:
    'Its URL is stored sealed by SECRET_KEY, and never shown again. Its archives lie below `<S3_PREFIX><name>/`. Jobs that run already keep the former URL.',
  path,
  example: { url: 'postgres://crm_owner:secret@db.example.org/crm', excludeTables: ['public.cache_*'] },
  answers: {
    200: { what: 'The changed repository.', schema: repository, example: crm },
    201: { what: 'The new repository.', schema: repository, example: crm },
  },
  errors: REFUSED,
};

export const compareRepository: RouteDescription = {
  name: 'compareRepository',
  summary: 'Tells what setting a repository would change, and changes nothing',
  details:
    'The body is that of `PUT /repo/v1/repositories/{name}`, with the same checks. It compares the URLs too, although it shows neither.',
  path,
  example: { url: 'postgres://crm_owner:secret@db.example.org/crm', excludeTables: ['public.cache_*'] },
  answers: {
    200: {
      what: 'The changes.',
      schema: changes,
      example: { isNew: false, changes: ['url'], repository: crm },
    },
  },
  errors: REFUSED,
};

export const listRepositories: RouteDescription = {
  name: 'listRepositories',
  summary: 'Lists the repositories: `default` first, then the others by name',
  answers: { 200: { what: 'The repositories.', schema: repositories, example: { repositories: [crm] } } },
};

export const showRepository: RouteDescription = {
  name: 'showRepository',
  summary: 'Shows one repository',
  path,
  answers: { 200: { what: 'The repository.', schema: repository, example: crm } },
  errors: MISSING,
};

export const removeRepository: RouteDescription = {
  name: 'removeRepository',
  summary: 'Deletes a repository, but not its archives',
  details:
    'Its URLs are forgotten. Its archives stay listed, and can be restored into other repositories. A new repository of this name must adopt them.',
  path,
  answers: { 204: { what: 'The repository is deleted.' } },
  errors: { ...MISSING, 409: 'The settings define `default`; or schedules use it.' },
};

export const showIdentity: RouteDescription = {
  ...workers.showIdentity,
  name: 'showRepositoryIdentity',
  summary: 'Shows the database of a repository, as its first job found it',
  path,
  errors: MISSING,
};

export const acceptIdentity: RouteDescription = {
  ...workers.acceptIdentity,
  name: 'acceptRepositoryIdentity',
  summary: 'Accepts another database as that of a repository',
  details:
    'If the URL of a repository leads to another database than the recorded one, its jobs fail until you accept that database. With `moved`, the default, archives of the former database can be restored as before; without it, they need `otherDatabase`.',
  path,
  errors: MISSING,
};
