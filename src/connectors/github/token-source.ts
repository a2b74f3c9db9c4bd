import type { Secret } from '../../domain/secret.ts';
import type { RepositoryName } from './repository-name.ts';

/** Where the connector gets the credential for a call. */
export interface TokenSource {
  /** Rejects with `upstream_error` or `unavailable` when there is none to be had. */
  tokenFor(repository: RepositoryName): Promise<Secret>;
}

/** One token for every repository. Throws when it is empty or cannot be sent in a header. */
export function staticTokenSource(token: Secret): TokenSource {
  if (!/^[\x21-\x7e]+$/.test(token.reveal())) {
    throw new Error('the GitHub token must be printable ASCII without spaces or line breaks');
  }
  return { tokenFor: () => Promise.resolve(token) };
}
