import type { Point } from './orders.ts';

/** Whether to be brief. */
export const IS_SHORT = process.env.ASB_FAULTS === 'short';

/** Where work of these steps can be stopped: at either side of each. */
export const pointsOf = (names: readonly string[]): readonly Point[] =>
  names.flatMap((_, at): Point[] => [
    { moment: 'before', step: at + 1 },
    { moment: 'after', step: at + 1 },
  ]);

const HAS_EFFECT = /^(commit|COMMIT|end_grants|revoke lease|redis eval|INSERT|UPDATE|WITH (due|sealed))/;

/** Where to kill a worker: at either side of each change that it makes. In the short form: before every other kind of change. */
export function workerPointsOf(names: readonly string[], isShort = IS_SHORT): readonly Point[] {
  if (!isShort) return pointsOf(names).filter(({ step }) => HAS_EFFECT.test(names[step - 1] ?? ''));
  const kinds = [...new Set(names.filter((name) => HAS_EFFECT.test(name)))];
  return kinds.flatMap((name, at): Point[] => (at % 2 === 0 ? [{ moment: 'before', step: names.indexOf(name) + 1 }] : []));
}
