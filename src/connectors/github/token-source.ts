import type { Secret } from '../../domain/secret.ts';
import type { RepositoryName } from './repository-name.ts';

/** Where the connector gets the credential for a call. */
export interface TokenSource {
  /** Rejects with `upstream_error` or `unavailable` when there is none to be had. */
  tokenFor(repository: RepositoryName): Promise<Secret>;
}

/** One token for every repository. Throws when it is empty or cannot be sent in a header. */
export function staticTokenSource(token: Secret): TokenSource {
  if (!isSendableToken(token.reveal())) {
    throw new Error('the GitHub token must be printable ASCII without spaces or line breaks');
  }
  return { tokenFor: () => Promise.resolve(token) };
}

/** Whether a token can be the value of a header as it is. */
export const isSendableToken = (text: string): boolean => /^[\x21-\x7e]+$/.test(text);
