import { invalidRequest } from './errors.ts';

export type ResourceKind = 'github_repo' | 'db_role' | 'browser_origin';

/** A parsed resource reference. `name` is what follows the prefix, as it was written. */
export interface ResourceRef {
  kind: ResourceKind;
  name: string;
  /** The reference as it was written. */
  ref: string;
}

const PREFIXES: readonly (readonly [prefix: string, kind: ResourceKind])[] = [
  ['github:repo:', 'github_repo'],
  ['dbrole:', 'db_role'],
  ['browser_origin:', 'browser_origin'],
];

/**
 * Reads `github:repo:OWNER/NAME`, `dbrole:ROLE` or `browser_origin:ORIGIN`. The connector that owns the kind checks the
 * name. Throws `invalid_request`.
 */
export function parseResourceRef(ref: string): ResourceRef {
  for (const [prefix, kind] of PREFIXES) {
    if (ref.startsWith(prefix) && ref.length > prefix.length) {
      return { kind, name: ref.slice(prefix.length), ref };
    }
  }
  throw invalidRequest('resource_ref: write github:repo:OWNER/NAME, dbrole:ROLE or browser_origin:ORIGIN');
}
