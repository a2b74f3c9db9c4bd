import { isIP } from 'node:net';
import { z } from 'zod';
import { selectorProblem } from '../connectors/browser/selector.ts';
import { GITHUB_OPERATIONS, READ_OPERATIONS } from '../connectors/github/operations.ts';
import { APP_ID, PERMISSIONS_RULE, permissionsSchema } from '../connectors/github/permissions.ts';
import { parseDsnTemplate } from '../connectors/vaultdb/dsn-template.ts';
import { isSendableToken } from '../connectors/github/token-source.ts';
import { secureUrl } from './secure-url.ts';

/** Where to listen; an empty host means every interface. */
export interface ListenAddress {
  host: string;
  port: number;
}

const ADDRESS = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<host>[^:[\]]*)):(?<port>\d{1,5})$/;

const address = z.string().transform((text, context): ListenAddress => {
  const groups = ADDRESS.exec(text)?.groups;
  const port = Number(groups?.port);
  if (groups === undefined || port > 65_535) {
    context.addIssue({ code: 'custom', message: 'write HOST:PORT, [IPV6]:PORT or :PORT' });
    return z.NEVER;
  }
  return { host: groups.v6 ?? groups.host ?? '', port };
});

const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be a whole number from ${min} to ${max}`);

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

const cidrs = list.refine(
  (parts) =>
    parts.every((part) => {
      const [ip = '', bits, ...rest] = part.split('/');
      const width = isIP(ip) === 6 ? 128 : 32;
      return isIP(ip) !== 0 && rest.length === 0 && (bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= width));
    }),
  'must be IP addresses or CIDR ranges, separated by commas',
);

/** One server, or several separated by commas. */
const servers = list.transform((texts, context) => {
  const parsed = texts.map((text) => ADDRESS.exec(text)?.groups);
  const nodes = parsed.map((groups) => ({ host: groups?.v6 ?? groups?.host ?? '', port: Number(groups?.port) }));
  if (nodes.length === 0 || nodes.some(({ host, port }) => host === '' || !(port >= 1 && port <= 65_535))) {
    context.addIssue({ code: 'custom', message: 'write HOST:PORT or [IPV6]:PORT, several separated by commas' });
    return z.NEVER;
  }
  return nodes;
});

const postgresUrl = z
  .string()
  .refine(
    isPostgresUrl,
    'write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, with a percent-encoded password',
  );

function isPostgresUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol) || url.pathname.length <= 1) return false;
  // A password that was not percent-encoded ends where one of these stands; what follows would be taken for a host, and logged.
  return url.hash === '' && !`${url.pathname}${url.search}`.includes('@');
}

const flag = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true');

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}$/, 'must be 1 to 200 letters, digits or ._:@/-');
const file = z.string();

const OPERATION_NAMES = [...GITHUB_OPERATIONS.keys()];
const operations = list.refine(
  (names) => names.every((name) => GITHUB_OPERATIONS.has(name)),
  `must be some of ${OPERATION_NAMES.join(', ')}`,
);

const permissions = z.string().transform((text, context) => {
  const parsed = permissionsSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  context.addIssue({ code: 'custom', message: PERMISSIONS_RULE });
  return z.NEVER;
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const keyFileOf = (issuer: string) =>
  file.optional().meta({ description: `PEM public keys or certificates of ${issuer}, one or several; or its JWKS URL.` });
const jwksUrlOf = (issuer: string) =>
  secureUrl.optional().meta({ description: `Where ${issuer} publishes its keys (RFC 7517), fetched again as they rotate.` });
const dsnTemplate = z.string().superRefine((text, context) => {
  try {
    parseDsnTemplate(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'is no DSN template' });
  }
});
const selector = z.string().superRefine((text, context) => {
  const problem = selectorProblem(text);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});
const subjectPrefixes = list.refine((prefixes) => prefixes.length > 0, 'must name at least one prefix');

/** Every variable ASB reads, with what it means. An empty value counts as not set. */
export const VARIABLES = {
  ASB_ADDR: address
    .default({ host: '', port: 8080 })
    .meta({ default: ':8080', description: 'Where JSON, Connect and gRPC-Web are served; gRPC too when TLS is on.' }),
  ASB_GRPC_ADDR: address
    .optional()
    .meta({ description: 'Where gRPC is served besides: over h2c, or over TLS when TLS is on.' }),
  ASB_TLS_CERT_FILE: file
    .optional()
    .meta({ description: 'PEM certificate chain of the listeners; goes with ASB_TLS_KEY_FILE.' }),
  ASB_TLS_KEY_FILE: file.optional().meta({ description: 'PEM private key of the listeners; goes with ASB_TLS_CERT_FILE.' }),
  ASB_PUBLIC_BASE_URL: secureUrl.optional().meta({
    description:
      'The URL under which callers reach this broker: what DPoP proofs name, and where links of notifications lead. Without it, what the request says.',
  }),
  ASB_CONFIG_FILE: file.optional().meta({
    description:
      'YAML file with tenants, bindings, operators, tools and policies (docs/authorization.md); read again on SIGHUP and when it changes. Without it, the environment sets up one development tenant.',
  }),
  ASB_DEV_TENANT_ID: name
    .default('t_dev')
    .meta({ default: 't_dev', description: 'The tenant that the environment alone sets up.' }),
  ASB_K8S_ISSUER: z
    .string()
    .optional()
    .meta({ description: 'Issuer (`iss`) of Kubernetes service-account tokens; goes with a key file or a JWKS URL.' }),
  ASB_K8S_PUBLIC_KEY_FILE: keyFileOf('that issuer'),
  ASB_K8S_JWKS_URL: jwksUrlOf('that issuer'),
  ASB_K8S_AUDIENCE: z
    .string()
    .default('asb-control-plane')
    .meta({ default: 'asb-control-plane', description: 'Audience (`aud`) such tokens must carry.' }),
  ASB_OIDC_ISSUER: z.string().optional().meta({
    description: 'Issuer of OIDC tokens of workloads, such as GitHub Actions; goes with a key file or a JWKS URL.',
  }),
  ASB_OIDC_PUBLIC_KEY_FILE: keyFileOf('that issuer'),
  ASB_OIDC_JWKS_URL: jwksUrlOf('that issuer'),
  ASB_OIDC_AUDIENCE: z
    .string()
    .default('asb-control-plane')
    .meta({ default: 'asb-control-plane', description: 'Audience such tokens must carry.' }),
  ASB_OIDC_ALLOWED_SUBJECT_PREFIXES: subjectPrefixes.optional().meta({
    description: 'What the subject of such tokens must begin with, separated by commas, as in `repo:acme/`.',
  }),
  ASB_OPERATOR_ISSUER: z.string().optional().meta({
    description:
      "Issuer of the tokens of the development tenant's operators; goes with a key file or a JWKS URL, and with the audience. Their claim `roles` lists viewer, auditor, operator or approver.",
  }),
  ASB_OPERATOR_PUBLIC_KEY_FILE: keyFileOf('that issuer'),
  ASB_OPERATOR_JWKS_URL: jwksUrlOf('that issuer'),
  ASB_OPERATOR_AUDIENCE: z.string().optional().meta({ description: 'Audience such tokens must carry.' }),
  ASB_DELEGATION_ISSUER: z.string().optional().meta({
    description: 'Issuer of delegation assertions for the development tenant (EdDSA); goes with a key file or a JWKS URL.',
  }),
  ASB_DELEGATION_PUBLIC_KEY_FILE: keyFileOf('that issuer'),
  ASB_DELEGATION_JWKS_URL: jwksUrlOf('that issuer'),
  ASB_DELEGATION_AUDIENCE: z
    .string()
    .optional()
    .meta({ description: 'Audience such assertions must carry; without it, none is asked for.' }),
  ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: file.optional().meta({
    description:
      'PEM (PKCS#8) Ed25519 key that signs session tokens. Without it an ephemeral key is made, and sessions end with the process.',
  }),
  ASB_SESSION_TOKEN_ISSUER: z
    .string()
    .default('asb')
    .meta({ default: 'asb', description: 'Issuer (`iss`) of session tokens.' }),
  ASB_POSTGRES_DSN: postgresUrl.optional().meta({
    description:
      'Postgres database that holds all state, brought up to date by `make migrate`; TLS by its sslmode and sslrootcert. Needs ASB_KEK_FILE and ASB_SESSION_SIGNING_PRIVATE_KEY_FILE, and a worker beside the API. Without it, state lives and dies with the process.',
  }),
  ASB_POSTGRES_MAX_CONNECTIONS: wholeNumber(1, 1000)
    .default(20)
    .meta({ default: '20', description: 'Connections to Postgres that one process may hold.' }),
  ASB_POSTGRES_STATEMENT_TIMEOUT_MS: wholeNumber(100, 60_000).default(5000).meta({
    default: '5000',
    description: 'How long one statement may take, in milliseconds; then the request is answered 503.',
  }),
  ASB_POSTGRES_LOCK_TIMEOUT_MS: wholeNumber(100, 60_000)
    .default(3000)
    .meta({ default: '3000', description: 'How long a statement may wait for a lock, in milliseconds.' }),
  ASB_REDIS_ADDR: servers.optional().meta({
    description:
      'Redis that processes share budgets, slots and replay marks through: HOST:PORT, or several for Sentinel or Cluster. Its maxmemory-policy must be noeviction. Without it each process keeps its own.',
  }),
  ASB_REDIS_MODE: z.enum(['standalone', 'sentinel', 'cluster']).default('standalone').meta({
    default: 'standalone',
    description: 'What the servers of ASB_REDIS_ADDR are: standalone, sentinel or cluster.',
  }),
  ASB_REDIS_SENTINEL_NAME: name
    .optional()
    .meta({ description: 'Name of the master that the sentinels watch; goes with ASB_REDIS_MODE=sentinel.' }),
  ASB_REDIS_USERNAME: z.string().optional().meta({ description: 'ACL user at Redis; goes with ASB_REDIS_PASSWORD.' }),
  ASB_REDIS_PASSWORD: z.string().optional().meta({ description: 'Password at Redis.' }),
  ASB_REDIS_SENTINEL_PASSWORD: z.string().optional().meta({ description: 'Password at the sentinels.' }),
  ASB_REDIS_TLS: flag
    .default(false)
    .meta({ default: 'false', description: 'Whether Redis is spoken to over TLS: true or false.' }),
  ASB_REDIS_TLS_CA_FILE: file
    .optional()
    .meta({ description: 'PEM authorities that sign the certificate of Redis; without it, those of the system.' }),
  ASB_REDIS_KEY_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9:._-]{0,64}$/, 'must be at most 64 letters, digits or :._-')
    .default('asb:')
    .meta({ default: 'asb:', description: 'What every key in Redis begins with: one prefix for each deployment.' }),
  ASB_KEK_FILE: file.optional().meta({
    description:
      'Key-encryption keys, 32 random bytes each in base64, one a line, mode 0600: the first seals secrets, all open them (`openssl rand -base64 32`). Without it, on the memory store, an ephemeral key is made.',
  }),
  ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: file.optional().meta({
    description:
      'PEM (PKCS#8) Ed25519 key with which the worker signs the checkpoints of the audit chain; the worker needs it.',
  }),
  ASB_WORKER_ADDR: address
    .default({ host: '', port: 9090 })
    .meta({ default: ':9090', description: 'Where the worker serves /healthz, /readyz and /metrics.' }),
  ASB_GITHUB_TOKEN: z
    .string()
    .refine(isSendableToken, 'must be printable ASCII without spaces or line breaks')
    .optional()
    .meta({
      description:
        'Token that ASB itself uses at GitHub; or be a GitHub App. Without either nothing is delivered for GitHub.',
    }),
  ASB_GITHUB_APP_ID: z.string().regex(APP_ID, 'must be the id or the client id of a GitHub App').optional().meta({
    description:
      'Id or client id of the GitHub App that ASB is; goes with ASB_GITHUB_APP_PRIVATE_KEY_FILE, and not with ASB_GITHUB_TOKEN.',
  }),
  ASB_GITHUB_APP_PRIVATE_KEY_FILE: file.optional().meta({
    description:
      'PEM private key of that App (PKCS#1 as GitHub gives it out, or PKCS#8), for ASB alone to read: mode 0600 or 0400.',
  }),
  ASB_GITHUB_APP_PERMISSIONS_JSON: permissions.optional().meta({
    description:
      'What its tokens for reading are asked for with, as a JSON object of GitHub App permissions. Without it: contents, issues and pull_requests, each read.',
  }),
  ASB_GITHUB_API_BASE_URL: secureUrl.default(new URL('https://api.github.com')).meta({
    default: 'https://api.github.com',
    description: 'GitHub REST API; for GitHub Enterprise Server https://HOST/api/v3.',
  }),
  ASB_GITHUB_ALLOWED_OPERATIONS: operations.default([...READ_OPERATIONS.keys()]).meta({
    default: 'all that read',
    description: `Operations the proxy may run, separated by commas: ${OPERATION_NAMES.join(', ')}. Those that write must be named, and need a policy for repo.write.`,
  }),
  ASB_VAULT_ADDR: secureUrl.optional().meta({
    description:
      'Vault that makes database users for the development tenant; goes with ASB_VAULT_TOKEN, ASB_VAULT_ROLE and ASB_VAULT_DSN_TEMPLATE. A configuration file has more ways to log in, and more roles.',
  }),
  ASB_VAULT_TOKEN: z
    .string()
    .refine(isSendableToken, 'must be printable ASCII without spaces or line breaks')
    .optional()
    .meta({ description: 'Token that ASB itself uses at Vault; renewed before it ends.' }),
  ASB_VAULT_NAMESPACE: z.string().optional().meta({ description: 'Namespace at Vault; without it, the root namespace.' }),
  ASB_VAULT_CA_FILE: file
    .optional()
    .meta({ description: 'PEM authorities that sign the certificate of Vault; without it, those of the system.' }),
  ASB_VAULT_ROLE: z
    .string()
    .optional()
    .meta({ description: 'Role of the secrets engine at `database/` that `dbrole:ROLE` asks for.' }),
  ASB_VAULT_DSN_TEMPLATE: dsnTemplate.optional().meta({
    description: 'DSN that is handed out with its users, with {{username}} and {{password}} where they belong.',
  }),
  ASB_VAULT_ALLOWED_ROLE_SUFFIXES: list
    .refine((suffixes) => suffixes.length > 0, 'must name at least one suffix')
    .default(['_ro'])
    .meta({ default: '_ro', description: 'What a role must end in, one of these, separated by commas.' }),
  ASB_BROWSER_ORIGIN: z.string().optional().meta({
    description:
      'Origin whose login form is filled for the development tenant, as browsers write it; goes with ASB_BROWSER_USERNAME and ASB_BROWSER_PASSWORD. A configuration file has more origins, and credentials of Vault.',
  }),
  ASB_BROWSER_USERNAME: z.string().optional().meta({ description: 'What is filled into its input `username`.' }),
  ASB_BROWSER_PASSWORD: z.string().optional().meta({ description: 'What is filled into its input `password`.' }),
  ASB_BROWSER_SELECTOR_USERNAME: selector
    .optional()
    .meta({ description: 'CSS selector of that input; without it, the browser relay says where it is.' }),
  ASB_BROWSER_SELECTOR_PASSWORD: selector.optional().meta({ description: 'The same, of the password.' }),
  ASB_BROWSER_ALLOW_INSECURE_LOCALHOST: flag
    .default(false)
    .meta({ default: 'false', description: 'Whether the origin may be http://localhost: true or false.' }),
  ASB_BROWSER_ALLOW_PLAIN_VALUES: flag.default(false).meta({
    default: 'false',
    description: 'Whether a relay that registers no public key may have the values in the clear: true or false.',
  }),
  ASB_UPSTREAM_ALLOWED_ADDRESSES: cidrs.default([]).meta({
    default: '',
    description:
      'Addresses or CIDR ranges that the names of upstreams may lead to although they are of this machine, this link or a metadata service.',
  }),
  ASB_MAX_OPEN_GRANTS: wholeNumber(1, 1_000_000)
    .default(100)
    .meta({ default: '100', description: 'Grants that one session may have open at once.' }),
  ASB_PROXY_MAX_BUFFERED_BYTES: wholeNumber(2 ** 20, 2 ** 40)
    .default(256 * 2 ** 20)
    .meta({
      default: '268435456',
      description:
        'Bytes of buffers the process may hold; beyond it, large GitHub answers are refused until some have left.',
    }),
  ASB_PROXY_MAX_CONCURRENT: wholeNumber(1, 1000)
    .default(8)
    .meta({ default: '8', description: 'Calls one handle may have under way.' }),
  ASB_PROXY_MAX_REQUESTS: wholeNumber(1, 1_000_000)
    .default(100)
    .meta({ default: '100', description: 'Calls one handle may make.' }),
  ASB_PROXY_MAX_BYTES: wholeNumber(1, 2 ** 31)
    .default(25 * 2 ** 20)
    .meta({ default: '26214400', description: 'Bytes one handle may bring back, over all its calls.' }),
  ASB_PROXY_TIMEOUT_SECONDS: wholeNumber(1, 18).default(15).meta({
    default: '15',
    description: 'The longest one proxied call may take, 18 at most: the request around it ends after 20.',
  }),
  ASB_RATE_LIMIT_PER_MINUTE: wholeNumber(1, 100_000_000)
    .default(6000)
    .meta({ default: '6000', description: 'Requests a minute that one client address may make.' }),
  ASB_TRUSTED_PROXIES: cidrs.default([]).meta({
    default: '',
    description: 'Addresses or CIDR ranges of load balancers whose X-Forwarded-For names the client.',
  }),
  ASB_AUDIT_FILE: file.optional().meta({
    description:
      'File that audit events are appended to, one JSON object a line; after a rotation renamed it, SIGHUP makes ASB open it again. Without it they go to standard output.',
  }),
  ASB_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info').meta({
    default: 'info',
    description: 'Least level of log lines on standard error: debug, info, warn, error or silent.',
  }),
  ASB_CLEANUP_INTERVAL_SECONDS: wholeNumber(1, 3600)
    .default(5)
    .meta({ default: '5', description: 'Pause between two passes that end what ran out.' }),
  ASB_RETENTION_SECONDS: wholeNumber(0, 31_536_000).optional().meta({
    description:
      'How long what has ended stays readable to operators: 300 on the memory store, 86400 on Postgres, unless set. Audit events stay.',
  }),
  ASB_SHUTDOWN_NOTICE_SECONDS: wholeNumber(0, 600).default(5).meta({
    default: '5',
    description:
      'How long a stopping process still answers all calls while /readyz says 503, so that load balancers look elsewhere.',
  }),
  ASB_SHUTDOWN_GRACE_SECONDS: wholeNumber(1, 600)
    .default(25)
    .meta({ default: '25', description: 'How long a stopping process then waits for calls under way.' }),
} as const;
