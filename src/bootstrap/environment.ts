import { z } from 'zod';
import { originProblem } from '../connectors/browser/origin.ts';
import { VARIABLES } from './variables.ts';

const SCHEMA = z.object(VARIABLES);
const FILES = SCHEMA.pick({
  ASB_K8S_PUBLIC_KEY_FILE: true,
  ASB_OIDC_PUBLIC_KEY_FILE: true,
  ASB_OPERATOR_PUBLIC_KEY_FILE: true,
  ASB_DELEGATION_PUBLIC_KEY_FILE: true,
  ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: true,
  ASB_TLS_CERT_FILE: true,
  ASB_TLS_KEY_FILE: true,
  ASB_AUDIT_FILE: true,
  ASB_KEK_FILE: true,
  ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: true,
  ASB_REDIS_TLS_CA_FILE: true,
  ASB_GITHUB_APP_PRIVATE_KEY_FILE: true,
});

/** The environment, parsed. */
export type Environment = z.output<typeof SCHEMA>;

/** The files it names. */
export type FilePaths = z.output<typeof FILES>;

type Name = keyof Environment;
type SetVariables = Readonly<Partial<Record<Name, string>>>;

export interface ReadEnvironment {
  /** Null when it has mistakes. */
  environment: Environment | null;
  /** There even then, so that the mistakes of the files can be told along. */
  files: FilePaths;
  /** What is wrong, each with what to change. None holds a value that may be secret. */
  problems: readonly string[];
}

/** Reads the environment, and opens no file. */
export function readEnvironment(variables: Readonly<Record<string, string | undefined>>): ReadEnvironment {
  const set: SetVariables = Object.fromEntries(
    Object.entries(variables).filter(([, value]) => value !== undefined && value.trim() !== ''),
  );
  const problems = [
    ...halves(set),
    ...contradictions(set),
    ...storeProblems(set),
    ...gitHubProblems(set),
    ...browserProblems(set),
  ];
  const parsed = SCHEMA.safeParse(set);
  if (!parsed.success) {
    problems.push(...parsed.error.issues.map((issue) => `${issue.path[0]?.toString() ?? ''}: ${issue.message}`));
  }
  return { environment: problems.length === 0 && parsed.success ? parsed.data : null, files: FILES.parse(set), problems };
}

/** Variables that mean something only together. */
function halves(set: SetVariables): string[] {
  return [
    ...pair(set, 'ASB_TLS_CERT_FILE', 'ASB_TLS_KEY_FILE'),
    ...issuer(set, 'ASB_K8S_ISSUER', 'ASB_K8S_PUBLIC_KEY_FILE', 'ASB_K8S_JWKS_URL'),
    ...issuer(set, 'ASB_OIDC_ISSUER', 'ASB_OIDC_PUBLIC_KEY_FILE', 'ASB_OIDC_JWKS_URL'),
    ...pair(set, 'ASB_OIDC_ISSUER', 'ASB_OIDC_ALLOWED_SUBJECT_PREFIXES'),
    ...issuer(set, 'ASB_OPERATOR_ISSUER', 'ASB_OPERATOR_PUBLIC_KEY_FILE', 'ASB_OPERATOR_JWKS_URL'),
    ...pair(set, 'ASB_OPERATOR_ISSUER', 'ASB_OPERATOR_AUDIENCE'),
    ...pair(set, 'ASB_GITHUB_APP_ID', 'ASB_GITHUB_APP_PRIVATE_KEY_FILE'),
    ...issuer(set, 'ASB_DELEGATION_ISSUER', 'ASB_DELEGATION_PUBLIC_KEY_FILE', 'ASB_DELEGATION_JWKS_URL'),
    ...system(set, 'ASB_VAULT_ADDR', VAULT_PARTS, VAULT_DETAILS),
    ...system(set, 'ASB_BROWSER_ORIGIN', BROWSER_PARTS, BROWSER_DETAILS),
  ];
}

function pair(set: SetVariables, one: Name, other: Name): string[] {
  if ((set[one] === undefined) === (set[other] === undefined)) return [];
  return [set[one] === undefined ? `${one}: must be set, as ${other} is` : `${other}: must be set, as ${one} is`];
}

const BROWSER_PARTS = ['ASB_BROWSER_USERNAME', 'ASB_BROWSER_PASSWORD'] as const;
const BROWSER_DETAILS = [
  'ASB_BROWSER_SELECTOR_USERNAME',
  'ASB_BROWSER_SELECTOR_PASSWORD',
  'ASB_BROWSER_ALLOW_PLAIN_VALUES',
] as const;
const VAULT_PARTS = ['ASB_VAULT_TOKEN', 'ASB_VAULT_ROLE', 'ASB_VAULT_DSN_TEMPLATE'] as const;
const VAULT_DETAILS = ['ASB_VAULT_NAMESPACE', 'ASB_VAULT_CA_FILE', 'ASB_VAULT_ALLOWED_ROLE_SUFFIXES'] as const;

/** What a system is reached by, with what must be said of it and what may be. */
function system(set: SetVariables, main: Name, parts: readonly Name[], details: readonly Name[]): string[] {
  if (set[main] !== undefined) return parts.flatMap((name) => pair(set, main, name));
  return [...parts, ...details]
    .filter((name) => set[name] !== undefined)
    .map((name) => `${name}: goes with ${main}, which is not set`);
}

