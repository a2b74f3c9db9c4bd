import type { TenantId } from '../domain/ids.ts';
import type { Tool } from '../domain/tool.ts';

export interface ToolRegistry {
  /** Null when the tenant has no tool of that name. */
  find(tenantId: TenantId, name: string): Tool | null;
}

/** The registered tools of every tenant. Throws when a tenant has one name twice. */
export function makeToolRegistry(tools: readonly Tool[]): ToolRegistry {
  const byKey = new Map<string, Tool>();
  for (const tool of tools) {
    const key = keyOf(tool.tenantId, tool.name);
    if (byKey.has(key)) throw new Error(`tool ${tool.name} is registered twice for tenant ${tool.tenantId}`);
    byKey.set(key, tool);
  }
  return { find: (tenantId, name) => byKey.get(keyOf(tenantId, name)) ?? null };
}

/** Whether a tool's list of capabilities holds this one: exactly, or by a prefix and a trailing `*`. */
export function allowsCapability(tool: Tool, capability: string): boolean {
  return tool.allowedCapabilities.some((allowed) =>
    allowed.endsWith('*') ? capability.startsWith(allowed.slice(0, -1)) : capability === allowed,
  );
}

// A NUL cannot stand in a name, so no two pairs share a key.
const keyOf = (tenantId: TenantId, name: string): string => `${tenantId}\0${name}`;
