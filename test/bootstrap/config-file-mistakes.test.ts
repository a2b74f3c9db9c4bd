import { describe, expect, test } from 'vitest';
import { makeSuggest } from '../../src/bootstrap/config-file/nearest-name.ts';
import { parseConfigFile } from '../../src/bootstrap/config-file/parse-config-file.ts';
import { changed, doubtsOf, mistakesOf, NO_ISSUERS, SAMPLE } from './config-file-sample.ts';

test('the sample has no mistakes and no doubts', () => {
  expect(mistakesOf(SAMPLE)).toEqual([]);
  expect(doubtsOf(SAMPLE)).toEqual([]);
});

type Mistake = [name: string, from: string, to: string, told: string];

/** Changes one place of the sample and expects one mistake, at this line and column. */
const toldAlone = (name: string, mistakes: readonly Mistake[]) =>
  describe(name, () => {
    test.each<Mistake>(mistakes)('%s', (_name, from, to, told) => {
      expect(mistakesOf(changed(from, to))).toEqual([told]);
    });
  });

toldAlone('a field that is not as it should be is told with its place', [
  ['no version', 'version: 1\n', '', '1:1: version: is missing; write version: 1'],
  ['another version', 'version: 1', 'version: 2', '1:10: version: must be 1'],
  [
    'a slip in the name of a field',
    '    policies:',
    '    polices:',
    '22:5: tenants[0].polices: is not a field here; did you mean policies?',
  ],
  [
    'a field that is like no other',
    'max_ttl: 15m',
    'max_ttl: 15m\n        budget: 3',
    '28:9: tenants[0].policies[0].budget: is not a field here; the fields are capability, resource_kind, delivery_modes, default_ttl, max_ttl, approval, require_proof, required_tool_tags, github_permissions, browser_plain_values, condition',
  ],
  [
    'a missing field, at the entry that lacks it',
    '        namespace: agents\n',
    '',
    '5:9: tenants[0].workload_bindings[0].namespace: is missing; it must be a Kubernetes namespace; a * may only stand at its end',
  ],
  [
    'a missing field of a nested mapping, at its name',
    '{ required: 2, ttl: 5m }',
    '{ ttl: 5m }',
    '28:9: tenants[0].policies[0].approval.required: is missing',
  ],
  [
    'an empty field, at its name',
    'max_ttl: 15m',
    'max_ttl:',
    '27:9: tenants[0].policies[0].max_ttl: is empty; it must be a duration such as 90s, 10m or 1h, and 24h at most',
  ],
  [
    'an empty list',
    'agents: [reviewer]',
    'agents: []',
    '10:17: tenants[0].workload_bindings[0].agents: must have at least one entry',
  ],
  [
    'an entry where a list is due',
    'agents: [reviewer]',
    'agents: reviewer',
    '10:17: tenants[0].workload_bindings[0].agents: must be a list',
  ],
  [
    'a list where a mapping is due',
    'attributes: { pod_name: runner-* }',
    'attributes: [pod_name]',
    '9:21: tenants[0].workload_bindings[0].attributes: must be a mapping',
  ],
  [
    'text where a number is due',
    'required: 2',
    'required: two',
    '28:31: tenants[0].policies[0].approval.required: must be a whole number',
  ],
  [
    'a number where text is due',
    'pod_name: runner-*',
    'pod_name: 7',
    '9:33: tenants[0].workload_bindings[0].attributes.pod_name: must be a text of up to 1024 characters; a * may only stand at its end; put it in quotes',
  ],
  [
    'yes, which is text in YAML 1.2',
    'links: true',
    'links: yes',
    '64:14: notifications.receivers[1].links: must be true or false',
  ],
  [
    'a slip in one of several names',
    'roles: [approver]',
    'roles: [aprover]',
    '47:33: operators[0].role_mappings[0].roles[0]: must be one of viewer, auditor, operator, approver; did you mean approver?',
  ],
  [
    'a role that is none',
    'roles: [approver]',
    'roles: [admin]',
    '47:33: operators[0].role_mappings[0].roles[0]: must be one of viewer, auditor, operator, approver',
  ],
  [
    'a type of binding that is none',
    'type: oidc',
    'type: odic',
    '11:15: tenants[0].workload_bindings[1].type: must be one of k8s_sa, oidc; did you mean oidc?',
  ],
  [
    'a binding without a type',
    '- type: oidc\n        issuer',
    '- issuer',
    '11:9: tenants[0].workload_bindings[1].type: is missing; it must be one of k8s_sa, oidc',
  ],
  [
    'a tenant id that no request could name',
    '- id: acme',
    '- id: acme corp',
    '3:9: tenants[0].id: must be 1 to 200 letters, digits or ._:@/-',
  ],
  [
    'a * in the middle of a pattern',
    'agents: [editor-*]',
    'agents: [ed*tor]',
    '14:18: tenants[0].workload_bindings[1].agents[0]: must be 1 to 200 letters, digits or ._:@/-, or a beginning of that and a * as the last character',
  ],
  [
    'a * in the middle of a subject',
    'subject: repo:acme/site:*',
    'subject: repo:*/site:*',
    '13:18: tenants[0].workload_bindings[1].subject: must be a text of up to 1024 characters; a * may only stand at its end',
  ],
  [
    'a policy for several capabilities',
    'capability: repo.read',
    'capability: repo.*',
    '23:21: tenants[0].policies[0].capability: must be 1 to 200 letters, digits or ._:@/-',
  ],
  [
    'a prefix with a *',
    'prefixes: [repo:acme/]',
    'prefixes: [repo:acme/*]',
    '41:34: attestation.oidc[0].allowed_subject_prefixes[0]: must be the beginning of a subject, without * and spaces',
  ],
  [
    'a manifest hash that is none',
    'sha256:0000000000',
    'sha1:0000000000',
    '17:24: tenants[0].tools[0].manifest_hash: must be sha256: and 64 hex digits',
  ],
  [
    'an attribute by an odd name',
    '{ pod_name: runner-* }',
    '{ "pod name": x }',
    '9:23: tenants[0].workload_bindings[0].attributes.?: must be a name of 1 to 100 letters, digits or _./-',
  ],
  [
    'an operation that is none',
    '[repository_metadata]',
    '[repository_metdata]',
    '67:26: connectors.github.allowed_operations[0]: must be one of pull_request_metadata, pull_request_files, repository_metadata, repository_issues, create_issue, create_pull_request_comment, create_check_run; did you mean repository_metadata?',
  ],
  [
    'an App without its key',
    ', private_key_file: app.pem',
    '',
    '68:5: connectors.github.app.private_key_file: is missing; it must be the path of a file',
  ],
  [
    'an App of no id',
    "app_id: '71'",
    'app_id: 71',
    '68:20: connectors.github.app.app_id: must be the id or the client id of a GitHub App; put it in quotes',
  ],
]);