function issuer(set: SetVariables, name: Name, keyFile: Name, jwksUrl: Name): string[] {
  const keys = [keyFile, jwksUrl].filter((key) => set[key] !== undefined);
  if (keys.length === 2) return [`${keyFile} and ${jwksUrl}: set one of them`];
  if (set[name] === undefined) return keys.map((key) => `${name}: must be set, as ${key} is`);
  return keys.length === 0 ? [`${keyFile}: must be set, or ${jwksUrl}, as ${name} is`] : [];
}

const FOR_THE_DEVELOPMENT_TENANT = [
  'ASB_DEV_TENANT_ID',
  'ASB_OPERATOR_ISSUER',
  'ASB_DELEGATION_ISSUER',
  'ASB_VAULT_ADDR',
  'ASB_BROWSER_ORIGIN',
] as const;

function contradictions(set: SetVariables): string[] {
  if (set.ASB_CONFIG_FILE !== undefined) {
    return FOR_THE_DEVELOPMENT_TENANT.filter((name) => set[name] !== undefined).map(
      (name) => `${name}: is for the development tenant; with ASB_CONFIG_FILE, write it into that file`,
    );
  }
  const attests = (['K8S', 'OIDC'] as const).some((kind) =>
    (['ISSUER', 'PUBLIC_KEY_FILE', 'JWKS_URL'] as const).some((part) => set[`ASB_${kind}_${part}`] !== undefined),
  );
  if (attests) return [];
  return [
    'ASB_K8S_ISSUER and ASB_K8S_PUBLIC_KEY_FILE: must be set, or those of ASB_OIDC_, or ASB_CONFIG_FILE; without them no workload can be attested',
  ];
}

/** What a durable store needs besides itself, and what makes no sense without it. */
function storeProblems(set: SetVariables): string[] {
  const problems: string[] = [];
  if (set.ASB_POSTGRES_DSN !== undefined) {
    for (const needed of ['ASB_KEK_FILE', 'ASB_SESSION_SIGNING_PRIVATE_KEY_FILE'] as const) {
      if (set[needed] === undefined)
        problems.push(
          `${needed}: must be set, as ASB_POSTGRES_DSN is: a key of this process alone would lose what is stored`,
        );
    }
    if (set.ASB_AUDIT_FILE !== undefined) {
      problems.push(
        'ASB_AUDIT_FILE: is for the memory store; with ASB_POSTGRES_DSN events are in the database (`npm run audit -- export`)',
      );
    }
  }
  if (set.ASB_REDIS_ADDR === undefined) {
    for (const name of REDIS_DETAILS) {
      if (set[name] !== undefined) problems.push(`${name}: goes with ASB_REDIS_ADDR, which is not set`);
    }
  }
  if ((set.ASB_REDIS_MODE === 'sentinel') !== (set.ASB_REDIS_SENTINEL_NAME !== undefined)) {
    problems.push('ASB_REDIS_SENTINEL_NAME: goes with ASB_REDIS_MODE=sentinel; set both or neither');
  }
  if (set.ASB_REDIS_USERNAME !== undefined && set.ASB_REDIS_PASSWORD === undefined) {
    problems.push('ASB_REDIS_PASSWORD: must be set, as ASB_REDIS_USERNAME is');
  }
  if (set.ASB_REDIS_TLS_CA_FILE !== undefined && set.ASB_REDIS_TLS !== 'true') {
    problems.push('ASB_REDIS_TLS_CA_FILE: goes with ASB_REDIS_TLS=true');
  }
  if (set.ASB_REDIS_SENTINEL_PASSWORD !== undefined && set.ASB_REDIS_MODE !== 'sentinel') {
    problems.push('ASB_REDIS_SENTINEL_PASSWORD: goes with ASB_REDIS_MODE=sentinel');
  }
  return problems;
}

function gitHubProblems(set: SetVariables): string[] {
  const problems: string[] = [];
  if (set.ASB_GITHUB_APP_ID !== undefined && set.ASB_GITHUB_TOKEN !== undefined) {
    problems.push('ASB_GITHUB_TOKEN and ASB_GITHUB_APP_ID: set one of them; ASB has a token of its own or is an App');
  }
  if (set.ASB_GITHUB_APP_PERMISSIONS_JSON !== undefined && set.ASB_GITHUB_APP_ID === undefined) {
    problems.push('ASB_GITHUB_APP_PERMISSIONS_JSON: goes with ASB_GITHUB_APP_ID, which is not set');
  }
  return problems;
}

function browserProblems({
  ASB_BROWSER_ORIGIN: origin,
  ASB_BROWSER_ALLOW_INSECURE_LOCALHOST: allow,
}: SetVariables): string[] {
  const problem = origin === undefined ? null : originProblem(origin, allow === 'true');
  return problem === null ? [] : [`ASB_BROWSER_ORIGIN: ${problem}`];
}

const REDIS_DETAILS = [
  'ASB_REDIS_USERNAME',
  'ASB_REDIS_PASSWORD',
  'ASB_REDIS_TLS_CA_FILE',
  'ASB_REDIS_SENTINEL_PASSWORD',
] as const;

/** Variables that look like ours and are not: most likely a slip of the pen. Those Kubernetes makes for a service named asb are left out. */
export function unknownVariables(variables: Readonly<Record<string, string | undefined>>): readonly string[] {
  return Object.keys(variables).filter(
    (name) => name.startsWith('ASB_') && !(name in VARIABLES) && !/^ASB_(SERVICE|PORT|TEST)_?/.test(name),
  );
}
