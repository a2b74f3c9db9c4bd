import { CompactSign } from 'jose';
import type { KeyRing } from '../domain/key-ring.ts';
import type { ApprovalNotice } from '../domain/notifier.ts';
import { type AskedClaims, LINK_ALGORITHM, LINK_AUDIENCE, LINK_TYPE, type LinkClaims } from './link-token.ts';
import { CUT, shownText } from './shown-text.ts';

export interface ApprovalLinks {
  approve: string;
  deny: string;
}

/** Makes the links of a message, the same ones at every try. Null where none can be had. */
export type LinkSigner = (notice: ApprovalNotice) => Promise<ApprovalLinks | null>;

export interface LinkSignerConfig {
  keys: KeyRing;
  /** The `iss` of our tokens. */
  issuer: string;
  /** Where people reach this broker; null when that is not known, and then there are no links. */
  publicBaseUrl: URL | null;
}

/** In bytes of JSON: with base64, the header and the address of the page a link stays below the 3000 characters that Slack takes. */
const MAX_CLAIMS_BYTES = 1900;

/**
 * One-time links to the approval page. The token is behind the `#`, which browsers send to nobody, so that no server, proxy or
 * preview on the way gets to see it. A link shows all that it decides: there is none when the names alone are too long for that.
 */
export function makeLinkSigner({ keys, issuer, publicBaseUrl }: LinkSignerConfig): LinkSigner {
  if (publicBaseUrl === null) return () => Promise.resolve(null);
  const page = `${publicBaseUrl.href.replace(/\/+$/, '')}/approval`;
  const encoder = new TextEncoder();
  const linkTo = async (claims: LinkClaims): Promise<string> => {
    const token = await new CompactSign(encoder.encode(JSON.stringify(claims)))
      .setProtectedHeader({ alg: LINK_ALGORITHM, kid: keys.signingKey.kid, typ: LINK_TYPE })
      .sign(keys.signingKey.privateKey);
    return `${page}#${token}`;
  };
  return async (notice) => {
    // `approve` is the longer word.
    const longest = fitted(claimsOf(notice, issuer, 'approve'));
    if (longest === null) return null;
    const [approve, deny] = await Promise.all([
      linkTo(longest),
      linkTo({ ...claimsOf(notice, issuer, 'deny'), asked: longest.asked }),
    ]);
    return { approve, deny };
  };
}

function claimsOf(notice: ApprovalNotice, issuer: string, decision: LinkClaims['decision']) {
  const { approval } = notice;
  return {
    iss: issuer,
    aud: LINK_AUDIENCE,
    jti: `${notice.id}:${decision}`,
    iat: Math.floor(approval.createdAt.getTime() / 1000),
    exp: Math.floor(approval.expiresAt.getTime() / 1000),
    approval_id: approval.id,
    tenant_id: approval.tenantId,
    receiver: notice.receiver,
    request_hash: approval.requestHash,
    decision,
    asked: askedOf(notice),
  } satisfies LinkClaims;
}

function askedOf({ approval, grant, workloadSubject }: ApprovalNotice): AskedClaims & Record<string, string | number> {
  return {
    agent_id: shownText(grant.agentId),
    run_id: shownText(grant.runId),
    session_id: grant.sessionId,
    workload: shownText(workloadSubject),
    tool: shownText(grant.tool),
    capability: shownText(grant.capability),
    resource_ref: shownText(grant.resourceRef),
    delivery_mode: grant.deliveryMode,
    ttl_seconds: grant.ttlSeconds,
    reason: shownText(grant.reason),
    required_approvers: approval.requiredApprovers,
    reuse: approval.reuse ? 'yes' : 'no',
  };
}

/** The reason alone may be cut: the rest says what would be given away. */
function fitted(claims: ReturnType<typeof claimsOf>): LinkClaims | null {
  const size = (reason: string): number =>
    Buffer.byteLength(JSON.stringify({ ...claims, asked: { ...claims.asked, reason } }));
  const { reason } = claims.asked;
  if (size(reason) <= MAX_CLAIMS_BYTES) return claims;
  if (size(CUT) > MAX_CLAIMS_BYTES) return null;
  let room = MAX_CLAIMS_BYTES - size(CUT);
  let kept = '';
  for (const character of reason) {
    // Without its quotes.
    room -= Buffer.byteLength(JSON.stringify(character)) - 2;
    if (room < 0) break;
    kept += character;
  }
  return { ...claims, asked: { ...claims.asked, reason: kept + CUT } };
}
