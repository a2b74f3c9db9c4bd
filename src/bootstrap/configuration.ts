import type { JsonLinesAuditLog } from '../audit/json-lines-audit-log.ts';
import { auditToStdout, openAuditFile } from '../audit/open-audit-log.ts';
import type { ConfigFileResult, SeenFiles } from './config-file/read-config-file.ts';
import { ConfigurationError } from './configuration-error.ts';
import { attestationOf, environmentSettings, gitHubAppOf, revisionWith } from './environment-settings.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { type KeyFiles, readKeyFiles } from './key-files.ts';
import type { Settings } from './settings.ts';

/** What the process runs on: its environment, and what the files named there hold. */
export interface Configuration {
  environment: Environment;
  keys: KeyFiles;
  settings: Settings;
  /** The configuration file, and what its settings were read from; null when the environment alone set them. */
  file: { path: string; seen: SeenFiles } | null;
  warnings: readonly string[];
  auditLog: JsonLinesAuditLog;
}

/**
 * Reads the environment, the key files and the configuration file, and opens the audit log. Rejects with ConfigurationError with
 * every problem at once; no message holds a value that may be secret.
 */
export async function readConfiguration(variables: Readonly<Record<string, string | undefined>>): Promise<Configuration> {
  const { environment, files, problems: mistakes } = readEnvironment(variables);
  const problems = [...mistakes];
  const keys = await readKeyFiles(files, problems);
  const auditLog = openAudit(files.ASB_AUDIT_FILE, problems);
  // Without its environment a file's bindings cannot be checked.
  const read = environment === null ? null : await readSettings(environment);
  if (read?.outcome === 'invalid') problems.push(...read.problems);
  if (environment === null || auditLog === null || read?.outcome !== 'valid' || problems.length > 0) {
    auditLog?.close();
    throw new ConfigurationError(problems);
  }
  const { settings, warnings, seen } = read;
  const { ASB_CONFIG_FILE: path } = environment;
  return { environment, keys, settings, file: path === undefined ? null : { path, seen }, warnings, auditLog };
}

/** The settings of the configuration file, with the issuers of workloads that the environment names; or those of the environment alone. */
export async function readSettings(environment: Environment): Promise<ConfigFileResult> {
  const { ASB_CONFIG_FILE: path } = environment;
  if (path === undefined) {
    return { outcome: 'valid', settings: environmentSettings(environment), warnings: [], seen: new Map() };
  }
  const { k8sIssuers, oidcIssuers } = attestationOf(environment);
  // The reader of YAML takes a tenth of the process's memory; without a file it is not loaded.
  const { readConfigFile } = await import('./config-file/read-config-file.ts');
  const result = await readConfigFile(path, { k8sIssuers, oidcIssuers });
  if (result.outcome === 'invalid') return result;
  const { settings } = result;
  const merged = {
    ...settings,
    k8sIssuers: [...k8sIssuers, ...settings.k8sIssuers],
    oidcIssuers: [...oidcIssuers, ...settings.oidcIssuers],
    githubOperations: settings.githubOperations ?? environment.ASB_GITHUB_ALLOWED_OPERATIONS,
    githubApp: settings.githubApp ?? gitHubAppOf(environment),
  };
  return { ...result, settings: { ...merged, revision: revisionWith(settings.revision, environment) } };
}

function openAudit(path: string | undefined, problems: string[]): JsonLinesAuditLog | null {
  try {
    return path === undefined ? auditToStdout() : openAuditFile(path);
  } catch (error) {
    problems.push(`ASB_AUDIT_FILE: ${error instanceof Error ? error.message : 'cannot be opened'}`);
    return null;
  }
}
