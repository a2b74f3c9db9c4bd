import type { FieldPath } from './problem.ts';

/** Takes a mistake, or a doubt, at a field. */
export type Report = (path: FieldPath, message: string) => void;

/** The entries of a list that are there, each with its place in it. */
export function entriesOf<Item>(list: readonly (Item | undefined)[] | undefined): readonly (readonly [number, Item])[] {
  return (list ?? []).flatMap((item, index) => (item === undefined ? [] : [[index, item] as const]));
}

/** Reports each that has the same value as one before it. */
export function reportRepeats(
  values: readonly (readonly [path: FieldPath, value: string | undefined])[],
  message: string,
  report: Report,
): void {
  const seen = new Set<string>();
  for (const [path, value] of values) {
    if (value === undefined) continue;
    if (seen.has(value)) report(path, message);
    seen.add(value);
  }
}
