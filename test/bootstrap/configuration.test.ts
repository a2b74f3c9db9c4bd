import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configurationTable } from '../../src/bootstrap/configuration-table.ts';
import { ConfigurationError } from '../../src/bootstrap/configuration-error.ts';
import { type Configuration, readConfiguration } from '../../src/bootstrap/configuration.ts';
import { type Environment, readEnvironment, unknownVariables } from '../../src/bootstrap/environment.ts';
import { retentionOf } from '../../src/bootstrap/stores.ts';
import { rsaKey } from '../support/attestations.ts';

const LEAST = { ASB_K8S_ISSUER: 'https://kubernetes.example', ASB_K8S_PUBLIC_KEY_FILE: '/keys/k8s.pem' };

const VAULT = {
  ASB_VAULT_ADDR: 'https://vault:8200',
  ASB_VAULT_TOKEN: 'hvs.token',
  ASB_VAULT_ROLE: 'app_ro',
  ASB_VAULT_DSN_TEMPLATE: 'postgres://{{username}}:{{password}}@db/app',
};
const BROWSER = {
  ASB_BROWSER_ORIGIN: 'https://ledger.example',
  ASB_BROWSER_USERNAME: 'robot',
  ASB_BROWSER_PASSWORD: 'secret',
};
const APP = { ...LEAST, ASB_GITHUB_APP_ID: '71', ASB_GITHUB_APP_PRIVATE_KEY_FILE: '/keys/app.pem' };

const DURABLE = {
  ...LEAST,
  ASB_POSTGRES_DSN: 'postgres://asb:secret@db.example/asb?sslmode=verify-full',
  ASB_KEK_FILE: '/keys/kek',
  ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: '/keys/session.pem',
};

const without = (variables: Record<string, string>, name: string): Record<string, string> =>
  Object.fromEntries(Object.entries(variables).filter(([other]) => other !== name));

const problemsOf = (variables: Record<string, string>): readonly string[] => readEnvironment(variables).problems;

/** An environment without mistakes. */
function parsed(variables: Record<string, string>): Environment {
  const { environment, problems } = readEnvironment(variables);
  if (environment === null) throw new ConfigurationError(problems);
  return environment;
}

