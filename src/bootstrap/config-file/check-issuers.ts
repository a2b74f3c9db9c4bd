import { discoveryUrl } from '../../authn/issuer-url.ts';
import { entriesOf, type Report } from './entries.ts';
import type { ConfigFileContext } from './known-issuers.ts';
import type { FieldPath } from './problem.ts';
import type { Salvaged, SalvagedFile } from './salvage.ts';
import type { ConfigFile } from './schema.ts';

/** One issuer in one of its offices. */
interface Office {
  /** What it vouches for. */
  office: 'workloads' | 'operators' | 'delegations';
  /** Null when the environment names it. */
  path: FieldPath | null;
  /** A list may name an issuer once. */
  list: string;
  issuer: string;
  /** Null when none is asked for, or it is malformed. */
  audience: string | null;
  /** Whether it takes tokens for whatever audience. */
  anyAudience: boolean;
}

type IssuerEntry = Salvaged<Pick<ConfigFile['operators'][number], 'issuer' | 'audience' | 'keys'>>;

/**
 * What a schema cannot see in issuers: one that is there twice, so that a token could be either's; one whose tokens could be taken for
 * something else than they were made for; discovery from what is no URL.
 */
export function checkIssuers(file: SalvagedFile, context: ConfigFileContext, report: Report): void {
  const lists = [
    { office: 'workloads', at: ['attestation', 'kubernetes'], list: file.attestation?.kubernetes },
    { office: 'workloads', at: ['attestation', 'oidc'], list: file.attestation?.oidc },
    { office: 'operators', at: ['operators'], list: file.operators },
    { office: 'delegations', at: ['delegations'], list: file.delegations },
  ] as const;
  const offices: Office[] = [...context.k8sIssuers, ...context.oidcIssuers].map(({ issuer, audience }) => {
    return { office: 'workloads', path: null, list: 'environment', issuer, audience, anyAudience: false };
  });
  for (const { office, at, list } of lists) {
    for (const [index, entry] of entriesOf<IssuerEntry>(list)) {
      const path = [...at, index];
      checkDiscovery(entry, path, report);
      if (entry.issuer === undefined) continue;
      const { issuer, audience = null } = entry;
      const anyAudience = office === 'delegations' && audience === null;
      offices.push({ office, path, list: at.join('.'), issuer, audience, anyAudience });
    }
  }
  for (const sharing of Map.groupBy(offices, ({ issuer }) => issuer).values()) checkSharing(sharing, report);
}

function checkDiscovery({ issuer, keys }: IssuerEntry, path: FieldPath, report: Report): void {
  if (issuer === undefined || keys?.discovery !== true) return;
  try {
    discoveryUrl(issuer);
  } catch (error) {
    report([...path, 'keys', 'discovery'], error instanceof Error ? error.message : 'cannot be used with this issuer');
  }
}

function checkSharing(offices: readonly Office[], report: Report): void {
  for (const [index, later] of offices.entries()) {
    if (later.path === null) continue;
    const earlier = offices.slice(0, index);
    if (earlier.some(({ office }) => office === later.office)) {
      const where = earlier.find(({ office }) => office === later.office)?.list ?? '';
      report([...later.path, 'issuer'], `is configured already, in ${where}; a token could be either's`);
    } else if (earlier.some((other) => areConfusable(other, later))) {
      const others = earlier.filter((other) => areConfusable(other, later)).map(({ office }) => office);
      const field = later.audience === null ? 'issuer' : 'audience';
      const message = `its tokens for ${later.office} could pass for those of ${others.join(' and ')}; give each an audience of its own`;
      report([...later.path, field], message);
    }
  }
}

const areConfusable = (one: Office, other: Office): boolean =>
  one.anyAudience || other.anyAudience || (one.audience !== null && one.audience === other.audience);
