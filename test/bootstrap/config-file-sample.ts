import { parseConfigFile } from '../../src/bootstrap/config-file/parse-config-file.ts';
import { formatProblems } from '../../src/bootstrap/config-file/problem.ts';
import type { ConfigFileContext } from '../../src/bootstrap/config-file/known-issuers.ts';

/** An environment that names no issuer. */
export const NO_ISSUERS: ConfigFileContext = { k8sIssuers: [], oidcIssuers: [] };

/** A file without mistakes and without doubts; every kind of entry is in it once. */
export const SAMPLE = `version: 1
tenants:
  - id: acme
    workload_bindings:
      - type: k8s_sa
        issuer: https://k8s.example
        namespace: agents
        service_account: runner
        attributes: { pod_name: runner-* }
        agents: [reviewer]
      - type: oidc
        issuer: https://ci.example
        subject: repo:acme/site:*
        agents: [editor-*]
    tools:
      - name: github
        manifest_hash: sha256:${'0'.repeat(64)}
        runtime_class: hosted
        delivery_modes: [proxy]
        capabilities: [repo.*]
        trust_tags: [trusted]
    policies:
      - capability: repo.read
        resource_kind: github_repo
        delivery_modes: [proxy]
        default_ttl: 10m
        max_ttl: 15m
        approval: { required: 2, ttl: 5m }
        required_tool_tags: [trusted]
        condition: resource.name == "acme/site"
attestation:
  kubernetes:
    - issuer: https://k8s.example
      audience: asb
      keys: { discovery: true }
      token_review: { api_server: https://k8s.example, ca_file: ca.pem, token_file: token }
  oidc:
    - issuer: https://ci.example
      audience: asb
      keys: { pem_file: ci.pem }
      allowed_subject_prefixes: [repo:acme/]
operators:
  - issuer: https://login.example
    audience: asb-operators
    keys: { jwks_url: https://login.example/keys }
    role_mappings:
      - { value: leads, roles: [approver], tenants: [acme] }
delegations:
  - issuer: https://delegate.example
    keys: { jwks_file: delegate.json }
    tenants: [acme]
notifications:
  receivers:
    - name: desk
      kind: webhook
      tenants: [acme]
      url: https://desk.example/asb
      secret_file: desk.secret
      callback_key_file: desk.pem
    - name: lead
      kind: slack
      tenants: [acme]
      url_file: lead.url
      links: true
connectors:
  github:
    allowed_operations: [repository_metadata]
    app: { app_id: '71', private_key_file: app.pem, read_permissions: { contents: read, issues: read } }
`;

/** The sample with one place changed. Throws when that is not there, or there more than once. */
export function changed(from: string, to: string, text = SAMPLE): string {
  const [before, after, ...more] = text.split(from);
  if (before === undefined || after === undefined || more.length > 0) throw new Error(`not there exactly once: ${from}`);
  return `${before}${to}${after}`;
}

/** The mistakes of a text, each as `LINE:COLUMN: path: message`. */
export function mistakesOf(text: string, context = NO_ISSUERS): readonly string[] {
  const { file, problems } = parseConfigFile(text, context);
  if ((file === null) !== problems.length > 0) throw new Error('a file is valid exactly when it has no problems');
  return formatProblems('f', problems).map((line) => line.replace(/^f:/, ''));
}

/** The doubts about a text, in the same form. */
export function doubtsOf(text: string): readonly string[] {
  return formatProblems('f', parseConfigFile(text, NO_ISSUERS).warnings).map((line) => line.replace(/^f:/, ''));
}
