import { createDecipheriv, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test, vi } from 'vitest';
import { makeLocalKeyManagement } from '../../src/crypto/local-key-management.ts';
import { makeSecretSealer, MAX_SECRET_BYTES } from '../../src/crypto/sealed-box.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { ArtifactId, GrantId, RevocationId, TenantId } from '../../src/domain/ids.ts';
import type { KeyManagement } from '../../src/domain/key-management.ts';
import type { SealedSecret, SealingContext, ArtifactPlace } from '../../src/domain/sealing.ts';
import recorded from './sealed-box-vectors.json' with { type: 'json' };

const CONTEXT: ArtifactPlace = {
  tenantId: 't_acme' as TenantId,
  artifactId: 'art_1' as ArtifactId,
  grantId: 'gr_1' as GrantId,
  purpose: 'wrapped_secret',
};
const SECRET = 'canary-7f3a';

const KEYS = [randomBytes(32), randomBytes(32)] as const;
const keys = makeLocalKeyManagement(KEYS);
const sealer = makeSecretSealer({ keys });

/** No BrokerError: a defect or an attack, which no caller is told how to mend. */
const DEFECT: unknown = expect.objectContaining({ name: 'Error' });
const UNAVAILABLE: unknown = expect.objectContaining({ name: 'BrokerError', code: 'unavailable' });

const refusalOf = (sealed: string, context: SealingContext = CONTEXT, opener = sealer): Promise<unknown> =>
  opener.open(sealed as SealedSecret, context).then(
    (opened) => `OPENED: ${opened}`,
    (error: unknown) => error,
  );

describe('a sealed secret', () => {
  test.each([
    ['a password', SECRET],
    ['nothing', ''],
    ['text beyond ASCII', 'pässwörd 🔑\u0000\n"'],
    ['the most that is sealed', 'x'.repeat(MAX_SECRET_BYTES)],
  ])('opens again: %s', async (_name, secret) => {
    expect(await sealer.open(await sealer.seal(secret, CONTEXT), CONTEXT)).toBe(secret);
  });

  test('names its format and its key, and shows nothing of what is in it', async () => {
    const sealed = await sealer.seal(SECRET, CONTEXT);
    const [format, keyId = '', ...parts] = sealed.split('.');
    expect(format).toBe('asb1');
    expect(Buffer.from(keyId, 'base64url').toString()).toMatch(/^kek_[0-9a-f]{32}$/);
    expect(parts).toHaveLength(4);
    for (const shown of [sealed, ...parts.map((part) => Buffer.from(part, 'base64url').toString('latin1'))]) {
      expect(shown).not.toContain(SECRET);
      expect(shown).not.toContain(CONTEXT.artifactId);
    }
  });

  test('is another one every time, with a data key of its own', async () => {
    const sealed = await Promise.all(Array.from({ length: 50 }, () => sealer.seal(SECRET, CONTEXT)));
    for (const part of [2, 3, 4, 5]) expect(new Set(sealed.map((one) => one.split('.')[part])).size).toBe(50);
  });

  test('is of bounded size, and so is what is sealed', async () => {
    await expect(sealer.seal('x'.repeat(MAX_SECRET_BYTES + 1), CONTEXT)).rejects.toEqual(DEFECT);
    await expect(sealer.seal('ä'.repeat(MAX_SECRET_BYTES / 2 + 1), CONTEXT)).rejects.toEqual(DEFECT);
    expect((await sealer.seal('x'.repeat(MAX_SECRET_BYTES), CONTEXT)).length).toBeLessThan(2 * MAX_SECRET_BYTES);
    const unwrap = vi.fn<KeyManagement['unwrap']>((key, context) => keys.unwrap(key, context));
    const opener = makeSecretSealer({ keys: { ...keys, unwrap } });
    expect(await refusalOf(`${await sealer.seal(SECRET, CONTEXT)}${'A'.repeat(200_000)}`, CONTEXT, opener)).toEqual(DEFECT);
    expect(unwrap).not.toHaveBeenCalled();
  });

  test('is not made of text that would come out changed', async () => {
    await expect(sealer.seal('half a pair: \ud83d', CONTEXT)).rejects.toEqual(DEFECT);
  });
});

