import { runMigrate } from '../bootstrap/run-migrate.ts';

process.exitCode = await runMigrate(process.argv.slice(2), process.env, {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
});
