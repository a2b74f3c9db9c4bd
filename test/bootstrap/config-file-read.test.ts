import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makePolicyEngine } from '../../src/authz/policy-engine.ts';
import { makeToolRegistry } from '../../src/authz/tool-registry.ts';
import { makeSessionAuthorizer } from '../../src/authz/workload-bindings.ts';
import { exposure } from '../../src/bootstrap/config-file/file-content.ts';
import { readRegularFile } from '../../src/bootstrap/config-file/file-reader.ts';
import { parseConfigFile } from '../../src/bootstrap/config-file/parse-config-file.ts';
import { readConfigFile } from '../../src/bootstrap/config-file/read-config-file.ts';
import type { Settings } from '../../src/bootstrap/settings.ts';
import { ecKey, ed25519Key, publicJwk } from '../support/attestations.ts';
import { APP_KEYS, ConfigFolder, SIGNING_SECRET, SLACK_URL } from './config-file-folder.ts';
import { changed, NO_ISSUERS, SAMPLE } from './config-file-sample.ts';

/** Reads the folder's file; throws when it has mistakes. */
async function settingsOf(folder: ConfigFolder): Promise<Settings> {
  const result = await readConfigFile(folder.file, NO_ISSUERS);
  if (result.outcome === 'invalid') throw new Error(result.problems.join('\n'));
  return result.settings;
}

/** What is told of the folder's file, without the name of the file. */
async function problemsOf(folder: ConfigFolder): Promise<readonly string[]> {
  const result = await readConfigFile(folder.file, NO_ISSUERS);
  return result.outcome === 'valid' ? [] : result.problems.map((line) => line.replaceAll(folder.file, 'FILE'));
}

test('a file becomes settings', async () => {
  using folder = new ConfigFolder();
  const settings = await settingsOf(folder);
  expect(settings).toMatchObject({
    tenants: ['acme'],
    bindings: [
      {
        tenantId: 'acme',
        identityType: 'k8s_sa',
        issuer: 'https://k8s.example',
        namespace: 'agents',
        serviceAccount: 'runner',
        attributes: { pod_name: 'runner-*' },
        agents: ['reviewer'],
      },
      {
        tenantId: 'acme',
        identityType: 'oidc',
        issuer: 'https://ci.example',
        subject: 'repo:acme/site:*',
        agents: ['editor-*'],
      },
    ],
    tools: [
      {
        tenantId: 'acme',
        name: 'github',
        manifestHash: `sha256:${'0'.repeat(64)}`,
        runtimeClass: 'hosted',
        allowedDeliveryModes: ['proxy'],
        allowedCapabilities: ['repo.*'],
        trustTags: ['trusted'],
      },
    ],
    policies: [
      {
        tenantId: 'acme',
        capability: 'repo.read',
        resourceKind: 'github_repo',
        allowedDeliveryModes: ['proxy'],
        defaultTtlSeconds: 600,
        maxTtlSeconds: 900,
        approval: { requiredApprovers: 2, ttlSeconds: 300, reuse: false },
        requiresProof: false,
        requiredToolTags: ['trusted'],
        condition: { source: 'resource.name == "acme/site"' },
      },
    ],
    k8sIssuers: [
      {
        issuer: 'https://k8s.example',
        audience: 'asb',
        keys: { kind: 'discovery' },
        tokenReview: {
          apiServer: new URL('https://k8s.example'),
          caFile: join(folder.path, 'ca.pem'),
          tokenFile: join(folder.path, 'token'),
        },
      },
    ],
    oidcIssuers: [
      {
        issuer: 'https://ci.example',
        keys: { kind: 'pem_file', path: join(folder.path, 'ci.pem') },
        allowedSubjectPrefixes: ['repo:acme/'],
      },
    ],
    operatorIssuers: [
      {
        issuer: 'https://login.example',
        audience: 'asb-operators',
        keys: { kind: 'jwks_url', url: new URL('https://login.example/keys') },
        rolesClaim: 'roles',
        roleMappings: [{ claimValue: 'leads', roles: ['approver'], tenants: ['acme'] }],
      },
    ],
    delegationIssuers: [
      {
        issuer: 'https://delegate.example',
        audience: null,
        keys: { kind: 'jwks_file', path: join(folder.path, 'delegate.json') },
        tenants: ['acme'],
      },
    ],
    receivers: [
      {
        name: 'desk',
        tenants: ['acme'],
        kind: 'webhook',
        url: new URL('https://desk.example/asb'),
        callbackKeyFile: join(folder.path, 'desk.pem'),
        links: false,
        approver: null,
      },
      { name: 'lead', kind: 'slack', url: new URL(SLACK_URL), secret: null, callbackKeyFile: null, links: true },
    ],
    githubOperations: ['repository_metadata'],
    githubApp: {
      appId: '71',
      privateKeyFile: join(folder.path, 'app.pem'),
      readPermissions: { contents: 'read', issues: 'read' },
    },
    limits: { github: { maxConcurrent: 200, maxFailures: 20, pauseSeconds: 5 } },
  });
  expect(settings.receivers[0]?.secret?.reveal()).toBe(SIGNING_SECRET);
});

