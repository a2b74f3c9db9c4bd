import type { ResourceKind, ResourceRef } from '../domain/resource.ts';

const CANONICAL: Readonly<Record<ResourceKind, (name: string) => string | null>> = {
  // GitHub ignores the case of account and repository names.
  github_repo: lowerCaseAscii,
  db_role: (name) => name,
  browser_origin: canonicalOrigin,
};

/**
 * The one spelling by which a name is compared with others of its kind; null for what can be no such name. Two names are the
 * same resource exactly when they have the same spelling.
 */
export const canonicalName = (kind: ResourceKind, name: string): string | null => CANONICAL[kind](name);

/** Whether one of the names is this resource's. */
export function namesResource(names: readonly string[], { kind, name }: ResourceRef): boolean {
  const asked = canonicalName(kind, name);
  return asked !== null && names.some((one) => canonicalName(kind, one) === asked);
}

/** Letters beyond ASCII stay, because lower case would make some of them (the Kelvin sign) into ASCII ones. */
function lowerCaseAscii(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** An origin, only as browsers write it (RFC 6454 section 6.2): scheme, host and port, and the port only where it is unusual. */
function canonicalOrigin(name: string): string | null {
  if (!URL.canParse(name)) return null;
  const { protocol, origin } = new URL(name);
  return (protocol === 'https:' || protocol === 'http:') && origin === name ? name : null;
}