toldAlone('a duration that is none is told', [
  ...['600', '1.5h', '0m', '10', 'm', '10 m', '10min', '25h', '1441m', '-5m', '1d', '1e3s', '"10m "'].map(
    (duration): Mistake => [
      duration,
      'max_ttl: 15m',
      `max_ttl: ${duration}`,
      `27:18: tenants[0].policies[0].max_ttl: must be a duration such as 90s, 10m or 1h, and 24h at most${/^-?\d+(\.\d+)?$/.test(duration) ? '; put it in quotes' : ''}`,
    ],
  ),
  [
    'a default beyond the maximum',
    'default_ttl: 10m',
    'default_ttl: 901s',
    '26:22: tenants[0].policies[0].default_ttl: is longer than max_ttl; it must be at most that',
  ],
]);

toldAlone('approvals without approvers are told', [
  [
    'nobody',
    'required: 2',
    'required: 0',
    '28:31: tenants[0].policies[0].approval.required: must be 1 at least; where nobody has to approve, write approval: none',
  ],
  [
    'fewer than nobody',
    'required: 2',
    'required: -1',
    '28:31: tenants[0].policies[0].approval.required: must be 1 at least; where nobody has to approve, write approval: none',
  ],
  [
    'half a person',
    'required: 2',
    'required: 1.5',
    '28:31: tenants[0].policies[0].approval.required: must be a whole number',
  ],
  [
    'more than will ever agree',
    'required: 2',
    'required: 11',
    '28:31: tenants[0].policies[0].approval.required: must be 10 at most',
  ],
  [
    'not said at all',
    '        approval: { required: 2, ttl: 5m }\n',
    '',
    '23:9: tenants[0].policies[0].approval: is missing; it must be none, or a mapping with required, ttl and reuse',
  ],
  [
    'a word that is none',
    'approval: { required: 2, ttl: 5m }',
    'approval: never',
    '28:19: tenants[0].policies[0].approval: must be none, or a mapping with required, ttl and reuse',
  ],
]);

