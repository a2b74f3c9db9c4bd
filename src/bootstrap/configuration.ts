import type { JsonLinesAuditLog } from '../audit/json-lines-audit-log.ts';
import { auditToStdout, openAuditFile } from '../audit/open-audit-log.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { type KeyFiles, readKeyFiles } from './key-files.ts';

/** What the process runs on: its environment, and what the files named there hold. */
export interface Configuration {
  environment: Environment;
  keys: KeyFiles;
  auditLog: JsonLinesAuditLog;
}

/** Everything that is wrong with a configuration, each with what to change. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `the configuration has ${problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`}:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
    );
    this.name = 'ConfigurationError';
    this.problems = problems;
  }
}

/**
 * Reads the environment and the key files, and opens the audit log. Rejects with ConfigurationError with every problem at
 * once; no message holds a value that may be secret.
 */
export async function readConfiguration(variables: Readonly<Record<string, string | undefined>>): Promise<Configuration> {
  const { environment, files, problems: mistakes } = readEnvironment(variables);
  const problems = [...mistakes];
  const keys = await readKeyFiles(files, problems);
  const auditLog = openAudit(files.ASB_AUDIT_FILE, problems);
  if (environment === null || auditLog === null || problems.length > 0) {
    auditLog?.close();
    throw new ConfigurationError(problems);
  }
  return { environment, keys, auditLog };
}

function openAudit(path: string | undefined, problems: string[]): JsonLinesAuditLog | null {
  try {
    return path === undefined ? auditToStdout() : openAuditFile(path);
  } catch (error) {
    problems.push(`ASB_AUDIT_FILE: ${error instanceof Error ? error.message : 'cannot be opened'}`);
    return null;
  }
}
