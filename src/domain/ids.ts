/** A string that can only be made by the parser or generator of its kind. */
type Branded<Name extends string> = string & { readonly __brand: Name };

export type TenantId = Branded<'TenantId'>;
export type AgentId = Branded<'AgentId'>;
export type RunId = Branded<'RunId'>;
export type SessionId = Branded<'SessionId'>;
export type GrantId = Branded<'GrantId'>;
export type ApprovalId = Branded<'ApprovalId'>;
export type ArtifactId = Branded<'ArtifactId'>;
export type EventId = Branded<'EventId'>;
export type NotificationId = Branded<'NotificationId'>;
export type CallId = Branded<'CallId'>;
export type RevocationId = Branded<'RevocationId'>;

/** What a tool holds instead of a credential: `ph_` and 256 random bits, base64url. Never stored. */
export type ProxyHandle = Branded<'ProxyHandle'>;

/** SHA-256 of a proxy handle, hex; the only trace of it that is kept. */
export type HandleHash = Branded<'HandleHash'>;

/** SHA-256 over the canonical form of a workload identity, hex. */
export type WorkloadHash = Branded<'WorkloadHash'>;
