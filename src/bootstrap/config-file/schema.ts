import { z } from 'zod';
import { DEFAULT_LIMITS } from '../../connectors/call-limits.ts';
import { originProblem } from '../../connectors/browser/origin.ts';
import { selectorProblem } from '../../connectors/browser/selector.ts';
import { GITHUB_OPERATIONS } from '../../connectors/github/operations.ts';
import { APP_ID, permissionsSchema } from '../../connectors/github/permissions.ts';
import { DELIVERY_MODES } from '../../domain/grant.ts';
import { OPERATOR_ROLES } from '../../domain/operator.ts';
import { parseDsnTemplate } from '../../connectors/vaultdb/dsn-template.ts';
import { secureUrl } from '../secure-url.ts';
import { DURATION, DURATION_MISTAKE, isDuration } from './duration.ts';

/** What a message says of text that is missing, empty, something else or malformed. */
const mistake =
  (rule: string) =>
  ({ input }: { input?: unknown }): string => {
    if (input === undefined) return `is missing; it ${rule}`;
    if (input === null || input === '') return `is empty; it ${rule}`;
    return typeof input === 'string' ? rule : `${rule}; put it in quotes`;
  };

const text = (pattern: RegExp, rule: string) =>
  z.string({ error: mistake(rule) }).regex(pattern, { error: mistake(rule), abort: true });

const NAME = 'must be 1 to 200 letters, digits or ._:@/-';
const name = text(/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}$/, NAME);
const namePattern = text(
  /^(\*|[A-Za-z0-9][A-Za-z0-9._:@/-]{0,198}\*?)$/,
  `${NAME}, or a beginning of that and a * as the last character`,
);
const anyPattern = text(
  /^(\*|[^*\u0000-\u001f\u007f]{1,1024}\*?)$/,
  'must be a text of up to 1024 characters; a * may only stand at its end',
);
const label = (max: number, rule: string) => text(new RegExp(`^(\\*|[a-z0-9][a-z0-9.-]{0,${max - 1}}\\*?)$`), rule);
const identifier = text(/^[\x21-\x7e]{1,300}$/, 'must be 1 to 300 visible ASCII characters');
const filePath = text(/^[^\u0000]{1,1000}$/, 'must be the path of a file');
const duration = text(DURATION, DURATION_MISTAKE).refine(isDuration, DURATION_MISTAKE);

const URL_RULE = 'must be an https URL (http is for loopback only)';
const url = z.string({ error: mistake(URL_RULE) }).superRefine((value, context) => {
  const { error } = secureUrl.safeParse(value);
  if (error !== undefined) context.addIssue({ code: 'custom', message: error.issues[0]?.message ?? URL_RULE });
});

const someOf = <Item extends z.ZodType>(item: Item) => z.array(item).min(1);

/** Marks what is wrong with fields only together: each by itself is sound. */
export const ONLY_TOGETHER = 'only_together';

/** Whether exactly one of these fields is there; asked even when one of them is malformed. */
const exactlyOne = <Shape extends z.ZodRawShape>(fields: z.ZodObject<Shape>, names: readonly string[], error: string) =>
  fields.refine((value) => names.filter((field) => Object.hasOwn(value, field)).length === 1, {
    error,
    params: { [ONLY_TOGETHER]: true },
    when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value),
  });

const KEY_SOURCES = ['pem_file', 'jwks_file', 'jwks_url', 'discovery'];
const keys = exactlyOne(
  z.strictObject({
    pem_file: filePath.optional().describe('PEM file with public keys or certificates, one or several.'),
    jwks_file: filePath.optional().describe('JSON file with a JWK Set (RFC 7517).'),
    jwks_url: url.optional().describe('Where the issuer publishes its JWK Set; fetched again as keys rotate.'),
    discovery: z
      .literal(true)
      .optional()
      .describe('true: from the URL that the issuer names in its /.well-known/openid-configuration.'),
  }),
  KEY_SOURCES,
  `must name one source of keys: ${KEY_SOURCES.slice(0, -1).join(', ')} or ${KEY_SOURCES.at(-1) ?? ''}`,
)
  .meta({ minProperties: 1, maxProperties: 1 })
  .describe('Where the public keys of this issuer come from; exactly one source.');

