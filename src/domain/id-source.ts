import type {
  ApprovalId,
  ArtifactId,
  CallId,
  EventId,
  GrantId,
  HandleHash,
  NotificationId,
  ProxyHandle,
  RevocationId,
  SessionId,
} from './ids.ts';

/** Fresh identifiers and secrets. Ids are a prefix and a UUIDv7 (RFC 9562), so they sort by time and never repeat. */
export interface IdSource {
  sessionId(): SessionId;
  grantId(): GrantId;
  approvalId(): ApprovalId;
  artifactId(): ArtifactId;
  notificationId(): NotificationId;
  eventId(): EventId;
  /** One downstream call, and the concurrency slot that it takes. */
  callId(): CallId;
  revocationId(): RevocationId;
  /** The `jti` of a token (RFC 7519 section 4.1.7). */
  tokenId(): string;
  /**
   * The handle of an artifact: 256 bits that nobody without this broker's key can tell from random, and that come out the same
   * when they are asked for again. So a handle need not be kept to be delivered once its grant was approved.
   */
  proxyHandle(artifactId: ArtifactId): ProxyHandle;
  /** The hash under which a handle is stored and looked up. */
  hashHandle(handle: string): HandleHash;
}