test('what is read without mistakes is accepted by those who decide', async () => {
  using folder = new ConfigFolder();
  const { bindings, tools, policies, revision } = await settingsOf(folder);
  const registry = makeToolRegistry(tools);
  expect(makePolicyEngine({ tools: registry, policies, revision }).revision).toBe(revision);
  expect(() => makeSessionAuthorizer({ bindings, tools: registry })).not.toThrow();
});

test('approval: none and no condition ask for nothing', async () => {
  using folder = new ConfigFolder();
  folder.write(
    'asb.yaml',
    changed(
      'approval: { required: 2, ttl: 5m }',
      'approval: none',
      changed('\n        condition: resource.name == "acme/site"', ''),
    ),
  );
  expect((await settingsOf(folder)).policies[0]).toMatchObject({ approval: null, condition: null });
});

type Wrong = [name: string, file: string, content: string | Buffer | null, told: string];

describe('a file that is named and cannot be used is told at the place that names it', () => {
  const privatePem = ed25519Key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const canary = 'q9CaNaRyq9';

  test.each<Wrong>([
    [
      'keys that are not there',
      'ci.pem',
      null,
      '40:25: attestation.oidc[0].keys.pem_file: the file cannot be read (ENOENT)',
    ],
    [
      'keys that are none',
      'ci.pem',
      canary,
      '40:25: attestation.oidc[0].keys.pem_file: the key file is not PEM: every key starts with -----BEGIN ...----- and ends with its -----END ...-----',
    ],
    ['an empty file', 'ci.pem', '\n', '40:25: attestation.oidc[0].keys.pem_file: the file is empty'],
    [
      'a private key',
      'ci.pem',
      privatePem,
      '40:25: attestation.oidc[0].keys.pem_file: block 1 (PRIVATE KEY) is a private key; put only the public key here, and take the private key off this machine',
    ],
    [
      'a key set that is no JSON',
      'delegate.json',
      `{"keys": ${canary}`,
      '50:24: delegations[0].keys.jwks_file: the file is not JSON',
    ],
    [
      'a key set of private keys',
      'delegate.json',
      JSON.stringify({ keys: [ed25519Key.privateKey.export({ format: 'jwk' })] }),
      '50:24: delegations[0].keys.jwks_file: the JWK Set holds a private key; publish only the public part, and use a new key',
    ],
    [
      'delegation keys that are not Ed25519',
      'delegate.json',
      JSON.stringify({ keys: [publicJwk(ecKey)] }),
      '50:24: delegations[0].keys.jwks_file: the file must hold an Ed25519 key: delegations are EdDSA',
    ],
    [
      'authorities that are none',
      'ca.pem',
      canary,
      '36:65: attestation.kubernetes[0].token_review.ca_file: the file holds no PEM certificate',
    ],
    [
      'an authority that is malformed',
      'ca.pem',
      `-----BEGIN CERTIFICATE-----\n${canary}\n-----END CERTIFICATE-----\n`,
      '36:65: attestation.kubernetes[0].token_review.ca_file: certificate 1 of the file cannot be decoded',
    ],
    [
      'no token',
      'token',
      null,
      '36:85: attestation.kubernetes[0].token_review.token_file: the file cannot be read (ENOENT)',
    ],
    [
      'a secret without its prefix',
      'desk.secret',
      canary,
      '58:20: notifications.receivers[0].secret_file: the file must hold whsec_ and the base64 of 24 to 64 random bytes; make one with: echo whsec_$(openssl rand -base64 32)',
    ],
    [
      'a secret that is too short',
      'desk.secret',
      `whsec_${Buffer.from(canary).toString('base64')}`,
      '58:20: notifications.receivers[0].secret_file: the file must hold whsec_ and the base64 of 24 to 64 random bytes; make one with: echo whsec_$(openssl rand -base64 32)',
    ],
    [
      'a callback key that is not Ed25519',
      'desk.pem',
      ecKey.publicPem,
      '59:26: notifications.receivers[0].callback_key_file: the file must hold one Ed25519 public key',
    ],
    [
      'two callback keys',
      'desk.pem',
      ed25519Key.publicPem + ecKey.publicPem,
      '59:26: notifications.receivers[0].callback_key_file: the file must hold one Ed25519 public key',
    ],
    [
      'a URL that is none',
      'lead.url',
      `hooks.slack.example/${canary}`,
      '63:17: notifications.receivers[1].url_file: the file must hold one URL and nothing else',
    ],
    [
      'a URL in the clear',
      'lead.url',
      `http://hooks.slack.example/${canary}`,
      '63:17: notifications.receivers[1].url_file: the URL in the file must be https, without credentials or fragment (http is for loopback only)',
    ],
    [
      'a key of an App that is none',
      'app.pem',
      `-----BEGIN RSA PRIVATE KEY-----\n${canary}\n-----END RSA PRIVATE KEY-----\n`,
      '68:44: connectors.github.app.private_key_file: the key file cannot be decoded as a PEM private key without passphrase; it must be the private key that GitHub gave out for the App',
    ],
    [
      'bytes that are no text',
      'lead.url',
      Buffer.from([0xff, 0xfe, 0x00]),
      '63:17: notifications.receivers[1].url_file: the file is not UTF-8 text',
    ],
  ])('%s', async (_name, file, content, told) => {
    using folder = new ConfigFolder();
    if (content === null) folder.remove(file);
    else folder.write(file, content);
    const problems = await problemsOf(folder);
    expect(problems).toEqual([`FILE:${told}`]);
    expect(problems.join()).not.toContain(canary);
  });

  test('a folder, a pipe and a large file are not read', async () => {
    using folder = new ConfigFolder();
    folder.remove('ci.pem');
    mkdirSync(join(folder.path, 'ci.pem'));
    folder.remove('desk.pem');
    execFileSync('mkfifo', [join(folder.path, 'desk.pem')]);
    folder.write('delegate.json', ' '.repeat(2 ** 20 + 1));
    expect(await problemsOf(folder)).toEqual([
      'FILE:40:25: attestation.oidc[0].keys.pem_file: the file is not a regular file',
      'FILE:50:24: delegations[0].keys.jwks_file: the file is larger than 1 MiB',
      'FILE:59:26: notifications.receivers[0].callback_key_file: the file is not a regular file',
    ]);
  });

  test('mistakes of the file itself and of those it names are told together', async () => {
    using folder = new ConfigFolder();
    folder.write(
      'asb.yaml',
      changed(
        'links: true',
        'links: 1',
        changed('keys: { pem_file: ci.pem }', 'keys: { pem_file: gone.pem, discovery: true }'),
      ),
    );
    folder.write('desk.secret', 'short');
    expect((await problemsOf(folder)).map((line) => line.split(': ')[1])).toEqual([
      'attestation.oidc[0].keys',
      'attestation.oidc[0].keys.pem_file',
      'notifications.receivers[0].secret_file',
      'notifications.receivers[1].links',
    ]);
  });
});

