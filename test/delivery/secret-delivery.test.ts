import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { ephemeralKeyManagement } from '../../src/crypto/kek-file.ts';
import { makeSecretSealer } from '../../src/crypto/sealed-box.ts';
import { makeSecretDelivery } from '../../src/delivery/secret-delivery.ts';
import type { IssuedSecret } from '../../src/domain/artifact.ts';
import type { IssuedLease } from '../../src/domain/connector.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { ArtifactId, GrantId, TenantId } from '../../src/domain/ids.ts';
import { Secret } from '../../src/domain/secret.ts';
import { after, aGrant, anArtifactId, aSession } from '../support/entities.ts';

const PASSWORD = 'canary-"\\\n🔑';
const sealer = makeSecretSealer({ keys: ephemeralKeyManagement() });
const wrapped = makeSecretDelivery({ sealer, ids: { artifactId: anArtifactId } });
const grant = aGrant(aSession(), { deliveryMode: 'wrapped_secret', expiresAt: after(600) });

const aLease = (overrides: Partial<IssuedLease> = {}): IssuedLease => ({
  leaseId: 'lease-1',
  fields: [
    { name: 'username', value: new Secret('v-asb-reader') },
    { name: 'password', value: new Secret(PASSWORD) },
  ],
  expiresAt: after(600),
  ...overrides,
});

describe('a wrapped secret', () => {
  test('belongs to its grant and holds what the lease has, sealed', async () => {
    const artifact = await wrapped.wrap(grant, aLease(), after(1));
    expect(artifact).toEqual({
      id: expect.stringMatching(/^art_/),
      tenantId: grant.tenantId,
      sessionId: grant.sessionId,
      grantId: grant.id,
      kind: 'wrapped_secret',
      state: 'issued',
      sealed: expect.stringMatching(/^asb1\./),
      createdAt: after(1),
      expiresAt: after(600),
    });
    expect(inspect(artifact)).not.toContain('canary');
    expect(await wrapped.open(artifact)).toEqual([
      { name: 'username', value: 'v-asb-reader' },
      { name: 'password', value: PASSWORD },
    ]);
  });

  test.each([
    ['the lease, when that ends first', 300, 600, 300],
    ['the grant, when that ends first', 900, 600, 600],
    ['both', 600, 600, 600],
  ])('ends with %s', async (_name, leaseSeconds, grantSeconds, expected) => {
    const artifact = await wrapped.wrap(
      { ...grant, expiresAt: after(grantSeconds) },
      aLease({ expiresAt: after(leaseSeconds) }),
      after(1),
    );
    expect(artifact.expiresAt).toEqual(after(expected));
  });

  test('is of the kind that the grant is delivered as, and opens as no other', async () => {
    const minted = await wrapped.wrap({ ...grant, deliveryMode: 'minted_token' }, aLease(), after(1));
    expect(minted.kind).toBe('minted_token');
    await expect(wrapped.open({ ...minted, kind: 'wrapped_secret' })).rejects.toThrow();
  });

  test('keeps a credential of no field, and of fields that are named alike', async () => {
    const twice = [new Secret('1'), new Secret('2')].map((value) => ({ name: 'code', value }));
    for (const fields of [[], twice]) {
      const opened = await wrapped.open(await wrapped.wrap(grant, aLease({ fields }), after(1)));
      expect(opened).toEqual(fields.map(({ name, value }) => ({ name, value: value.reveal() })));
    }
  });

  test.each<[name: string, moved: Partial<IssuedSecret>]>([
    ['another artifact', { id: 'art_other' as ArtifactId }],
    ['another grant', { grantId: 'gr_other' as GrantId }],
    ['another tenant', { tenantId: 't_umbrella' as TenantId }],
  ])('does not open in %s', async (_name, moved) => {
    const artifact = await wrapped.wrap(grant, aLease(), after(1));
    await expect(wrapped.open({ ...artifact, ...moved })).rejects.toMatchObject({ name: 'Error' });
  });

  test.each([
    ['no JSON', 'canary'],
    ['half of it', '[{"name":"password","value":"canary'],
    ['no list', '{"name":"password","value":"canary"}'],
    ['a field without a name', '[{"value":"canary"}]'],
    ['a value that is no text', '[{"name":"password","value":["canary"]}]'],
    ['something besides', '[{"name":"password","value":"canary","totp":"canary"}]'],
  ])('that was sealed as %s is refused without a word of it', async (_name, content) => {
    const artifact = await wrapped.wrap(grant, aLease(), after(1));
    const { id: artifactId, tenantId, grantId } = artifact;
    const sealed = await sealer.seal(content, { tenantId, artifactId, grantId, purpose: 'wrapped_secret' });
    const refusal: unknown = await wrapped.open({ ...artifact, sealed }).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ name: 'Error', message: 'a wrapped secret was opened and is not a list of fields' });
    expect(inspect(refusal)).not.toContain('canary');
  });

  test('is unavailable while no key can be had', async () => {
    const away = () => Promise.reject(unavailable('no key'));
    const cut = makeSecretDelivery({ sealer: { seal: away, open: away }, ids: { artifactId: anArtifactId } });
    await expect(cut.wrap(grant, aLease(), after(1))).rejects.toMatchObject({ code: 'unavailable' });
    const artifact = await wrapped.wrap(grant, aLease(), after(1));
    await expect(cut.open(artifact)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