describe('what was sealed by an earlier version', () => {
  const old = makeSecretSealer({ keys: makeLocalKeyManagement(recorded.keys.map((key) => Buffer.from(key, 'base64'))) });
  const vectors = recorded.vectors.map((vector) => ({ ...vector, context: vector.context as ArtifactPlace }));

  test.each(vectors)('still opens: $name', async ({ sealed, context, plaintext }) => {
    expect(await old.open(sealed as SealedSecret, context)).toBe(plaintext);
  });

  /** The format in words of its own: JWE's AES-256-GCM (RFC 7516 section 5.2, step 14 and 15), twice. */
  test.each(vectors)('is what the format says: $name', ({ sealed, context, plaintext, key }) => {
    const [format = '', keyId = '', wrapped = '', ...content] = sealed.split('.');
    const place = [context.tenantId, context.artifactId, context.grantId, context.purpose];
    const kek = Buffer.from(recorded.keys[key] ?? '', 'base64');
    const layer = Buffer.from(wrapped, 'base64url').toString().split('.');
    const dataKey = decryptByHand(kek, layer, JSON.stringify(['asb1', 'data-key', ...place]));
    const aad = JSON.stringify(['asb1', 'content', ...place, `${format}.${keyId}.${wrapped}`]);
    expect(decryptByHand(dataKey, content, aad).toString()).toBe(plaintext);
  });

  function decryptByHand(key: Buffer, parts: readonly string[], aad: string): Buffer {
    const [iv, ciphertext, tag] = parts.map((part) => Buffer.from(part, 'base64url')) as [Buffer, Buffer, Buffer];
    const header = Buffer.from('{"alg":"dir","enc":"A256GCM"}').toString('base64url');
    const decipher = createDecipheriv('aes-256-gcm', key, iv).setAuthTag(tag);
    decipher.setAAD(Buffer.from(`${header}.${Buffer.from(aad).toString('base64url')}`));
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  }
});

