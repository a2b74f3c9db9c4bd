import type { IssuedLease, IssueRequest, RevokeRequest } from '../../domain/connector.ts';
import { invalidRequest, notFound } from '../../domain/errors.ts';
import type { ResourceRef } from '../../domain/resource.ts';
import type { SealedSecret, SecretSealer } from '../../domain/sealing.ts';
import { Secret } from '../../domain/secret.ts';
import type { GitHubAppApi } from './app-api.ts';
import { type Permissions, permissionsSchema, PERMISSIONS_RULE } from './permissions.ts';
import type { RepositoryName } from './repository-name.ts';

export interface MintedTokensConfig {
  api: GitHubAppApi;
  sealer: SecretSealer;
  /** Throws `invalid_request`. */
  repositoryOf: (resource: ResourceRef) => RepositoryName;
  /** What a token may do when the policy does not say. */
  defaultPermissions: Permissions;
}

/** GitHub's tokens live an hour, whatever was asked for; a minute more for GitHub to make one. */
const LONGEST_LEASE_SECONDS = 61 * 60;

/**
 * Tokens for one repository that are given out, each made for one grant alone. GitHub ends each after an hour; a grant that ends
 * earlier has to have it revoked.
 *
 * GitHub takes nothing but the token itself to revoke it, so the lease id is the token, sealed and bound to its revocation. One whose
 * answer was lost is known to nobody and cannot be revoked: `revoke` rejects, and the token ends with its hour.
 */
export function makeMintedTokens({ api, sealer, repositoryOf, defaultPermissions }: MintedTokensConfig) {
  return {
    longestLeaseSeconds: LONGEST_LEASE_SECONDS,

    async issue({ revocationId, resource, permissions, signal }: IssueRequest): Promise<IssuedLease> {
      const repository = repositoryOf(resource);
      const { token, expiresAt } = await api.mint(repository, permissionsOf(permissions ?? defaultPermissions), signal);
      const leaseId = await sealer
        .seal(token.reveal(), { purpose: 'lease_id', revocationId })
        .catch(async (error: unknown) => {
          // Without it nobody could revoke the token later.
          await api.revoke(token, signal);
          throw error;
        });
      return { leaseId, fields: [{ name: 'token', value: token }], expiresAt };
    },

    async revoke({ revocationId, leaseId, signal }: RevokeRequest): Promise<void> {
      if (leaseId === null) {
        // No failure of GitHub's, which a connector that fails too often would be left alone for.
        throw notFound('the token never became known, so GitHub cannot be told to revoke it; it ends within an hour');
      }
      const token = await sealer.open(leaseId as SealedSecret, { purpose: 'lease_id', revocationId });
      await api.revoke(new Secret(token), signal);
    },
  };
}

function permissionsOf(permissions: Readonly<Record<string, string>>): Permissions {
  const parsed = permissionsSchema.safeParse(permissions);
  if (!parsed.success) throw invalidRequest(`the policy's permissions for this capability: ${PERMISSIONS_RULE}`);
  return parsed.data;
}
