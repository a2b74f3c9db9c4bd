import type { z } from 'zod';
import { noSuggestion } from './nearest-name.ts';
import type { FieldPath } from './problem.ts';
import { type CONFIG_FILE, ONLY_TOGETHER } from './schema.ts';
import { fieldPath, schemaIssues } from './schema-problems.ts';

/** A value of which any part may be missing. */
export type Salvaged<T> = T extends readonly (infer Item)[]
  ? readonly (Salvaged<Item> | undefined)[]
  : T extends object
    ? { readonly [Field in keyof T]?: Salvaged<T[Field]> | undefined }
    : T;

/** What is left of a file when everything that its schema refuses is taken out. */
export type SalvagedFile = Salvaged<z.input<typeof CONFIG_FILE>>;

/** A refused part may have hidden what is wrong with what holds it, but not for long. */
const MAX_ROUNDS = 8;

/**
 * Takes out of a value what the schema refuses, so that what is left can be looked at all the same. Entries of lists leave a hole,
 * so that the others keep their places. Then nothing is wrong with it but what is missing.
 */
export function salvage(value: unknown): SalvagedFile {
  const rest: unknown = structuredClone(value);
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const refused = schemaIssues(rest, noSuggestion)
      .flatMap(refusedPaths)
      .filter((path) => at(rest, path) !== undefined);
    // Sound, because the schema has just been asked.
    if (refused.length === 0) return isFields(rest) ? rest : {};
    for (const path of refused) takeOut(rest, path);
  }
  return {};
}

function refusedPaths(issue: z.core.$ZodIssue): readonly FieldPath[] {
  const path = fieldPath(issue.path);
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => [...path, key]);
  // Without the field that says which kind it is, nothing of it has been looked at.
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined) return [path.slice(0, -1)];
  return issue.code === 'custom' && issue.params?.[ONLY_TOGETHER] === true ? [] : [path];
}

const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function at(value: unknown, path: FieldPath): unknown {
  return path.reduce<unknown>((parent, part) => {
    if (typeof part === 'number') return Array.isArray(parent) ? (parent[part] as unknown) : undefined;
    return isFields(parent) && Object.hasOwn(parent, part) ? parent[part] : undefined;
  }, value);
}

function takeOut(root: unknown, path: FieldPath): void {
  const parent = at(root, path.slice(0, -1));
  const last = path.at(-1);
  if (Array.isArray(parent) && typeof last === 'number') parent[last] = undefined;
  else if (isFields(parent) && last !== undefined) Reflect.deleteProperty(parent, last);
}
