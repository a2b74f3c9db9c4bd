import { z } from 'zod';
import type { StoredCheckpoint } from '../domain/audit-chain.ts';
import { type Checkpoint, type CheckpointKeys, MAX_JWS_LENGTH, readCheckpoint } from './checkpoints.ts';
import { jsonLine } from './event-json.ts';

const Line = z.looseObject({ jws: z.string().max(MAX_JWS_LENGTH) });

/** A checkpoint as it is kept elsewhere. What counts is `jws`; the rest is for people. */
export const checkpointLine = ({ tenantId, seq, hash, signedAt, jws }: StoredCheckpoint): string =>
  jsonLine({ tenant_id: tenantId, chain_seq: seq, chain_hash: hash, signed_at: signedAt, jws });

/** Reads such lines and verifies each. Rejects with an Error that names the line, counted from 1, and what is wrong with it. */
export async function readCheckpointLines(text: string, keys: CheckpointKeys): Promise<readonly Checkpoint[]> {
  const lines = text.split('\n').map((line, index) => ({ line: line.trim(), where: `line ${index + 1}` }));
  const written = lines.filter(({ line }) => line !== '');
  if (written.length === 0) throw new Error('there is no checkpoint in it');
  const checkpoints: Checkpoint[] = [];
  for (const { line, where } of written) {
    const reading = await readCheckpoint(jwsOf(line, where), keys);
    if (reading.outcome === 'unknown_key') {
      throw new Error(`${where} is signed by the key ${reading.kid}, which is not among those given`);
    }
    if (reading.outcome === 'not_ours') throw new Error(`${where} holds no checkpoint, or one that was altered`);
    checkpoints.push(reading.checkpoint);
  }
  return checkpoints;
}

function jwsOf(line: string, where: string): string {
  try {
    return Line.parse(JSON.parse(line)).jws;
  } catch {
    throw new Error(`${where} is not a line that checkpoints printed`);
  }
}