const issuer = identifier.describe('The `iss` of its tokens, letter for letter.');
const audience = identifier.describe('The `aud` that its tokens must carry.');
const tenants = someOf(name).describe('Ids of tenants of this file.');

const bindingFields = {
  issuer: identifier.describe('An issuer of attestation in this file, or the one that the environment names.'),
  attributes: z
    .record(text(/^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$/, 'must be a name of 1 to 100 letters, digits or _./-'), anyPattern)
    .optional()
    .describe(
      'Verified details that must be there and match, such as pod_name or repository; exact, or with a * at the end.',
    ),
  agents: someOf(namePattern).describe('Ids of the agents it may act as; exact, or with a * at the end.'),
};

const k8sBinding = z.strictObject({
  type: z.literal('k8s_sa').describe('A Kubernetes service account.'),
  ...bindingFields,
  namespace: label(63, 'must be a Kubernetes namespace; a * may only stand at its end').describe(
    'Its namespace; exact, or with a * at the end.',
  ),
  service_account: label(253, 'must be the name of a service account; a * may only stand at its end').describe(
    'Its name; exact, or with a * at the end.',
  ),
});
const oidcBinding = z.strictObject({
  type: z.literal('oidc').describe('Whoever an OpenID Connect issuer vouches for, such as a GitHub Actions job.'),
  ...bindingFields,
  subject: anyPattern.describe('The `sub` of its token; exact, or with a * at the end.'),
});

const deliveryModes = someOf(z.enum(DELIVERY_MODES));

const tool = z.strictObject({
  name: name.describe('What agents call it; once in a tenant.'),
  manifest_hash: text(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hex digits').describe(
    'SHA-256 of the manifest that was reviewed.',
  ),
  runtime_class: z.enum(['hosted', 'sidecar', 'browser']).describe('Where it runs.'),
  delivery_modes: deliveryModes.describe('How it may receive access.'),
  capabilities: someOf(namePattern).describe('What it may be used for; exact, or with a * at the end.'),
  trust_tags: z.array(name).default([]).describe('What policies may ask of it.'),
});

const approval = z
  .union(
    [
      z.literal('none').describe('No human is asked.'),
      z.strictObject({
        required: z
          .int()
          .min(1, 'must be 1 at least; where nobody has to approve, write approval: none')
          .max(10, 'must be 10 at most')
          .describe('How many different people must approve.'),
        ttl: duration.default('5m').describe('How long they have.'),
        reuse: z
          .boolean()
          .default(false)
          .describe('Whether one approval also answers the same request of the same session when it comes again.'),
      }),
    ],
    {
      error: ({ input }) =>
        `${input === undefined ? 'is missing; it ' : ''}must be none, or a mapping with required, ttl and reuse`,
    },
  )
  .describe('Whether people must approve each grant.');

const CONDITION = 'must be a CEL expression';
const policy = z.strictObject({
  capability: name.describe('The capability it is about, in full; once in a tenant.'),
  resource_kind: z.enum(['github_repo', 'db_role', 'browser_origin']).describe('What the capability is used on.'),
  delivery_modes: deliveryModes.describe('How access may be delivered.'),
  default_ttl: duration.describe('How long a grant lives when the agent asks for no time.'),
  max_ttl: duration.describe('The longest that a grant may live.'),
  approval,
  require_proof: z.boolean().default(false).describe('Whether the session must be bound to a key of its holder (DPoP).'),
  required_tool_tags: z.array(name).default([]).describe('Trust tags that the tool must have, all of them.'),
  github_permissions: permissionsSchema
    .optional()
    .describe('What a minted token may do at GitHub; what the reads of the proxy need when it is left out.'),
  browser_plain_values: z
    .boolean()
    .default(false)
    .describe('Whether a browser relay that registers no public key may have its values in the clear.'),
  condition: z
    .string({ error: mistake(CONDITION) })
    .min(1, { error: mistake(CONDITION) })
    .optional()
    .describe('CEL over request, session, workload, resource, tool, delegation and now; must be true.'),
});

const tenant = z.strictObject({
  id: name.describe('What sessions name as tenant_id; once in the file.'),
  workload_bindings: z
    .array(z.discriminatedUnion('type', [k8sBinding, oidcBinding]))
    .default([])
    .describe('Which workloads may act as which agents of this tenant. Nobody else gets a session.'),
  tools: z.array(tool).default([]).describe('The tools that its agents may use.'),
  policies: z.array(policy).default([]).describe('What is allowed, by capability. Nothing else is.'),
});

