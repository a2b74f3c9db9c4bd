import { DatabaseError } from 'pg';
import { checkpointLine, readCheckpointLines } from '../audit/checkpoint-lines.ts';
import type { Checkpoint, CheckpointKeys } from '../audit/checkpoints.ts';
import { type ExportCursor, exportEvents, formatCursor, FROM_THE_BEGINNING, parseCursor } from '../audit/export-events.ts';
import { type Verdict, verifyChain } from '../audit/verify-chain.ts';
import { verificationKeysFromPem } from '../crypto/key-ring.ts';
import type { AuditChainReader } from '../domain/audit-chain.ts';
import { BrokerError } from '../domain/errors.ts';
import type { TenantId } from '../domain/ids.ts';
import { shownText } from '../notify/shown-text.ts';
import { MigrationError } from '../store/postgres/migration-error.ts';
import { requireCurrentSchema } from '../store/postgres/migrations.ts';
import { openPool } from '../store/postgres/pool.ts';
import { PostgresAuditChain } from '../store/postgres/postgres-audit-chain.ts';
import { type AuditCommand, parseAuditArguments } from './audit-arguments.ts';
import { readText } from './read-text.ts';
import { VARIABLES } from './variables.ts';

export const AUDIT_USAGE = `usage: audit verify [--tenant TENANT] [--public-key FILE] [--checkpoint FILE]
       audit export [--tenant TENANT] [--after CURSOR] [--limit COUNT]
       audit checkpoints [--tenant TENANT] [--all]

All read the database that ASB_POSTGRES_DSN names, and change nothing.

verify       Walks the audit chain of each tenant and names the first event that was altered, removed, inserted or reordered.
             --public-key FILE  PEM keys of those who signed, private or public; by default ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE
             --checkpoint FILE  lines of "audit checkpoints" that were kept elsewhere: without them nobody can tell whether the end
                                of a chain was cut off together with its checkpoints
export       Prints sealed events as JSON lines, tenant by tenant, in the order in which they were sealed. The last line on
             standard error is "cursor: CURSOR": give it, or @FILE with it, to the next export to have what came since.
checkpoints  Prints the last checkpoint of each tenant as a JSON line, to be kept elsewhere; --all prints every one.

Exit codes: 0 done, and for verify: every chain is intact; 1 it could not be done; 2 for verify: something is wrong with a chain.
`;

const DONE = 0;
const FAILED = 1;
const TAMPERED = 2;

/** A command waits for nobody, and a page of a large table may take longer than a request can wait. */
const MAX_CONNECTIONS = 2;
const STATEMENT_TIMEOUT_MS = 60_000;
const LOCK_TIMEOUT_MS = 5000;

