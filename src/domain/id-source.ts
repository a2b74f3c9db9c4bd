import type { ArtifactId, EventId, GrantId, HandleHash, ProxyHandle, SessionId } from './ids.ts';

/** Fresh identifiers and secrets. Ids are a prefix and a UUIDv7 (RFC 9562), so they sort by time and never repeat. */
export interface IdSource {
  sessionId(): SessionId;
  grantId(): GrantId;
  artifactId(): ArtifactId;
  eventId(): EventId;
  /** The `jti` of a token (RFC 7519 section 4.1.7). */
  tokenId(): string;
  /** The name of one concurrency slot. */
  slotId(): string;
  /** 256 bits from a secure source. */
  proxyHandle(): ProxyHandle;
  /** The hash under which a handle is stored and looked up. */
  hashHandle(handle: string): HandleHash;
}
