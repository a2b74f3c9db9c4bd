import { appendFileSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const row = z.object({
  fault: z.string(),
  /** Requests that the fault cut off or found under way. */
  inFlight: z.number(),
  /** Requests that were answered. */
  done: z.number(),
  /** Those of them that were acknowledged. */
  acknowledged: z.number(),
  lost: z.number(),
  doubled: z.number(),
  leaked: z.number(),
  /** How long after the fault was over until everything worked again, or what brought it in order. */
  recovery: z.string(),
});
export type ReportRow = z.infer<typeof row>;

const COLUMNS = ['fault', 'in flight', 'done', 'acknowledged', 'lost', 'doubled', 'leaked', 'recovery'] as const;

export const addRow = (file: string, added: ReportRow): void => appendFileSync(file, `${JSON.stringify(added)}\n`);

/** The rows of a file, one under the other. */
export function tableOf(file: string): string {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  const cells = lines.map((line) => {
    const { fault, inFlight, done, acknowledged, lost, doubled, leaked, recovery } = row.parse(JSON.parse(line));
    return [fault, ...[inFlight, done, acknowledged, lost, doubled, leaked].map(String), recovery];
  });
  const all = [[...COLUMNS], ...cells];
  const widths = COLUMNS.map((_, at) => Math.max(...all.map((line) => line[at]?.length ?? 0)));
  const shown = (line: readonly string[]): string =>
    line
      .map((cell, at) =>
        at === 0 || at === COLUMNS.length - 1 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return all.map(shown).join('\n');
}