toldAlone('what is there twice is told at the second place', [
  [
    'a tenant',
    'attestation:\n',
    '  - id: acme\nattestation:\n',
    '31:9: tenants[1].id: another tenant has this id; ids must differ',
  ],
  [
    'a tool',
    '    policies:',
    `      - { name: github, manifest_hash: "sha256:${'1'.repeat(64)}", runtime_class: browser, delivery_modes: [proxy], capabilities: [x] }\n    policies:`,
    '22:17: tenants[0].tools[1].name: another tool of this tenant has this name; names must differ',
  ],
  [
    'a policy',
    'attestation:\n',
    '      - { capability: repo.read, resource_kind: github_repo, delivery_modes: [proxy], default_ttl: 1m, max_ttl: 1m, approval: none }\nattestation:\n',
    '31:23: tenants[0].policies[1].capability: another policy of this tenant is about this capability; write one for each',
  ],
  [
    'a receiver',
    'name: lead',
    'name: desk',
    '60:13: notifications.receivers[1].name: another receiver has this name; names must differ',
  ],
  [
    'a field',
    'max_ttl: 15m',
    'max_ttl: 15m\n        max_ttl: 24h',
    '28:9: tenants[0].policies[0].max_ttl: is written twice in the same mapping; keep one',
  ],
  [
    'an issuer of operators',
    'delegations:\n',
    '  - { issuer: "https://login.example", audience: b, keys: { discovery: true }, role_mappings: [{ value: a, roles: [viewer], tenants: [acme] }] }\ndelegations:\n',
    "48:15: operators[1].issuer: is configured already, in operators; a token could be either's",
  ],
]);

toldAlone('a reference that leads nowhere is told', [
  [
    'a mapping for an unknown tenant',
    'roles: [approver], tenants: [acme]',
    'roles: [approver], tenants: [acne]',
    '47:54: operators[0].role_mappings[0].tenants[0]: is not the id of a tenant of this file; did you mean acme?',
  ],
  [
    'a delegation for an unknown tenant',
    'delegate.json }\n    tenants: [acme]',
    'delegate.json }\n    tenants: [other]',
    '51:15: delegations[0].tenants[0]: is not the id of a tenant of this file',
  ],
  [
    'a receiver for an unknown tenant',
    'kind: slack\n      tenants: [acme]',
    'kind: slack\n      tenants: [acme, acm]',
    '62:23: notifications.receivers[1].tenants[1]: is not the id of a tenant of this file; did you mean acme?',
  ],
  [
    'a binding to an issuer that nobody configures',
    'issuer: https://k8s.example\n        namespace',
    'issuer: https://k8.example\n        namespace',
    '6:17: tenants[0].workload_bindings[0].issuer: is not an issuer of attestation.kubernetes nor of the environment; did you mean https://k8s.example?',
  ],
  [
    'a binding to an issuer of the other type',
    'issuer: https://ci.example\n        subject',
    'issuer: https://k8s.example\n        subject',
    '12:17: tenants[0].workload_bindings[1].issuer: is not an issuer of attestation.oidc nor of the environment; it is configured for the other type of binding',
  ],
]);

toldAlone('a condition that does not compile is told', [
  [
    'a field that requests do not have',
    'condition: resource.name == "acme/site"',
    'condition: resource.nam == "acme/site"',
    '30:20: tenants[0].policies[0].condition: does not compile: line 1, column 10: No such key: nam',
  ],
  [
    'one that answers no bool',
    'condition: resource.name == "acme/site"',
    'condition: resource.name',
    '30:20: tenants[0].policies[0].condition: does not compile: line 1, column 1: must answer a bool, not a string',
  ],
]);

