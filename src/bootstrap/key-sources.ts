import type { FetchJson } from '../authn/fetch-json.ts';
import { parseJwks } from '../authn/jwks.ts';
import { type KeySource, staticKeys } from '../authn/key-source.ts';
import { parsePublicKeys } from '../authn/pem-keys.ts';
import { jwksAt, jwksOfIssuer, type LoadKeys, RemoteKeys } from '../authn/remote-keys.ts';
import type { Clock } from '../domain/clock.ts';
import { readText } from './read-text.ts';
import type { KeySettings } from './settings.ts';

export interface KeySourceDeps {
  clock: Clock;
  fetchJson: FetchJson;
  /** Told each time that an issuer's keys could not be fetched, for the log. */
  onFetchFailure: (issuer: string, error: unknown) => void;
}

/**
 * Opens the keys of an issuer. Files are read here and now and never again; what is published at a URL is fetched when it is
 * first needed. Throws an Error that says what is wrong with the file or the URL.
 */
export function openKeySource(settings: KeySettings & { issuer: string }, deps: KeySourceDeps): KeySource {
  switch (settings.kind) {
    case 'pem_file':
      return staticKeys(parsePublicKeys(readText(settings.path)));
    case 'jwks_file':
      return staticKeys(parseJwks(parseJson(readText(settings.path))));
    case 'jwks_url':
      return remote(jwksAt(settings.url, deps.fetchJson), settings.issuer, deps);
    case 'discovery':
      return remote(jwksOfIssuer(settings.issuer, deps.fetchJson), settings.issuer, deps);
  }
}

function remote(load: LoadKeys, issuer: string, { clock, onFetchFailure }: KeySourceDeps): KeySource {
  return new RemoteKeys({ load, clock, onFailure: (error) => onFetchFailure(issuer, error) });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('the key file is not JSON');
  }
}