const limits = z
  .strictObject({
    max_concurrent: z
      .int()
      .min(1)
      .max(100_000)
      .default(DEFAULT_LIMITS.maxConcurrent)
      .describe('Calls that one process has under way there at once; the next one is answered 503.'),
    failures_before_pause: z
      .int()
      .min(1)
      .max(1000)
      .default(DEFAULT_LIMITS.maxFailures)
      .describe('So many calls that fail in a row make the process leave the system alone.'),
    pause: duration.default(`${DEFAULT_LIMITS.pauseSeconds}s`).describe('For how long; then one call tries it.'),
  })
  .prefault({})
  .describe('What calls to this system may take of a process, so that one that hangs slows no other down.');

const pathName = text(
  /^[A-Za-z0-9_-][A-Za-z0-9_.-]*(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/,
  'must be a path such as team-a/database',
);
const dsnTemplate = z.string().superRefine((template, context) => {
  try {
    parseDsnTemplate(template);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'is no DSN template' });
  }
});

const vaultLogin = z.discriminatedUnion('method', [
  z.strictObject({
    method: z.literal('token').describe('With a token that was made for ASB; renewed before it ends.'),
    token_file: filePath.describe('File that holds it, readable by ASB alone.'),
  }),
  z.strictObject({
    method: z.literal('kubernetes').describe("With the token of ASB's own service account."),
    role: name.describe('The role of the auth method.'),
    mount: pathName.default('kubernetes').describe('Where the auth method is mounted.'),
    jwt_file: filePath.describe('The service-account token; read again for every login.'),
  }),
  z.strictObject({
    method: z.literal('approle').describe('With a role id and a secret id.'),
    role_id: identifier.describe('The role id, which is no secret.'),
    secret_id_file: filePath.describe('File that holds the secret id, readable by ASB alone; read again for every login.'),
    mount: pathName.default('approle').describe('Where the auth method is mounted.'),
  }),
]);

const databaseRole = z.strictObject({
  name: name.describe('The role at Vault; `dbrole:NAME` asks for it.'),
  mount: pathName.default('database').describe('Where the database secrets engine is mounted.'),
  dsn_template: dsnTemplate.describe('The DSN that is handed out, with {{username}} and {{password}} where they belong.'),
});

const database = z.strictObject({
  capabilities: someOf(name).default(['db.read']).describe('The capabilities that its users are made for.'),
  allowed_role_suffixes: someOf(text(/^[A-Za-z0-9_.-]{1,64}$/, 'must be letters, digits or _.-'))
    .default(['_ro'])
    .describe('What the name of a role must end in, one of these.'),
  longest_lease: duration
    .default('1h')
    .describe('The max_ttl of the roles: when a user whose lease nobody learned is over for sure.'),
  roles: someOf(databaseRole).describe('The roles that may be asked for.'),
  limits,
});

const vault = z.strictObject({
  address: url.describe('Where it is.'),
  namespace: pathName.optional().describe('The namespace; without it, the root namespace.'),
  ca_file: filePath.optional().describe("PEM certificates that it is checked against; without it, the system's."),
  login: vaultLogin.describe('How ASB logs in.'),
  request_timeout: duration.default('10s').describe('How long one request may take.'),
  database: database.optional().describe('Users of databases that it makes, one for each grant.'),
});

const selector = z.string().superRefine((value, context) => {
  const problem = selectorProblem(value);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});

const formInput = z.strictObject({
  name: name.describe('What the relay knows it by, such as username.'),
  selector: selector.optional().describe('CSS selector of the input; without it, the relay says where it is.'),
  value: text(/^[^\u0000]{1,10000}$/, 'must be a text of up to 10000 characters')
    .optional()
    .describe('What is filled in, where that is no secret.'),
  value_file: filePath.optional().describe('File that holds what is filled in, readable by ASB alone.'),
  vault_key: identifier
    .optional()
    .describe('The key by which the secret of Vault holds what is filled in; the name, without it.'),
});