toldAlone('keys that could not be trusted are told', [
  [
    'no source',
    'keys: { pem_file: ci.pem }',
    'keys: {}',
    '40:13: attestation.oidc[0].keys: must name one source of keys: pem_file, jwks_file, jwks_url or discovery',
  ],
  [
    'two sources',
    'keys: { pem_file: ci.pem }',
    'keys: { pem_file: ci.pem, discovery: true }',
    '40:13: attestation.oidc[0].keys: must name one source of keys: pem_file, jwks_file, jwks_url or discovery',
  ],
  [
    'keys that travel in the clear',
    'jwks_url: https://login.example/keys',
    'jwks_url: http://login.example/keys',
    '45:23: operators[0].keys.jwks_url: must be https: a credential travels to it (http is for loopback only)',
  ],
  [
    'an API server in the clear',
    'api_server: https://k8s.example',
    'api_server: http://k8s.example',
    '36:35: attestation.kubernetes[0].token_review.api_server: must be https: a credential travels to it (http is for loopback only)',
  ],
  [
    'credentials in a URL',
    'jwks_url: https://login.example/keys',
    'jwks_url: https://user:hunter2@login.example/keys',
    '45:23: operators[0].keys.jwks_url: must be an http(s) URL without credentials, query or fragment',
  ],
  [
    'discovery from an issuer that is no URL',
    'issuer: https://login.example\n    audience: asb-operators\n    keys: { jwks_url: https://login.example/keys }',
    'issuer: login\n    audience: asb-operators\n    keys: { discovery: true }',
    '45:24: operators[0].keys.discovery: discovery needs an issuer that is an https URL without query and fragment (http is for loopback only)',
  ],
]);

toldAlone('tokens that could pass for others are told', [
  [
    'operators by the workloads’ issuer and audience',
    'issuer: https://login.example\n    audience: asb-operators',
    'issuer: https://ci.example\n    audience: asb',
    '44:15: operators[0].audience: its tokens for operators could pass for those of workloads; give each an audience of its own',
  ],
  [
    'delegations for any audience by the operators’ issuer',
    'issuer: https://delegate.example',
    'issuer: https://login.example',
    '49:13: delegations[0].issuer: its tokens for delegations could pass for those of operators; give each an audience of its own',
  ],
]);

toldAlone('a receiver whose messages could be forged or read is told', [
  [
    'a webhook without a secret',
    '      secret_file: desk.secret\n',
    '',
    '54:7: notifications.receivers[0].secret_file: is missing; it must be the path of a file',
  ],
  [
    'a webhook without a URL',
    '      url: https://desk.example/asb\n',
    '',
    '54:7: notifications.receivers[0]: must have a url or a url_file, and not both',
  ],
  [
    'a webhook with two',
    'url: https://desk.example/asb',
    'url: https://desk.example/asb\n      url_file: x',
    '54:7: notifications.receivers[0]: must have a url or a url_file, and not both',
  ],
  [
    'a secret for Slack',
    'url_file: lead.url',
    'url_file: lead.url\n      secret_file: x',
    '64:20: notifications.receivers[1].secret_file: a Slack receiver has no secret but its URL; leave it out',
  ],
  [
    'Slack’s URL in the file itself',
    'url_file: lead.url',
    'url_file: lead.url\n      url: https://hooks.slack.example/services/T0/B0/c4n4ry',
    "64:12: notifications.receivers[1].url: a Slack receiver's URL is a secret; put it in a file and name that in url_file",
  ],
  [
    'a webhook in the clear',
    'url: https://desk.example/asb',
    'url: http://desk.example/asb',
    '57:12: notifications.receivers[0].url: must be https: a credential travels to it (http is for loopback only)',
  ],
]);

test('http is good enough on loopback', () => {
  for (const host of ['localhost:8080', '127.0.0.1', '[::1]:9']) {
    expect(mistakesOf(changed('https://desk.example/asb', `http://${host}/asb`))).toEqual([]);
  }
});

