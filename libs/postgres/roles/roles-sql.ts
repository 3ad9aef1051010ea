import { setClause } from '../connection/configured-settings.js';
import { commentOn, quoteIdentifier, quoteLiteral } from '../connection/identifiers.js';
import type { Membership, Role, Roles } from './roles.js';

const HEAD = `-- Roles that the database names, without passwords. Roles that exist keep their attributes and settings.
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
`;

/**
 * Returns the SQL that creates roles where they are missing, and their memberships. It can run again. Names appear inside
 * quotes only, never in comments, where a line break would end them.
 */
export function rolesSql({ roles, memberships }: Roles): string {
  return [HEAD, ...roles.map(createRole), ...memberships.map(membershipStatement)].join('\n');
}

function createRole(role: Role): string {
  const name = quoteIdentifier(role.name);
  const is = (has: boolean, attribute: string) => `${has ? '' : 'NO'}${attribute}`;
  const attributes = [
    is(role.superuser, 'SUPERUSER'),
    is(role.inherit, 'INHERIT'),
    is(role.createRole, 'CREATEROLE'),
    is(role.createDatabase, 'CREATEDB'),
    is(role.login, 'LOGIN'),
    is(role.replication, 'REPLICATION'),
    is(role.bypassRls, 'BYPASSRLS'),
    `CONNECTION LIMIT ${role.connectionLimit}`,
    ...(role.validUntil === null ? [] : [`VALID UNTIL ${quoteLiteral(role.validUntil)}`]),
  ];
  const statements = [
    `CREATE ROLE ${name} ${attributes.join(' ')}`,
    ...role.settings.map((setting) => `ALTER ROLE ${name} ${setClause(setting)}`),
    ...commentOn(`ROLE ${name}`, role.comment),
  ];
  const body = `BEGIN\n${statements.map((statement) => `  ${statement};\n`).join('')}EXCEPTION WHEN duplicate_object THEN NULL;\nEND`;
  return `DO ${quoteLiteral(body)};\n`;
}

function membershipStatement(membership: Membership): string {
  const { grantor } = membership;
  const by = grantor === undefined ? '' : ` GRANTED BY ${quoteIdentifier(grantor)}`;
  return `${grantMembership(membership)}${by};\n`;
}

/** Returns the statement that grants a membership with its options, in the name of the session's role. */
export function grantMembership({ role, member, admin, inherit, set }: Membership): string {
  const word = (option: boolean) => (option ? 'TRUE' : 'FALSE');
  const options =
    inherit === undefined || set === undefined
      ? admin
        ? ' WITH ADMIN OPTION'
        : ''
      : ` WITH ADMIN ${word(admin)}, INHERIT ${word(inherit)}, SET ${word(set)}`;
  return `GRANT ${quoteIdentifier(role)} TO ${quoteIdentifier(member)}${options}`;
}
