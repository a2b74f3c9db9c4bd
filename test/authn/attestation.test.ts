import { describe, expect, test } from 'vitest';
import { makeAttestationVerifier } from '../../src/authn/attestation.ts';
import type { AttestationVerifier } from '../../src/domain/attestation-verifier.ts';
import { unauthorized } from '../../src/domain/errors.ts';

const refusing = (message: string): AttestationVerifier => ({ verify: () => Promise.reject(unauthorized(message)) });

describe('attestation by kind', () => {
  test('each kind reaches its own verifier', async () => {
    const verifier = makeAttestationVerifier({ k8s_sa_jwt: refusing('from k8s'), oidc_jwt: refusing('from oidc') });
    await expect(verifier.verify({ kind: 'k8s_sa_jwt', token: 't' })).rejects.toThrow('from k8s');
    await expect(verifier.verify({ kind: 'oidc_jwt', token: 't' })).rejects.toThrow('from oidc');
  });

  test('a kind that is not configured is unauthorized, and names the accepted ones', async () => {
    const verifier = makeAttestationVerifier({ k8s_sa_jwt: refusing('from k8s') });
    await expect(verifier.verify({ kind: 'oidc_jwt', token: 't' })).rejects.toMatchObject({
      code: 'unauthorized',
      message: 'attestation.kind: use k8s_sa_jwt',
    });
  });

  test('a broker without any verifier does not start', () => {
    expect(() => makeAttestationVerifier({})).toThrow('no kind of attestation');
  });
});
