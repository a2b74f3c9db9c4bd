/** Why the migrations and a database do not go together: one problem or several, each with what to do. */
export class MigrationError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[], cause?: unknown) {
    super(problems.join('\n'), { cause });
    this.name = 'MigrationError';
    this.problems = problems;
  }
}
