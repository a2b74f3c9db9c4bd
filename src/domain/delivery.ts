import type { IssuedProxyHandle, IssuedSecret } from './artifact.ts';
import type { IssuedLease } from './connector.ts';
import type { ApprovedGrant } from './grant.ts';
import type { ArtifactId, ProxyHandle } from './ids.ts';
import type { Secret } from './secret.ts';

/** How an issued grant reaches its user. */
export type Delivery =
  | { kind: 'proxy_handle'; handle: ProxyHandle; artifactId: ArtifactId }
  /** The secret itself comes from unwrapping the artifact, once. */
  | { kind: 'wrapped_secret'; artifactId: ArtifactId }
  /** Given out with this answer, and never again. */
  | { kind: 'minted_token'; token: Secret; artifactId: ArtifactId };

/** Turns an approved grant into a handle, which needs nothing from downstream. */
export interface ProxyDelivery {
  issue(grant: ApprovedGrant, now: Date): { artifact: IssuedProxyHandle; delivery: Delivery };
  /** Delivers what was issued before, to the session that it was issued for. */
  deliver(artifact: IssuedProxyHandle): Delivery;
}

/** One part of an unwrapped credential. */
export interface UnwrappedField {
  name: string;
  value: string;
}

/** What is sealed, and until when it is good. */
export type SecretContent = Pick<IssuedLease, 'fields' | 'expiresAt'>;

/** Puts a credential into an artifact that can be opened once. */
export interface SecretDelivery {
  /**
   * Seals the credential, for the grant's mode of delivery. The artifact ends with the grant or with the credential, whichever is first. Rejects
   * with `unavailable`.
   */
  wrap(grant: ApprovedGrant, content: SecretContent, now: Date): Promise<IssuedSecret>;
  /** Opens it; who may, and that it happens once, is the caller's to see to. Rejects with `unavailable`. */
  open(artifact: IssuedSecret): Promise<readonly UnwrappedField[]>;
}

/** What stands ready for each mode of delivery. */
export interface Deliveries {
  proxy: ProxyDelivery;
  secret: SecretDelivery;
}