const SECRETS = { 'desk.secret': SIGNING_SECRET, 'lead.url': SLACK_URL, 'app.pem': APP_KEYS.pkcs8 };

describe('a secret that others may read is refused', () => {
  test.each(Object.entries(SECRETS))('%s', async (secret, content) => {
    using folder = new ConfigFolder();
    for (const [mode, accepted] of [
      [0o600, true],
      [0o400, true],
      [0o640, false],
      [0o604, false],
      [0o644, false],
      [0o660, false],
    ] as const) {
      folder.write(secret, content, mode);
      const problems = await problemsOf(folder);
      if (accepted) expect(problems).toEqual([]);
      else
        expect(problems).toEqual([
          expect.stringContaining(
            `the file is a secret and others may use it (mode 0${mode.toString(8)}); make it 0600 or 0400`,
          ),
        ]);
    }
  });

  test('a public key may be read by everybody', async () => {
    using folder = new ConfigFolder();
    folder.write('desk.pem', ed25519Key.publicPem, 0o644);
    folder.write('ci.pem', ecKey.publicPem, 0o444);
    expect(await problemsOf(folder)).toEqual([]);
  });

  test.each<[name: string, file: { uid: number; mode: number }, accepted: boolean]>([
    ['of ASB itself, for it alone', { uid: 1000, mode: 0o600 }, true],
    ['of ASB itself, for its group too', { uid: 1000, mode: 0o640 }, false],
    ['of root, for a group to read, as Kubernetes mounts it', { uid: 0, mode: 0o440 }, true],
    ['of root, for a group to write', { uid: 0, mode: 0o660 }, false],
    ['of root, for everybody', { uid: 0, mode: 0o444 }, false],
    ['of somebody else, even for ASB alone', { uid: 1001, mode: 0o400 }, false],
  ])('one %s', (_name, file, accepted) => {
    expect(exposure(file, 1000) === null).toBe(accepted);
  });
});