test('issuer, key and token are enough; the rest has defaults', () => {
  const environment = parsed({ ...LEAST, ASB_GITHUB_TOKEN: 'ghp_x', PATH: '/bin' });
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

test('an App may be told what its tokens for reading are', () => {
  const environment = parsed({ ...APP, ASB_GITHUB_APP_PERMISSIONS_JSON: '{"contents":"read","issues":"write"}' });
  expect(environment).toMatchObject({
    ASB_GITHUB_APP_ID: '71',
    ASB_GITHUB_APP_PERMISSIONS_JSON: { contents: 'read', issues: 'write' },
  });
});

test('what writes is allowed by name alone', () => {
  const allowed = 'create_issue,repository_metadata';
  expect(parsed({ ...LEAST, ASB_GITHUB_ALLOWED_OPERATIONS: allowed }).ASB_GITHUB_ALLOWED_OPERATIONS).toEqual([
    'create_issue',
    'repository_metadata',
  ]);
  expect(parsed(LEAST).ASB_GITHUB_ALLOWED_OPERATIONS.filter((name) => name.startsWith('create_'))).toEqual([]);
});

test.each([
  [':8080', { host: '', port: 8080 }],
  ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
  ['[::1]:443', { host: '::1', port: 443 }],
  ['localhost:9000', { host: 'localhost', port: 9000 }],
])('the address %s is understood', (text, address) => {
  expect(parsed({ ...LEAST, ASB_ADDR: text }).ASB_ADDR).toEqual(address);
});

test('Postgres and Redis have defaults besides their addresses', () => {
  const environment = parsed({ ...DURABLE, ASB_REDIS_ADDR: '[::1]:6379, redis.example:6380' });
  expect(environment).toMatchObject({
    ASB_POSTGRES_MAX_CONNECTIONS: 20,
    ASB_REDIS_ADDR: [
      { host: '::1', port: 6379 },
      { host: 'redis.example', port: 6380 },
    ],
    ASB_REDIS_MODE: 'standalone',
    ASB_REDIS_TLS: false,
    ASB_REDIS_KEY_PREFIX: 'asb:',
    ASB_WORKER_ADDR: { host: '', port: 9090 },
  });
  expect([retentionOf(parsed(LEAST)), retentionOf(environment)]).toEqual([300, 86_400]);
  expect(retentionOf(parsed({ ...DURABLE, ASB_RETENTION_SECONDS: '7' }))).toBe(7);
});

describe('a mistake stops the start and says what to change', () => {
  test.each<[name: string, variables: Record<string, string>, problem: RegExp]>([
    ['no attestation at all', {}, /^ASB_K8S_ISSUER and ASB_K8S_PUBLIC_KEY_FILE: must be set/],
    ['half of a pair', { ASB_K8S_ISSUER: 'x' }, /^ASB_K8S_PUBLIC_KEY_FILE: must be set, or ASB_K8S_JWKS_URL, as/],
    ['keys of nobody', { ...LEAST, ASB_OIDC_JWKS_URL: 'https://x.example/jwks' }, /^ASB_OIDC_ISSUER: must be set/m],
    [
      'keys from two places',
      { ...LEAST, ASB_K8S_JWKS_URL: 'https://x.example/jwks' },
      /^ASB_K8S_PUBLIC_KEY_FILE and ASB_K8S_JWKS_URL: set one of them$/,
    ],
    [
      'keys fetched in clear',
      { ASB_K8S_ISSUER: 'x', ASB_K8S_JWKS_URL: 'http://issuer.example/jwks' },
      /^ASB_K8S_JWKS_URL: must be https/,
    ],
    [
      'an issuer whose every subject would do',
      { ASB_OIDC_ISSUER: 'x', ASB_OIDC_PUBLIC_KEY_FILE: '/k' },
      /^ASB_OIDC_ALLOWED_SUBJECT_PREFIXES: must be set/,
    ],
    [
      'no prefix among prefixes',
      { ASB_OIDC_ISSUER: 'x', ASB_OIDC_PUBLIC_KEY_FILE: '/k', ASB_OIDC_ALLOWED_SUBJECT_PREFIXES: ' , ' },
      /^ASB_OIDC_ALLOWED_SUBJECT_PREFIXES: must name at least one prefix/,
    ],
    [
      'operators whose tokens are for anybody',
      { ...LEAST, ASB_OPERATOR_ISSUER: 'x', ASB_OPERATOR_PUBLIC_KEY_FILE: '/k' },
      /^ASB_OPERATOR_AUDIENCE: must be set/,
    ],
    [
      'operators of a tenant that the file replaces',
      { ASB_CONFIG_FILE: '/c', ASB_OPERATOR_ISSUER: 'x', ASB_OPERATOR_PUBLIC_KEY_FILE: '/k', ASB_OPERATOR_AUDIENCE: 'asb' },
      /^ASB_OPERATOR_ISSUER: is for the development tenant; with ASB_CONFIG_FILE/,
    ],
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
    ['half of an App', { ...LEAST, ASB_GITHUB_APP_ID: '71' }, /^ASB_GITHUB_APP_PRIVATE_KEY_FILE: must be set, as/],
    [
      'the other half',
      { ...LEAST, ASB_GITHUB_APP_PRIVATE_KEY_FILE: '/keys/app.pem' },
      /^ASB_GITHUB_APP_ID: must be set, as/,
    ],
    [
      'an App that has a token as well',
      { ...APP, ASB_GITHUB_TOKEN: 'ghp_x' },
      /^ASB_GITHUB_TOKEN and ASB_GITHUB_APP_ID: set one of them/,
    ],
    ['an App without id', { ...APP, ASB_GITHUB_APP_ID: '../x' }, /^ASB_GITHUB_APP_ID: must be the id/],
    [
      'permissions without an App',
      { ...LEAST, ASB_GITHUB_APP_PERMISSIONS_JSON: '{"issues":"read"}' },
      /^ASB_GITHUB_APP_PERMISSIONS_JSON: goes with ASB_GITHUB_APP_ID/,
    ],
    ...['{', '{}', '[]', '"read"', '{"issues":"all"}', '{"Issues":"read"}', '{"issues":1}'].map(
      (text): [string, Record<string, string>, RegExp] => [
        `permissions that are ${text}`,
        { ...APP, ASB_GITHUB_APP_PERMISSIONS_JSON: text },
        /^ASB_GITHUB_APP_PERMISSIONS_JSON: must be an object of GitHub App permissions/,
      ],
    ),
    ['a token with a line break', { ...LEAST, ASB_GITHUB_TOKEN: 'ghp_x\n' }, /^ASB_GITHUB_TOKEN: must be printable ASCII/],
    ['a token with a space', { ...LEAST, ASB_GITHUB_TOKEN: 'ghp_x y' }, /^ASB_GITHUB_TOKEN: must be printable ASCII/],
    ['a token that is not ASCII', { ...LEAST, ASB_GITHUB_TOKEN: 'ghp_ü' }, /^ASB_GITHUB_TOKEN: must be printable ASCII/],
    ['a level that is none', { ...LEAST, ASB_LOG_LEVEL: 'loud' }, /^ASB_LOG_LEVEL/],
    [
      'a Vault without a token',
      { ...LEAST, ...VAULT, ASB_VAULT_TOKEN: '' },
      /^ASB_VAULT_TOKEN: must be set, as ASB_VAULT_ADDR is/,
    ],
    [
      'a Vault without a role',
      { ...LEAST, ...VAULT, ASB_VAULT_ROLE: '' },
      /^ASB_VAULT_ROLE: must be set, as ASB_VAULT_ADDR is/,
    ],
    ['half of a Vault', { ...LEAST, ...VAULT, ASB_VAULT_ADDR: '' }, /^ASB_VAULT_TOKEN: goes with ASB_VAULT_ADDR/],
    ['a Vault in the clear', { ...LEAST, ...VAULT, ASB_VAULT_ADDR: 'http://vault:8200' }, /^ASB_VAULT_ADDR: must be https/],
    [
      'a DSN that takes no password',
      { ...LEAST, ...VAULT, ASB_VAULT_DSN_TEMPLATE: 'postgres://{{username}}@db/app' },
      /^ASB_VAULT_DSN_TEMPLATE: the DSN template must have \{\{password\}\} once/,
    ],
    [
      'a form without a password',
      { ...LEAST, ...BROWSER, ASB_BROWSER_PASSWORD: '' },
      /^ASB_BROWSER_PASSWORD: must be set, as ASB_BROWSER_ORIGIN is/,
    ],
    [
      'half of a form',
      { ...LEAST, ...BROWSER, ASB_BROWSER_ORIGIN: '' },
      /^ASB_BROWSER_USERNAME: goes with ASB_BROWSER_ORIGIN/,
    ],
    [
      'a form in the clear',
      { ...LEAST, ...BROWSER, ASB_BROWSER_ORIGIN: 'http://ledger.example' },
      /^ASB_BROWSER_ORIGIN: must be https/,
    ],
    [
      'a form at localhost that is not allowed',
      { ...LEAST, ...BROWSER, ASB_BROWSER_ORIGIN: 'http://localhost:3000' },
      /^ASB_BROWSER_ORIGIN: must be https; http:\/\/localhost has to be allowed first/,
    ],
    [
      'a form at an origin with a path',
      { ...LEAST, ...BROWSER, ASB_BROWSER_ORIGIN: 'https://ledger.example/login' },
      /^ASB_BROWSER_ORIGIN: must be written as browsers write it: https:\/\/ledger\.example$/,
    ],
    [
      'a selector that is none',
      { ...LEAST, ...BROWSER, ASB_BROWSER_SELECTOR_PASSWORD: '#password >' },
      /^ASB_BROWSER_SELECTOR_PASSWORD: is no CSS selector/,
    ],
    ['a database without a name', { ...DURABLE, ASB_POSTGRES_DSN: 'postgres://db' }, /^ASB_POSTGRES_DSN: write postgres:/],
    ['a database of another kind', { ...DURABLE, ASB_POSTGRES_DSN: 'mysql://db/asb' }, /^ASB_POSTGRES_DSN: write postgres:/],
    [
      'a password that cuts the DSN short',
      { ...DURABLE, ASB_POSTGRES_DSN: 'postgres://asb:pa#ss@db/asb' },
      /^ASB_POSTGRES_DSN: write postgres:.* percent-encoded/,
    ],
    [
      'a password that is taken for a host',
      { ...DURABLE, ASB_POSTGRES_DSN: 'postgres://asb:pa/ss@db/asb' },
      /^ASB_POSTGRES_DSN: write postgres:.* percent-encoded/,
    ],
    ['a database whose secrets nobody could open again', without(DURABLE, 'ASB_KEK_FILE'), /^ASB_KEK_FILE: must be set/],
    [
      'a database whose sessions end with the process',
      without(DURABLE, 'ASB_SESSION_SIGNING_PRIVATE_KEY_FILE'),
      /^ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: must be set/,
    ],
    ['events in two places', { ...DURABLE, ASB_AUDIT_FILE: '/a' }, /^ASB_AUDIT_FILE: is for the memory store/],
    ['a password for no Redis', { ...LEAST, ASB_REDIS_PASSWORD: 'x' }, /^ASB_REDIS_PASSWORD: goes with ASB_REDIS_ADDR/],
    ['a Redis without a port', { ...LEAST, ASB_REDIS_ADDR: 'redis' }, /^ASB_REDIS_ADDR: write HOST:PORT/],
    ['one of several without a port', { ...LEAST, ASB_REDIS_ADDR: 'a:1,b' }, /^ASB_REDIS_ADDR: write HOST:PORT/],
    [
      'sentinels that watch nobody',
      { ...LEAST, ASB_REDIS_ADDR: 'a:26379', ASB_REDIS_MODE: 'sentinel' },
      /^ASB_REDIS_SENTINEL_NAME: goes with/,
    ],
    ['a mode that is none', { ...LEAST, ASB_REDIS_ADDR: 'a:1', ASB_REDIS_MODE: 'ring' }, /^ASB_REDIS_MODE/],
    [
      'authorities for a connection in clear',
      { ...LEAST, ASB_REDIS_ADDR: 'a:1', ASB_REDIS_TLS_CA_FILE: '/ca' },
      /^ASB_REDIS_TLS_CA_FILE: goes with ASB_REDIS_TLS=true/,
    ],
    ['a user without a password', { ...LEAST, ASB_REDIS_ADDR: 'a:1', ASB_REDIS_USERNAME: 'u' }, /^ASB_REDIS_PASSWORD: must/],
    ['a flag that is neither', { ...LEAST, ASB_REDIS_ADDR: 'a:1', ASB_REDIS_TLS: 'yes' }, /^ASB_REDIS_TLS: must be true or/],
    [
      'a prefix that chooses a node',
      { ...LEAST, ASB_REDIS_ADDR: 'a:1', ASB_REDIS_KEY_PREFIX: '{a}' },
      /^ASB_REDIS_KEY_PREFIX/,
    ],
    [
      'a delegation nobody could check',
      { ...LEAST, ASB_DELEGATION_ISSUER: 'x' },
      /^ASB_DELEGATION_PUBLIC_KEY_FILE: must be set, or ASB_DELEGATION_JWKS_URL/,
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
      ASB_GITHUB_TOKEN: 'ghp canary',
    };
    const problems = problemsOf(variables);
    expect(problems).toHaveLength(6);
    expect(problems.join()).not.toContain('canary');
  });
});

describe('the files that the environment names', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'asb-configuration-'));
    writeFileSync(join(folder, 'cluster.pem'), rsaKey.publicPem);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const least = () => ({
    ASB_K8S_ISSUER: 'https://kubernetes.example',
    ASB_K8S_PUBLIC_KEY_FILE: join(folder, 'cluster.pem'),
  });
  const problemsWith = (variables: Record<string, string>): Promise<readonly string[]> =>
    readConfiguration(variables).then(
      ({ auditLog }: Configuration) => {
        auditLog.close();
        return [];
      },
      (error: unknown) => {
        if (error instanceof ConfigurationError) return error.problems;
        throw error;
      },
    );

  test('are read, and the audit file is there from the start', async () => {
    const auditFile = join(folder, 'audit.jsonl');
    const { environment, keys, auditLog } = await readConfiguration({ ...least(), ASB_AUDIT_FILE: auditFile });
    auditLog.close();
    expect(environment.ASB_AUDIT_FILE).toBe(auditFile);
    expect(keys).toMatchObject({ sessionKeysAreEphemeral: true, tls: null });
    expect(statSync(auditFile).size).toBe(0);
  });

  test.each<[name: string, make: (path: string) => void, problem: RegExp]>([
    ['a directory', (path) => mkdirSync(path), /^ASB_AUDIT_FILE: the file cannot be opened .*\(EISDIR\)$/],
    ['a symbolic link', (path) => symlinkSync('/dev/null', path), /^ASB_AUDIT_FILE: the file must not be a symbolic link$/],
    [
      'in a folder that is a file',
      (path) => writeFileSync(join(path, '..'), ''),
      /^ASB_AUDIT_FILE: the file cannot be opened .*\(ENOTDIR\)$/,
    ],
    ['in a folder that is missing', () => undefined, /^ASB_AUDIT_FILE: the file cannot be opened .*\(ENOENT\)$/],
  ])('an audit file must not be %s', async (name, make, problem) => {
    const path = name.startsWith('in a folder') ? join(folder, 'folder', 'audit.jsonl') : join(folder, 'audit.jsonl');
    make(path);
    const problems = await problemsWith({ ...least(), ASB_AUDIT_FILE: path });
    expect(problems).toEqual([expect.stringMatching(problem)]);
    expect(problems.join()).not.toContain(folder);
  });

  test.each<[name: string, content: string, mode: number, problem: RegExp]>([
    ['readable by all', 'canary', 0o644, /^ASB_GITHUB_APP_PRIVATE_KEY_FILE: the file is a secret and others may use it/],
    ['no key', 'canary', 0o600, /^ASB_GITHUB_APP_PRIVATE_KEY_FILE: the key file cannot be decoded/],
    ['a public key', rsaKey.publicPem, 0o600, /^ASB_GITHUB_APP_PRIVATE_KEY_FILE: the key file cannot be decoded/],
  ])('the key of an App must not be %s', async (_name, content, mode, problem) => {
    const path = join(folder, 'app.pem');
    writeFileSync(path, content, { mode });
    const variables = { ...least(), ASB_GITHUB_APP_ID: '71', ASB_GITHUB_APP_PRIVATE_KEY_FILE: path };
    const problems = await problemsWith(variables);
    expect(problems).toEqual([expect.stringMatching(problem)]);
    expect(problems.join()).not.toMatch(/canary|app\.pem/);
  });

  test('tell their mistakes in one message with those of the environment', async () => {
    const problems = await problemsWith({
      ASB_K8S_ISSUER: 'https://kubernetes.example',
      ASB_K8S_PUBLIC_KEY_FILE: join(folder, 'missing.pem'),
      ASB_ADDR: 'nowhere',
      ASB_AUDIT_FILE: folder,
      ASB_GITHUB_TOKEN: 'ghp_canary\r\nx-injected: yes',
      ASB_TLS_CERT_FILE: join(folder, 'missing.crt'),
    });
    const names = problems.map((problem) => problem.slice(0, problem.indexOf(':')));
    expect(names.sort()).toEqual([
      'ASB_ADDR',
      'ASB_AUDIT_FILE',
      'ASB_GITHUB_TOKEN',
      'ASB_K8S_PUBLIC_KEY_FILE',
      'ASB_TLS_CERT_FILE',
      'ASB_TLS_KEY_FILE',
    ]);
    expect(problems.join()).not.toMatch(/canary|injected/);
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
