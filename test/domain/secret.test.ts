import { format, inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { unavailable } from '../../src/domain/errors.ts';
import { Secret } from '../../src/domain/secret.ts';

/* eslint-disable @typescript-eslint/restrict-template-expressions, @typescript-eslint/restrict-plus-operands -- what the linter forbids must not leak either */

const CANARY = 'ghs_canary_9f8e7d6c';

it('gives its value out when asked', () => {
  expect(new Secret(CANARY).reveal()).toBe(CANARY);
});

describe('a secret shows nothing', () => {
  const attempts: { name: string; attempt: (secret: Secret) => string }[] = [
    { name: 'String()', attempt: (secret) => String(secret) },
    { name: 'a template literal', attempt: (secret) => `${secret}` },
    { name: 'concatenation', attempt: (secret) => '' + secret },
    { name: 'JSON', attempt: (secret) => JSON.stringify({ secret, list: [secret] }) },
    { name: 'inspect', attempt: (secret) => inspect(secret) },
    {
      name: 'inspect with everything on',
      attempt: (secret) => inspect({ deep: { secret } }, { showHidden: true, depth: Infinity, getters: true }),
    },
    {
      name: 'inspect with custom inspection off',
      attempt: (secret) => inspect(secret, { customInspect: false, showHidden: true }),
    },
    { name: 'util.format %s', attempt: (secret) => format('%s', secret) },
    { name: 'util.format %o', attempt: (secret) => format('%o', secret) },
    { name: 'util.format %O', attempt: (secret) => format('%O', secret) },
    { name: 'util.format %j', attempt: (secret) => format('%j', secret) },
    { name: "an error's cause", attempt: (secret) => inspect(unavailable('broken', { cause: { secret } })) },
    {
      name: "an error's nested cause",
      attempt: (secret) => inspect(new Error('outer', { cause: new Error('inner', { cause: secret }) })),
    },
    { name: 'its keys', attempt: (secret) => JSON.stringify(Reflect.ownKeys(secret).map(String)) },
    { name: 'a spread', attempt: (secret) => JSON.stringify({ ...secret }) },
    { name: 'a structured clone', attempt: (secret) => inspect(structuredClone(secret), { showHidden: true }) },
    { name: 'an array join', attempt: (secret) => [secret, secret].join() },
    { name: 'URL encoding', attempt: (secret) => new URLSearchParams({ token: String(secret) }).toString() },
    { name: 'an error message', attempt: (secret) => new Error(`token ${secret} is bad`).stack ?? '' },
  ];

  it.each(attempts)('to $name', ({ attempt }) => {
    expect(attempt(new Secret(CANARY))).not.toContain('canary');
  });
});
