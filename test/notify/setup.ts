import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CompactSign } from 'jose';
import { makeApprovalNotifications } from '../../src/broker/approval-notifications.ts';
import type { RecordDecisionDeps } from '../../src/broker/decide-approval.ts';
import {
  type SendNotifications,
  sendNotifications,
  type SendNotificationsDeps,
} from '../../src/broker/send-notifications.ts';
import { makeStaticResolver } from '../../src/connectors/resolver.ts';
import { ephemeralKeyManagement } from '../../src/crypto/kek-file.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { makeIdSource } from '../../src/crypto/random-ids.ts';
import { makeSecretSealer } from '../../src/crypto/sealed-box.ts';
import { makeProxyDelivery } from '../../src/delivery/proxy-delivery.ts';
import { makeSecretDelivery } from '../../src/delivery/secret-delivery.ts';
import type { PendingApproval } from '../../src/domain/approval.ts';
import type { CallContext } from '../../src/domain/call-context.ts';
import type { Connector } from '../../src/domain/connector.ts';
import type { PendingGrant } from '../../src/domain/grant.ts';
import type { GrantAuthorizer } from '../../src/domain/grant-authorizer.ts';
import type { NotificationId, TenantId } from '../../src/domain/ids.ts';
import type { ApprovalNotice } from '../../src/domain/notifier.ts';
import { Secret } from '../../src/domain/secret.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import { CALLBACK_TYPE } from '../../src/notify/callbacks.ts';
import { makeLinkSigner } from '../../src/notify/links.ts';
import { makeNotifiers } from '../../src/notify/notifiers.ts';
import type { Receiver, SlackReceiver, WebhookReceiver } from '../../src/notify/receiver.ts';
import { MemoryRepository } from '../../src/store/memory/memory-repository.ts';
import { MemoryRuntimeStore } from '../../src/store/memory/memory-runtime-store.ts';
import { anApprovalId, aPendingGrant, aSession, TENANT } from '../support/entities.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { RecordingAuditLog } from '../support/recording-audit-log.ts';

export const ISSUER = 'https://asb.example';
export const BASE_URL = new URL('https://asb.example/broker/');
export const SECRET = `whsec_${Buffer.from('CANARY-webhook-secret-0123456789').toString('base64')}`;
export const APPROVAL_SECONDS = 300;
export const REQUEST_HASH = 'ab'.repeat(32);

const URL_OF_NOBODY = new URL('http://127.0.0.1:9/hook');
const COMMON = { tenants: [TENANT], url: URL_OF_NOBODY, callbackKey: null, links: true, approver: null };

export const aWebhook = (changes: Partial<WebhookReceiver> = {}): WebhookReceiver => ({
  ...COMMON,
  name: 'hook',
  kind: 'webhook',
  secret: new Secret(SECRET),
  ...changes,
});

export const aSlack = (changes: Partial<SlackReceiver> = {}): SlackReceiver => ({
  ...COMMON,
  name: 'slack',
  kind: 'slack',
  ...changes,
});

/** Something that waits for people. */
export interface Asked {
  session: ActiveSession;
  grant: PendingGrant;
  approval: PendingApproval;
}

export interface AskChanges {
  session?: Partial<ActiveSession>;
  grant?: Partial<PendingGrant>;
  approval?: Partial<PendingApproval>;
}

/** A request of this moment that waits for five minutes. */
export function anAsked(now: Date, { session: ofSession, grant: ofGrant, approval: ofApproval }: AskChanges = {}): Asked {
  const expiresAt = new Date(now.getTime() + APPROVAL_SECONDS * 1000);
  const session = aSession({
    delegation: null,
    proofKeyThumbprint: null,
    createdAt: now,
    expiresAt: new Date(now.getTime() + 3_600_000),
    ...ofSession,
  });
  const approvalId = anApprovalId();
  const requestHash = REQUEST_HASH;
  const terms = { approvalId, requestHash, ttlSeconds: 600, requestId: null, createdAt: now, expiresAt };
  const grant = aPendingGrant(session, { ...terms, ...ofGrant });
  const approval: PendingApproval = {
    id: approvalId,
    tenantId: session.tenantId,
    sessionId: session.id,
    grantId: grant.id,
    agentId: session.agentId,
    runId: session.runId,
    requestHash,
    requiredApprovers: 1,
    reuse: false,
    excluded: [{ issuer: session.workload.issuer, subject: session.workload.subject }],
    state: 'pending',
    decisions: [],
    createdAt: now,
    expiresAt,
    ...ofApproval,
  };
  return { session, grant, approval };
}

export const noticeOf = ({ session, grant, approval }: Asked, receiver: string): ApprovalNotice => ({
  id: `ntf_${approval.id.slice(3)}` as NotificationId,
  receiver,
  approval,
  grant,
  workloadSubject: session.workload.subject,
});

