import type { IssuedArtifact } from './artifact.ts';
import type { ApprovedGrant, DeliveryMode } from './grant.ts';
import type { ArtifactId, ProxyHandle } from './ids.ts';

/** How an issued grant reaches its user. */
export type Delivery = { kind: 'proxy_handle'; handle: ProxyHandle; artifactId: ArtifactId };

/** Turns an approved grant into what its user receives and what is kept of it. */
export interface DeliveryAdapter {
  readonly mode: DeliveryMode;
  issue(grant: ApprovedGrant, now: Date): { artifact: IssuedArtifact; delivery: Delivery };
  /** Delivers what was issued before, to the session that it was issued for. */
  deliver(artifact: IssuedArtifact): Delivery;
}
