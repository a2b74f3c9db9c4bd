import type { TenantId } from '../domain/ids.ts';
import type { Tool } from '../domain/tool.ts';
import { findRepeats, indexByTenant } from './by-tenant.ts';
import { type ConfigProblem, refuseProblems } from './config-problem.ts';
import { patternProblem } from './patterns.ts';

export interface ToolRegistry {
  /** Null when the tenant has no tool of that name. */
  find(tenantId: TenantId, name: string): Tool | null;
}

const nameOf = ({ name }: Tool): string => name;

/** The registered tools of every tenant. Throws when `findToolProblems` finds any. */
export function makeToolRegistry(tools: readonly Tool[]): ToolRegistry {
  refuseProblems(findToolProblems(tools));
  const index = indexByTenant(tools, nameOf);
  return { find: (tenantId, name) => index.get(tenantId)?.get(name) ?? null };
}

/** What makes tools unusable: one name twice in a tenant, a pattern that cannot be meant. */
export function findToolProblems(tools: readonly Tool[]): readonly ConfigProblem[] {
  const repeats = findRepeats(tools, nameOf).map((index) => {
    const { name, tenantId } = tools[index] ?? { name: '', tenantId: '' };
    return { index, path: ['name'], message: `tool ${name} is registered twice for tenant ${tenantId}` };
  });
  const patterns = tools.flatMap((tool, index) =>
    tool.allowedCapabilities.flatMap((pattern, at) => {
      const problem = patternProblem(pattern);
      if (problem === null) return [];
      return [
        { index, path: ['allowedCapabilities', at], message: `tool ${tool.name}: capability "${pattern}" ${problem}` },
      ];
    }),
  );
  return [...repeats, ...patterns];
}
