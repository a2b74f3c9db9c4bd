// The closing line of CI: how many tests passed and failed, from the test runner's own reports.
import { existsSync, readFileSync } from 'node:fs';

// The faults run only after everything else has passed.
const reports = ['results.json', 'results-faults.json']
  .map((name) => new URL(name, import.meta.url))
  .filter((file, at) => at === 0 || existsSync(file))
  .map((file) => JSON.parse(readFileSync(file, 'utf8')));
const sum = (field) => reports.reduce((total, report) => total + report[field], 0);
process.stdout.write(`${sum('numPassedTests')} passed, ${sum('numFailedTests')} failed\n`);