describe('a sealed secret that was tampered with does not open', () => {
  test('with any one bit of its text flipped', async () => {
    const sealed = await sealer.seal(SECRET, CONTEXT);
    const keyPart = { from: sealed.indexOf('.') + 1, to: sealed.indexOf('.', sealed.indexOf('.') + 1) };
    for (let index = 0; index < sealed.length; index += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = String.fromCharCode(sealed.charCodeAt(index) ^ (1 << bit));
        const refusal = await refusalOf(sealed.slice(0, index) + flipped + sealed.slice(index + 1));
        // The name of another key, or one that runs on, looks like one that is not at hand.
        const isKeyName = index >= keyPart.from && index <= keyPart.to;
        expect(refusal, `bit ${bit} of character ${index}`).toEqual(isKeyName ? expect.any(Error) : DEFECT);
      }
    }
  });

  test('cut off at any length, at either end', async () => {
    const sealed = await sealer.seal(SECRET, CONTEXT);
    for (let length = 0; length < sealed.length; length += 1) {
      expect(await refusalOf(sealed.slice(0, length)), `the first ${length}`).toEqual(expect.any(Error));
      expect(await refusalOf(sealed.slice(sealed.length - length)), `the last ${length}`).toEqual(DEFECT);
    }
  });

  test.each<[name: string, elsewhere: Partial<Record<keyof ArtifactPlace, string>>]>([
    ['to another tenant', { tenantId: 't_umbrella' }],
    ['to another artifact', { artifactId: 'art_2' }],
    ['to another grant', { grantId: 'gr_2' }],
    ['to another purpose', { purpose: 'session_recording' }],
    ['to a place whose parts run together to the same text', { tenantId: 't_acmeart_1', artifactId: '' }],
    ['to a place with the separators of JSON in it', { tenantId: 't_acme","art_1', artifactId: 'gr_1', grantId: '' }],
    ['to a place that differs in case', { artifactId: 'ART_1' }],
    ['to a place with a space behind it', { grantId: 'gr_1 ' }],
  ])('moved %s', async (_name, elsewhere) => {
    const sealed = await sealer.seal(SECRET, CONTEXT);
    expect(await refusalOf(sealed, { ...CONTEXT, ...elsewhere } as SealingContext)).toEqual(DEFECT);
  });

  test('replayed from another artifact', async () => {
    const other = await sealer.seal('another secret', { ...CONTEXT, artifactId: 'art_2' as ArtifactId });
    expect(await refusalOf(other)).toEqual(DEFECT);
  });

  test.each<[name: string, change: (parts: string[], other: string[]) => string[]]>([
    ['another version', ([, ...rest]) => ['asb2', ...rest]],
    ['no version', ([, ...rest]) => ['', ...rest]],
    ['the version of another spelling', ([, ...rest]) => ['ASB1', ...rest]],
    ['the version before', ([, ...rest]) => ['asb0', ...rest]],
    ['a part too many', (parts) => [...parts, 'AAAA']],
    ['a part too few', (parts) => parts.slice(0, -1)],
    ['its wrapped key from another box', (parts, other) => parts.with(2, other[2]!)],
    ['its IV from another box', (parts, other) => parts.with(3, other[3]!)],
    ['its ciphertext from another box', (parts, other) => parts.with(4, other[4]!)],
    ['its tag from another box', (parts, other) => parts.with(5, other[5]!)],
    ['its content from another box', (parts, other) => [...parts.slice(0, 3), ...other.slice(3)]],
    ['its parts in another order', ([format, key, wrapped, ...content]) => [format!, wrapped!, key!, ...content]],
    ['no wrapped key', (parts) => parts.with(2, '')],
    ['no ciphertext and no tag', (parts) => parts.with(4, '').with(5, '')],
    ['a tag of half its length', (parts) => parts.with(5, parts[5]!.slice(0, 11))],
    ['padding', (parts) => parts.with(5, `${parts[5]!}==`)],
    ['white space', (parts) => parts.with(5, `${parts[5]!}\n`)],
  ])('with %s', async (_name, change) => {
    // Both in the same place: what is exchanged is bound to the box as well.
    const [one, other] = await Promise.all([sealer.seal(SECRET, CONTEXT), sealer.seal('0ther-5ecret', CONTEXT)]);
    expect(await refusalOf(change(one.split('.'), other.split('.')).join('.'))).toEqual(expect.any(Error));
  });

  test('with the name of another key that is at hand', async () => {
    const sealed = await sealer.seal(SECRET, CONTEXT);
    const second = await makeSecretSealer({ keys: makeLocalKeyManagement([KEYS[1]]) }).seal(SECRET, CONTEXT);
    expect(await refusalOf(sealed.split('.').with(1, second.split('.')[1]!).join('.'))).toEqual(DEFECT);
  });

  test('whose data key was wrapped anew under a name that the content does not know', async () => {
    const [one, other] = [makeLocalKeyManagement([KEYS[0]]), makeLocalKeyManagement([KEYS[1]])];
    const seen: Uint8Array[] = [];
    const spying: KeyManagement = {
      ...one,
      wrap(dataKey, context) {
        seen.push(Uint8Array.from(dataKey));
        return one.wrap(dataKey, context);
      },
    };
    const sealed = await makeSecretSealer({ keys: spying }).seal(SECRET, CONTEXT);
    const context = JSON.stringify(['asb1', 'data-key', 't_acme', 'art_1', 'gr_1', 'wrapped_secret']);
    const { keyId, wrapped } = await other.wrap(seen[0]!, context);
    expect(Buffer.from(await other.unwrap({ keyId, wrapped }, context))).toEqual(Buffer.from(seen[0]!));
    const rewrapped = [keyId, wrapped].map((text) => Buffer.from(text).toString('base64url'));
    expect(await refusalOf(['asb1', ...rewrapped, ...sealed.split('.').slice(3)].join('.'))).toEqual(DEFECT);
  });

  test('and says nothing of what is in it', async () => {
    const sealed = await sealer.seal(SECRET, CONTEXT);
    const refusals = await Promise.all([
      refusalOf(sealed, { ...CONTEXT, artifactId: 'art_2' as ArtifactId }),
      refusalOf(`${sealed.slice(0, -1)}!`),
      refusalOf(sealed, CONTEXT, makeSecretSealer({ keys: makeLocalKeyManagement([randomBytes(32)]) })),
    ]);
    for (const refusal of refusals) {
      expect(inspect(refusal)).not.toContain(SECRET);
      expect(inspect(refusal)).not.toContain(sealed.slice(80, 100));
    }
  });
});

