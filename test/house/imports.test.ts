import { ESLint } from 'eslint';
import { beforeAll, describe, expect, test } from 'vitest';

const eslint = new ESLint();

async function complaints(filePath: string, code: string): Promise<string> {
  const [result] = await eslint.lintText(code, { filePath });
  return (result?.messages ?? []).map((message) => `${message.ruleId ?? 'parser'}: ${message.message}`).join('\n');
}

// The first look reads every type of the project.
beforeAll(async () => {
  await complaints('src/domain/clock.ts', '');
}, 180_000);

describe('the linter refuses an import that points the wrong way', () => {
  test.each<[file: string, code: string, rule: RegExp]>([
    ['src/domain/clock.ts', `import '../broker/broker.ts';`, /no-restricted-paths.*src\/domain may import only: itself/],
    ['src/broker/broker.ts', `import '../store/memory/memory-repository.ts';`, /no-restricted-paths.*itself, domain\./],
    ['src/broker/broker.ts', `import 'fastify';`, /no-restricted-imports.*ports only/],
    ['src/broker/broker.ts', `import '@octokit/rest';`, /no-restricted-imports.*ports only/],
    ['src/authn/attestation.ts', `import '../crypto/key-ring.ts';`, /no-restricted-paths/],
    ['src/transport/errors.ts', `import '../store/memory/memory-repository.ts';`, /no-restricted-paths/],
    ['src/main/api.ts', `import '../broker/broker.ts';`, /no-restricted-paths/],
    ['src/bootstrap/configuration.ts', `import '../../dev/github/server.ts';`, /src\/ never imports dev\//],
    ['src/broker/broker.ts', `export const at = Date.now();`, /Clock port/],
    ['src/store/memory/memory-repository.ts', `export const at = new Date();`, /Clock port/],
    ['src/broker/broker.ts', `export const addr = process.env.ASB_ADDR;`, /Configuration is read once/],
  ])('%s: %s', async (file, code, rule) => {
    expect(await complaints(file, code)).toMatch(rule);
  });

  test('an import that points the right way passes', async () => {
    expect(await complaints('src/broker/broker.ts', `export type { Clock } from '../domain/clock.ts';`)).toBe('');
  });
});
