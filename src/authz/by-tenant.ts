import type { TenantId } from '../domain/ids.ts';

/** Finds a tenant's entries without looking at any other tenant's. */
export type ByTenant<Entry> = ReadonlyMap<TenantId, ReadonlyMap<string, Entry>>;

/** Indexes entries by tenant and key. Of two with one key the last stays: whoever calls has refused those. */
export function indexByTenant<Entry extends { tenantId: TenantId }>(
  entries: readonly Entry[],
  keyOf: (entry: Entry) => string,
): ByTenant<Entry> {
  const index = new Map<TenantId, Map<string, Entry>>();
  for (const entry of entries) {
    const own = index.get(entry.tenantId) ?? new Map<string, Entry>();
    index.set(entry.tenantId, own.set(keyOf(entry), entry));
  }
  return index;
}

/** The places of the entries whose tenant has their key already. */
export function findRepeats<Entry extends { tenantId: TenantId }>(
  entries: readonly Entry[],
  keyOf: (entry: Entry) => string,
): readonly number[] {
  const seen = new Set<string>();
  return entries.flatMap((entry, index) => {
    const key = JSON.stringify([entry.tenantId, keyOf(entry)]);
    const repeated = seen.has(key);
    seen.add(key);
    return repeated ? [index] : [];
  });
}