const form = z
  .strictObject({
    origin: z.string().describe('The origin of its pages, as browsers write it.'),
    vault: z
      .strictObject({
        mount: pathName.default('secret').describe('Where the key/value engine (version 2) is mounted.'),
        path: pathName.describe('The path of the secret.'),
      })
      .optional()
      .describe('The secret of Vault that holds what is filled in; without it, each input says so.'),
    inputs: someOf(formInput).describe('What is filled in.'),
  })
  .superRefine(({ vault: secret, inputs }, context) => {
    for (const [index, { value, value_file: valueFile, vault_key: key }] of inputs.entries()) {
      const path = ['inputs', index];
      const own = [value, valueFile].filter((source) => source !== undefined).length;
      if (secret === undefined && (own !== 1 || key !== undefined)) {
        context.addIssue({ code: 'custom', path, message: 'must have a value or a value_file, and not both' });
      }
      if (secret !== undefined && own > 0) {
        context.addIssue({
          code: 'custom',
          path,
          message: 'must have no value of its own: this form takes them from Vault',
        });
      }
    }
  });

const browser = z
  .strictObject({
    capabilities: someOf(name).default(['browser.login']).describe('The capabilities that forms are filled for.'),
    allow_insecure_localhost: z.boolean().default(false).describe('Whether an origin may be http://localhost.'),
    trusted_relay_keys: someOf(text(/^[A-Za-z0-9_-]{43}$/, 'must be a JWK thumbprint (RFC 7638, SHA-256, base64url)'))
      .optional()
      .describe('The keys that values may be sealed to; without it, whichever a session registers.'),
    forms: someOf(form).describe('The forms, one for an origin.'),
    limits,
  })
  .superRefine(({ allow_insecure_localhost: allow, forms }, context) => {
    for (const [index, { origin, inputs }] of forms.entries()) {
      const report = (message: string, ...at: (string | number)[]): void =>
        context.addIssue({ code: 'custom', path: ['forms', index, ...at], message });
      const problem = originProblem(origin, allow);
      if (problem !== null) report(problem, 'origin');
      if (forms.findIndex((other) => other.origin === origin) < index) report('another form has this origin', 'origin');
      for (const [at, { name: input }] of inputs.entries()) {
        if (inputs.findIndex((other) => other.name === input) < at)
          report('another input has this name', 'inputs', at, 'name');
      }
    }
  });

const tokenReview = z.strictObject({
  api_server: url.describe('The API server that is asked.'),
  ca_file: filePath.optional().describe("PEM certificates that it is checked against; without it, the system's."),
  token_file: filePath.describe('The token that ASB shows it; read again for every review.'),
});

const k8sIssuer = z.strictObject({
  issuer,
  audience,
  keys,
  token_review: tokenReview.optional().describe("Asks the API server as well, so that a deleted pod's token stops working."),
});

const oidcIssuer = z.strictObject({
  issuer,
  audience,
  keys,
  allowed_subject_prefixes: someOf(
    text(/^[\x21-\x29\x2b-\x7e]{1,300}$/, 'must be the beginning of a subject, without * and spaces'),
  ).describe('What the `sub` of its tokens must begin with, one of these; whole parts of it, as in repo:acme/.'),
});

const roleMapping = z.strictObject({
  value: text(/^[^\u0000]{1,300}$/, 'must be a text of up to 300 characters').describe('A value of the claim.'),
  roles: someOf(z.enum(OPERATOR_ROLES)).describe('What whoever has it may do.'),
  tenants: tenants.describe('For which tenants of this file.'),
});

const operatorIssuer = z.strictObject({
  issuer,
  audience,
  keys,
  roles_claim: name.default('roles').describe('The claim that holds a value, or a list of them.'),
  role_mappings: someOf(roleMapping).describe('What the values of that claim are worth.'),
});

const delegationIssuer = z.strictObject({
  issuer,
  audience: audience.optional().describe('The `aud` that its assertions must carry; without it, none is asked for.'),
  keys,
  tenants: tenants.describe('For which tenants it may delegate.'),
});

const receiverFields = {
  name: name.describe('What it is called in logs and audit events; once in the file.'),
  tenants: tenants.describe('Whose pending approvals it is told of.'),
  approver: text(/^[^\u0000]{1,300}$/, 'must be the subject of one person, up to 300 characters')
    .optional()
    .describe(
      'The `sub` of the one person that it reaches, so that they do not count twice or decide for a run of their own.',
    ),
  links: z.boolean().default(false).describe('Whether its messages carry one-time links that decide.'),
};

/** A field that only the other kinds have. */
const not = (why: string) => z.never({ error: why }).optional().describe(`Not here: ${why}.`);

