import { runConfigCommand } from '../bootstrap/check-config.ts';

process.exitCode = await runConfigCommand(process.argv.slice(2), process.env, {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
});
