import type { Denial, Verdict } from '../domain/grant-authorizer.ts';

/** Why a rule says no. */
export type Refusal = Pick<Denial, 'reason' | 'message'>;

export interface Rule<Question> {
  /** The name that a denial carries, such as `policy:repo.read`. */
  nameOf: (question: Question) => string;
  /** What it says of a question that it lets through. */
  passes: string;
  /** Null lets the question through; `moot` when the rule hangs on something that was not found. */
  ask: (question: Question) => Refusal | 'moot' | null;
}

/** What the first rule that says no says; null when none does. */
export function firstDenial<Question>(rules: readonly Rule<Question>[], question: Question): Denial | null {
  for (const rule of rules) {
    const answer = rule.ask(question);
    if (answer !== null && answer !== 'moot') return { allowed: false, rule: rule.nameOf(question), ...answer };
  }
  return null;
}

/** What every rule says, in their order; moot ones are left out. */
export function allVerdicts<Question>(rules: readonly Rule<Question>[], question: Question): readonly Verdict[] {
  return rules.flatMap((rule): readonly Verdict[] => {
    const answer = rule.ask(question);
    if (answer === 'moot') return [];
    const name = rule.nameOf(question);
    return answer === null
      ? [{ rule: name, outcome: 'allowed', message: rule.passes }]
      : [{ rule: name, outcome: 'denied', ...answer }];
  });
}
