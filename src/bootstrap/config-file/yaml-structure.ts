import { isAlias, isCollection, isMap, isNode, isScalar, isSeq, type Node, type YAMLMap } from 'yaml';
import type { FieldPath } from './problem.ts';
import { NO_ALIASES, NO_TAGS, SYNTAX_MISTAKES } from './yaml-syntax.ts';

/** Something that is YAML and still not plain data. */
export interface StructureProblem {
  offset: number;
  path: FieldPath;
  message: string;
  /** Whether the document's value would mean something else than what was written. */
  fatal: boolean;
}

/** Anchors, aliases, merge keys, tags, and keys that are there twice. Calls itself for each level of nesting. */
export function structureProblems(root: Node | null): readonly StructureProblem[] {
  return root === null ? [] : [...problemsBelow(root, [])];
}

function* problemsBelow(node: Node, path: FieldPath): Generator<StructureProblem> {
  const at = (message: string, fatal: boolean): StructureProblem => ({ offset: startOf(node), path, message, fatal });
  if (isAlias(node)) yield at(NO_ALIASES, true);
  else if ((isScalar(node) || isCollection(node)) && node.anchor !== undefined) yield at(NO_ALIASES, false);
  if (node.tag !== undefined) yield at(NO_TAGS, true);
  if (isMap(node)) yield* problemsOfMap(node, path);
  if (!isSeq(node)) return;
  for (const [index, item] of node.items.entries()) {
    if (isNode(item)) yield* problemsBelow(item, [...path, index]);
  }
}

function* problemsOfMap(map: YAMLMap, path: FieldPath): Generator<StructureProblem> {
  const seen = new Set<string>();
  for (const { key, value } of map.items) {
    if (!isScalar(key)) {
      yield {
        offset: isNode(key) ? startOf(key) : startOf(map),
        path,
        message: SYNTAX_MISTAKES.NON_STRING_KEY,
        fatal: true,
      };
      continue;
    }
    const name = String(key.value);
    const below = [...path, name];
    const problem = keyProblem(name, seen);
    if (problem !== null) yield { offset: startOf(key), path: name === '<<' ? path : below, ...problem };
    seen.add(name);
    if (key.anchor !== undefined) yield { offset: startOf(key), path: below, message: NO_ALIASES, fatal: false };
    if (isNode(value)) yield* problemsBelow(value, below);
  }
}

function keyProblem(name: string, seen: ReadonlySet<string>): Pick<StructureProblem, 'message' | 'fatal'> | null {
  if (name === '<<') return { message: 'merge keys are not read; write the fields out', fatal: true };
  // Assigning to it would change what an object inherits.
  if (name === '__proto__') return { message: 'cannot be the name of a field', fatal: true };
  return seen.has(name) ? { message: SYNTAX_MISTAKES.DUPLICATE_KEY, fatal: false } : null;
}

const startOf = (node: Node): number => node.range?.[0] ?? 0;

export interface FoundNode {
  /** The key under which the value stands; null in a list and at the top. */
  key: Node | null;
  value: Node | null;
  /** Whether the path leads further; this is then what should hold the next part of it. */
  missing: boolean;
}

/** Finds what stands at a path of a document. */
export function nodeFinder(root: Node | null): (path: FieldPath) => FoundNode {
  const indexes = new WeakMap<YAMLMap, ReadonlyMap<string, FoundNode>>();
  const indexOf = (map: YAMLMap): ReadonlyMap<string, FoundNode> => {
    const index = indexes.get(map) ?? indexByKey(map);
    indexes.set(map, index);
    return index;
  };
  const childOf = (parent: Node | null, part: string | number): FoundNode | null => {
    if (isMap(parent)) return indexOf(parent).get(String(part)) ?? null;
    const item = isSeq(parent) && typeof part === 'number' ? parent.items[part] : undefined;
    return isNode(item) ? { key: null, value: item, missing: false } : null;
  };
  return (path) => {
    let found: FoundNode = { key: null, value: root, missing: false };
    for (const part of path) {
      const next = childOf(found.value, part);
      if (next === null) return { ...found, missing: true };
      found = next;
    }
    return found;
  };
}

/** Of a key that stands twice the last counts, as in the document's value. */
function indexByKey(map: YAMLMap): ReadonlyMap<string, FoundNode> {
  return new Map(
    map.items.flatMap(({ key, value }): [string, FoundNode][] =>
      isScalar(key) ? [[String(key.value), { key, value: isNode(value) ? value : null, missing: false }]] : [],
    ),
  );
}
