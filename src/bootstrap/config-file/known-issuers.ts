import type { Settings } from '../settings.ts';
import { entriesOf } from './entries.ts';
import type { SalvagedFile } from './salvage.ts';

/** What a file is read in the light of: the issuers of workloads that the environment names. */
export interface ConfigFileContext {
  k8sIssuers: readonly Pick<Settings['k8sIssuers'][number], 'issuer' | 'audience'>[];
  oidcIssuers: readonly Pick<Settings['oidcIssuers'][number], 'issuer' | 'audience'>[];
}

/** The issuers of workloads, of the file and of the environment. */
export interface KnownIssuers {
  kubernetes: ReadonlySet<string>;
  oidc: ReadonlySet<string>;
  /** Whether that is all of them: no issuer of the file was left out for a mistake. */
  complete: boolean;
}

interface IssuerEntry {
  issuer?: string | undefined;
}

/** Collects them. `unsound` says that something of the file's issuers was taken out. */
export function knownIssuers(file: SalvagedFile, context: ConfigFileContext, unsound: boolean): KnownIssuers {
  const { kubernetes, oidc } = file.attestation ?? {};
  const named = (list: readonly (IssuerEntry | undefined)[] | undefined): string[] =>
    entriesOf(list).flatMap(([, { issuer }]) => (issuer === undefined ? [] : [issuer]));
  return {
    kubernetes: new Set([...named(kubernetes), ...context.k8sIssuers.map(({ issuer }) => issuer)]),
    oidc: new Set([...named(oidc), ...context.oidcIssuers.map(({ issuer }) => issuer)]),
    complete: !unsound,
  };
}
