import { once } from 'node:events';
import { makeApi, type Api } from './api.ts';
import { ConfigurationError } from './configuration-error.ts';
import { readConfiguration } from './configuration.ts';
import { unknownVariables } from './environment.ts';

/**
 * Runs the API until it is told to stop by SIGTERM or SIGINT; a second signal ends it at once. SIGHUP reloads it. Resolves with
 * the exit code: 0 after an orderly stop, 1 when it could not start.
 */
export async function runApi(variables: Readonly<Record<string, string | undefined>>): Promise<number> {
  let api: Api;
  try {
    api = await makeApi(await readConfiguration(variables));
    process.on('SIGHUP', () => void api.reload());
    const unknown = unknownVariables(variables);
    if (unknown.length > 0) api.log.warn({ problems: unknown }, 'variables that begin with ASB_ and mean nothing here');
    await api.start();
  } catch (error) {
    process.stderr.write(`asb: ${startFailure(error)}\n`);
    return 1;
  }
  // Node would print the error with its message, and a foreign message may quote a secret.
  process.on('uncaughtException', (error) => {
    api.log.error({ error }, 'a defect: the process ends');
    process.exit(1);
  });
  const signal = await Promise.race([
    once(process, 'SIGTERM').then(() => 'SIGTERM'),
    once(process, 'SIGINT').then(() => 'SIGINT'),
  ]);
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.once(again, () => process.exit(1));
  api.log.info({ signal }, 'stopping: calls under way are finished');
  await api.stop();
  api.log.info({}, 'stopped');
  return 0;
}

function startFailure(error: unknown): string {
  if (error instanceof ConfigurationError) return error.message;
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
    return 'the address is in use by another process; set ASB_ADDR or ASB_GRPC_ADDR to one that is free';
  }
  return `could not start: ${error instanceof Error ? error.message : 'unknown error'}`;
}
