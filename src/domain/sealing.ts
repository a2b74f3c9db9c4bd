import type { ArtifactId, GrantId, RevocationId, TenantId } from './ids.ts';

/** Secret data that only this broker's keys open: text that says its format and its key. */
export type SealedSecret = string & { readonly __brand: 'SealedSecret' };

/** The artifact that a secret is delivered by. */
export interface ArtifactPlace {
  tenantId: TenantId;
  artifactId: ArtifactId;
  grantId: GrantId;
  purpose: 'wrapped_secret' | 'minted_token';
}

/** What a sealed secret belongs to. It opens in this place and in no other. */
export type SealingContext =
  | ArtifactPlace
  /** A token that processes share, under the key by which they find it. */
  | { purpose: 'shared_token'; key: string }
  /** A credential that is needed again to revoke it, and stands for its lease id. */
  | { purpose: 'lease_id'; revocationId: RevocationId };

/** Seals secret data for the time that it is stored. */
export interface SecretSealer {
  /** Rejects with `unavailable` when no key can be had. */
  seal(plaintext: string, context: SealingContext): Promise<SealedSecret>;
  /**
   * Rejects with `unavailable` when the key that sealed it cannot be had, and with an error that is no BrokerError (a defect, or an
   * attack) when the text was altered, cut off, or sealed for another place.
   */
  open(sealed: SealedSecret, context: SealingContext): Promise<string>;
}
