import type { Secret } from '../../domain/secret.ts';
import type { Permissions } from './permissions.ts';
import type { RepositoryName } from './repository-name.ts';

/** What a token is wanted for. */
export interface TokenRequest {
  repository: RepositoryName;
  /** What it must be allowed; a source that makes its tokens makes it for these alone. */
  permissions: Permissions;
  /** A token that GitHub has just refused, so that another one is wanted; null at first. */
  refused: Secret | null;
}

/** Where the connector gets the credential for a call. */
export interface TokenSource {
  /**
   * Rejects with `upstream_error`, `rate_limited` or `unavailable` when there is none to be had now, and with `not_found` or `forbidden`
   * when GitHub gives none for this. Answers with the refused token when there is no other.
   */
  tokenFor(request: TokenRequest): Promise<Secret>;
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
