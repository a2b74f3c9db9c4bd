import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { makeFetchJson } from '../../src/authn/fetch-json.ts';
import { openKeySource } from '../../src/bootstrap/key-sources.ts';
import type { KeySettings } from '../../src/bootstrap/settings.ts';
import { ecKey, ed25519Key, publicJwk, rsaKey } from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startHttpStandIn } from '../support/http-stand-in.ts';

const folder = mkdtempSync(join(tmpdir(), 'asb-keys-'));
afterAll(() => rmSync(folder, { recursive: true }));

function fileOf(text: string): string {
  const path = join(folder, `${crypto.randomUUID()}.txt`);
  writeFileSync(path, text);
  return path;
}

function open(settings: KeySettings, issuer = 'https://issuer.example') {
  const failures: [string, unknown][] = [];
  const onFetchFailure = (of: string, error: unknown) => failures.push([of, error]);
  const deps = { clock: new FakeClock(), fetchJson: makeFetchJson(), onFetchFailure };
  return { failures, source: openKeySource({ ...settings, issuer }, deps) };
}

describe('key files', () => {
  test('in PEM are read at once', () => {
    const { source } = open({ kind: 'pem_file', path: fileOf(rsaKey.publicPem + ed25519Key.publicPem) });
    expect(source.fixed?.map((key) => key.alg)).toEqual(['RS256', 'EdDSA']);
  });

  test('in JWKS are read at once', () => {
    const { source } = open({ kind: 'jwks_file', path: fileOf(JSON.stringify({ keys: [publicJwk(ecKey)] })) });
    expect(source.fixed).toMatchObject([{ alg: 'ES256', kid: ecKey.kid }]);
  });

  test.each<[string, KeySettings, string]>([
    ['PEM that is missing', { kind: 'pem_file', path: join(folder, 'none') }, 'the file cannot be read (ENOENT)'],
    ['PEM that is a folder', { kind: 'pem_file', path: folder }, 'the file cannot be read (EISDIR)'],
    ['PEM that is a JWKS', { kind: 'pem_file', path: fileOf('{"keys":[]}') }, 'the key file is not PEM'],
    ['JWKS that is missing', { kind: 'jwks_file', path: join(folder, 'none') }, 'the file cannot be read (ENOENT)'],
    ['JWKS that is PEM', { kind: 'jwks_file', path: fileOf(ecKey.publicPem) }, 'the key file is not JSON'],
    ['JWKS without a key', { kind: 'jwks_file', path: fileOf('{"keys":[]}') }, 'no key that can be used here: it is empty'],
  ])('%s is an error that says so', (_name, settings, message) => {
    expect(() => open(settings)).toThrow(message);
  });
});

describe('published keys', () => {
  test('at a URL are fetched when they are needed', async () => {
    const server = await startHttpStandIn((_request, response) =>
      response.end(JSON.stringify({ keys: [publicJwk(ecKey)] })),
    );
    try {
      const { source } = open({ kind: 'jwks_url', url: new URL('keys', server.url) });
      expect(source.fixed).toBeUndefined();
      expect(server.requests).toEqual([]);
      expect(await source.find({ alg: 'ES256', kid: ecKey.kid })).toMatchObject([{ kid: ecKey.kid }]);
      expect(server.requests).toEqual(['GET /keys']);
    } finally {
      await server.close();
    }
  });

  test("are found by the issuer's metadata", async () => {
    const server = await startHttpStandIn((request, response) => {
      const issuer = server.url.origin;
      const metadata = { issuer, jwks_uri: `${issuer}/keys` };
      response.end(JSON.stringify(request.url === '/keys' ? { keys: [publicJwk(ecKey)] } : metadata));
    });
    try {
      const { source, failures } = open({ kind: 'discovery' }, server.url.origin);
      await source.prefetch?.();
      expect(server.requests).toEqual(['GET /.well-known/openid-configuration', 'GET /keys']);
      expect(source.find({ alg: 'ES256', kid: ecKey.kid })).toMatchObject([{ kid: ecKey.kid }]);
      expect(failures).toEqual([]);
    } finally {
      await server.close();
    }
  });

  test('that cannot be had are told with their issuer, and do not stop the start', async () => {
    const { source, failures } = open({ kind: 'jwks_url', url: new URL('http://127.0.0.1:1/keys') });
    await source.prefetch?.();
    expect(failures).toMatchObject([['https://issuer.example', { code: 'ECONNREFUSED' }]]);
  });

  test.each<[string, KeySettings, string, string]>([
    ['at a URL in the clear', { kind: 'jwks_url', url: new URL('http://keys.example') }, 'x', 'must be https'],
    ['of an issuer in the clear', { kind: 'discovery' }, 'http://issuer.example', 'https URL'],
    ['of an issuer that is no URL', { kind: 'discovery' }, 'kubernetes/serviceaccount', 'https URL'],
  ])('%s stop the start', (_name, settings, issuer, message) => {
    expect(() => open(settings, issuer)).toThrow(message);
  });
});
