import { BrokerError, type RefusalReason } from './errors.ts';
import type { DeliveryMode } from './grant.ts';
import type { RevocationId } from './ids.ts';
import type { ResourceKind, ResourceRef } from './resource.ts';
import type { Secret } from './secret.ts';

/** One kind of downstream system. */
export interface Connector {
  readonly name: string;
  readonly resourceKind: ResourceKind;
  readonly capabilities: readonly string[];
  readonly deliveryModes: readonly DeliveryMode[];
  /** Throws `invalid_request` when the resource's name is not one this system can have, and `not_found` when it is known not to have it. */
  checkResource(resource: ResourceRef): void;
}

export interface ProxyRequest {
  /** The grant's: what it does not cover is refused. */
  capability: string;
  resource: ResourceRef;
  operation: string;
  params: Readonly<Record<string, unknown>>;
}

/** What a downstream call brought back. */
export interface ProxyAnswer {
  payload: Uint8Array;
  contentType: string;
  /** The page to ask for next; null on the last one. */
  nextPage: number | null;
  /** How often the credential that was used stood in what came back, and was made unreadable; left out for never. */
  redactions?: number;
}

export interface SendOptions {
  signal: AbortSignal;
  /** Called with the size of each chunk as it arrives; when it rejects, the transfer ends with that error. */
  spendBytes(bytes: number): Promise<void>;
}

/** A downstream call that has been checked and not yet made. */
export interface PreparedCall {
  /** Rejects with `upstream_error`, `rate_limited`, `not_found`, `forbidden`, `invalid_request` or what `spendBytes` threw. */
  send(options: SendOptions): Promise<ProxyAnswer>;
}

/** A connector that makes calls itself, so that the caller never sees a credential. */
export interface ProxyConnector extends Connector {
  /** Throws `forbidden` for an operation that is not allowed or a resource outside the grant, `invalid_request` for its params. */
  prepare(request: ProxyRequest): PreparedCall;
}

export interface IssueRequest {
  /** Ours, on record before the call: what is issued can be revoked by it even when the answer is lost. */
  revocationId: RevocationId;
  capability: string;
  resource: ResourceRef;
  /** What is issued must be over by then, or be revoked: see `longestLeaseSeconds`. */
  expiresAt: Date;
  /** What a minted token may do, as the policy says it in the downstream system's words; null leaves that to the connector. */
  permissions?: Readonly<Record<string, string>> | null;
  signal: AbortSignal;
}

/** One part of a credential, such as `username`. */
export interface SecretField {
  name: string;
  value: Secret;
}

/** A credential that was made downstream, for one grant. */
export interface IssuedLease {
  leaseId: string;
  fields: readonly SecretField[];
  expiresAt: Date;
}

export interface RevokeRequest {
  revocationId: RevocationId;
  /** Null when it never became known; whatever was issued under `revocationId` is meant. */
  leaseId: string | null;
  resource: ResourceRef;
  signal: AbortSignal;
}

/** A connector that has credentials made downstream, each with a lease. */
export interface LeaseConnector extends Connector {
  /** How long what it issued may live when nobody ever learns its lease, in seconds; absent where that is never longer than asked for. */
  readonly longestLeaseSeconds?: number;
  /**
   * Rejects with `invalid_request`, `forbidden`, `not_found` or `rate_limited` when nothing was issued for sure, as with an error that
   * `wasNotCalled` knows, and with `upstream_error`, `unavailable`, `deadline_exceeded` or any other error when something may have been.
   */
  issue(request: IssueRequest): Promise<IssuedLease>;
  /** Resolves when the credential is dead downstream, also when it was before. Otherwise rejects, and is asked again. */
  revoke(request: RevokeRequest): Promise<void>;
}

/** One input of a form, by its name in the credential and its place on the page: a CSS selector. */
export interface FormInput {
  name: string;
  selector: string;
}

/** A connector for credentials that people keep, to fill forms with. Nothing is made downstream, so nothing is to be revoked. */
export interface FormConnector extends Connector {
  /**
   * The inputs that a page of this resource is filled by, with the selectors that a relay found, by name. Throws `invalid_request` for a
   * selector that is none, that the configuration says otherwise, or that is missing, and what `checkResource` throws.
   */
  formOf(resource: ResourceRef, found: Readonly<Record<string, string>>): readonly FormInput[];
  /** Whether values may be sealed to a relay's key, by its thumbprint (RFC 7638); null stands for a relay without one. */
  trustsRelayKey(thumbprint: string | null): boolean;
  /** Reads the values, one for each input. Rejects with `forbidden`, `not_found`, `rate_limited`, `upstream_error` or `unavailable`. */
  readFields(request: { resource: ResourceRef; signal: AbortSignal }): Promise<readonly SecretField[]>;
}

const NOT_CALLED: ReadonlySet<RefusalReason | null> = new Set([
  'connector_busy',
  'connector_paused',
  'upstream_unreachable',
]);

/** Whether a call came to nothing before it reached the system downstream: by its connector's limits, or because that is not there. */
export const wasNotCalled = (error: unknown): boolean => error instanceof BrokerError && NOT_CALLED.has(error.reason);

/** Finds the connector for a capability on a kind of resource. */
export interface ConnectorResolver {
  /** Null when none is wired. */
  resolve(capability: string, resourceKind: ResourceKind): Connector | null;
  /** The same, for connectors that make calls themselves. */
  resolveProxy(capability: string, resourceKind: ResourceKind): ProxyConnector | null;
  /** The same, for connectors that issue leases. */
  resolveLease(capability: string, resourceKind: ResourceKind): LeaseConnector | null;
  /** The same, for connectors that fill forms. */
  resolveForm(capability: string, resourceKind: ResourceKind): FormConnector | null;
  /** The one that fills forms of such resources, whatever the capability; null when none is wired. */
  findFormConnector(resourceKind: ResourceKind): FormConnector | null;
  /** By its name, for what it issued before; null when it is not configured any more. */
  findLeaseConnector(name: string): LeaseConnector | null;
}