describe('a configuration file that is no text is told without a place', () => {
  test.each<[name: string, content: Buffer | null, told: string]>([
    ['gone', null, 'FILE: the file cannot be read (ENOENT)'],
    ['not UTF-8', Buffer.from('version: \xff', 'latin1'), 'FILE: the file is not UTF-8 text'],
    ['UTF-16', Buffer.from(`\ufeff${SAMPLE}`, 'utf16le'), 'FILE: the file is not UTF-8 text'],
    ['of 2 MiB', Buffer.alloc(2 ** 21, '# '), 'FILE: the file is larger than 1 MiB'],
  ])('%s', async (_name, content, told) => {
    using folder = new ConfigFolder();
    if (content === null) folder.remove('asb.yaml');
    else folder.write('asb.yaml', content);
    expect(await problemsOf(folder)).toEqual([told]);
  });
});

test('a file of exactly 1 MiB is read', async () => {
  using folder = new ConfigFolder();
  folder.write('asb.yaml', SAMPLE + '#'.repeat(2 ** 20 - Buffer.byteLength(SAMPLE)));
  expect(await problemsOf(folder)).toEqual([]);
});

test('a configuration that everybody may write is a doubt', async () => {
  using folder = new ConfigFolder();
  folder.write('asb.yaml', SAMPLE, 0o666);
  const { warnings } = await readConfigFile(folder.file, NO_ISSUERS);
  expect(warnings).toEqual([
    `${folder.file}: every user of this machine may write this file, and so decide who may do what`,
  ]);
});

test('files are read through symbolic links, from the folder of the configuration file', async () => {
  using folder = new ConfigFolder();
  mkdirSync(join(folder.path, '..data'));
  folder.write('..data/desk.secret', SIGNING_SECRET);
  folder.remove('desk.secret');
  symlinkSync('..data/desk.secret', join(folder.path, 'desk.secret'));
  expect(await problemsOf(folder)).toEqual([]);
});

test('neither settings nor what was seen show a secret', async () => {
  using folder = new ConfigFolder();
  const result = await readConfigFile(folder.file, NO_ISSUERS);
  const shown = inspect(result, { depth: 9, showHidden: true }) + JSON.stringify(result);
  expect(shown).not.toContain(SIGNING_SECRET);
  expect([...result.seen].join()).not.toContain('canary');
});

test('what was seen names each file that went into the settings, but not the token, which is rotated', async () => {
  using folder = new ConfigFolder();
  const { seen } = await readConfigFile(folder.file, NO_ISSUERS);
  expect([...seen.keys()].map((path) => path.replace(`${folder.path}/`, '')).toSorted()).toEqual([
    'app.pem',
    'asb.yaml',
    'ca.pem',
    'ci.pem',
    'delegate.json',
    'desk.pem',
    'desk.secret',
    'lead.url',
  ]);
});

test('reading never rejects, whatever the text', async () => {
  const texts = [
    '',
    '\u0000',
    '{',
    '- - -',
    'version: 1\ntenants: 3\n',
    'tenants: [null, 3, [], {id: {}}]\nattestation: []\n',
    'operators: [[]]\nnotifications: {receivers: {a: 1}}',
  ];
  for (const text of texts) {
    const read = () => Promise.resolve({ bytes: Buffer.from(text), mode: 0o600, uid: 0 });
    expect(await readConfigFile('x', NO_ISSUERS, { read })).toMatchObject({ outcome: 'invalid' });
  }
  expect(await readRegularFile('/nowhere/\u0000')).toMatchObject({ failure: expect.stringMatching(/^cannot be read/) });
});

test('no file that is cut, doubled or scribbled in makes parsing throw', () => {
  const scribble = fc.constantFrom(
    '',
    ' ',
    '\n',
    ':',
    '- ',
    '{',
    ']',
    '&a ',
    '*a',
    '!x ',
    '"',
    '|',
    '~',
    '7',
    '\t',
    '---\n',
    '__proto__: 1\n',
  );
  const place = fc.nat(SAMPLE.length);
  fc.assert(
    fc.property(place, place, scribble, (from, to, text) => {
      const { file, problems } = parseConfigFile(SAMPLE.slice(0, from) + text + SAMPLE.slice(to), NO_ISSUERS);
      expect(file === null).toBe(problems.length > 0);
      for (const { line, column } of problems) expect(Math.min(line, column)).toBeGreaterThanOrEqual(1);
    }),
    { numRuns: 300 },
  );
});
