import { z } from 'zod';
import type { ChainView } from '../domain/audit-chain.ts';
import type { TenantId } from '../domain/ids.ts';
import { eventJson, jsonLine } from './event-json.ts';

/** How far events were exported. */
export interface ExportCursor {
  /** The number of the last one, by tenant. */
  seqs: ReadonlyMap<string, number>;
  /** The tenant that the last export ended with; the next begins after it, so that a limit does not starve those behind. */
  lastTenant: string | null;
}

export const FROM_THE_BEGINNING: ExportCursor = { seqs: new Map(), lastTenant: null };

export interface ExportOptions {
  after: ExportCursor;
  /** Null for all tenants. */
  tenantId: TenantId | null;
  /** How many events at most; Infinity for all. */
  limit: number;
}

/**
 * Writes sealed events as JSON lines, each with its place in the chain, tenant by tenant in the order of their chains. That order is the one
 * in which they committed, as far as there is one, and nothing is ever put before what was exported. Events that are
 * not sealed yet come with a later export. Answers how many were written, and where the next export goes on.
 */
export async function exportEvents(
  view: ChainView,
  { after, tenantId, limit }: ExportOptions,
  write: (line: string) => Promise<void>,
): Promise<{ count: number; next: ExportCursor }> {
  const seqs = new Map(after.seqs);
  let { lastTenant } = after;
  let count = 0;
  for (const tenant of tenantId === null ? inTurn(await view.tenants(), lastTenant) : [tenantId]) {
    if (count === limit) break;
    for await (const { seq, hash, event } of view.events(tenant, seqs.get(tenant) ?? 0)) {
      await write(jsonLine({ ...eventJson(event, event.at), chain_seq: seq, chain_hash: hash }));
      seqs.set(tenant, seq);
      lastTenant = tenant;
      count += 1;
      if (count === limit) break;
    }
  }
  return { count, next: { seqs, lastTenant } };
}

/** Those after `last` first. */
function inTurn(tenants: readonly TenantId[], last: string | null): readonly TenantId[] {
  const first = last === null ? 0 : tenants.findIndex((tenant) => tenant > last);
  return first === -1 ? tenants : [...tenants.slice(first), ...tenants.slice(0, first)];
}

const Cursor = z.strictObject({
  v: z.literal(1),
  seqs: z.record(z.string(), z.int().min(1)),
  last: z.string().nullable(),
});

/** Text without spaces, for a command line. It grows with the number of tenants. */
export function formatCursor({ seqs, lastTenant }: ExportCursor): string {
  const cursor: z.input<typeof Cursor> = { v: 1, seqs: Object.fromEntries(seqs), last: lastTenant };
  return Buffer.from(JSON.stringify(cursor)).toString('base64url');
}

/** Null when a text is not a cursor. */
export function parseCursor(text: string): ExportCursor | null {
  try {
    const { seqs, last } = Cursor.parse(JSON.parse(Buffer.from(text.trim(), 'base64url').toString()));
    return { seqs: new Map(Object.entries(seqs)), lastTenant: last };
  } catch {
    return null;
  }
}
