import { z } from 'zod';
import type { ApprovalId, TenantId } from '../domain/ids.ts';

/** A type and an audience of their own keep other tokens by the same keys from passing as links (RFC 8725 section 3.11), and links as them. */
export const LINK_TYPE = 'asb-approval-link+jwt';
export const LINK_AUDIENCE = 'asb-approval-link';
export const LINK_ALGORITHM = 'EdDSA';

/** What the person who follows a link is shown: all that the decision is about. */
export interface AskedClaims {
  agent_id: string;
  run_id: string;
  session_id: string;
  workload: string;
  tool: string;
  capability: string;
  resource_ref: string;
  delivery_mode: string;
  ttl_seconds: number;
  reason: string;
  required_approvers: number;
  /** `yes` when it also answers the same request of the same session again. */
  reuse: 'yes' | 'no';
}

const id = <T extends string>() => z.custom<T>((value) => typeof value === 'string' && value !== '');
/** Whole seconds, up to the end of the year 9999. */
const NumericDate = z.int().min(0).max(253_402_300_799);

/** Strict, because a claim that this version does not know may restrict the token. */
export const LinkClaims = z.strictObject({
  iss: z.string(),
  aud: z.literal(LINK_AUDIENCE),
  jti: id<string>(),
  iat: NumericDate,
  exp: NumericDate,
  approval_id: id<ApprovalId>(),
  tenant_id: id<TenantId>(),
  receiver: id<string>(),
  request_hash: id<string>(),
  decision: z.enum(['approve', 'deny']),
  /** For people alone; what counts is `request_hash`. */
  asked: z.record(z.string(), z.union([z.string(), z.number()])),
});
export type LinkClaims = z.infer<typeof LinkClaims>;
