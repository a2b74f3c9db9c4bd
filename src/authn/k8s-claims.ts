import type { JWTPayload } from 'jose';
import { z } from 'zod';
import { unauthorized } from '../domain/errors.ts';

/** What a verified service account token says about its bearer. */
export interface ServiceAccountClaims {
  subject: string;
  namespace: string;
  serviceAccount: string;
  attributes: Readonly<Record<string, string>>;
}

const SUBJECT = /^system:serviceaccount:([^:]+):([^:]+)$/;
/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ */
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** The names of tokens from before 1.21, which stand beside `sub` instead of below `kubernetes.io`. */
const FLAT_NAMESPACE = 'kubernetes.io/serviceaccount/namespace';
const FLAT_NAME = 'kubernetes.io/serviceaccount/service-account.name';
const FLAT_UID = 'kubernetes.io/serviceaccount/service-account.uid';
const FLAT_SECRET = 'kubernetes.io/serviceaccount/secret.name';

/** Names and uids of Kubernetes objects: printable, no spaces, nothing that could break out of a log line. */
const Detail = z
  .string()
  .regex(/^[\w.:-]{1,253}$/)
  .optional();
const ObjectRef = z.object({ name: Detail, uid: Detail }).optional();

const TokenClaims = z.object({
  sub: z.string(),
  'kubernetes.io': z
    .object({ namespace: Detail, serviceaccount: ObjectRef, pod: ObjectRef, node: ObjectRef, secret: ObjectRef })
    .optional(),
  [FLAT_NAMESPACE]: Detail,
  [FLAT_NAME]: Detail,
  [FLAT_UID]: Detail,
  [FLAT_SECRET]: Detail,
});
type TokenClaims = z.infer<typeof TokenClaims>;

/**
 * Reads who the bearer is from the claims of a token whose signature has been checked. The subject is the identity; the nested
 * claims of a projected token and the flat ones of a legacy token may add to it and may not say otherwise.
 * Throws `unauthorized`.
 */
export function identifyServiceAccount(payload: JWTPayload): ServiceAccountClaims {
  const parsed = TokenClaims.safeParse(payload);
  if (!parsed.success) {
    const claim = String(parsed.error.issues[0]?.path[0] ?? 'payload');
    throw unauthorized(`attestation: token's ${claim} claim is malformed`, { cause: parsed.error });
  }
  const claims = parsed.data;
  const { namespace, serviceAccount } = parseSubject(claims.sub);
  requireAgreement(claims, namespace, serviceAccount);
  return {
    subject: claims.sub,
    namespace,
    serviceAccount,
    attributes: collectAttributes(claims),
  };
}

function parseSubject(subject: string): { namespace: string; serviceAccount: string } {
  const [, namespace = '', serviceAccount = ''] = SUBJECT.exec(subject) ?? [];
  if (!DNS_LABEL.test(namespace) || !DNS_SUBDOMAIN.test(serviceAccount)) {
    throw unauthorized("attestation: token's subject must be system:serviceaccount:NAMESPACE:NAME");
  }
  return { namespace, serviceAccount };
}

function requireAgreement(claims: TokenClaims, namespace: string, serviceAccount: string): void {
  const nested = claims['kubernetes.io'];
  const statements: readonly (readonly [string | undefined, string | undefined])[] = [
    [nested?.namespace, namespace],
    [claims[FLAT_NAMESPACE], namespace],
    [nested?.serviceaccount?.name, serviceAccount],
    [claims[FLAT_NAME], serviceAccount],
    [nested?.serviceaccount?.uid, claims[FLAT_UID]],
    [nested?.secret?.name, claims[FLAT_SECRET]],
  ];
  for (const [one, other] of statements) {
    if (one !== undefined && other !== undefined && one !== other) {
      throw unauthorized("attestation: token's claims contradict each other; use a token as the cluster issued it");
    }
  }
}

function collectAttributes(claims: TokenClaims): Record<string, string> {
  const nested = claims['kubernetes.io'];
  const attributes = {
    pod_name: nested?.pod?.name,
    pod_uid: nested?.pod?.uid,
    node_name: nested?.node?.name,
    node_uid: nested?.node?.uid,
    service_account_uid: nested?.serviceaccount?.uid ?? claims[FLAT_UID],
    secret_name: nested?.secret?.name ?? claims[FLAT_SECRET],
  };
  return Object.fromEntries(Object.entries(attributes).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