/** Where a command writes. Events are many, so it waits until those before are taken. */
export interface AuditOutput {
  stdout(text: string): Promise<void>;
  stderr(text: string): void;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** Something is missing or wrong, and what to do about it. */
class CannotRun extends Error {}

/** The commands that auditors run on the events of the database. Answers the exit code. */
export async function runAudit(args: readonly string[], variables: Variables, output: AuditOutput): Promise<number> {
  const command = parseAuditArguments(args);
  if (command === null) {
    output.stderr(AUDIT_USAGE);
    return FAILED;
  }
  try {
    if (command.name === 'export') return await exportLines(variables, command, output);
    if (command.name === 'checkpoints') return await printCheckpoints(variables, command, output);
    return await verify(variables, command, output);
  } catch (error) {
    for (const problem of problemsOf(error)) output.stderr(`audit: ${problem}\n`);
    return FAILED;
  }
}

type Of<Name extends AuditCommand['name']> = Extract<AuditCommand, { name: Name }>;

async function verify(variables: Variables, command: Of<'verify'>, output: AuditOutput): Promise<number> {
  const keys = await readKeys(command.publicKeyFile, variables);
  const saved = await readSavedCheckpoints(command.checkpointFile, keys);
  return withChains(variables, async (chains) => {
    const onRecord = new Set([...(await chains.tenants()), ...saved.map(({ tenantId }) => tenantId)]);
    const tenants = [...onRecord].filter((tenantId) => command.tenant === null || tenantId === command.tenant).sort();
    if (tenants.length === 0) {
      if (command.tenant !== null) throw new CannotRun(`--tenant: ${command.tenant} has no events on record`);
      await output.stdout('there are no events on record\n');
    }
    let exitCode = DONE;
    for (const tenantId of tenants) {
      const verdict = await chains.atOneMoment((view) => verifyChain(view, tenantId, { keys, saved }));
      for (const line of linesOf(verdict)) await output.stdout(`${shownText(line)}\n`);
      if (verdict.findings.length > 0) exitCode = TAMPERED;
    }
    return exitCode;
  });
}

/** What was found, a line each; then how far the chain can be relied on. */
function linesOf({
  tenantId,
  events,
  checkpoints,
  lastSignedAt,
  provenUpTo,
  unsealed,
  findings,
}: Verdict): readonly string[] {
  const signed = `${counted(checkpoints, 'checkpoint')}${lastSignedAt === null ? '' : `, the last of ${lastSignedAt.toISOString()}`}`;
  const waiting = unsealed === 0 ? '' : `; ${counted(unsealed, 'event')} not sealed yet, and so not covered`;
  if (findings.length === 0) return [`${tenantId}: intact: ${counted(events, 'event')}, ${signed}${waiting}`];
  return [
    ...findings.map(({ kind, message }) => `${tenantId}: NOT INTACT: ${kind}: ${message}`),
    `${tenantId}: as it was signed up to event ${provenUpTo}: ${signed}${waiting}`,
  ];
}

async function exportLines(variables: Variables, command: Of<'export'>, output: AuditOutput): Promise<number> {
  const { tenant, limit } = command;
  const after = readCursor(command.after);
  return withChains(variables, async (chains) => {
    const options = { after, tenantId: tenant as TenantId | null, limit };
    const { next } = await exportEvents(chains, options, (line) => output.stdout(line));
    output.stderr(`cursor: ${formatCursor(next)}\n`);
    return DONE;
  });
}

function printCheckpoints(variables: Variables, { tenant, all }: Of<'checkpoints'>, output: AuditOutput): Promise<number> {
  return withChains(variables, async (chains) => {
    const tenants = (await chains.tenants()).filter((tenantId) => tenant === null || tenantId === tenant);
    for (const tenantId of tenants) {
      const last = await chains.lastCheckpoint(tenantId);
      const checkpoints = all ? chains.checkpoints(tenantId) : last === null ? [] : [last];
      for await (const checkpoint of checkpoints) await output.stdout(checkpointLine(checkpoint));
    }
    return DONE;
  });
}

async function withChains(variables: Variables, work: (chains: AuditChainReader) => Promise<number>): Promise<number> {
  const dsn = VARIABLES.ASB_POSTGRES_DSN.unwrap().safeParse(variables.ASB_POSTGRES_DSN ?? '');
  if (!dsn.success) {
    throw new CannotRun(`ASB_POSTGRES_DSN: ${dsn.error.issues.map(({ message }) => message).join(', ')}`);
  }
  const pool = openPool({
    dsn: dsn.data,
    maxConnections: MAX_CONNECTIONS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    applicationName: 'asb-audit',
  });
  try {
    await requireCurrentSchema(pool);
    return await work(new PostgresAuditChain(pool));
  } finally {
    await pool.end();
  }
}

async function readKeys(publicKeyFile: string | null, variables: Variables): Promise<CheckpointKeys> {
  const path = publicKeyFile ?? variables.ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE ?? '';
  const name = publicKeyFile === null ? 'ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE' : '--public-key';
  if (path === '') throw new CannotRun('give the public keys of those who signed: --public-key FILE');
  return named(name, async () => verificationKeysFromPem(readText(path)));
}

async function readSavedCheckpoints(path: string | null, keys: CheckpointKeys): Promise<readonly Checkpoint[]> {
  return path === null ? [] : named('--checkpoint', async () => readCheckpointLines(readText(path), keys));
}

/** `@FILE` stands for what is in the file, with or without the words before it. */
function readCursor(argument: string | null): ExportCursor {
  if (argument === null) return FROM_THE_BEGINNING;
  const text = argument.startsWith('@') ? readCursorFile(argument.slice(1)) : argument;
  const cursor = parseCursor(text.trim().replace(/^cursor: /, ''));
  if (cursor === null) throw new CannotRun('--after: is not a cursor that an export printed');
  return cursor;
}

function readCursorFile(path: string): string {
  try {
    return readText(path);
  } catch (error) {
    throw new CannotRun(`--after: ${error instanceof Error ? error.message : 'the file cannot be read'}`);
  }
}

/** Puts the name of what was read before what is wrong with it. */
async function named<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw new CannotRun(`${name}: ${error instanceof Error ? error.message : 'cannot be read'}`);
  }
}

/** What went wrong, without anything of the DSN, which a message of the network or of the system may quote. */
function problemsOf(error: unknown): readonly string[] {
  if (error instanceof MigrationError) return error.problems;
  if (error instanceof CannotRun || error instanceof DatabaseError) return [error.message];
  const cause = error instanceof BrokerError ? error.cause : error;
  if (cause instanceof Error && 'code' in cause) {
    // Whoever read the output has seen enough.
    return cause.code === 'EPIPE' ? [] : [`the database of ASB_POSTGRES_DSN cannot be reached (${String(cause.code)})`];
  }
  return [error instanceof BrokerError ? error.message : 'failed: a defect, or a database that is not as it should be'];
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
