import { z } from 'zod';
import { DELIVERY_MODES } from '../../domain/grant.ts';
import type { AgentId, ApprovalId, ArtifactId, GrantId, RunId, SessionId, TenantId } from '../../domain/ids.ts';
import { ATTESTATION_KINDS } from '../../domain/workload.ts';
import { grantRecord, grantState, instant } from './records.ts';
import {
  idOf,
  name,
  oneOf,
  optionalName,
  optionalPublicKey,
  optionalReference,
  optionalToken,
  params,
  reference,
  requiredObject,
  text,
  textsByName,
  token,
  toolNames,
  ttlSeconds,
  waitSeconds,
} from '../wire-fields.ts';

// The requests of asb.v1 as JSON (design, section 3). Strict: a field that is not listed is a mistake of the caller.

export const createSessionRequest = z.strictObject({
  tenant_id: idOf<TenantId>(),
  agent_id: idOf<AgentId>(),
  run_id: idOf<RunId>(),
  tool_context: toolNames,
  attestation: requiredObject({ kind: oneOf(ATTESTATION_KINDS), token }),
  delegation_assertion: optionalToken,
});

export const requestGrantRequest = z.strictObject({
  session_token: optionalToken,
  tool: name,
  capability: name,
  resource_ref: reference,
  delivery_mode: oneOf(DELIVERY_MODES),
  ttl_seconds: ttlSeconds,
  reason: text,
  request_id: optionalName,
});

export const getGrantRequest = z.strictObject({ grant_id: idOf<GrantId>(), wait_seconds: waitSeconds });
export const decideApprovalRequest = z.strictObject({ approval_id: idOf<ApprovalId>(), approver: text, comment: text });
export const revokeGrantRequest = z.strictObject({ grant_id: idOf<GrantId>(), reason: text });
export const revokeSessionRequest = z.strictObject({ session_id: idOf<SessionId>(), reason: text });
export const executeGitHubProxyRequest = z.strictObject({ proxy_handle: token, operation: name, params });

export const registerBrowserRelayRequest = z.strictObject({
  session_token: optionalToken,
  key_id: name,
  public_key: optionalPublicKey,
  origin: reference,
  tab_id: name,
  selectors: textsByName,
});

export const unwrapArtifactRequest = z.strictObject({
  session_token: optionalToken,
  artifact_id: idOf<ArtifactId>(),
  // Only what a browser relay opens has these.
  key_id: optionalName,
  origin: optionalReference,
  tab_id: optionalName,
});

// The answers. They are made by us, so these schemas serve types and documentation, not checks at run time.

export const delivery = z.strictObject({
  kind: z.enum(['proxy_handle', 'wrapped_secret', 'minted_token']),
  handle: z.string().optional(),
  token: z.string().optional(),
  artifact_id: z.string().optional(),
});

export const createSessionResponse = z.strictObject({
  session_id: z.string(),
  session_token: z.string(),
  expires_at: instant,
});
export const requestGrantResponse = z.strictObject({
  grant_id: z.string(),
  state: grantState,
  approval_id: z.string().optional(),
  delivery: delivery.optional(),
  expires_at: instant,
  end_reason: z.string().optional(),
});
export const getGrantResponse = requestGrantResponse.extend({ grant: grantRecord });
export const approveGrantResponse = z.strictObject({
  grant_id: z.string(),
  state: grantState,
  approval_id: z.string(),
  expires_at: instant,
});
export const denyGrantResponse = z.strictObject({ state: grantState });
export const revokeResponse = z.strictObject({ state: z.literal('revoked') });
export const registerBrowserRelayResponse = z.strictObject({
  session_id: z.string(),
  key_id: z.string(),
  expires_at: instant,
});
export const unwrapArtifactResponse = z.strictObject({
  artifact_id: z.string(),
  origin: z.string(),
  auto_submit: z.literal(false),
  fields: z.array(z.strictObject({ name: z.string(), selector: z.string(), value: z.string() })),
});
