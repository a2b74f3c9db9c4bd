import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { configurationTable } from '../../src/bootstrap/configuration-table.ts';
import { ConfigurationError, readEnvironment, unknownVariables } from '../../src/bootstrap/configuration.ts';

const LEAST = { ASB_K8S_ISSUER: 'https://kubernetes.example', ASB_K8S_PUBLIC_KEY_FILE: '/keys/k8s.pem' };

function problemsOf(variables: Record<string, string>): readonly string[] {
  try {
    readEnvironment(variables);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
}

test('issuer, key and token are enough; the rest has defaults', () => {
  const environment = readEnvironment({ ...LEAST, ASB_GITHUB_TOKEN: 'ghp_x', PATH: '/bin' });
  expect(environment).toMatchObject({
    ASB_ADDR: { host: '', port: 8080 },
    ASB_DEV_TENANT_ID: 't_dev',
    ASB_K8S_AUDIENCE: 'asb-control-plane',
    ASB_PROXY_MAX_CONCURRENT: 8,
    ASB_PROXY_MAX_REQUESTS: 100,
    ASB_PROXY_MAX_BYTES: 26_214_400,
    ASB_PROXY_TIMEOUT_SECONDS: 15,
  });
  expect(environment.ASB_GITHUB_API_BASE_URL.href).toBe('https://api.github.com/');
  expect(environment.ASB_GITHUB_ALLOWED_OPERATIONS).toHaveLength(4);
});

test.each([
  [':8080', { host: '', port: 8080 }],
  ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
  ['[::1]:443', { host: '::1', port: 443 }],
  ['localhost:9000', { host: 'localhost', port: 9000 }],
])('the address %s is understood', (text, address) => {
  expect(readEnvironment({ ...LEAST, ASB_ADDR: text }).ASB_ADDR).toEqual(address);
});

describe('a mistake stops the start and says what to change', () => {
  test.each<[name: string, variables: Record<string, string>, problem: RegExp]>([
    ['no attestation at all', {}, /^ASB_K8S_ISSUER and ASB_K8S_PUBLIC_KEY_FILE: must be set/],
    ['half of a pair', { ASB_K8S_ISSUER: 'x' }, /^ASB_K8S_PUBLIC_KEY_FILE: must be set, as ASB_K8S_ISSUER is/],
    ['an empty value counts as not set', { ...LEAST, ASB_K8S_ISSUER: ' ' }, /^ASB_K8S_ISSUER: must be set/],
    ['half of TLS', { ...LEAST, ASB_TLS_KEY_FILE: 'k' }, /^ASB_TLS_CERT_FILE: must be set/],
    ['a port that is none', { ...LEAST, ASB_ADDR: ':70000' }, /^ASB_ADDR: write HOST:PORT/],
    ['an address without a port', { ...LEAST, ASB_GRPC_ADDR: 'localhost' }, /^ASB_GRPC_ADDR: write HOST:PORT/],
    ['a budget of nought', { ...LEAST, ASB_PROXY_MAX_REQUESTS: '0' }, /^ASB_PROXY_MAX_REQUESTS: must be a whole number/],
    ['a budget that is no number', { ...LEAST, ASB_PROXY_MAX_BYTES: '25MiB' }, /^ASB_PROXY_MAX_BYTES: must be a whole/],
    ['a credential sent in clear', { ...LEAST, ASB_GITHUB_API_BASE_URL: 'http://ghe.example' }, /must be https/],
    ['a name that looks like loopback', { ...LEAST, ASB_GITHUB_API_BASE_URL: 'http://127.evil.example' }, /must be https/],
    ['credentials in a URL', { ...LEAST, ASB_GITHUB_API_BASE_URL: 'https://u:p@ghe.example' }, /without credentials/],
    ['an operation that is none', { ...LEAST, ASB_GITHUB_ALLOWED_OPERATIONS: 'repository_delete' }, /must be some of/],
    ['a proxy that is no address', { ...LEAST, ASB_TRUSTED_PROXIES: '10.0.0.0/40' }, /^ASB_TRUSTED_PROXIES: must be IP/],
    ['a level that is none', { ...LEAST, ASB_LOG_LEVEL: 'loud' }, /^ASB_LOG_LEVEL/],
    ['a store that is not built yet', { ...LEAST, ASB_POSTGRES_DSN: 'postgres://' }, /^ASB_POSTGRES_DSN: is not supported/],
    [
      'a delegation nobody would check',
      { ...LEAST, ASB_DELEGATION_ISSUER: 'x' },
      /^ASB_DELEGATION_ISSUER: is not supported/,
    ],
  ])('%s', (_name, variables, problem) => {
    expect(problemsOf(variables).join('\n')).toMatch(problem);
  });

  test('all mistakes come in one message, and none quotes a value', () => {
    const variables = {
      ASB_TLS_KEY_FILE: 'canary',
      ASB_ADDR: 'canary',
      ASB_REDIS_PASSWORD: 'canary',
      ASB_GITHUB_API_BASE_URL: 'canary',
    };
    const problems = problemsOf(variables);
    expect(problems).toHaveLength(5);
    expect(problems.join()).not.toContain('canary');
  });
});

test('a slip of the pen is noticed; what Kubernetes sets for a service named asb is not', () => {
  const names = [
    'ASB_GITHUB_TOKNE',
    'ASB_SERVICE_HOST',
    'ASB_PORT',
    'ASB_PORT_8080_TCP',
    'ASB_TEST_REDIS_ADDR',
    'PATH',
    'ASB_ADDR',
  ];
  expect(unknownVariables(Object.fromEntries(names.map((name) => [name, 'x'])))).toEqual(['ASB_GITHUB_TOKNE']);
});

test('docs/configuration.md is current', () => {
  expect(readFileSync('docs/configuration.md', 'utf8')).toBe(configurationTable());
});
