import { entriesOf, type Report, reportRepeats } from './entries.ts';
import type { Suggest } from './nearest-name.ts';
import type { FieldPath } from './problem.ts';
import type { SalvagedFile } from './salvage.ts';

type Tenants = readonly (string | undefined)[] | undefined;

/** Whether every tenant that is referred to is there, and every receiver has a name of its own. */
export function checkReferences(file: SalvagedFile, report: Report, suggest: Suggest): void {
  const receivers = entriesOf(file.notifications?.receivers);
  const names = receivers.map(([index, { name }]) => [['notifications', 'receivers', index, 'name'], name] as const);
  reportRepeats(names, 'another receiver has this name; names must differ', report);

  const tenants = entriesOf(file.tenants);
  const ids = new Set(tenants.flatMap(([, { id }]) => (id === undefined ? [] : [id])));
  // One that is malformed may be the one that is meant.
  if (file.tenants === undefined || ids.size < file.tenants.length) return;
  for (const [path, list] of referencesIn(file)) {
    for (const [index, id] of entriesOf(list)) {
      if (!ids.has(id)) report([...path, index], `is not the id of a tenant of this file${suggest(id, ids)}`);
    }
  }
}

function* referencesIn(file: SalvagedFile): Generator<readonly [FieldPath, Tenants]> {
  for (const [index, { role_mappings: mappings }] of entriesOf(file.operators)) {
    for (const [at, { tenants }] of entriesOf(mappings)) {
      yield [['operators', index, 'role_mappings', at, 'tenants'], tenants];
    }
  }
  for (const [index, { tenants }] of entriesOf(file.delegations)) yield [['delegations', index, 'tenants'], tenants];
  for (const [index, { tenants }] of entriesOf(file.notifications?.receivers)) {
    yield [['notifications', 'receivers', index, 'tenants'], tenants];
  }
}
