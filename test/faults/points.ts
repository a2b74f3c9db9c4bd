import type { KillPoint } from './orders.ts';

/** Whether to be brief. */
export const IS_SHORT = process.env.ASB_FAULTS === 'short';

/** What changes something, so that it matters whether it was done when its answer did not come. */
const isChange = (name: string): boolean => /^(commit|COMMIT|redis eval)/.test(name);

/**
 * Where to kill a process whose work has these steps: between every two of them, and where one may or may not have been done. In the
 * long form also at either side of each of them, and while the answer of each is awaited.
 */
export function pointsOf(names: readonly string[], isShort = IS_SHORT): readonly KillPoint[] {
  return names.flatMap((name, at): KillPoint[] => {
    const step = at + 1;
    const isLast = step === names.length;
    const moments: KillPoint['moment'][] = ['before'];
    if (!isShort || isChange(name)) moments.push('sent');
    if (!isShort || isLast) moments.push('after');
    return moments.map((moment) => ({ moment, step }));
  });
}
