import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { tableOf } from './report.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where tests of faults write what they found. */
    faultReport: string;
  }
}

/** Prints, when all is over, what became of each fault. */
export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'asb-faults-'));
  const file = join(folder, 'rows');
  writeFileSync(file, '');
  project.provide('faultReport', file);
  return () => {
    process.stdout.write(`\n${tableOf(file)}\n\n`);
    rmSync(folder, { recursive: true });
  };
}