describe('when the key-encryption key', () => {
  const [old, fresh] = [randomBytes(32), randomBytes(32)];
  const sealerOf = (...held: Buffer[]) => makeSecretSealer({ keys: makeLocalKeyManagement(held) });
  const keyNamed = (sealed: string) => sealed.split('.')[1];

  test('is missing, a secret is unavailable', async () => {
    expect(await refusalOf(await sealerOf(old).seal(SECRET, CONTEXT), CONTEXT, sealerOf(fresh))).toEqual(UNAVAILABLE);
  });

  test('was rotated, old secrets open and new ones use the new key', async () => {
    const before = await sealerOf(old).seal(SECRET, CONTEXT);
    const rotated = sealerOf(fresh, old);
    expect(await rotated.open(before, CONTEXT)).toBe(SECRET);
    const after = await rotated.seal(SECRET, CONTEXT);
    expect(keyNamed(after)).not.toBe(keyNamed(before));
    expect(await sealerOf(fresh).open(after, CONTEXT)).toBe(SECRET);
    expect(await refusalOf(after, CONTEXT, sealerOf(old))).toEqual(UNAVAILABLE);
  });

  test('cannot be had, nothing is sealed and nothing is opened', async () => {
    const away = () => Promise.reject(unavailable('the key service is away'));
    const cut = makeSecretSealer({ keys: { wrap: away, unwrap: away } });
    await expect(cut.seal(SECRET, CONTEXT)).rejects.toEqual(UNAVAILABLE);
    expect(await refusalOf(await sealer.seal(SECRET, CONTEXT), CONTEXT, cut)).toEqual(UNAVAILABLE);
  });
});

describe('a data key', () => {
  test('is erased after use, whether it went well or not', async () => {
    const seen: Uint8Array[] = [];
    const watching: KeyManagement = {
      wrap(dataKey, context) {
        seen.push(dataKey);
        return keys.wrap(dataKey, context);
      },
      async unwrap(key, context) {
        const dataKey = await keys.unwrap(key, context);
        seen.push(dataKey);
        return dataKey;
      },
    };
    const watched = makeSecretSealer({ keys: watching });
    const sealed = await watched.seal(SECRET, CONTEXT);
    await watched.open(sealed, CONTEXT);
    await refusalOf(sealed.slice(0, -4), CONTEXT, watched);
    await expect(
      makeSecretSealer({ keys: { ...watching, wrap: failsHaving(seen) } }).seal(SECRET, CONTEXT),
    ).rejects.toThrow();
    expect(seen).toHaveLength(4);
    for (const dataKey of seen) expect([...dataKey].every((byte) => byte === 0)).toBe(true);
  });

  const failsHaving = (seen: Uint8Array[]) => (dataKey: Uint8Array) => {
    seen.push(dataKey);
    return Promise.reject(new Error('no'));
  };

  test('of another length than ours is not used', async () => {
    const short: KeyManagement = { ...keys, unwrap: () => Promise.resolve(randomBytes(16)) };
    expect(await refusalOf(await sealer.seal(SECRET, CONTEXT), CONTEXT, makeSecretSealer({ keys: short }))).toEqual(DEFECT);
  });
});

describe('a secret of one purpose does not open in the place of another', () => {
  const places: SealingContext[] = [
    CONTEXT,
    { purpose: 'shared_token', key: 'rev_1' },
    { purpose: 'shared_token', key: 'rev_2' },
    { purpose: 'lease_id', revocationId: 'rev_1' as RevocationId },
    { purpose: 'lease_id', revocationId: 'rev_2' as RevocationId },
    { ...CONTEXT, tenantId: 'shared_token' as TenantId, artifactId: 'rev_1' as ArtifactId },
    { ...CONTEXT, tenantId: 'lease_id' as TenantId, artifactId: 'rev_1' as ArtifactId },
  ];

  test.each(places)('%j', async (place) => {
    const sealed = await sealer.seal(SECRET, place);
    for (const other of places) {
      expect(await refusalOf(sealed, other)).toEqual(other === place ? `OPENED: ${SECRET}` : DEFECT);
    }
  });
});