describe('the issuers of the environment', () => {
  const context = { k8sIssuers: [{ issuer: 'https://env.example', audience: 'asb' }], oidcIssuers: [] };
  const bound = changed('issuer: https://k8s.example\n        namespace', 'issuer: https://env.example\n        namespace');

  test('may be bound to', () => {
    expect(mistakesOf(bound)).toHaveLength(1);
    expect(mistakesOf(bound, context)).toEqual([]);
  });

  test('may not be configured again', () => {
    const again = changed('    - issuer: https://ci.example', '    - issuer: https://env.example');
    expect(mistakesOf(again, context)).toContain(
      "38:15: attestation.oidc[0].issuer: is configured already, in environment; a token could be either's",
    );
  });

  test('may not vouch for operators with the same audience', () => {
    const both = changed(
      'issuer: https://login.example\n    audience: asb-operators',
      'issuer: https://env.example\n    audience: asb',
    );
    expect(mistakesOf(both, context)).toEqual([
      '44:15: operators[0].audience: its tokens for operators could pass for those of workloads; give each an audience of its own',
    ]);
  });
});

test('every mistake is told at once, from the top of the file', () => {
  const edits: [string, string][] = [
    ['version: 1', 'version: 3'],
    ['type: oidc', 'type: saml'],
    ['runtime_class: hosted', 'runtime_class: cloud'],
    ['default_ttl: 10m', 'default_ttl: 20m'],
    ['approval: { required: 2, ttl: 5m }', 'approval: { required: 0, ttl: 5, foo: 1 }'],
    ['condition: resource', 'condition: resorce'],
    ['roles: [approver], tenants: [acme]', 'roles: [approver], tenants: [acne]'],
    ['url: https://desk.example/asb', 'url: http://desk.example/asb\n      url_file: x'],
    ['connectors:', 'conectors:'],
  ];
  const text = edits.reduce((edited, [from, to]) => changed(from, to, edited), SAMPLE);
  expect(mistakesOf(text).map((line) => line.replace(/^(\d+:\d+: [^ ]+): .*/, '$1'))).toEqual([
    '1:10: version',
    '11:15: tenants[0].workload_bindings[1].type',
    '18:24: tenants[0].tools[0].runtime_class',
    '26:22: tenants[0].policies[0].default_ttl',
    '28:31: tenants[0].policies[0].approval.required',
    '28:39: tenants[0].policies[0].approval.ttl',
    '28:42: tenants[0].policies[0].approval.foo',
    '30:20: tenants[0].policies[0].condition',
    '47:54: operators[0].role_mappings[0].tenants[0]',
    '54:7: notifications.receivers[0]',
    '57:12: notifications.receivers[0].url',
    '66:1: conectors',
  ]);
});

test('a mistake in one place makes none elsewhere', () => {
  // Whoever refers to a tenant, an issuer or a tool that is there and malformed is not told that it is missing.
  expect(mistakesOf(changed('- id: acme', '- id: "acme "'))).toHaveLength(1);
  expect(mistakesOf(changed('    - issuer: https://ci.example', '    - issuer: 7'))).toHaveLength(1);
  expect(mistakesOf(changed('tenants:\n  - id: acme', 'tenant:\n  - id: acme'))).toHaveLength(2);
});

test.each([
  ['an empty file', ''],
  ['a comment', '# later\n'],
  ['a list', '- a\n'],
  ['a word', 'asb\n'],
])('%s is no configuration', (_name, text) => {
  expect(mistakesOf(text)).toEqual(['1:1: must be a mapping; begin it with version: 1']);
});