const webhook = exactlyOne(
  z.strictObject({
    kind: z.literal('webhook').describe('A signed POST (Standard Webhooks).'),
    ...receiverFields,
    url: url.optional().describe('Where it is sent; one that is itself a secret belongs into url_file.'),
    url_file: filePath.optional().describe('File that holds the URL, readable by ASB alone.'),
    secret_file: filePath.describe('File with the secret that signs it: whsec_ and base64; readable by ASB alone.'),
    callback_key_file: filePath
      .optional()
      .describe('PEM file with the Ed25519 public key of a receiver that signs its decisions itself.'),
  }),
  ['url', 'url_file'],
  'must have a url or a url_file, and not both',
);

const slack = z.strictObject({
  kind: z.literal('slack').describe("A message to Slack's incoming webhooks, or what is compatible with them."),
  ...receiverFields,
  url_file: filePath.describe('File that holds the URL, which is the secret; readable by ASB alone.'),
  url: not("a Slack receiver's URL is a secret; put it in a file and name that in url_file"),
  secret_file: not('a Slack receiver has no secret but its URL; leave it out'),
  callback_key_file: not('a Slack receiver signs nothing; leave it out'),
});

const gitHubApp = z.strictObject({
  app_id: text(APP_ID, 'must be the id or the client id of a GitHub App').describe('Its id or client id.'),
  private_key_file: filePath.describe('PEM file with its private key (PKCS#1 or PKCS#8), readable by ASB alone.'),
  read_permissions: permissionsSchema
    .optional()
    .describe('What tokens for reading are asked for with; without it: contents, issues and pull_requests, each read.'),
});

/** Everything that `ASB_CONFIG_FILE` may say. It only checks: what comes out is what was written, with the defaults. */
export const CONFIG_FILE = z
  .strictObject({
    version: z
      .literal(1, { error: ({ input }) => (input === undefined ? 'is missing; write version: 1' : 'must be 1') })
      .describe('The version of this format.'),
    tenants: someOf(tenant).describe('The isolation boundaries; nothing is seen or used across them.'),
    attestation: z
      .strictObject({
        kubernetes: z.array(k8sIssuer).default([]).describe('Clusters whose service-account tokens count.'),
        oidc: z.array(oidcIssuer).default([]).describe('OpenID Connect issuers whose tokens of workloads count.'),
      })
      .prefault({})
      .describe('Who vouches for workloads, besides the issuers that the environment names.'),
    operators: z.array(operatorIssuer).default([]).describe('Who vouches for the people that run and approve.'),
    delegations: z.array(delegationIssuer).default([]).describe('Who may sign what a person delegates to an agent (EdDSA).'),
    notifications: z
      .strictObject({
        receivers: z
          .array(z.discriminatedUnion('kind', [webhook, slack]))
          .default([])
          .describe('Who is told of pending approvals.'),
      })
      .prefault({})
      .describe('Messages that ASB sends.'),
    connectors: z
      .strictObject({
        github: z
          .strictObject({
            allowed_operations: z
              .array(z.enum([...GITHUB_OPERATIONS.keys()]))
              .optional()
              .describe('What the proxy may run; without it, what the environment allows.'),
            app: gitHubApp.optional().describe('The GitHub App that ASB is; without it, what the environment says.'),
            limits,
          })
          .prefault({})
          .describe('The GitHub proxy.'),
        vault: vault.optional().describe('A Vault (https://developer.hashicorp.com/vault), or what speaks its API.'),
        browser: browser.optional().describe('Forms that a browser extension fills, which waits as a relay.'),
      })
      .superRefine(({ vault: configured, browser: { forms } = { forms: [] } }, context) => {
        if (configured !== undefined) return;
        for (const [index, { vault: secret }] of forms.entries()) {
          const path = ['browser', 'forms', index, 'vault'];
          const message = 'takes its values from Vault, and connectors.vault says of none';
          if (secret !== undefined) context.addIssue({ code: 'custom', path, message });
        }
      })
      .prefault({})
      .describe('Settings of the systems that access is given to.'),
  })
  .describe('What one ASB deployment lets whom do: tenants, who may act in them, with which tools, on what terms.');

/** The file as it was written, with defaults filled in. */
export type ConfigFile = z.output<typeof CONFIG_FILE>;
