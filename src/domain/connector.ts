import type { DeliveryMode } from './grant.ts';
import type { ResourceKind, ResourceRef } from './resource.ts';

/** One kind of downstream system. */
export interface Connector {
  readonly name: string;
  readonly resourceKind: ResourceKind;
  readonly capabilities: readonly string[];
  readonly deliveryModes: readonly DeliveryMode[];
  /** Throws `invalid_request` when the resource's name is not one this system can have. */
  checkResource(resource: ResourceRef): void;
}

export interface ProxyRequest {
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

/** Finds the connector for a capability on a kind of resource. */
export interface ConnectorResolver {
  /** Null when none is wired. */
  resolve(capability: string, resourceKind: ResourceKind): Connector | null;
  /** The same, for connectors that make calls themselves. */
  resolveProxy(capability: string, resourceKind: ResourceKind): ProxyConnector | null;
}
