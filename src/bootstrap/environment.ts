import { z } from 'zod';
import { NOT_YET_SUPPORTED, VARIABLES } from './variables.ts';

const SCHEMA = z.object(VARIABLES);
const FILES = SCHEMA.pick({
  ASB_K8S_PUBLIC_KEY_FILE: true,
  ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: true,
  ASB_TLS_CERT_FILE: true,
  ASB_TLS_KEY_FILE: true,
  ASB_AUDIT_FILE: true,
});

/** The environment, parsed. */
export type Environment = z.output<typeof SCHEMA>;

/** The files it names. */
export type FilePaths = z.output<typeof FILES>;

export interface ReadEnvironment {
  /** Null when it has mistakes. */
  environment: Environment | null;
  /** There even then, so that the mistakes of the files can be told along. */
  files: FilePaths;
  /** What is wrong, each with what to change. None holds a value that may be secret. */
  problems: readonly string[];
}

const PAIRS = [
  ['ASB_K8S_ISSUER', 'ASB_K8S_PUBLIC_KEY_FILE'],
  ['ASB_TLS_CERT_FILE', 'ASB_TLS_KEY_FILE'],
] as const;

/** Reads the environment, and opens no file. */
export function readEnvironment(variables: Readonly<Record<string, string | undefined>>): ReadEnvironment {
  const set = Object.fromEntries(
    Object.entries(variables).filter(([, value]) => value !== undefined && value.trim() !== ''),
  );
  const problems: string[] = [];
  for (const name of Object.keys(set)) {
    if (NOT_YET_SUPPORTED.some((pattern) => pattern.test(name))) {
      problems.push(`${name}: is not supported by this version; unset it`);
    }
  }
  for (const [one, other] of PAIRS) {
    if ((set[one] === undefined) !== (set[other] === undefined)) {
      problems.push(set[one] === undefined ? `${one}: must be set, as ${other} is` : `${other}: must be set, as ${one} is`);
    }
  }
  if (set.ASB_K8S_ISSUER === undefined && set.ASB_K8S_PUBLIC_KEY_FILE === undefined) {
    problems.push('ASB_K8S_ISSUER and ASB_K8S_PUBLIC_KEY_FILE: must be set; without them no workload can be attested');
  }
  const parsed = SCHEMA.safeParse(set);
  if (!parsed.success) {
    problems.push(...parsed.error.issues.map((issue) => `${issue.path[0]?.toString() ?? ''}: ${issue.message}`));
  }
  return { environment: problems.length === 0 && parsed.success ? parsed.data : null, files: FILES.parse(set), problems };
}

/** Variables that look like ours and are not: most likely a slip of the pen. Those Kubernetes makes for a service named asb are left out. */
export function unknownVariables(variables: Readonly<Record<string, string | undefined>>): readonly string[] {
  return Object.keys(variables).filter(
    (name) =>
      name.startsWith('ASB_') &&
      !(name in VARIABLES) &&
      !NOT_YET_SUPPORTED.some((pattern) => pattern.test(name)) &&
      !/^ASB_(SERVICE|PORT|TEST)_?/.test(name),
  );
}
