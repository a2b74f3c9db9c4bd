import { z } from 'zod';

/** The id of a GitHub App, or its client id such as Iv23liABCDEFGHIJKLMN. */
export const APP_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** What a token of a GitHub App may do: levels by the names of https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app */
export const permissionsSchema = z
  .record(z.string().regex(/^[a-z][a-z_]{0,63}$/), z.enum(['read', 'write', 'admin']))
  .refine((permissions) => Object.keys(permissions).length > 0);
export type Permissions = Readonly<z.output<typeof permissionsSchema>>;

export const PERMISSIONS_RULE =
  'must be an object of GitHub App permissions, as in {"contents":"read","issues":"read"}; each is read, write or admin';

/** What the read operations need; GitHub adds `metadata` by itself. */
export const READ_PERMISSIONS: Permissions = { contents: 'read', issues: 'read', pull_requests: 'read' };

/** The same permissions in the same order, whoever wrote them. */
export const sortedPermissions = (permissions: Permissions): [name: string, level: string][] =>
  Object.entries(permissions).sort(([one], [other]) => (one < other ? -1 : 1));
