import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseResourceRef } from '../../src/domain/resource.ts';

it.each([
  ['github:repo:acme/widgets', 'github_repo', 'acme/widgets'],
  ['dbrole:analytics_ro', 'db_role', 'analytics_ro'],
  ['browser_origin:https://admin.example.com', 'browser_origin', 'https://admin.example.com'],
  ['browser_origin:http://localhost:3000', 'browser_origin', 'http://localhost:3000'],
  ['dbrole:github:repo:acme/widgets', 'db_role', 'github:repo:acme/widgets'],
] as const)('%s is a %s named %s', (ref, kind, name) => {
  expect(parseResourceRef(ref)).toEqual({ kind, name, ref });
});

it.each([
  '',
  'github:repo:',
  'dbrole:',
  'browser_origin:',
  'github:repo',
  'github:acme/widgets',
  'GITHUB:repo:acme/widgets',
  ' github:repo:acme/widgets',
  '\ngithub:repo:acme/widgets',
  'db_role:analytics_ro',
  'https://github.com/acme/widgets',
  '__proto__',
])('%j is refused', (ref) => {
  expect(() => parseResourceRef(ref)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
});

it('keeps every name as it was written', () => {
  const prefix = fc.constantFrom('github:repo:', 'dbrole:', 'browser_origin:');
  fc.assert(
    fc.property(prefix, fc.string({ minLength: 1, unit: 'binary' }), (start, name) => {
      expect(parseResourceRef(start + name)).toMatchObject({ name, ref: start + name });
    }),
  );
});

it('repeats nothing of what it refuses', () => {
  expect(() => parseResourceRef('ghp_canary0123456789')).not.toThrow(/canary/);
});
