import { type ArchiveWriter, type Manifest, ROLES_NAME } from '#archive';
import { readRoles, rolesSql, type Session } from '#postgres';

/** Writes the roles of the session's database as an entry. @returns its member of the manifest */
export async function addRoles(
  session: Session,
  writer: ArchiveWriter,
): Promise<NonNullable<Manifest['roles']>> {
  const roles = await readRoles(session);
  const entry = writer.entry(ROLES_NAME);
  await entry.write(Buffer.from(rolesSql(roles)));
  return { ...entry.end(), name: ROLES_NAME, ...roles };
}
