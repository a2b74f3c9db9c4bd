import { parseArgs } from 'node:util';
import { z } from 'zod';
import { readRegularFile } from './config-file/file-reader.ts';
import { configFileJsonSchema } from './config-file/json-schema.ts';
import type { ConfigFileContext } from './config-file/known-issuers.ts';
import { parseConfigFile } from './config-file/parse-config-file.ts';
import { formatProblems } from './config-file/problem.ts';
import { configText, readConfigFile, unreadable } from './config-file/read-config-file.ts';
import { revisionOf } from './config-file/revision.ts';
import { VARIABLES } from './variables.ts';

const USAGE = `usage: config check [--skip-files] [FILE]
       config schema

check   Tells every mistake in FILE, or in the file that ASB_CONFIG_FILE names, and opens no connection.
        --skip-files leaves the files that it names alone: keys and secrets are seldom where a check runs.
schema  Prints the JSON Schema of the file.
`;

const VALID = 0;
const INVALID = 1;
const MISUSED = 2;

/** Where a command writes. */
export interface Output {
  stdout(text: string): void;
  stderr(text: string): void;
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The commands that operators run on a configuration file. Answers the exit code: 0 when the file is valid, 1 when it is not, with
 * every mistake on standard error, one a line, 2 when the command is not understood.
 */
export async function runConfigCommand(args: readonly string[], variables: Variables, output: Output): Promise<number> {
  const command = parseCommand(args);
  if (command?.name === 'schema') {
    output.stdout(configFileJsonSchema());
    return VALID;
  }
  const file = command?.file ?? variables.ASB_CONFIG_FILE;
  if (command === null || file === undefined || file === '') {
    output.stderr(USAGE);
    return MISUSED;
  }
  const { summary, problems, warnings } = await check(file, contextOf(variables), command.skipFiles);
  for (const warning of warnings) output.stderr(`warning: ${warning}\n`);
  for (const problem of problems) output.stderr(`${problem}\n`);
  if (summary === null) return INVALID;
  output.stdout(`${file}: valid: ${summary}\n`);
  return VALID;
}

type Command = { name: 'schema' } | { name: 'check'; file: string | undefined; skipFiles: boolean };

function parseCommand(args: readonly string[]): (Command & { file?: string | undefined }) | null {
  try {
    const options = { 'skip-files': { type: 'boolean', default: false } } as const;
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    const [name, file, ...rest] = positionals;
    if (rest.length > 0) return null;
    if (name === 'check') return { name, file, skipFiles: values['skip-files'] };
    return name === 'schema' && file === undefined && !values['skip-files'] ? { name } : null;
  } catch {
    return null;
  }
}

const Issuers = z.object(VARIABLES).pick({
  ASB_K8S_ISSUER: true,
  ASB_K8S_AUDIENCE: true,
  ASB_OIDC_ISSUER: true,
  ASB_OIDC_AUDIENCE: true,
});

/** The issuers that the environment names, whatever else it lacks: a check runs elsewhere than the broker. */
function contextOf(variables: Variables): ConfigFileContext {
  const set = Object.fromEntries(Object.entries(variables).filter(([, value]) => value?.trim() !== ''));
  const { ASB_K8S_ISSUER: k8s, ASB_K8S_AUDIENCE: k8sAudience, ...rest } = Issuers.parse(set);
  const { ASB_OIDC_ISSUER: oidc, ASB_OIDC_AUDIENCE: oidcAudience } = rest;
  return {
    k8sIssuers: k8s === undefined ? [] : [{ issuer: k8s, audience: k8sAudience }],
    oidcIssuers: oidc === undefined ? [] : [{ issuer: oidc, audience: oidcAudience }],
  };
}

interface Findings {
  /** Null when the file is not valid. */
  summary: string | null;
  problems: readonly string[];
  warnings: readonly string[];
}

async function check(file: string, context: ConfigFileContext, skipFiles: boolean): Promise<Findings> {
  if (skipFiles) return checkText(file, context);
  const result = await readConfigFile(file, context);
  if (result.outcome === 'invalid') return { ...result, summary: null };
  const { tenants, tools, policies, revision } = result.settings;
  return {
    summary: summaryOf(tenants.length, tools.length, policies.length, revision),
    problems: [],
    warnings: result.warnings,
  };
}

async function checkText(path: string, context: ConfigFileContext): Promise<Findings> {
  const reading = await readRegularFile(path);
  const text = configText(reading);
  if (text === null) return { summary: null, problems: [unreadable(path, reading)], warnings: [] };
  const parsed = parseConfigFile(text, context);
  const problems = formatProblems(path, parsed.problems);
  const warnings = formatProblems(path, parsed.warnings);
  if (parsed.file === null) return { summary: null, problems, warnings };
  const { tenants } = parsed.file;
  const tools = tenants.flatMap((tenant) => tenant.tools);
  const policies = tenants.flatMap((tenant) => tenant.policies);
  return { summary: summaryOf(tenants.length, tools.length, policies.length, revisionOf(parsed.file)), problems, warnings };
}

const summaryOf = (tenants: number, tools: number, policies: number, revision: string): string =>
  `${counted(tenants, 'tenant')}, ${counted(tools, 'tool')}, ${counted(policies, 'policy', 'policies')}, revision ${revision}`;

const counted = (count: number, one: string, several = `${one}s`): string => `${count} ${count === 1 ? one : several}`;
