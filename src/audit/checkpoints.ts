import { CompactSign, compactVerify, decodeProtectedHeader } from 'jose';
import { z } from 'zod';
import type { ChainHash, ChainLink } from '../domain/audit-chain.ts';
import { isCompactJws } from '../domain/compact-jws.ts';
import type { TenantId } from '../domain/ids.ts';
import type { KeyRing } from '../domain/key-ring.ts';

/** A type of our own keeps other things that the same key signed from passing as checkpoints (RFC 8725 section 3.11). */
const TYPE = 'asb-audit-checkpoint+jwt';
const ALGORITHM = 'EdDSA';
/** About 500 are usual. */
export const MAX_JWS_LENGTH = 4096;

/** What a checkpoint says: the tenant's chain goes up to this link. */
export interface Checkpoint extends ChainLink {
  tenantId: TenantId;
  /** The number of the checkpoint before; 0 for the first. */
  previousSeq: number;
  signedAt: Date;
}

/** The public keys that checkpoints are verified with. */
export type CheckpointKeys = Pick<KeyRing, 'verificationKey'>;

/** What became of reading a checkpoint. */
export type CheckpointReading =
  | { outcome: 'valid'; checkpoint: Checkpoint }
  /** Signed by a key that is not among those given: nothing is known of it. */
  | { outcome: 'unknown_key'; kid: string }
  /** Not a checkpoint, or altered since it was signed. */
  | { outcome: 'not_ours' };

const Payload = z.strictObject({
  tenant_id: z.string().min(1),
  chain_seq: z.int().min(1),
  chain_hash: z.string().regex(/^[0-9a-f]{64}$/),
  previous_seq: z.int().min(0),
  signed_at: z.iso.datetime({ precision: 3 }),
});

const Header = z.strictObject({ alg: z.literal(ALGORITHM), typ: z.literal(TYPE), kid: z.string().regex(/^[\w-]{1,128}$/) });

/** Signs a checkpoint as a compact JWS (RFC 7515) by Ed25519 (RFC 8037). */
export function signCheckpoint(checkpoint: Checkpoint, keys: KeyRing): Promise<string> {
  const payload: z.input<typeof Payload> = {
    tenant_id: checkpoint.tenantId,
    chain_seq: checkpoint.seq,
    chain_hash: checkpoint.hash,
    previous_seq: checkpoint.previousSeq,
    signed_at: checkpoint.signedAt.toISOString(),
  };
  return new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: keys.signingKey.kid })
    .sign(keys.signingKey.privateKey);
}

/** Verifies a checkpoint and reads it. Never rejects for what the text is. */
export async function readCheckpoint(jws: string, keys: CheckpointKeys): Promise<CheckpointReading> {
  const kid = isCompactJws(jws, MAX_JWS_LENGTH) ? kidOf(jws) : null;
  if (kid === null) return { outcome: 'not_ours' };
  const key = keys.verificationKey(kid);
  if (key === null) return { outcome: 'unknown_key', kid };
  try {
    const { payload } = await compactVerify(jws, key, { algorithms: [ALGORITHM] });
    return { outcome: 'valid', checkpoint: toCheckpoint(Payload.parse(JSON.parse(Buffer.from(payload).toString()))) };
  } catch {
    return { outcome: 'not_ours' };
  }
}

/** The key that a header names; null when it is not the header of a checkpoint. */
function kidOf(jws: string): string | null {
  try {
    return Header.parse(decodeProtectedHeader(jws)).kid;
  } catch {
    return null;
  }
}

const toCheckpoint = (payload: z.infer<typeof Payload>): Checkpoint => ({
  tenantId: payload.tenant_id as TenantId,
  seq: payload.chain_seq,
  hash: payload.chain_hash as ChainHash,
  previousSeq: payload.previous_seq,
  signedAt: new Date(payload.signed_at),
});