test('no value of the file is quoted, wherever it stands', () => {
  const canary = 'Qx9CanaryQx9';
  const lines = SAMPLE.split('\n');
  for (const [index, line] of lines.entries()) {
    const broken = line.replace(/: [^{[].*$|(?<=\[)[^[\]]*(?=\])|(?<=\{)[^{}]*(?=\})/, (value) =>
      value.startsWith(': ') ? `: "${canary} *"` : `"${canary} *"`,
    );
    const told = mistakesOf(lines.with(index, broken).join('\n'));
    expect(JSON.stringify(told), line).not.toContain(canary);
  }
  for (const key of [
    canary,
    `${canary}: ${canary}`,
    `"${canary}" ${canary}`,
    `*${canary}`,
    `!${canary} x`,
    `"${canary}`,
    `@${canary}`,
  ]) {
    expect(JSON.stringify(mistakesOf(`${SAMPLE}${key}`)), key).not.toContain(canary);
    expect(JSON.stringify(mistakesOf(`${SAMPLE}a: ${key}`)), key).not.toContain(canary);
  }
});

describe('what is most likely not meant is a doubt, not a mistake', () => {
  test.each<Mistake>([
    [
      'a policy whose capability no tool may use',
      'capabilities: [repo.*]',
      'capabilities: [repos.*]',
      '23:21: tenants[0].policies[0].capability: allows nothing: no tool of this tenant may use this capability',
    ],
    [
      'a policy whose tags no tool has',
      'trust_tags: [trusted]\n    policies',
      'trust_tags: [other]\n    policies',
      '29:29: tenants[0].policies[0].required_tool_tags: allows nothing: no tool that may use this capability has all of these tags',
    ],
    [
      'a policy whose delivery no tool takes',
      'delivery_modes: [proxy]\n        default',
      'delivery_modes: [minted_token]\n        default',
      '25:25: tenants[0].policies[0].delivery_modes: allows nothing: no tool that may use this capability takes any of these',
    ],
    [
      'a tenant that nobody may enter',
      'attestation:\n',
      '  - id: empty\nattestation:\n',
      '31:9: tenants[1].id: has no workload_bindings, so that nobody can open a session in it',
    ],
  ])('%s', (_name, from, to, told) => {
    expect(mistakesOf(changed(from, to))).toEqual([]);
    expect(doubtsOf(changed(from, to))).toEqual([told]);
  });

  test('an approval that nobody can give', () => {
    const unlinked = changed('      links: true\n', '', changed('      callback_key_file: desk.pem\n', ''));
    expect(doubtsOf(unlinked)).toEqual([]);
    expect(doubtsOf(changed('roles: [approver]', 'roles: [viewer]', unlinked))).toEqual([
      '28:19: tenants[0].policies[0].approval: nobody can approve: no operator has the role approver for this tenant, and no receiver may decide',
    ]);
  });
});

test('thousands of mistakes are counted, not listed', () => {
  const many = SAMPLE + Array.from({ length: 5000 }, (_, index) => `k${index}: 1\n`).join('');
  const told = mistakesOf(many);
  expect(told).toHaveLength(201);
  expect(told.at(-1)).toBe(' and 4800 more');
});

test('defaults are filled in', () => {
  const { file } = parseConfigFile('version: 1\ntenants: [{ id: a }]\n', NO_ISSUERS);
  expect(file).toEqual({
    version: 1,
    tenants: [{ id: 'a', workload_bindings: [], tools: [], policies: [] }],
    attestation: { kubernetes: [], oidc: [] },
    operators: [],
    delegations: [],
    notifications: { receivers: [] },
    connectors: { github: { limits: { max_concurrent: 200, failures_before_pause: 20, pause: '5s' } } },
  });
});

describe('a file with more mistakes than anybody makes costs no more than one with a few', () => {
  const many = (count: number, name: (index: number) => string): string[] =>
    Array.from({ length: count }, (_, index) => name(index));
  const hinted = (text: string): number =>
    parseConfigFile(text, NO_ISSUERS).problems.filter(({ message }) => message.includes('did you mean')).length;

  test.each<[name: string, text: string]>([
    ['tenants', changed('tenants: [acme] }', `tenants: [${many(300, () => 'acne').join(', ')}] }`)],
    ['values of a list', changed('roles: [approver]', `roles: [${many(300, () => 'aprover').join(', ')}]`)],
    [
      'fields',
      changed(
        'max_ttl: 15m',
        `max_ttl: 15m\n${many(26, (at) => `        approva${'abcdefghijkmnopqrstuvwxyzA'[at]}: 1`).join('\n')}`,
      ),
    ],
    [
      'issuers',
      changed(
        '    tools:',
        `${many(300, () => '      - { type: oidc, issuer: "https://ci.exampel", subject: x, agents: [reviewer] }').join('\n')}\n    tools:`,
      ),
    ],
  ])('names are suggested for the first of many unknown %s only', (_name, text) => {
    expect(hinted(text)).toBe(20);
  });

  test('only the first names are compared', () => {
    let given = 0;
    function* names(): Generator<string> {
      for (; given < 10_000; given += 1) yield `tenant-${given}`;
    }
    expect(makeSuggest()('tenant-x', names())).toBe('; did you mean tenant-0?');
    expect(given).toBeLessThanOrEqual(200);
  });

  test('nothing is compared once the suggestions are used up', () => {
    const suggest = makeSuggest();
    const answers = many(21, () => suggest('acne', ['acme']));
    expect(answers.slice(0, 20)).toEqual(many(20, () => '; did you mean acme?'));
    const untouched = {
      [Symbol.iterator]: (): Iterator<string> => {
        throw new Error('compared');
      },
    };
    expect(suggest('acne', untouched)).toBe('');
  });
});

const FORMS = `${SAMPLE}  browser:
    forms:
      - origin: https://ledger.example
        inputs:
          - { name: username, value: robot, selector: '#user' }
          - { name: password, value_file: ledger.password }
`;

describe('forms that a browser fills', () => {
  test('have no mistakes as they are', () => {
    expect(mistakesOf(FORMS)).toEqual([]);
  });

  const at = 'connectors.browser.forms[0]';
  const LEDGER = '      - origin: https://ledger.example\n';
  test.each<Mistake>([
    ['without TLS', 'https://ledger', 'http://ledger', `71:17: ${at}.origin: must be https (http is for localhost only)`],
    [
      'at an origin with a path',
      'https://ledger.example',
      'https://ledger.example/login',
      `71:17: ${at}.origin: must be written as browsers write it: https://ledger.example`,
    ],
    [
      'at localhost',
      'https://ledger.example',
      'http://localhost:3000',
      `71:17: ${at}.origin: must be https; http://localhost has to be allowed first`,
    ],
    ['with a selector that is none', "'#user'", "'#user >'", `73:55: ${at}.inputs[0].selector: is no CSS selector`],
    [
      'with two selectors in one',
      "'#user'",
      "'#user, #comment'",
      `73:55: ${at}.inputs[0].selector: must be one CSS selector, without commas: it is for one input`,
    ],
    [
      'with two inputs of one name',
      'name: password',
      'name: username',
      `74:21: ${at}.inputs[1].name: another input has this name`,
    ],
    [
      'with an input that is filled with nothing',
      'value: robot, ',
      '',
      `73:13: ${at}.inputs[0]: must have a value or a value_file, and not both`,
    ],
    [
      'with an input that is filled with two things',
      'value: robot,',
      'value: robot, value_file: f,',
      `73:13: ${at}.inputs[0]: must have a value or a value_file, and not both`,
    ],
    [
      'with a key of Vault, and no secret of it',
      'value: robot,',
      'vault_key: user,',
      `73:13: ${at}.inputs[0]: must have a value or a value_file, and not both`,
    ],
    [
      'with a thumbprint that is none',
      '    forms:\n',
      '    trusted_relay_keys: [abc]\n    forms:\n',
      '70:26: connectors.browser.trusted_relay_keys[0]: must be a JWK thumbprint (RFC 7638, SHA-256, base64url)',
    ],
  ])('%s', (_name, from, to, told) => {
    expect(mistakesOf(changed(from, to, FORMS))).toEqual([told]);
  });

  test('two of them at one origin', () => {
    const two = `${FORMS}${LEDGER}        inputs: [{ name: pin, value: '1' }]\n`;
    expect(mistakesOf(two)).toEqual(['75:17: connectors.browser.forms[1].origin: another form has this origin']);
  });

  test('from a secret of a Vault that nobody configured', () => {
    const secret = `${SAMPLE}  browser:
    forms:
      - origin: https://ledger.example
        vault: { path: forms/ledger }
        inputs: [{ name: pin }]
`;
    const told = `72:16: ${at}.vault: takes its values from Vault, and connectors.vault says of none`;
    expect(mistakesOf(secret)).toEqual([told]);
    expect(mistakesOf(changed('inputs: [{ name: pin }]', "inputs: [{ name: pin, value: '1' }]", secret))).toContain(
      `73:18: ${at}.inputs[0]: must have no value of its own: this form takes them from Vault`,
    );
  });
});
