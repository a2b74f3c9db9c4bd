import { describe, expect, test } from 'vitest';
import { checkpointLine, readCheckpointLines } from '../../src/audit/checkpoint-lines.ts';
import { type Checkpoint, signCheckpoint } from '../../src/audit/checkpoints.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import type { ChainHash, StoredCheckpoint } from '../../src/domain/audit-chain.ts';
import { START, TENANT } from '../support/entities.ts';

const keys = await ephemeralKeyRing();
const signed: Checkpoint = { tenantId: TENANT, seq: 2, hash: 'ab'.repeat(32) as ChainHash, previousSeq: 0, signedAt: START };
const stored: StoredCheckpoint = { ...signed, signedAt: START.toISOString(), jws: await signCheckpoint(signed, keys) };

describe('checkpoints that are kept elsewhere', () => {
  test('are lines that say for people what they are', () => {
    expect(JSON.parse(checkpointLine(stored))).toEqual({
      tenant_id: 't_acme',
      chain_seq: 2,
      chain_hash: 'ab'.repeat(32),
      signed_at: START.toISOString(),
      jws: stored.jws,
    });
  });

  test('are read again, with what was signed and not what stands beside it', async () => {
    const lied = checkpointLine({ ...stored, seq: 1, hash: 'cd'.repeat(32) as ChainHash });
    expect(await readCheckpointLines(`${checkpointLine(stored)}\n${lied}`, keys)).toEqual([signed, signed]);
    expect(await readCheckpointLines(JSON.stringify({ jws: stored.jws }), keys)).toEqual([signed]);
  });

  test.each([
    ['nothing', '\n \n', 'there is no checkpoint in it'],
    ['no JSON', 'rubbish', 'line 1 is not a line that checkpoints printed'],
    [
      'a line without a signature',
      `${checkpointLine(stored)}{"chain_seq":2}`,
      'line 2 is not a line that checkpoints printed',
    ],
    ['something else that is signed', '{"jws":"a.b.c"}', 'line 1 holds no checkpoint, or one that was altered'],
  ])('are refused when there is %s', async (_name, text, message) => {
    await expect(readCheckpointLines(text, keys)).rejects.toThrow(message);
  });

  test('are refused when a key is not at hand, which is named', async () => {
    const other = await ephemeralKeyRing();
    await expect(readCheckpointLines(checkpointLine(stored), other)).rejects.toThrow(
      `line 1 is signed by the key ${keys.signingKey.kid}, which is not among those given`,
    );
  });
});
