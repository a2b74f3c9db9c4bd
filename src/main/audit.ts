import { runAudit } from '../bootstrap/run-audit.ts';

// A reader that goes away, such as `head`, shows in the write that fails.
process.stdout.on('error', () => undefined);

process.exitCode = await runAudit(process.argv.slice(2), process.env, {
  stdout: (text) =>
    new Promise((resolve, reject) => {
      process.stdout.write(text, (error) => (error instanceof Error ? reject(error) : resolve()));
    }),
  stderr: (text) => process.stderr.write(text),
});
