/** A mistake in what an operator configured. */
export interface ConfigProblem {
  /** Which of the list that was checked. */
  index: number;
  /** Where in it, by the names of the domain; numbers count in a list. Empty when it is about all of it. */
  path: readonly (string | number)[];
  /** What to change; makes sense without the place. */
  message: string;
}

/** Throws an error that tells all problems, when there are any. */
export function refuseProblems(problems: readonly ConfigProblem[]): void {
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('; '));
}