const allows: GrantAuthorizer = {
  revision: 'r1',
  explain: () => [],
  allowsPlainValues: () => false,
  decide: ({ now, ttlSeconds }) => ({
    allowed: true,
    rule: 'policy:repo.read',
    ttlSeconds: ttlSeconds ?? 600,
    expiresAt: new Date(now.getTime() + 600_000),
    approval: { requiredApprovers: 1, ttlSeconds: APPROVAL_SECONDS, reuse: false },
    permissions: null,
  }),
};

const github: Connector = {
  name: 'github',
  resourceKind: 'github_repo',
  capabilities: ['repo.read'],
  deliveryModes: ['proxy'],
  checkResource: () => undefined,
};

export const CONTEXT: CallContext = { requestId: 'req_1', proof: null, signal: new AbortController().signal };

/** Everything that notifications touch, real but for the clock, the connector and the policy. */
export async function makeWorld(...receivers: Receiver[]) {
  const clock = new FakeClock();
  const audit = new RecordingAuditLog();
  const repository = new MemoryRepository({ auditLog: audit });
  const runtime = new MemoryRuntimeStore();
  const keys = await ephemeralKeyRing();
  const ids = makeIdSource({ clock, handleKey: keys.secretFor('handles') });
  const sealer = makeSecretSealer({ keys: ephemeralKeyManagement() });
  const links = makeLinkSigner({ keys, issuer: ISSUER, publicBaseUrl: BASE_URL });
  const configured = { receivers };
  const notifiers = makeNotifiers({ receivers: () => configured.receivers, links, clock });
  const random = { next: 0 };
  const deps: SendNotificationsDeps & RecordDecisionDeps = {
    clock,
    ids,
    repository,
    notifiers,
    random: () => random.next,
    revision: () => 'r1',
    sessions: { decide: () => ({ allowed: true }), explain: () => [] },
    grants: allows,
    connectors: makeStaticResolver([github]),
    deliveries: { proxy: makeProxyDelivery(ids), secret: makeSecretDelivery({ sealer, ids }) },
  };
  const waker = { woken: 0 };
  const notifications = makeApprovalNotifications({ ids, notifiers, wake: () => void (waker.woken += 1) });
  const neverStops = new AbortController().signal;
  const sender = sendNotifications(deps);
  return {
    ...{ clock, audit, repository, runtime, keys, ids, links, configured, notifiers, random, deps, waker, notifications },
    /** One pass of one worker. */
    send: (): ReturnType<SendNotifications> => sender(100, 'req_pass', neverStops),
    /** Puts a request on record, with its messages. */
    async ask(changes: AskChanges = {}): Promise<Asked> {
      const asked = anAsked(clock.now(), changes);
      await repository.transact((unit) => {
        unit.insertSession(asked.session);
        unit.insertGrant(asked.grant);
        unit.insertApproval(asked.approval);
        notifications.enqueue(unit, asked.approval, clock.now());
      });
      return asked;
    },
    /** The messages that are due `seconds` from now. */
    due: (seconds: number) => repository.findDueNotifications(new Date(clock.now().getTime() + seconds * 1000), 1000, []),
    /** The types of the events about notifications. */
    outcomes: () => audit.types().filter((type) => type.startsWith('notification.')),
  };
}

export type World = Awaited<ReturnType<typeof makeWorld>>;

/** A receiver's own key. */
export function makeCallbackKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privateKey,
    publicKey: publicKey.toCryptoKey({ name: 'Ed25519' }, true, ['verify']),
    publicPem: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
  };
}

export interface SignOptions {
  key: KeyObject;
  now: Date;
  /** Replaces claims; undefined removes one. */
  claims?: Readonly<Record<string, unknown>>;
  header?: { alg?: string; typ?: string; [name: string]: unknown };
}

let callbacks = 0;

/** A yes of the receiver `hook` to what was asked, with changes. */
export function signCallback({ approval }: Asked, { key, now, claims, header }: SignOptions): Promise<string> {
  const iat = Math.floor(now.getTime() / 1000);
  const base = {
    iss: 'hook',
    aud: ISSUER,
    jti: `callback-${(callbacks += 1)}`,
    iat,
    exp: iat + 60,
    approval_id: approval.id,
    request_hash: approval.requestHash,
    decision: 'approve',
  };
  return new CompactSign(new TextEncoder().encode(JSON.stringify({ ...base, ...claims })))
    .setProtectedHeader({ alg: 'EdDSA', typ: CALLBACK_TYPE, ...header })
    .sign(key);
}

/** The token behind the `#` of a link. */
export const tokenOf = (link: string): string => new URL(link).hash.slice(1);

/** Both links' tokens for what was asked. */
export async function linkTokens(world: World, asked: Asked, receiver = 'hook') {
  const links = await world.links(noticeOf(asked, receiver));
  if (links === null) throw new Error('there are no links');
  return { approve: tokenOf(links.approve), deny: tokenOf(links.deny) };
}

export const tenant = (name: string): TenantId => name as TenantId;
